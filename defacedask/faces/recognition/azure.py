"""Azure's Face service as a recogniser: a small client for its REST interface, version 1.2.

**This sends pictures of patients' faces to a computer that is not yours.** It works only when ``allow_upload`` is
set, and says where the pictures go. Many data collections' usage policies forbid it. Endpoint and key come from
the environment variables ``AZURE_FACE_ENDPOINT`` and ``AZURE_FACE_KEY`` of the process that asks; they are kept
in no object, file or log.

Source: Microsoft's reference of the operations *Detect* and *Verify Face To Face*, v1.2.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.errors import ConfigError, InputError
from defacedask.faces.recognition import azure_pictures
from defacedask.faces.recognition.base import Box, Face, RecogniserError, analyse_each, as_rgb
from defacedask.faces.recognition.limiter import Limiter, shared_limiter

__all__ = ["AzureFace"]

log = logging.getLogger(__name__)

_AGAIN = (408, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 300.0

#: Face id -> the id of the same picture that is valid now.
_renewed: dict[str, str] = {}
#: What the service said of a pair: each pair is asked once a process.
_verified: dict[frozenset[str], float] = {}


@dataclasses.dataclass(frozen=True)
class AzureFace:
    """Detect and verify faces with Azure; an encoding is the service's face id, valid for a day.

    Parameters
    ----------
    allow_upload : bool
        Must be True: pictures of faces leave this machine.
    verify : bool
        False: detect only. Face ids and verification need Microsoft's approval; without it the service
        refuses them, and detection alone still works.
    tolerance : float
        On the distance ``1 - confidence``; 0.5 is what the service itself calls identical.
    detection_model, recognition_model : str
        The service's names.
    per_second : float
        Requests a second of the whole cohort; the service answers 429 beyond 10.
    retries : int
        How often a request is repeated when the service is busy or unreachable.
    timeout : float
        Seconds a request may take.
    folder : str
        Keep the pictures behind face ids here, so that any process can renew an id that has expired; "" keeps them in
        memory. They identify people.
    """

    allow_upload: bool = False
    verify: bool = True
    tolerance: float = 0.5
    detection_model: str = "detection_03"
    recognition_model: str = "recognition_04"
    per_second: float = 8.0
    retries: int = 6
    timeout: float = 60.0
    folder: str = ""
    name = "azure"
    remote = True

    def __post_init__(self) -> None:
        if not self.allow_upload:
            raise ConfigError(
                "the recogniser azure sends rendered pictures of patients' faces, recognisable ones among them, to "
                f"the Face service at {_endpoint() or 'AZURE_FACE_ENDPOINT'}.",
                "Set allow_upload=True (--allow-upload) only if the data's usage policy and your site permit it.",
            )
        if self.per_second <= 0 or self.retries < 0 or self.timeout <= 0:
            raise ConfigError("per_second and timeout must be positive and retries 0 or more.")

    @property
    def compares(self) -> bool:
        """Whether it may tell persons apart."""
        return self.verify

    # --- the protocol

    def detect(self, image: np.ndarray) -> list[Box]:
        """Find faces, the largest first (the service's order)."""
        return [face.box for face in self._detect(as_rgb(image))]

    def encode(
        self,
        image: np.ndarray,
        boxes: Sequence[Box] | None = None,
        landmarks: Sequence[np.ndarray] | None = None,
    ) -> list[Any]:
        """Face ids of the faces in the given boxes (default: the detected ones).

        The service takes no boxes: a given box is cut out with a margin and detected again; None where it
        finds no face there. Landmarks are ignored.
        """
        image = as_rgb(image)
        if boxes is None:
            return [face.encoding for face in self._detect(image)]
        out: list[Any] = []
        for box in boxes:
            found = self._detect(azure_pictures.cut(image, Box(*box)))
            out.append(found[0].encoding if found else None)
        return out

    def analyse(
        self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Face]]:
        """Detect and encode a batch, with one request for each image that is not forced."""
        if boxes is None:
            return [self._detect(as_rgb(image)) for image in images]
        out = []
        for image, given in zip(images, boxes, strict=True):
            out.append(
                self._detect(as_rgb(image)) if given is None else analyse_each(self, [image], [given])[0]
            )
        return out

    def distance(self, a: Any, b: Any) -> float:
        """``1 - confidence`` that two face ids are the same person; NaN if either is None.

        A face id that has expired is made again from its picture, if this process has seen it.
        """
        if a is None or b is None:
            return float("nan")
        pair = frozenset((str(a), str(b)))
        if len(pair) == 1:
            return 0.0  # one picture
        if pair not in _verified:
            _verified[pair] = self._verify(str(a), str(b))
        return _verified[pair]

    def _verify(self, a: str, b: str) -> float:
        ids = [_renewed.get(one, one) for one in (a, b)]
        for attempt in (0, 1):
            status, answer = self._post(
                "verify", {}, json.dumps({"faceId1": ids[0], "faceId2": ids[1]}).encode()
            )
            if status == 200:
                return 1.0 - float(answer["confidence"])
            if attempt == 0 and _code(answer) in ("FaceNotFound", "NotFound", "FaceIdNotFound"):
                ids = [self._again(face_id) for face_id in ids]
            else:
                break
        raise self._refusal(status, answer)

    # --- requests

    def _detect(self, image: np.ndarray) -> list[Face]:
        query = {
            "detectionModel": self.detection_model,
            "recognitionModel": self.recognition_model,
            "returnFaceId": "true" if self.verify else "false",
        }
        if self.verify:
            query["faceIdTimeToLive"] = "86400"
        status, answer = self._post("detect", query, azure_pictures.packed(image))
        if status != 200:
            raise self._refusal(status, answer)
        faces = []
        for item in answer:
            r = item["faceRectangle"]
            box = Box(r["top"], r["left"] + r["width"], r["top"] + r["height"], r["left"])
            face_id = item.get("faceId")
            if face_id:
                picture = image if len(answer) == 1 else azure_pictures.cut(image, box)
                azure_pictures.keep(face_id, picture, self.folder)
            faces.append(Face(box, face_id))
        return faces

    def _again(self, face_id: str) -> str:
        """Face id of the same picture, made anew."""
        picture = azure_pictures.kept(face_id, self.folder)
        found = self._detect(picture) if picture is not None else []
        if not found:
            raise RecogniserError(
                "a face id of the Azure Face service has expired.",
                "Face ids live for a day: run the recognition of this cohort again.",
            )
        # the id that the caller holds stays its name, however often it is renewed
        for old, new in [*_renewed.items()]:
            if new == face_id:
                _renewed[old] = found[0].encoding
        _renewed[face_id] = found[0].encoding
        return found[0].encoding

    def _post(self, operation: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Send; wait and repeat while the service is busy. Returns the status and the decoded answer."""
        endpoint, key = service()
        url = f"{endpoint}/face/v1.2/{operation}"
        url += f"?{urllib.parse.urlencode(query)}" if query else ""
        kind = "application/json" if operation == "verify" else "application/octet-stream"
        headers = {"Ocp-Apim-Subscription-Key": key, "Content-Type": kind, "User-Agent": "defacedask"}
        limiter = self._limiter()
        why = ""
        for attempt in range(self.retries + 1):
            request = urllib.request.Request(url, data=body, headers=headers, method="POST")
            asked = 0.0
            with limiter.turn():
                try:
                    with _opener.open(request, timeout=self.timeout) as response:
                        _warn(response.headers.get("Warning"))
                        return 200, json.loads(response.read())
                except urllib.error.HTTPError as error:
                    text = error.read()
                    if error.code not in _AGAIN:
                        return error.code, _decoded(text)
                    asked = _seconds(error.headers.get("Retry-After"))
                    why = f"it answered {error.code}"
                except (OSError, urllib.error.URLError) as error:
                    why = f"it cannot be reached ({getattr(error, 'reason', error)})"
                except ValueError:
                    why = "its answer is not JSON"
            if attempt == self.retries or asked > _LONGEST_WAIT:
                break
            # full jitter, so that workers that were refused together do not come back together
            _sleep(max(asked, random.uniform(0.5, 1.0) * min(60.0, 2.0**attempt)))
        raise RecogniserError(
            f"the Azure Face service gives no answer: {why}, {attempt + 1} times.",
            "Try again later, or lower per_second.",
        )

    def _limiter(self) -> Limiter:
        return shared_limiter("azure-face", self.per_second)

    def _refusal(self, status: int, answer: Any) -> Exception:
        said = _message(answer)
        if status == 401:
            return ConfigError(
                f"the Azure Face service does not accept the key ({said}).",
                "Check AZURE_FACE_KEY, and that it belongs to AZURE_FACE_ENDPOINT.",
            )
        if status == 403 and _code(answer) == "UnsupportedFeature":
            return ConfigError(
                f"this Azure Face resource is not approved for face ids and verification ({said}).",
                "Apply for Limited Access to Face at Microsoft, or detect only (azure:detect, verify=False).",
            )
        if status in (400, 413) and _is_about_the_picture(answer):
            return InputError(f"the Azure Face service does not take this picture ({said}).")
        return RecogniserError(f"the Azure Face service refused the request with status {status} ({said}).")


def _is_about_the_picture(answer: Any) -> bool:
    """Whether an error code names the image."""
    return _code(answer).startswith(("InvalidImage", "ImageTooLarge", "RequestBodyTooLarge"))


# --- pieces


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)
_sleep = time.sleep


def service() -> tuple[str, str]:
    """Endpoint and key of this process.

    Raises
    ------
    ConfigError
        If they are not set, or the endpoint is no https address.
    """
    endpoint, key = _endpoint(), os.environ.get("AZURE_FACE_KEY", "")
    if not endpoint or not key:
        raise ConfigError(
            "the recogniser azure needs the environment variables AZURE_FACE_ENDPOINT and AZURE_FACE_KEY.",
            "Set them on every machine that runs workers.",
        )
    return _checked(endpoint), key


def _endpoint() -> str:
    return os.environ.get("AZURE_FACE_ENDPOINT", "").rstrip("/")


def _checked(endpoint: str) -> str:
    parts = urllib.parse.urlsplit(endpoint)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or (parts.scheme != "https" and not (local and parts.scheme == "http")):
        raise ConfigError(
            "AZURE_FACE_ENDPOINT must be an https address.",
            "It looks like https://NAME.cognitiveservices.azure.com.",
        )
    return endpoint


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"error": {"code": "", "message": text[:200].decode("utf-8", "replace")}}


def _code(answer: Any) -> str:
    error = answer.get("error", {}) if isinstance(answer, dict) else {}
    inner = error.get("innererror") or error.get("innerError") or {}
    return str(inner.get("code") or error.get("code") or "")


def _message(answer: Any) -> str:
    error = answer.get("error", {}) if isinstance(answer, dict) else {}
    return f"{_code(answer) or 'no code'}: {str(error.get('message') or 'no message')[:200]}"


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0


_warned: set[str] = set()


def _warn(text: str | None) -> None:
    """Log a warning that came with a success (299), each text once."""
    if text and text not in _warned:
        _warned.add(text)
        log.warning("the Azure Face service warns: %s", text)

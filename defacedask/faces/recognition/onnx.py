"""Any face embedding network given as an ONNX file.

The network sees one aligned face and returns one vector; faces are found, and eyes placed, by a detector. No network
is shipped: bring the file, and mind its licence, or let `defacedask recogniser get` fetch one of those that are known
(`defacedask.faces.recognition.nets`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import ConfigError, InputError
from defacedask.faces.recognition import on_disk
from defacedask.faces.recognition.base import Box, Face, as_rgb
from defacedask.faces.recognition.face_recognition import FaceRecognition
from defacedask.faces.recognition.sessions import session_of

if TYPE_CHECKING:
    from defacedask.faces.recognition.centerface import CenterFace

__all__ = ["OnnxEmbedding"]

#: Where the eyes' centres lie in an aligned face, as parts of its width and height (column, row): the patient's
#: right eye is on the left. The convention of the ArcFace family (112 x 112 pixels: 38.3, 51.7 and 73.5, 51.5).
EYES = ((38.2946 / 112, 51.6963 / 112), (73.5318 / 112, 51.5014 / 112))


@dataclasses.dataclass(frozen=True)
class OnnxEmbedding:
    """A network from a file as a recogniser.

    Parameters
    ----------
    model : str
        Path of the ``.onnx`` file: one input (1, 3, h, w) or (1, h, w, 3), one output of numbers.
    mean, scale : float
        The network sees ``(pixel - mean) / scale``, pixels 0..255; ``mean`` may be three numbers, in the order of the
        colours that it wants.
    bgr : bool
        Whether it wants blue first.
    metric : str
        ``cosine`` (distance is one minus the cosine) or ``euclidean`` (of vectors of length one).
    tolerance : float
        Distance up to which two faces count as the same whatever a calibration on originals says; NaN: none.
    detector : str
        ``hog``, ``cnn`` (both dlib's), or ``centerface``, which places the eyes itself.
    size : int
        Pixels, where the file leaves its input's size open.
    crop : float
        Size of the face in what the network sees, of the usual one (see `EYES`): below 1 it sees more around it.
    label : str
        Name in the tables; default: ``onnx_`` and the file's name.
    sha256 : str
        Of the file, if it must be that one and no other.
    """

    model: str = ""
    mean: float | tuple[float, float, float] = 127.5
    scale: float = 127.5
    bgr: bool = False
    metric: str = "cosine"
    tolerance: float = math.nan
    detector: str = "hog"
    size: int = 112
    crop: float = 1.0
    label: str = ""
    sha256: str = ""
    remote = False

    def __post_init__(self) -> None:
        if not self.model or not Path(self.model).is_file():
            raise ConfigError(
                f"there is no network file {self.model!r}.",
                "Give the path of an .onnx file as the option model.",
            )
        if self.detector not in ("hog", "cnn", "centerface"):
            raise ConfigError(
                f"unknown face detector {self.detector!r}.", "Choose from: hog, cnn, centerface."
            )
        if self.metric not in ("cosine", "euclidean"):
            raise ConfigError(f"unknown metric {self.metric!r}.", "Choose from: cosine, euclidean.")
        if self.scale == 0 or self.size < 1 or not self.crop > 0:
            raise ConfigError("scale must not be 0, and size and crop must be positive.")

    @property
    def name(self) -> str:
        """The label, or ``onnx_`` and the file's name."""
        return self.label or f"onnx_{Path(self.model).stem}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file, and of the detector's where that was fetched: what is seen depends on them."""
        own = self.sha256 or hashlib.sha256(Path(self.model).read_bytes()).hexdigest()
        return " ".join(filter(None, [own, self._finder.fingerprint]))

    @property
    def _finder(self) -> FaceRecognition | CenterFace:
        if self.detector == "centerface":
            return on_disk.fetched_detector()
        return FaceRecognition(detector=self.detector)

    def require(self) -> None:
        """Open the file: one that is no network is told before a run and not in each of its cases.

        Raises
        ------
        InputError
            If it is no network, does not take one RGB picture, or is not the one that was fetched.
        MissingExtraError
            Without onnxruntime.
        """
        _session(self.model, self.sha256)

    def detect(self, image: np.ndarray) -> list[Box]:
        """Find faces, the largest first."""
        return self._finder.detect(image)

    def encode(
        self,
        image: np.ndarray,
        boxes: Sequence[Box] | None = None,
        landmarks: Sequence[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Embed faces as vectors of length one; boxes and landmarks as in `FaceRecognition.encode`."""
        image = as_rgb(image)
        given = None if boxes is None else [list(boxes)]
        points = None if landmarks is None else [list(landmarks)]
        faces = self._finder.locate([image], given, points)[0]
        return [self._embed(image, face) for face in faces]

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """Distance of two vectors of length one, by the metric."""
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return float(1.0 - a @ b) if self.metric == "cosine" else float(np.linalg.norm(a - b))

    def analyse(
        self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Face]]:
        """Detect and embed a batch."""
        images = [as_rgb(image) for image in images]
        found = self._finder.locate(images, boxes, None)
        return [
            [dataclasses.replace(face, encoding=self._embed(image, face)) for face in faces]
            for image, faces in zip(images, found, strict=True)
        ]

    def _embed(self, image: np.ndarray, face: Face) -> np.ndarray:
        session, name, shape = _session(self.model, self.sha256)
        channels_first = shape[1] == 3
        rows, columns = (
            n if isinstance(n, int) else self.size for n in (shape[2:] if channels_first else shape[1:3])
        )
        picture = aligned(image, _eyes(face, self.detector), rows, columns, self.crop).astype(np.float32)
        if self.bgr:
            picture = picture[..., ::-1]
        picture = (picture - np.asarray(self.mean, np.float32)) / np.float32(self.scale)
        tensor = np.ascontiguousarray(picture.transpose(2, 0, 1) if channels_first else picture)[None]
        vector = np.asarray(session.run(None, {name: tensor})[0], np.float64).ravel()
        length = np.linalg.norm(vector)
        if not np.isfinite(length) or length == 0:
            raise InputError(f"the network {Path(self.model).name} returned no usable vector.")
        return vector / length


@functools.lru_cache(maxsize=4)
def _session(path: str, sha256: str = "") -> tuple[Any, str, list[Any]]:
    content = Path(path).read_bytes()  # what is checked is what is loaded
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(
            f"the network file {path} is not the one that was fetched (its SHA-256 differs).",
            "Fetch it again: defacedask recogniser get NAME.",
        )
    session = session_of(content, path)
    entry = session.get_inputs()[0]
    if len(session.get_inputs()) != 1 or len(entry.shape) != 4 or 3 not in (entry.shape[1], entry.shape[3]):
        raise InputError(
            f"the network {path} does not take one RGB picture: its input is {entry.shape}.",
            "It must have one input (1, 3, h, w) or (1, h, w, 3).",
        )
    return session, entry.name, list(entry.shape)


def _eyes(face: Face, detector: str) -> np.ndarray:
    """Centres of the patient's right and left eye, (2, 2) column and row, from a detector's five points."""
    points = np.asarray(face.landmarks, np.float64)
    if detector == "centerface":
        return points[:2][np.argsort(points[:2, 0], kind="stable")]
    # dlib: 0, 1 corners of the left eye, 2, 3 of the right one, 4 below the nose; each named by the picture's side
    centres = np.array([points[:2].mean(axis=0), points[2:4].mean(axis=0)])
    return centres[np.argsort(centres[:, 0], kind="stable")]


def aligned(image: np.ndarray, eyes: np.ndarray, rows: int, columns: int, crop: float = 1.0) -> np.ndarray:
    """Turn, scale and cut an image so that the eyes come to `EYES`.

    Parameters
    ----------
    image : (rows, columns, 3) uint8 array
    eyes : (2, 2) array
        Column and row of the eye on the left and the eye on the right of the image.
    rows, columns : int
        Of the result.
    crop : float
        Size of the face in the result, of the usual one, about the result's centre.
    """
    from PIL import Image

    wanted = (0.5 + crop * (np.array(EYES) - 0.5)) * (columns, rows)
    here, there = eyes[1] - eyes[0], wanted[1] - wanted[0]
    # a complex number is a turn and a scale: from the result's pixels back to the image's
    factor = complex(*here) / complex(*there)
    a, b = factor.real, factor.imag
    shift = eyes[0] - np.array([a * wanted[0, 0] - b * wanted[0, 1], b * wanted[0, 0] + a * wanted[0, 1]])
    # PIL counts from pixel corners, we from centres
    corner = shift + 0.5 - 0.5 * np.array([a - b, b + a])
    matrix = (a, -b, corner[0], b, a, corner[1])
    turned = Image.fromarray(image).transform(
        (columns, rows), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC
    )
    return np.asarray(turned)

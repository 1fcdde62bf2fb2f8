"""The study's recogniser: what the Python package ``face_recognition`` does (dlib's detectors and ResNet).

The package itself need not be installed (see `dlib_models`); where it is, tests find no difference. Encodings are 128
numbers, compared by Euclidean distance; the package's default tolerance is 0.6 and the study took 0.3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.errors import ConfigError
from defacedask.faces.recognition import dlib_models, on_disk
from defacedask.faces.recognition.base import Box, Face, as_rgb
from defacedask.faces.recognition.found import Found

__all__ = ["FaceRecognition"]

#: Pixels of the face that the network sees.
CHIP = 150

#: What the detectors found, for every recogniser that takes faces from here.
_found = Found()


@dataclasses.dataclass(frozen=True)
class FaceRecognition:
    """``face_recognition`` as the study used it.

    Parameters
    ----------
    detector : str
        ``hog`` or ``cnn``. Measured on renders of ten planning CTs, whole and with the face cut away flat: HOG
        found 10 and 6 faces in 0.03 s, the CNN 8 and 0 in 2 s (0.5 s with ``detect_size=200``). A HOG detection
        alone is no proof of a face. ``centerface`` is not dlib's and must be fetched
        (`defacedask.faces.recognition.centerface`); landmarks are found by dlib in its box.
    upsample : int
        How many times the detector doubles the image: 0 finds faces from about 80 pixels, 1 from 40.
    detect_size : int
        Pictures larger than this (pixels) are shrunk to it for detection only; 0: never.
    landmarks : str
        ``small`` (5 points) or ``large`` (68 points): what the encoding is aligned by.
    jitters : int
        Encodings are averaged over this many random distortions (``net="dlib"`` alone); 1 is none and is
        deterministic.
    tolerance : float
        The study's 0.3.
    isolated : bool
        Work in a child process: dlib holds Python's lock while it encodes, and this frees the other threads
        of a worker and keeps a crash of dlib out of it.
    net : str
        What computes encodings: ``onnx``, dlib's network by onnxruntime, or ``dlib``, its own code, which takes
        eleven times as long (75 ms) and has the package's bits. Distances agree to 1e-6
        (`defacedask.faces.recognition.convert.dlib_resnet`).
    """

    detector: str = "hog"
    upsample: int = 0
    detect_size: int = 0
    landmarks: str = "small"
    jitters: int = 1
    tolerance: float = 0.3
    isolated: bool = False
    net: str = "onnx"
    remote = False

    def __post_init__(self) -> None:
        if self.detector not in ("hog", "cnn", "centerface"):
            raise ConfigError(
                f"unknown face detector {self.detector!r}.", "Choose from: hog, cnn, centerface."
            )
        if self.landmarks not in ("small", "large"):
            raise ConfigError(f"unknown landmarks {self.landmarks!r}.", "Choose from: small, large.")
        if self.net not in ("dlib", "onnx"):
            raise ConfigError(f"unknown net {self.net!r}.", "Choose from: dlib, onnx.")
        if self.net == "onnx" and self.jitters > 1:
            raise ConfigError("random distortions are dlib's own.", "Choose net=dlib, or leave out jitters.")
        if self.upsample < 0 or self.jitters < 1 or self.detect_size < 0:
            raise ConfigError("upsample and detect_size must be 0 or more and jitters 1 or more.")

    @property
    def name(self) -> str:
        """``face_recognition``, or ``face_recognition_cnn`` with the other detector."""
        return "face_recognition" if self.detector == "hog" else f"face_recognition_{self.detector}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the detector's file, where that was fetched; "" for dlib's own."""
        if self.detector != "centerface":
            return ""
        return on_disk.fetched_detector().fingerprint

    def detect(self, image: np.ndarray) -> list[Box]:
        """Find faces, the largest first."""
        return [face.box for face in self._analyse([image], None, None, encode="boxes")[0]]

    def encode(
        self,
        image: np.ndarray,
        boxes: Sequence[Box] | None = None,
        landmarks: Sequence[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Encode faces as arrays of 128 numbers.

        Parameters
        ----------
        image : (rows, columns, 3) uint8 array
            RGB.
        boxes : sequence of Box, optional
            Default: the detected ones.
        landmarks : sequence of (5, 2) or (68, 2) arrays, optional
            x, y pixels for each box; default: found inside the box.
        """
        faces = self._analyse(
            [image], None if boxes is None else [boxes], None if landmarks is None else [landmarks]
        )
        return [face.encoding for face in faces[0]]

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """Euclidean distance of two encodings."""
        return float(np.linalg.norm(np.asarray(a) - np.asarray(b)))

    def analyse(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[Sequence[Box] | None] | None = None,
        landmarks: Sequence[Sequence[np.ndarray] | None] | None = None,
    ) -> list[list[Face]]:
        """Detect and encode a batch.

        Parameters
        ----------
        images : sequence of (rows, columns, 3) uint8 arrays
            RGB.
        boxes : sequence, optional
            For each image the boxes to encode whatever the detector says, or None to detect.
        landmarks : sequence, optional
            For each image the landmarks of those boxes, or None to find them.

        Returns
        -------
        list of list of Face
            Faces of each image, the largest first, with encodings and landmarks.
        """
        return self._analyse(images, boxes, landmarks)

    def locate(
        self, images: Sequence[np.ndarray], boxes: Any = None, landmarks: Any = None
    ) -> list[list[Face]]:
        """As `analyse`, with boxes and landmarks but no encodings: for recognisers with encodings of their own."""
        return self._analyse(images, boxes, landmarks, encode="landmarks")

    def _analyse(
        self, images: Sequence[Any], boxes: Any, landmarks: Any, encode: str = "all"
    ) -> list[list[Face]]:
        images = [as_rgb(image) for image in images]
        if self.isolated:
            from defacedask.faces.recognition.isolation import call_isolated

            here = dataclasses.replace(self, isolated=False)
            return call_isolated(here, "_analyse", images, boxes, landmarks, encode)
        out = []
        for k, image in enumerate(images):
            given = boxes[k] if boxes is not None else None
            points = landmarks[k] if landmarks is not None else None
            out.append(self._faces(image, given, points, encode))
        return out

    def _faces(
        self, image: np.ndarray, given: Sequence[Box] | None, points: Sequence[Any] | None, encode: str
    ) -> list[Face]:
        dlib = dlib_models.dlib()
        if given is not None:
            found = [(Box(*(int(v) for v in box)), float("nan")) for box in given]
        else:
            settings = (self.detector, self.upsample, self.detect_size)
            found = list(_found.get(settings, image, lambda: self._search(image)))
        faces = []
        for k, (box, score) in enumerate(found):
            code, xy = None, None
            if encode != "boxes":
                rect = dlib.rectangle(box.left, box.top, box.right, box.bottom)
                if points is not None and points[k] is not None:
                    parts = [dlib.point(round(float(x)), round(float(y))) for x, y in points[k]]
                    shape = dlib.full_object_detection(rect, dlib.points(parts))
                else:
                    shape = dlib_models.pose_predictor(self.landmarks)(image, rect)
                xy = np.array([(p.x, p.y) for p in shape.parts()], dtype=np.float32)
            if encode == "all":
                code = self._embed(image, shape)
            faces.append(Face(box, code, xy, score, given is not None))
        return faces

    def _search(self, image: np.ndarray) -> tuple[tuple[Box, float], ...]:
        """Boxes of faces with the detector's confidence, the largest first."""
        if self.detector == "centerface":
            from defacedask.faces.recognition.centerface import dlib_box

            faces = on_disk.fetched_detector().locate([image])[0]
            return tuple((dlib_box(face.box, image.shape), face.score) for face in faces)
        small, scale = _shrunk(image, self.detect_size)
        if self.detector == "hog":
            rects, scores, _ = dlib_models.face_detector().run(small, self.upsample, 0.0)
        else:
            hits = dlib_models.cnn_face_detector()(small, self.upsample)
            rects, scores = [h.rect for h in hits], [h.confidence for h in hits]
        found = [(_box(r, image.shape, scale), float(s)) for r, s in zip(rects, scores, strict=True)]
        return tuple(
            sorted(found, key=lambda item: -(item[0].bottom - item[0].top) * (item[0].right - item[0].left))
        )

    def _embed(self, image: np.ndarray, shape: Any) -> np.ndarray:
        if self.net == "dlib":
            return np.array(dlib_models.face_encoder().compute_face_descriptor(image, shape, self.jitters))
        face = dlib_models.dlib().get_face_chip(image, shape, CHIP, 0.25)
        session, name = dlib_models.face_encoder_onnx()
        return np.asarray(session.run(None, {name: face[None].astype(np.float32)})[0][0], np.float64)


def _shrunk(image: np.ndarray, largest: int) -> tuple[np.ndarray, float]:
    """Picture with at most ``largest`` rows and columns, and by how much it was shrunk."""
    scale = max(image.shape[:2]) / largest if largest else 1.0
    if scale <= 1.0:
        return image, 1.0
    from PIL import Image

    rows, columns = (max(1, round(n / scale)) for n in image.shape[:2])
    small = Image.fromarray(image).resize((columns, rows), Image.Resampling.BOX)
    return np.ascontiguousarray(small), scale


def _box(rect: Any, shape: tuple[int, ...], scale: float) -> Box:
    """Scale back to the image and trim to it, as ``face_recognition`` does."""
    top, right, bottom, left = (
        round(v * scale) for v in (rect.top(), rect.right(), rect.bottom(), rect.left())
    )
    return Box(max(top, 0), min(right, shape[1]), min(bottom, shape[0]), max(left, 0))

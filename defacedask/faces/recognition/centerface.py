"""CenterFace, a face detector that is not dlib's: a small convolutional network (Xu and others, arXiv:1911.03599).

It gives each place of a picture a likelihood of a face's middle, the face's size and five landmarks, so that it also
says where the eyes are, whatever dlib thinks. The network is fetched (`defacedask recogniser get centerface`).

By itself it compares nobody: in the tables it says whether a face can be found, which automatic tools rely on. As the
detector of another recogniser (``mobilefacenet:detector=centerface``) it is a second way to a match.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import ConfigError, InputError
from defacedask.faces.recognition.base import Box, Face, as_rgb
from defacedask.faces.recognition.found import Found

__all__ = ["CenterFace", "dlib_box"]

#: The network halves a picture five times, and answers every four pixels.
_MULTIPLE, _STEP = 32, 4
#: Share of two boxes' union that they may have in common and still be two faces.
_OVERLAP = 0.3
#: Where an average face has its landmarks, as parts of the box (column, row): eyes, nose, corners of the mouth. This
#: and `_DLIB` are measured on 57 pictures of OpenKBP heads with a face.
_AVERAGE = ((0.29, 0.36), (0.75, 0.36), (0.53, 0.56), (0.33, 0.74), (0.70, 0.73))
#: Left, right, top and bottom of the box of dlib's HOG detector, as parts of this one's.
_DLIB = (-0.014, 1.083, 0.089, 1.005)

#: What was found in the last pictures, for every recogniser that takes faces from here.
_found = Found()


def dlib_box(box: Box, shape: tuple[int, ...]) -> Box:
    """The box that dlib's HOG detector would give of the same face: its finder of landmarks learnt in such ones."""
    left, right, top, bottom = (
        low + part * (high - low)
        for part, (low, high) in zip(
            _DLIB, ((box.left, box.right),) * 2 + ((box.top, box.bottom),) * 2, strict=True
        )
    )
    return Box(
        max(round(top), 0), min(round(right), shape[1]), min(round(bottom), shape[0]), max(round(left), 0)
    )


@dataclasses.dataclass(frozen=True)
class CenterFace:
    """The detector as a recogniser that compares nobody.

    Parameters
    ----------
    model : str
        Path of the ``.onnx`` file; by default the fetched one.
    sha256 : str
        Of the file, if it must be that one and no other.
    threshold : float
        Likelihood from which a face counts as found. On 400-pixel renders of nine OpenKBP heads the best of four
        views has 0.69 or more, of backs of heads and heads cut off in front at most 0.19
        (benchmarks/RESULTS.md, "A detector that is not dlib's").
    label : str
        Name in the tables.
    """

    model: str = ""
    sha256: str = ""
    threshold: float = 0.35
    label: str = "centerface"
    tolerance = math.nan
    remote = False
    #: It tells no two faces apart.
    compares = False

    def __post_init__(self) -> None:
        if not self.model or not Path(self.model).is_file():
            raise ConfigError(
                f"there is no network file {self.model!r}.", "Fetch it: defacedask recogniser get centerface."
            )
        if not 0 < self.threshold < 1:
            raise ConfigError(f"the threshold must lie between 0 and 1, not at {self.threshold:g}.")

    @property
    def name(self) -> str:
        """The label."""
        return self.label

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file: what is seen depends on it."""
        return self.sha256 or hashlib.sha256(Path(self.model).read_bytes()).hexdigest()

    def detect(self, image: np.ndarray) -> list[Box]:
        """Find faces, the largest first."""
        return [face.box for face in self.locate([image])[0]]

    def encode(
        self,
        image: np.ndarray,
        boxes: Sequence[Box] | None = None,
        landmarks: Sequence[np.ndarray] | None = None,
    ) -> list[None]:
        """Nothing: a None a face."""
        return [None] * len(self.detect(image) if boxes is None else boxes)

    def distance(self, a: Any, b: Any) -> float:
        """NaN."""
        return math.nan

    def analyse(
        self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Face]]:
        """Detect in a batch."""
        return self.locate(images, boxes)

    def locate(
        self, images: Sequence[np.ndarray], boxes: Any = None, landmarks: Any = None
    ) -> list[list[Face]]:
        """Faces without encodings, the largest first.

        Parameters
        ----------
        images : sequence of (rows, columns, 3) uint8 arrays
            RGB.
        boxes : sequence, optional
            For each image the boxes to take whatever is detected, or None to detect.
        landmarks : sequence, optional
            For each image the landmarks of those boxes; without them those of an average face in the box.

        Returns
        -------
        list of list of Face
            With five landmarks: the eyes, the nose, the corners of the mouth; of two the picture's left one first.
        """
        out = []
        for k, image in enumerate(images):
            given = None if boxes is None else boxes[k]
            if given is None:
                picture = as_rgb(image)
                settings = (self.model, self.sha256, self.threshold)
                found = _found.get(settings, picture, functools.partial(self._search, picture))
                out.append(list(found))
                continue
            points = [None] * len(given) if landmarks is None or landmarks[k] is None else landmarks[k]
            out.append(
                [
                    Face(Box(*(int(v) for v in box)), None, _marks(box, some), forced=True)
                    for box, some in zip(given, points, strict=True)
                ]
            )
        return out

    def _search(self, image: np.ndarray) -> tuple[Face, ...]:
        from PIL import Image

        session, name = _session(self.model, self.sha256)
        tall, wide = (-(-n // _MULTIPLE) * _MULTIPLE for n in image.shape[:2])
        picture = np.asarray(Image.fromarray(image).resize((wide, tall), Image.Resampling.BILINEAR))
        tensor = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        likely, sizes, offsets, marks = (part[0] for part in session.run(None, {name: tensor}))
        faces = _decoded(likely, sizes, offsets, marks, self.threshold)
        scale = np.array([image.shape[1] / wide, image.shape[0] / tall])
        found = [
            _face(corners * scale, points * scale, score, image.shape) for corners, points, score in faces
        ]
        return tuple(sorted(found, key=lambda f: -(f.box.bottom - f.box.top) * (f.box.right - f.box.left)))


def _face(corners: np.ndarray, points: np.ndarray, score: float, shape: tuple[int, ...]) -> Face:
    (left, top), (right, bottom) = np.rint(np.clip(corners, 0, (shape[1], shape[0]))).astype(int).tolist()
    return Face(Box(top, right, bottom, left), None, points.astype(np.float32), score)


def _marks(box: Sequence[int], points: Any) -> np.ndarray:
    if points is not None:
        return np.asarray(points, np.float32)
    top, right, bottom, left = box
    return np.array([left, top], np.float32) + np.array(_AVERAGE, np.float32) * (right - left, bottom - top)


def _decoded(
    likely: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, marks: np.ndarray, threshold: float
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Corners (2, 2) and landmarks (5, 2) of each face, column and row in the network's pixels, and its likelihood.

    Parameters
    ----------
    likely : (1, rows, columns) array
    sizes, offsets : (2, rows, columns) arrays
        Logarithm of height and width in steps; row and column from the place, in steps.
    marks : (10, rows, columns) array
        Row and column of each landmark, as parts of the box.
    threshold : float
    """
    rows, columns = np.nonzero(likely[0] > threshold)
    order = np.argsort(-likely[0][rows, columns], kind="stable")
    found: list[tuple[np.ndarray, np.ndarray, float]] = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        size = np.exp(sizes[::-1, row, column]) * _STEP
        middle = (np.array([column, row]) + offsets[::-1, row, column] + 0.5) * _STEP
        corners = np.array([middle - size / 2, middle + size / 2])
        if any(_common(corners, other) >= _OVERLAP for other, _, _ in found):
            continue
        points = marks[:, row, column].reshape(5, 2)[:, ::-1] * size + corners[0]
        found.append((corners, points, float(likely[0, row, column])))
    return found


def _common(one: np.ndarray, other: np.ndarray) -> float:
    """Share of two boxes' union that both have."""
    sides = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
    both = float(np.prod(np.maximum(sides, 0.0)))
    return both / (float(np.prod(one[1] - one[0])) + float(np.prod(other[1] - other[0])) - both)


@functools.lru_cache(maxsize=2)
def _session(path: str, sha256: str) -> tuple[Any, str]:
    from defacedask.faces.recognition.sessions import session_of

    content = Path(path).read_bytes()
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(
            f"the network file {path} is not the one that was fetched (its SHA-256 differs).",
            "Fetch it again: defacedask recogniser get centerface.",
        )
    session = session_of(content, path)
    if len(session.get_inputs()) != 1 or [o.shape[1] for o in session.get_outputs()] != [1, 2, 2, 10]:
        raise InputError(f"the network {path} does not answer as CenterFace does.")
    return session, session.get_inputs()[0].name

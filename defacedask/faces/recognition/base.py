"""What a face recogniser must be able to do: detect, encode, compare. Nothing else is asked of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from defacedask.errors import DefacedaskError, InputError

__all__ = ["Box", "Face", "Recogniser", "RecogniserError", "analyse_each", "as_rgb"]


class RecogniserError(DefacedaskError, RuntimeError):
    """A recogniser broke down: its process died or its service gives no answer."""


class Box(NamedTuple):
    """Where a face is in an image, pixels."""

    top: int
    right: int
    bottom: int
    left: int


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """One face found in one image.

    Attributes
    ----------
    box : Box
    encoding : array or Any
        What `Recogniser.distance` compares; None if it was not asked for.
    landmarks : (n, 2) array, optional
        x, y in pixels.
    score : float
        The detector's own confidence; NaN where it gives none.
    forced : bool
        True if the box was given and not detected.
    """

    box: Box
    encoding: Any = None
    landmarks: np.ndarray | None = None
    score: float = float("nan")
    forced: bool = False


@runtime_checkable
class Recogniser(Protocol):
    """Detects and encodes faces in RGB pictures, and says how far two encodings are apart."""

    @property
    def name(self) -> str:
        """As in the tables."""
        ...

    @property
    def tolerance(self) -> float:
        """Distance up to which two encodings count as one person; NaN: only calibration on originals can say."""
        ...

    @property
    def remote(self) -> bool:
        """Whether pictures leave this machine."""
        ...

    def detect(self, image: np.ndarray) -> list[Box]:
        """Find faces in an RGB uint8 image (rows, columns, 3), the most prominent one first."""
        ...

    def encode(
        self,
        image: np.ndarray,
        boxes: Sequence[Box] | None = None,
        landmarks: Sequence[np.ndarray] | None = None,
    ) -> list[Any]:
        """Encode the faces in the given boxes (default: the detected ones).

        Given boxes, and landmarks too if the recogniser can use them, force an encoding where nothing was
        detected.
        """
        ...

    def distance(self, a: Any, b: Any) -> float:
        """Dissimilarity of two encodings; 0 is the same face."""
        ...

    def analyse(
        self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Face]]:
        """Detect and encode a batch; see `analyse_each`."""
        ...


def analyse_each(
    recogniser: Recogniser,
    images: Sequence[np.ndarray],
    boxes: Sequence[Sequence[Box] | None] | None = None,
) -> list[list[Face]]:
    """Detect and encode images one by one: what `Recogniser.analyse` may simply call.

    Parameters
    ----------
    recogniser : Recogniser
    images : sequence of (rows, columns, 3) uint8 arrays
        RGB.
    boxes : sequence, optional
        For each image the boxes to encode whatever the detector says, or None to detect.

    Returns
    -------
    list of list of Face
        Faces of each image, the most prominent first.
    """
    out = []
    for k, image in enumerate(images):
        given = boxes[k] if boxes is not None else None
        found = recogniser.detect(image) if given is None else list(given)
        codes = recogniser.encode(image, found) if found else []
        out.append([Face(b, c, forced=given is not None) for b, c in zip(found, codes, strict=True)])
    return out


def as_rgb(image: Any) -> np.ndarray:
    """Contiguous RGB uint8 (rows, columns, 3), which is what dlib reads without complaint.

    Raises
    ------
    InputError
        For another shape or type: a float image would be misread silently.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise InputError(f"a picture must be uint8 RGB or grey, not {image.dtype} of shape {image.shape}.")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.shape[2] < 3 or min(image.shape[:2]) < 1:
        raise InputError(f"a picture must be uint8 RGB or grey, not of shape {image.shape}.")
    return np.ascontiguousarray(image[..., :3])

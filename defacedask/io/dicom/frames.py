"""Functional groups of multi-frame images, as arrays over their frames (PS3.3 C.7.6.16)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.errors import RefusedError

__all__ = ["Frames", "groups_of", "joined_frames", "read_frames", "value_of"]


@dataclasses.dataclass
class Frames:
    """Functional groups of all frames, as arrays in the order of the file.

    Parameters
    ----------
    positions, cosines, spacing : (n, 3), (n, 6), (n, 2) arrays
        ImagePositionPatient, ImageOrientationPatient, PixelSpacing; mm, LPS.
    slope, intercept : (n,) arrays
        NaN where the header has none.
    rescale_types : set of str
    kinds : dict
        What may tell several frames at one position apart: name -> values.
    thickness : (n,) array
        SliceThickness, mm; NaN where the header has none.
    """

    positions: np.ndarray
    cosines: np.ndarray
    spacing: np.ndarray
    slope: np.ndarray
    intercept: np.ndarray
    rescale_types: set[str]
    kinds: dict[str, list[str]]
    thickness: np.ndarray


# plural name -> (functional group, keyword)
_KINDS = {
    "stacks": ("FrameContentSequence", "StackID"),
    "temporal positions": ("FrameContentSequence", "TemporalPositionIndex"),
    "echo times": ("MREchoSequence", "EffectiveEchoTime"),
    "b-values": ("MRDiffusionSequence", "DiffusionBValue"),
    "inversion times": ("MRModifierSequence", "InversionTimes"),
    "kinds of image (FrameType)": ("MRImageFrameTypeSequence", "FrameType"),
    "components": ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    "kinds of CT image (FrameType)": ("CTImageFrameTypeSequence", "FrameType"),
    "cardiac phases": ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
    "acquisitions": ("FrameContentSequence", "FrameAcquisitionNumber"),
}


def groups_of(dataset: Any) -> list[tuple[Any, Any]]:
    """Functional groups of every frame: its own, and those that all share or None."""
    shared = (dataset.get("SharedFunctionalGroupsSequence", None) or [None])[0]
    return [(frame, shared) for frame in dataset.get("PerFrameFunctionalGroupsSequence", None) or ()]


def value_of(frame: Any, shared: Any, path: Sequence[str], keyword: str) -> Any:
    """What a frame's own groups say at the end of a path of sequences, else the shared ones; None if neither do."""
    for item in (frame, shared):
        for name in path:
            item = (item.get(name, None) or [None])[0] if item is not None else None
        if item is not None and keyword in item:
            return item.get(keyword)
    return None


def _floats(value: Any, count: int) -> list[float]:
    try:
        numbers = [float(v) for v in ([value] if count == 1 else value)]
    except (TypeError, ValueError):
        numbers = []
    return numbers if len(numbers) == count else [math.nan] * count


def read_frames(dataset: Any) -> Frames:
    """Collect the functional groups of every frame.

    Raises
    ------
    RefusedError
        If they are missing or not as many as frames.
    """
    frames = groups_of(dataset)
    claimed = int(dataset.get("NumberOfFrames", 0) or 0)
    if not frames or len(frames) != claimed:
        raise RefusedError(f"it claims {claimed} frames and describes {len(frames)}")

    def column(group: str, keyword: str, count: int) -> np.ndarray:
        return np.array(
            [_floats(value_of(*pair, (group,), keyword), count) for pair in frames], dtype=np.float64
        )

    transform = "PixelValueTransformationSequence"
    kinds = {
        name: [str(value_of(*pair, (group,), keyword)) for pair in frames]
        for name, (group, keyword) in _KINDS.items()
    }
    return Frames(
        column("PlanePositionSequence", "ImagePositionPatient", 3),
        column("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        column("PixelMeasuresSequence", "PixelSpacing", 2),
        column(transform, "RescaleSlope", 1)[:, 0],
        column(transform, "RescaleIntercept", 1)[:, 0],
        {str(value_of(*pair, (transform,), "RescaleType") or "").upper() for pair in frames},
        {name: values for name, values in kinds.items() if len(set(values)) > 1},
        column("PixelMeasuresSequence", "SliceThickness", 1)[:, 0],
    )


def joined_frames(parts: Sequence[Frames]) -> Frames:
    """Frames of several images, one after the other."""
    if len(parts) == 1:
        return parts[0]
    names = {name for part in parts for name in part.kinds}
    kinds = {
        name: [v for part in parts for v in part.kinds.get(name, [""] * len(part.slope))] for name in names
    }
    return Frames(
        positions=np.concatenate([part.positions for part in parts]),
        cosines=np.concatenate([part.cosines for part in parts]),
        spacing=np.concatenate([part.spacing for part in parts]),
        slope=np.concatenate([part.slope for part in parts]),
        intercept=np.concatenate([part.intercept for part in parts]),
        rescale_types={kind for part in parts for kind in part.rescale_types},
        kinds=kinds,
        thickness=np.concatenate([part.thickness for part in parts]),
    )

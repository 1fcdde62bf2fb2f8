"""Segments that are drawn along the skin, whatever they are called: under an added layer they would show the face."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from defacedask.geometry import Geometry
from defacedask.io.dicom.export.body_shape import roles_by_shape

__all__ = ["skin_segments"]

#: A frame lies on a slice if no corner is farther from it than this many voxels.
ON_GRID = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """A segment as `roles_by_shape` asks for it."""

    original_name: str
    number: int
    start: tuple[int, int, int]
    mask: np.ndarray


def skin_segments(
    dataset: Any,
    frames: np.ndarray,
    grids: Sequence[Geometry],
    image: Geometry,
    body: Callable[[int], np.ndarray | None],
    region: np.ndarray,
) -> list[str]:
    """Labels of segments that follow the skin of the image, under a plan whose region is a layer along it.

    Parameters
    ----------
    dataset : pydicom.Dataset
        SEG.
    frames : (frames, rows, columns) array
        Stored values.
    grids : sequence of Geometry
        Of each frame.
    image : Geometry
        Of the image; frames that do not lie on its grid are not compared.
    body, region
        See `roles_by_shape`.

    Returns
    -------
    list of str
    """
    labels = {
        int(item.SegmentNumber): str(item.get("SegmentLabel", "") or "")
        for item in dataset.get("SegmentSequence", None) or ()
    }
    slices = [_slice_of(grid, image) for grid in grids]
    groups = dataset.get("PerFrameFunctionalGroupsSequence", None) or ()
    masks: dict[int, np.ndarray] = {}
    for frame, k, group in zip(frames, slices, groups, strict=True):
        if k is None:
            continue
        found = group.get("SegmentIdentificationSequence", None)
        own = {int(found[0].ReferencedSegmentNumber): frame > 0} if found else {n: frame == n for n in labels}
        for number, mask in own.items():
            masks.setdefault(number, np.zeros(image.shape, bool))[k] |= mask
    parts = [_Part(labels.get(n, ""), n, (0, 0, 0), mask) for n, mask in sorted(masks.items())]
    roles = roles_by_shape(parts, image, body, region, anywhere=True)
    return [labels.get(number, "") for number in roles]


def _slice_of(grid: Geometry, image: Geometry) -> int | None:
    """Slice of the image that a frame is, None if it is none."""
    rows, columns = image.shape[1:]
    if grid.shape[1:] != (rows, columns):
        return None
    ends = np.array([[0, 0, 0], [0, rows - 1, 0], [0, 0, columns - 1]], dtype=np.float64)
    index = image.to_index(grid.to_world(ends))
    k = int(np.rint(index[0, 0]))
    off = np.abs(index - (ends + np.array([k, 0, 0]))).max()
    return k if off <= ON_GRID and 0 <= k < image.shape[0] else None

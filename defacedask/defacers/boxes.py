"""Boxes in a template's space: asked block by block on any grid of the patient, and as planes in its world."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from defacedask.defacers.codec import record
from defacedask.geometry import Geometry
from defacedask.sampling import apply_affine

__all__ = ["Box", "Piece", "box_pieces", "in_boxes", "index_box"]

#: Stands for "as far as the field of view goes", mm.
FAR = 1e4
#: mm of room for rounding.
ROOM = 0.01
#: One convex piece: (normal x, y, z, offset) of its planes; inside is where ``normal . p > offset`` for all of them.
Piece = tuple[tuple[float, float, float, float], ...]


@record
@dataclasses.dataclass(frozen=True)
class Box:
    """One box.

    Attributes
    ----------
    name : str
    low, high : (x, y, z) tuples
        Corners in mm of the box's own space (LPS axes); `FAR` away means to the edge of the field of view.
    """

    kind: ClassVar[str] = "Box"

    name: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def summary(self) -> dict[str, Any]:
        """Name and extent in mm; None where it goes to the edge of the field of view."""
        ends = [[None if abs(v) >= FAR else round(v, 1) for v in side] for side in (self.low, self.high)]
        return {"name": self.name, "from_mm": ends[0], "to_mm": ends[1]}

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which of the points (..., 3) lie inside."""
        return np.asarray(((points >= np.array(self.low)) & (points <= np.array(self.high))).all(axis=-1))


def index_box(
    geometry: Geometry, matrix: np.ndarray, low: ArrayLike, high: ArrayLike
) -> tuple[slice, ...] | None:
    """Part of a grid that a box can touch.

    Parameters
    ----------
    geometry : Geometry
    matrix : (4, 4) array
        World LPS mm -> the box's space.
    low, high : (3,)
        Corners of the box, mm.

    Returns
    -------
    slices along (z, y, x), or None if they do not meet.
    """
    corners = geometry.corners @ matrix[:3, :3].T + matrix[:3, 3]
    nearest: np.ndarray = np.maximum(low, corners.min(axis=0))
    farthest: np.ndarray = np.minimum(high, corners.max(axis=0))
    if (nearest > farthest).any():
        return None
    back = np.linalg.inv(matrix)
    ends = np.array(list(itertools.product(*zip(nearest, farthest, strict=True))))
    index = geometry.to_index(ends @ back[:3, :3].T + back[:3, 3])
    # half a thousandth of a voxel of room: rounding must not lose the voxel on the edge
    first = np.maximum(np.ceil(index.min(axis=0) - 5e-4), 0).astype(int)
    last = np.minimum(np.floor(index.max(axis=0) + 5e-4) + 1, geometry.shape).astype(int)
    if (first >= last).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))


def in_boxes(boxes: Sequence[Box], matrix: np.ndarray, geometry: Geometry, xp: Any = np) -> Any:
    """Voxels whose centre lies in any of the boxes.

    Parameters
    ----------
    boxes : sequence of Box
    matrix : (4, 4) array
        World LPS mm -> the boxes' space.
    geometry : Geometry
        A grid, or a block of one.
    xp : module
        Array namespace of the answer.

    Returns
    -------
    bool array of ``geometry.shape``
    """
    out = xp.zeros(geometry.shape, dtype=bool)
    for box in boxes:
        part = index_box(geometry, matrix, box.low, box.high)
        if part is None:
            continue
        grid = geometry.block([s.start for s in part], [s.stop for s in part])
        inside: Any = None
        for value, low, high in zip(
            apply_affine(matrix, *grid.positions(xp, np.float64)), box.low, box.high, strict=True
        ):
            here = (value >= low) & (value <= high)
            inside = here if inside is None else inside & here
        there = out[part]
        there |= inside
    return out


def box_pieces(boxes: Iterable[Box], matrix: np.ndarray) -> tuple[Piece, ...]:
    """Boxes as planes in the patient's world.

    Parameters
    ----------
    boxes : iterable of Box
    matrix : (4, 4) array
        World LPS mm -> the boxes' space.
    """
    pieces = []
    for box in boxes:
        planes = []
        for axis in range(3):
            row, shift = matrix[axis, :3], float(matrix[axis, 3])
            if box.low[axis] > -FAR:
                planes.append((*row.tolist(), box.low[axis] - shift - ROOM))
            if box.high[axis] < FAR:
                planes.append((*(-row).tolist(), shift - box.high[axis] - ROOM))
        pieces.append(tuple(planes))
    return tuple(pieces)

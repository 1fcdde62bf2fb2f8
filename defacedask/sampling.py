"""Read a coarse field at the world positions of another grid.

Everything is computed element by element (no matrix products), so that a voxel gets the same bits in whatever
block it is met, on any chunking.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from defacedask.backend import ndimage_of
from defacedask.geometry import Geometry

__all__ = ["apply_affine", "index_at", "sample_field"]


def apply_affine(matrix: np.ndarray, x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    """Map world coordinates (broadcastable arrays, mm) through a (4, 4) LPS-to-LPS matrix.

    Zero entries are skipped, so axis-aligned matrices keep their arrays broadcastable.
    """
    out = []
    for row in range(3):
        total: Any = float(matrix[row, 3])
        for k, part in enumerate((x, y, z)):
            factor = float(matrix[row, k])
            if factor != 0.0:
                total = total + factor * part
        out.append(total)
    return out[0], out[1], out[2]


def index_at(grid: Geometry, positions: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Continuous index (z, y, x) on a grid of world positions, as three arrays that broadcast like those.

    Parameters
    ----------
    grid : Geometry
    positions : tuple of arrays
        x, y, z in LPS mm (see `Geometry.positions`).
    """
    inverse = np.linalg.inv(grid.affine[:3, :3])
    matrix = np.eye(4)
    matrix[:3, :3] = inverse
    matrix[:3, 3] = -(inverse @ grid.affine[:3, 3])
    matrix[np.abs(matrix) < 1e-15] = 0.0
    return apply_affine(matrix, *positions)


def sample_field(
    field: Any,
    grid: Geometry,
    positions: tuple[Any, Any, Any],
    *,
    order: int = 1,
    outside: float = 0.0,
    xp: Any = np,
) -> Any:
    """Interpolate ``field`` (on ``grid``) at world positions.

    Parameters
    ----------
    field : (z, y, x) array
        Values on ``grid``.
    grid : Geometry
        Where the field lies.
    positions : tuple of arrays
        x, y, z in LPS mm, broadcastable to one shape (see `Geometry.positions`; use float64 positions where
        bits matter).
    order : int
        0 nearest, 1 linear; higher orders make scipy prefilter the field at every call.
    outside : float
        Value beyond the outermost voxel centres.
    xp : module
        Array namespace of the result.

    Returns
    -------
    array
        Field values, of the positions' broadcast shape.
    """
    index = xp.broadcast_arrays(*(xp.asarray(i, dtype=np.float64) for i in index_at(grid, positions)))
    return ndimage_of(xp).map_coordinates(
        xp.asarray(field), xp.stack(index), order=order, mode="constant", cval=outside, prefilter=order > 1
    )

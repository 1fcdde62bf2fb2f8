"""Which voxels of a grid lie on which side of a limit of a coarse field, without reading the field at each of them.

Linear interpolation stays between the values at the corners of its cell. So a whole cell, with those around it, tells
of most voxels that they lie below the limit or above it; the field itself is read at the others alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from defacedask.backend import constant
from defacedask.geometry import Geometry

__all__ = ["ABOVE", "BELOW", "UNSURE", "cell_sides", "voxel_sides"]

#: The field is below the limit in all of the cell and around it; above it; or it must be read.
BELOW, ABOVE, UNSURE = 1, 0, 2
#: What rounding may change of an interpolated value, in the field's unit.
ROUNDING = 1e-2
#: Part of a step of the field's grid that an axis may lean, over the whole block, and still count as parallel.
LEAN = 0.25
#: Cells before the first one of the field in what `cell_sides` gives.
BEFORE = 2


def cell_sides(field: np.ndarray, limit: float) -> np.ndarray:
    """Tell of every cell of a field on which side of a limit it lies, with the cells around it.

    Parameters
    ----------
    field : (z, y, x) array
        What lies beyond it counts as above the limit.
    limit : float
        In the field's unit.

    Returns
    -------
    (z + 3, y + 3, x + 3) uint8 array
        `BELOW`, `ABOVE` or `UNSURE`; cell 0 of the field, between its voxels 0 and 1, has index `BEFORE`.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    padded = np.pad(field.astype(np.float32), 3, constant_values=np.float32(np.inf))
    # a cell's own corners, and one more on both sides: for axes that lean a little, and for rounding
    least = minimum_filter(padded, size=4, origin=-1)[1:-2, 1:-2, 1:-2]
    most = maximum_filter(padded, size=4, origin=-1)[1:-2, 1:-2, 1:-2]
    below, above = most < limit - ROUNDING, least > limit + ROUNDING
    return np.where(below, BELOW, np.where(above, ABOVE, UNSURE)).astype(np.uint8)


def voxel_sides(cells: np.ndarray, grid: Geometry, geometry: Geometry, xp: Any = np) -> Any:
    """Tell the side of every voxel of a block.

    Parameters
    ----------
    cells : array
        Of `cell_sides`.
    grid : Geometry
        Of the field.
    geometry : Geometry
        Of the block, in the frame of reference of ``grid``.
    xp : module
        Array namespace of the answer.

    Returns
    -------
    uint8 array of ``geometry.shape``, or None
        `BELOW`, `ABOVE` or `UNSURE`. None if the axes of the two grids are not parallel.
    """
    along = geometry.along(grid, LEAN)
    if along is None:
        return None
    table = constant(cells, xp).transpose([there for there, _ in along])
    chosen = [
        np.clip(np.floor(place).astype(int) + BEFORE, 0, n - 1)
        for (_, place), n in zip(along, table.shape, strict=True)
    ]
    if xp is not np:  # by one transfer
        ends = np.cumsum([len(one) for one in chosen])[:-1].tolist()
        chosen = xp.split(xp.asarray(np.concatenate(chosen)), ends)
    # the longest axis last: what is taken before is small
    for axis in np.argsort(geometry.shape).tolist():
        table = table.take(chosen[axis], axis=axis)
    return table

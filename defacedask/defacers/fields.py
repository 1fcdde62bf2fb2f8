"""Several coarse fields on one grid, read together; and a block cut into tiles, most of which need no look.

Element by element and in one fixed order of single operations, so that NumPy and CuPy, and any chunking, give the
same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from defacedask.backend import constant
from defacedask.geometry import Geometry
from defacedask.sampling import apply_affine

__all__ = ["TILE", "Stack", "Tiling", "cells", "remembered", "slices_of"]

#: Voxels of a tile along (z, y, x) on a CPU: small enough for the cache.
TILE = (16, 32, 32)
#: On a device: few, since each costs hundreds of kernels whatever its size, and a quarter of a usual block.
TILE_THERE = (64, 256, 256)
#: Sizes of windows around a tile, of which a plan meets few, that are remembered at a time.
KEPT = 4


class Stack:
    """Fields on one axis-aligned grid (array axes S, P, L), interpolated linearly; beyond the grid as at its edge.

    Parameters
    ----------
    fields : (channels, z, y, x) array
    geometry : Geometry
        Axis-aligned, positive steps.
    """

    def __init__(self, fields: np.ndarray, geometry: Geometry) -> None:
        self.shape = geometry.shape
        self.origin = geometry.origin
        self.spacing = geometry.spacing
        self.channels = len(fields)
        flat = np.ascontiguousarray(np.moveaxis(np.asarray(fields, np.float32), 0, -1))
        self._table = flat.reshape(-1, self.channels)

    def at(self, places: tuple[Any, Any, Any], xp: Any = np) -> Any:
        """Values at flat positions.

        Parameters
        ----------
        places : tuple of (n,) float64 arrays
            x, y, z in mm of the fields' space.
        xp : module

        Returns
        -------
        (channels, n) float32 array
        """
        table = constant(self._table, xp)
        low: Any = None
        parts = []
        for axis in range(3):
            index = (places[2 - axis] - self.origin[2 - axis]) / self.spacing[axis]
            index = xp.clip(index, 0.0, self.shape[axis] - 1.0)
            whole = xp.minimum(index.astype(xp.int32), self.shape[axis] - 2)
            parts.append((index - whole).astype(xp.float32)[:, None])
            low = whole if low is None else low * self.shape[axis] + whole
        row, plane = self.shape[2], self.shape[1] * self.shape[2]
        sides = []
        for dz in (0, plane):
            rows = []
            for dy in (0, row):
                a, b = table.take(low + (dz + dy), axis=0), table.take(low + (dz + dy + 1), axis=0)
                b -= a
                b *= parts[2]
                b += a
                rows.append(b)
            rows[1] -= rows[0]
            rows[1] *= parts[1]
            rows[1] += rows[0]
            sides.append(rows[1])
        sides[1] -= sides[0]
        sides[1] *= parts[0]
        sides[1] += sides[0]
        return sides[1].T


def remembered(known: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """What was made for a key, or is made now; of the last few keys alone."""
    if key not in known:
        if len(known) >= KEPT:
            known.clear()
        known[key] = make()
    return known[key]


class Tiling:
    """Cuts blocks into tiles, and tells which of them may hold a voxel where a field exceeds a value.

    Parameters
    ----------
    field : (z, y, x) array
        On ``grid``; beyond it, as at its edge.
    grid : Geometry
        Axis-aligned.
    """

    def __init__(self, field: np.ndarray, grid: Geometry) -> None:
        self.field, self.grid = field, grid
        self._most: dict[tuple[int, ...], np.ndarray] = {}  # by how far a tile reaches

    def tiles(
        self, geometry: Geometry, matrix: np.ndarray, above: float, xp: Any = np
    ) -> Iterator[tuple[slice, ...]]:
        """Tiles of a block that need a look.

        Parameters
        ----------
        geometry : Geometry
            Of the block.
        matrix : (4, 4) array
            World LPS mm -> the field's space.
        above : float
        xp : module
            With CuPy tiles are larger.

        Yields
        ------
        slices along (z, y, x)
        """
        first, last, at, half = cells(geometry, matrix, xp)
        # how far a tile reaches from its middle, in steps of the grid; one more for interpolation, and rounding
        reach = np.ceil(half[::-1] / np.array(self.grid.spacing)).astype(int) + 2
        most = self._around(tuple(reach.tolist()))
        cell = np.clip(np.rint(self.grid.to_index(at)).astype(int), 0, np.array(self.grid.shape) - 1)
        yield from slices_of(first, last, most[tuple(cell.T)] > above)

    def _around(self, reach: tuple[int, ...]) -> np.ndarray:
        """Largest value so many cells around each."""
        from scipy.ndimage import maximum_filter

        size = [2 * r + 1 for r in reach]
        return remembered(self._most, reach, lambda: maximum_filter(self.field, size=size, mode="nearest"))


def cells(
    geometry: Geometry, matrix: np.ndarray, xp: Any = np
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut a block into tiles.

    Returns
    -------
    first, last : (n, 3) int arrays
        Index (z, y, x) of each tile's first voxel, and one beyond its last.
    middle : (n, 3) array
        x, y, z of its middle in the space that ``matrix`` maps to.
    half : (3,) array
        How far a tile reaches from there along x, y and z, at most.
    """
    tile = np.minimum(TILE if xp is np else TILE_THERE, geometry.shape)
    starts = [np.arange(0, n, t) for n, t in zip(geometry.shape, tile, strict=True)]
    first = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 3)
    last = np.minimum(first + tile, geometry.shape)
    world = geometry.to_world((first + last - 1) / 2)
    middle = np.stack(apply_affine(np.asarray(matrix), *world.T), axis=-1)
    half = np.abs(np.asarray(matrix)[:3, :3] @ geometry.affine[:3, :3]) @ (tile / 2)
    return first, last, middle, half


def slices_of(first: np.ndarray, last: np.ndarray, chosen: np.ndarray) -> Iterator[tuple[slice, ...]]:
    """The chosen tiles as slices along (z, y, x)."""
    for a, b in zip(first[chosen], last[chosen], strict=True):
        yield tuple(slice(int(i), int(j)) for i, j in zip(a, b, strict=True))

"""Work in pieces: tiles of a block, most of which need no look, and places some thousand at a time.

Element by element, so that any way to cut gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from defacedask.boxes import bounds
from defacedask.geometry import Geometry
from defacedask.kernels import fuses
from defacedask.sampling import apply_affine

__all__ = [
    "BRICK",
    "TILE",
    "Tiling",
    "elements_around",
    "half_brick",
    "in_parts",
    "places_of",
    "put",
    "remembered",
    "tiles_of",
    "voxels_of",
]

#: Voxels of a tile along (z, y, x) on a CPU: as large as a cache allows, for each costs some hundred calls.
TILE = (32, 64, 64)
#: Voxels of a part of a tile, all of which are looked at, or none. Tiles are whole numbers of them.
BRICK = (4, 8, 8)
#: On a device, for plain expressions: few, since each call is a kernel, and a quarter of a usual block.
TILE_THERE = (64, 256, 256)
#: Sizes of windows around a tile, of which a plan meets few, that are remembered at a time.
KEPT = 4
#: Places that NumPy works on at a time, so that they stay in a core's own cache.
PLACES = 2**14


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
        """Tiles of a block that need a look, each cut to what of it does.

        Parameters
        ----------
        geometry : Geometry
            Of the block.
        matrix : (4, 4) array
            World LPS mm -> the field's space.
        above : float
        xp : module
            With CuPy tiles are larger: for fused kernels it is one, around all that need a look.

        Yields
        ------
        slices along (z, y, x)
        """
        chosen = self._chosen(geometry, matrix, above)
        tile = geometry.shape if fuses(xp) else TILE if xp is np else TILE_THERE
        for box, _ in tiles_of(chosen, geometry.shape, tile):
            yield box

    def voxels(
        self, geometry: Geometry, matrix: np.ndarray, above: float, xp: Any = np
    ) -> Iterator[tuple[tuple[slice, ...], Any]]:
        """Tiles of a block that need a look, and which of their voxels do; parameters as of `tiles`.

        Yields
        ------
        slices along (z, y, x), and an (n,) int array of indices in the flat tile
        """
        yield from voxels_of(self._chosen(geometry, matrix, above), geometry.shape, xp)

    def _chosen(self, geometry: Geometry, matrix: np.ndarray, above: float) -> np.ndarray:
        """Which bricks of a block may hold a voxel where the field exceeds a value."""
        to_cells = np.linalg.inv(self.grid.affine) @ matrix @ geometry.affine
        reach = elements_around(half_brick(to_cells))
        most = self._around(tuple(reach.tolist()))
        middles = np.ix_(
            *((b - 1) / 2 + b * np.arange(-(-n // b)) for n, b in zip(geometry.shape, BRICK, strict=True))
        )
        at: Any = 0
        for row, r, n in zip(to_cells, reach, most.shape, strict=False):
            index = row[3] + r + row[0] * middles[0] + row[1] * middles[1] + row[2] * middles[2]
            at = at * n + np.clip(np.rint(index), 0, n - 1).astype(np.intp)
        found: np.ndarray = most.ravel().take(at) > above
        return found

    def _around(self, reach: tuple[int, ...]) -> np.ndarray:
        """Largest value so many cells around each, and around as many places beyond the field on each side."""
        from scipy.ndimage import maximum_filter

        def most() -> np.ndarray:
            wide = np.pad(self.field, [(r, r) for r in reach], mode="edge")
            return maximum_filter(wide, size=[2 * r + 1 for r in reach], mode="nearest")

        return remembered(self._most, reach, most)


def half_brick(matrix: np.ndarray) -> np.ndarray:
    """How far a brick reaches from its middle along x, y and z of the space that voxels' indices are mapped to.

    Half a voxel further than its last one: that is for rounding.

    Parameters
    ----------
    matrix : (4, 4) array
        Index (z, y, x) -> that space.
    """
    reach: np.ndarray = np.abs(matrix[:3, :3]) @ (np.array(BRICK) / 2)
    return reach


def elements_around(half: np.ndarray) -> np.ndarray:
    """Elements of a grid, on each side of the one nearest to a place, that matter within ``half`` elements of it.

    Half an element to the nearest, and one more that interpolation asks for.
    """
    return np.floor(half + 0.5).astype(int) + 1


def put(out: Any, box: tuple[slice, ...], at: Any, values: Any) -> None:
    """Write values at some voxels of a tile.

    Parameters
    ----------
    out : (z, y, x) array
        Changed in place.
    box : slices
        The tile.
    at : (n,) int array
        Indices in the flat tile.
    values : (n,) array or number
    """
    here = out[box].ravel()
    here[at] = values
    out[box] = here.reshape(out[box].shape)


def tiles_of(
    chosen: np.ndarray, shape: tuple[int, ...], tile: tuple[int, ...]
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Boxes around chosen bricks of a block, none larger than a tile.

    Parameters
    ----------
    chosen : (z, y, x) bool array
        One a brick.
    shape, tile : (z, y, x)
        Voxels of the block and of a tile.

    Yields
    ------
    slices of voxels along (z, y, x), and the bricks in them
    """
    groups = [-(-t // b) for t, b in zip(tile, BRICK, strict=True)]
    tiles = [-(-n // g) for n, g in zip(chosen.shape, groups, strict=True)]
    where = [at // g for at, g in zip(np.nonzero(chosen), groups, strict=True)]
    for first in zip(*np.unravel_index(np.unique(np.ravel_multi_index(where, tiles)), tiles), strict=True):
        start = [int(f) * g for f, g in zip(first, groups, strict=True)]
        bricks = chosen[tuple(slice(a, a + g) for a, g in zip(start, groups, strict=True))]
        box = bounds(bricks)
        assert box is not None
        ends = [(b * (a + s.start), b * (a + s.stop)) for a, s, b in zip(start, box, BRICK, strict=True)]
        yield tuple(slice(a, min(z, n)) for (a, z), n in zip(ends, shape, strict=True)), bricks[box]


def voxels_of(
    chosen: np.ndarray, shape: tuple[int, ...], xp: Any = np
) -> Iterator[tuple[tuple[slice, ...], Any]]:
    """Tiles around chosen bricks of a block (see `tiles_of`), and the bricks' voxels in each.

    Yields
    ------
    slices along (z, y, x), and an (n,) int array of indices in the flat tile
    """
    for box, bricks in tiles_of(chosen, shape, TILE if xp is np else TILE_THERE):
        look = bricks
        for axis, (s, b) in enumerate(zip(box, BRICK, strict=True)):
            look = look.repeat(b, axis=axis)[(slice(None),) * axis + (slice(s.stop - s.start),)]
        yield box, xp.nonzero(xp.asarray(look.ravel()))[0]


def places_of(part: Geometry, at: Any, matrix: np.ndarray, xp: Any = np) -> tuple[Any, Any, Any]:
    """Where some voxels of a tile lie: world LPS mm through a (4, 4) matrix.

    Parameters
    ----------
    part : Geometry
        Of the tile.
    at : (n,) int array
        Indices in the flat tile.
    matrix : (4, 4) array
    xp : module

    Returns
    -------
    x, y, z : (n,) float64 arrays
        With the bits of `Geometry.positions` and `apply_affine`.
    """
    # all of the tile first: most of the sums are those of a row, a column or a slice
    whole = apply_affine(matrix, *part.positions(xp, np.float64))
    x, y, z = (xp.broadcast_to(along, part.shape).ravel().take(at) for along in whole)
    return x, y, z


def in_parts(make: Callable[..., Iterable[np.ndarray]], *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """What an element by element function gives, some elements at a time: so many stay in a core's own cache.

    Parameters
    ----------
    make : callable
        From arrays to arrays.
    arrays : (n,) arrays
    """
    count = arrays[0].size
    if count <= PLACES:
        return tuple(make(*arrays))
    parts = [make(*(one[k : k + PLACES] for one in arrays)) for k in range(0, count, PLACES)]
    return tuple(np.concatenate(one) for one in zip(*parts, strict=True))

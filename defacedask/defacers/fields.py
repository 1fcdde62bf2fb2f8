"""Several coarse fields on one grid, read together; and a block cut into tiles, most of which need no look.

Element by element and in one fixed order of single operations, so that NumPy and CuPy, and any chunking, give the
same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from defacedask.backend import constant
from defacedask.boxes import bounds
from defacedask.geometry import Geometry
from defacedask.kernels import PLACE, Kernel, fuses
from defacedask.sampling import apply_affine

__all__ = [
    "INTERPOLATED",
    "PLACED",
    "TILE",
    "Stack",
    "Tiling",
    "places_of",
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


#: `Stack.at` for one place ``p``; ``grid`` holds origin (x, y, z), steps and shape (z, y, x) of the fields.
INTERPOLATED = """
template <typename G, typename T, typename O>
__device__ void interpolated(const double* p, const G& grid, const T& table, int channels, int wanted, O& out,
                             long long at, long long count) {
    int whole[3]; float part[3];
    for (int axis = 0; axis < 3; ++axis) {
        double index = (p[2 - axis] - grid[2 - axis]) / grid[3 + axis], last = grid[6 + axis] - 1.0;
        index = index < 0.0 ? 0.0 : index > last ? last : index;
        whole[axis] = (int)index;
        if (whole[axis] > (int)grid[6 + axis] - 2) whole[axis] = (int)grid[6 + axis] - 2;
        part[axis] = (float)(index - whole[axis]);
    }
    long long row = (long long)grid[8], plane = row * (long long)grid[7];
    long long low = whole[0] * plane + whole[1] * row + whole[2];
    for (int c = 0; c < wanted; ++c) {
        float side[2];
        for (int dz = 0; dz < 2; ++dz) {
            float rows[2];
            for (int dy = 0; dy < 2; ++dy) {
                long long here = (low + dz * plane + dy * row) * channels + c;
                float a = table[here], b = table[here + channels];
                b = b - a; b = b * part[2]; rows[dy] = b + a;
            }
            rows[1] = rows[1] - rows[0]; rows[1] = rows[1] * part[1]; side[dz] = rows[1] + rows[0];
        }
        side[1] = side[1] - side[0]; side[1] = side[1] * part[0];
        out[c * count + at] = side[1] + side[0];
    }
}
"""
_AT = Kernel(
    "stack",
    "float64 x, float64 y, float64 z, raw float64 grid, raw float32 table, int32 channels, int64 count",
    "raw float32 out",
    "double p[3] = {x, y, z}; interpolated(p, grid, table, channels, channels, out, i, count);",
    INTERPOLATED,
)
#: Place of the voxel ``i`` of a block; ``b`` is that of `Geometry.root`, followed by the rows of a matrix.
PLACED = """
    long long nx = (long long)b[20], ny = (long long)b[19];
    double iz = b[12] + b[15] * (double)(i / (nx * ny)), iy = b[13] + b[16] * (double)(i / nx % ny);
    double ix = b[14] + b[17] * (double)(i % nx);
    double w[3] = {world(b, 0, iz, iy, ix), world(b, 1, iz, iy, ix), world(b, 2, iz, iy, ix)};
    double p[3] = {mapped(b, 21, 0, w), mapped(b, 21, 1, w), mapped(b, 21, 2, w)};
"""
_OVER = Kernel(
    "stack_over",
    "raw float64 b, raw float64 grid, raw float32 table, int32 channels, int64 count",
    "raw float32 out",
    PLACED + "interpolated(p, grid, table, channels, channels, out, i, count);",
    PLACE + INTERPOLATED,
)


#: Where the first of the fields exceeds a limit.
_ABOVE = Kernel(
    "stack_above",
    "raw float64 b, raw float64 grid, raw float32 table, int32 channels, float32 limit",
    "bool above",
    PLACED
    + "float found[1]; interpolated(p, grid, table, channels, 1, found, 0, 1); above = found[0] > limit;",
    PLACE + INTERPOLATED,
)


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
        self.table = flat.reshape(-1, self.channels)
        self.grid = np.array([*self.origin, *self.spacing, *self.shape], np.float64)  # as kernels take it

    def over(self, part: Geometry, matrix: np.ndarray, xp: Any = np) -> Any:
        """Values at all voxels of a block.

        Parameters
        ----------
        part : Geometry
        matrix : (4, 4) array
            World LPS mm -> the fields' space.
        xp : module

        Returns
        -------
        (channels, n) float32 array
            In the order of the flat block.
        """
        if not fuses(xp):
            at = apply_affine(matrix, *part.positions(xp, np.float64))
            x, y, z = (xp.broadcast_to(a, part.shape).ravel() for a in at)
            return self.at((x, y, z), xp)
        count = math.prod(part.shape)
        out = xp.empty((self.channels, count), dtype=np.float32)
        _OVER(xp, self._place(part, matrix, xp), *self._there(xp), self.channels, count, out, size=count)
        return out

    def above(self, limit: float, part: Geometry, matrix: np.ndarray, xp: Any = np) -> Any:
        """Where the first field exceeds a limit: bool array of the block's shape; see `over`."""
        if not fuses(xp):
            return (self.over(part, matrix, xp)[0] > limit).reshape(part.shape)
        out = xp.empty(part.shape, dtype=bool)
        _ABOVE(xp, self._place(part, matrix, xp), *self._there(xp), self.channels, limit, out)
        return out

    def _place(self, part: Geometry, matrix: np.ndarray, xp: Any) -> Any:
        return xp.asarray(np.concatenate([part.root(), np.asarray(matrix, np.float64)[:3].ravel()]))

    def _there(self, xp: Any) -> tuple[Any, Any]:
        return constant(self.grid, xp), constant(self.table, xp).ravel()

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
        if fuses(xp):
            count = places[0].size
            out = xp.empty((self.channels, count), dtype=np.float32)
            _AT(xp, *places, *self._there(xp), self.channels, count, out)
            return out
        table = constant(self.table, xp)
        low: Any = None
        parts = []
        for axis in range(3):
            index = (places[2 - axis] - self.origin[2 - axis]) / self.spacing[axis]
            index = xp.clip(index, 0.0, self.shape[axis] - 1.0)
            whole = xp.minimum(index.astype(xp.int32), self.shape[axis] - 2)
            part = (index - whole).astype(xp.float32)
            # written out for each channel: a product of rows of two or four runs over no more than these at a time
            parts.append(xp.repeat(part, self.channels).reshape(-1, self.channels))
            low = whole if low is None else low * self.shape[axis] + whole
        row, plane = self.shape[2], self.shape[1] * self.shape[2]
        low = low.astype(np.intp) if xp is np else low  # what `take` wants
        sides = []
        for dz in (0, plane):
            rows = []
            for dy in (0, row):
                at = low + (dz + dy)
                a, b = table.take(at, axis=0), table[1:].take(at, axis=0)
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
        # from a brick's middle to half a voxel beyond its end; half a cell to the element nearest to the middle,
        # and one element more that interpolation asks for
        half = np.abs(to_cells[:3, :3]) @ (np.array(BRICK) / 2)
        reach = np.floor(half + 0.5).astype(int) + 1
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

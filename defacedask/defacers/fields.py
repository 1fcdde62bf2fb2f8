"""Several coarse fields on one grid, read together.

Element by element and in one fixed order of single operations, so that NumPy and CuPy, and any chunking, give the
same bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from defacedask.backend import constant
from defacedask.geometry import Geometry
from defacedask.kernels import PLACE, Kernel, fuses
from defacedask.sampling import apply_affine

__all__ = ["INTERPOLATED", "PLACED", "Stack"]

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

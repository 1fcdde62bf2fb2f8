"""Read a coarse field at the world positions of another grid.

Everything is computed element by element (no matrix products), so that a voxel gets the same bits in whatever
block it is met, on any chunking.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.backend import constant, namespace, ndimage_of
from defacedask.geometry import Geometry
from defacedask.kernels import LINEAR, PLACE, Kernel, fuses

__all__ = ["Between", "apply_affine", "index_at", "index_matrix", "sample_field"]


_MAPPED = Kernel(
    "affine",
    "float64 x, float64 y, float64 z, raw float64 m",
    "float64 a, float64 b, float64 c",
    "double p[3] = {x, y, z}; a = mapped(m, 0, 0, p); b = mapped(m, 0, 1, p); c = mapped(m, 0, 2, p);",
    PLACE,
)

#: `Between.by_operations` along two axes and three.
_READ = {
    2: Kernel(
        "between_2",
        "float64 y, float64 x, raw T field, int32 ny, int32 nx, bool ends, float64 outside",
        "T value",
        """
        int a[2], b[2]; double u[2], v[2], sum = 0.0;
        if (ends && (outside_of(y, ny) || outside_of(x, nx))) { value = (T)outside; }
        else {
            sides(y, ny, a, u); sides(x, nx, b, v);
            for (int k = 0; k < 4; ++k) {
                double one = (double)field[(long long)a[k >> 1] * nx + b[k & 1]];
                one = one * u[k >> 1]; one = one * v[k & 1];
                sum = sum + one;
            }
            value = (T)sum;
        }
        """,
        LINEAR,
    ),
    3: Kernel(
        "between_3",
        "float64 z, float64 y, float64 x, raw T field, int32 nz, int32 ny, int32 nx, bool ends, float64 outside",
        "T value",
        """
        int a[2], b[2], c[2]; double t[2], u[2], v[2], sum = 0.0;
        if (ends && (outside_of(z, nz) || outside_of(y, ny) || outside_of(x, nx))) { value = (T)outside; }
        else {
            sides(z, nz, a, t); sides(y, ny, b, u); sides(x, nx, c, v);
            for (int k = 0; k < 8; ++k) {
                int i0 = k >> 2, i1 = k >> 1 & 1, i2 = k & 1;
                double one = (double)field[((long long)a[i0] * ny + b[i1]) * nx + c[i2]];
                one = one * t[i0]; one = one * u[i1]; one = one * v[i2];
                sum = sum + one;
            }
            value = (T)sum;
        }
        """,
        LINEAR,
    ),
}


def apply_affine(matrix: np.ndarray, x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    """Map world coordinates (broadcastable arrays, mm) through a (4, 4) LPS-to-LPS matrix.

    Zero entries are skipped, so axis-aligned matrices keep their arrays broadcastable.
    """
    xp = namespace(x, y, z)
    kinds = {(getattr(part, "shape", None), getattr(part, "dtype", None)) for part in (x, y, z)}
    if fuses(xp) and len(kinds) == 1 and kinds.pop()[1] == np.float64:
        rows = _rows_of(np.asarray(matrix, np.float64).tobytes())
        return _MAPPED(xp, x, y, z, constant(rows, xp))
    out = []
    for row in range(3):
        total: Any = float(matrix[row, 3])
        for k, part in enumerate((x, y, z)):
            factor = float(matrix[row, k])
            if factor != 0.0:
                total = total + factor * part
        out.append(total)
    return out[0], out[1], out[2]


@functools.lru_cache(maxsize=64)
def _rows_of(matrix: bytes) -> np.ndarray:
    """Rows of a (4, 4) matrix, the same array for the same matrix: so its copy on a device is made once."""
    return np.frombuffer(matrix)[:12].copy()


def index_at(grid: Geometry, positions: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Continuous index (z, y, x) on a grid of world positions, as three arrays that broadcast like those.

    Parameters
    ----------
    grid : Geometry
    positions : tuple of arrays
        x, y, z in LPS mm (see `Geometry.positions`).
    """
    return apply_affine(index_matrix(grid), *positions)


def index_matrix(grid: Geometry) -> np.ndarray:
    """(4, 4) matrix from x, y, z in LPS mm to the continuous index (z, y, x) on a grid."""
    inverse = np.linalg.inv(grid.affine[:3, :3])
    matrix = np.eye(4)
    matrix[:3, :3] = inverse
    matrix[:3, 3] = -(inverse @ grid.affine[:3, 3])
    matrix[np.abs(matrix) < 1e-15] = 0.0
    return matrix


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
        Values on ``grid``; of order 1 on the host, see `defacedask.backend.constant`.
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
    at = index_at(grid, positions)
    if order == 1 and isinstance(field, np.ndarray):
        return Between(field.shape, at, xp).read(field, outside=outside)
    index = xp.broadcast_arrays(*(xp.asarray(i, dtype=np.float64) for i in at))
    return ndimage_of(xp).map_coordinates(
        xp.asarray(field), xp.stack(index), order=order, mode="constant", cval=outside, prefilter=order > 1
    )


class Between:
    """Places between the elements of fields of one shape: laid out once, and read for each of the fields.

    The value is linear along each axis, in float64. On the host SciPy reads fields of three axes. All else makes the
    same sums in SciPy's order: on a device one kernel, or, where none can be compiled, one operation after the other.
    A compiler that contracts a product and a sum into one rounding would give other bits. So NumPy and CuPy agree to
    the last one.

    Parameters
    ----------
    shape : tuple of int
        Of the fields.
    index : sequence of arrays
        Continuous index along each axis, broadcastable, in the namespace ``xp``.
    xp : module
    """

    def __init__(self, shape: tuple[int, ...], index: Sequence[Any], xp: Any = np) -> None:
        self.shape, self.index, self.xp = shape, index, xp

    def read(self, field: np.ndarray, *, outside: float | None = None) -> Any:
        """Values of a field.

        Parameters
        ----------
        field : array
            Floating, on the host; not changed as long as it lives.
        outside : float, optional
            Value beyond the outermost elements; by default theirs goes on.

        Returns
        -------
        array
            Of the field's type and the broadcast shape of the index.
        """
        if fuses(self.xp) and len(self.shape) in _READ and field.dtype.kind == "f":
            return _READ[len(self.shape)](
                self.xp,
                *(self.xp.asarray(i, dtype=np.float64) for i in self.index),
                constant(field, self.xp).ravel(),
                *self.shape,
                outside is not None,
                0.0 if outside is None else outside,
            )
        if self.xp is not np or len(self.shape) == 2:
            # of a map the host, too: it is read several times at the same places, and SciPy lays them out each time
            return self.by_operations(constant(field, self.xp, np.float64), outside).astype(field.dtype)
        from scipy.ndimage import map_coordinates

        mode, value = ("nearest", 0.0) if outside is None else ("constant", outside)
        return map_coordinates(field, self._stacked, order=1, mode=mode, cval=value, prefilter=False)

    def by_operations(self, field: Any, outside: float | None = None) -> Any:
        """`read` for a float64 field of the namespace, by single operations."""
        total: Any = None
        for at, weights in self._corners:
            value = field.ravel().take(at)
            for weight in weights:
                value *= weight
            if total is None:
                total = value
                total += 0.0  # as SciPy begins: so no sum is -0
            else:
                total += value
        return total if outside is None else self.xp.where(self._beyond, outside, total)

    @functools.cached_property
    def _stacked(self) -> np.ndarray:
        return np.stack(np.broadcast_arrays(*(np.asarray(i, dtype=np.float64) for i in self.index)))

    @functools.cached_property
    def _corners(self) -> list[tuple[Any, list[Any]]]:
        """Flat index and weights along each axis of the elements around; the last axis changes fastest."""
        xp = self.xp
        found: list[tuple[Any, list[Any]]] = [(None, [])]
        step = math.prod(self.shape)
        kind = np.intp if xp is np else np.int32  # what `take` wants
        for i, n in zip(self.index, self.shape, strict=True):
            step //= n
            i = xp.asarray(i, dtype=np.float64)
            floor = xp.floor(i)
            part = i - floor
            ends = [xp.clip(end, 0.0, n - 1.0).astype(kind) for end in (floor, floor + 1.0)]
            ends = [end * step for end in ends] if step > 1 else ends
            # the second weight is what the first leaves of 1, as in SciPy: close to an element that is not `part`
            first = 1.0 - part
            sides = list(zip(ends, (first, 1.0 - first), strict=True))
            found = [
                (end if at is None else at + end, [*weights, weight])
                for (at, weights), (end, weight) in itertools.product(found, sides)
            ]
        return found

    @functools.cached_property
    def _beyond(self) -> Any:
        """Places beyond the outermost elements."""
        sides = (self.xp.clip(i, 0.0, n - 1.0) != i for i, n in zip(self.index, self.shape, strict=True))
        return functools.reduce(self.xp.logical_or, sides)

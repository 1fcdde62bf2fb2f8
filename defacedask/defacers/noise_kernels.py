"""`NoiseField` on a device: drawing, smoothing and reading by one kernel each, with the plain expressions' bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.backend import constant
from defacedask.kernels import Kernel

if TYPE_CHECKING:
    from defacedask.geometry import Geometry

__all__ = ["BETWEEN", "draw", "extent", "lattice_numbers", "read", "smooth", "uniform_at"]

_HASH = """
__device__ unsigned long long mix(unsigned long long h) {
    h = h ^ (h >> 30); h = h * 0xBF58476D1CE4E5B9ULL;
    h = h ^ (h >> 27); h = h * 0x94D049BB133111EBULL;
    return h ^ (h >> 31);
}
__device__ unsigned long long hashed(unsigned long long k0, unsigned long long k1, unsigned long long k2,
                                     unsigned long long k3, long long z, long long y, long long x) {
    const unsigned long long golden = 0x9E3779B97F4A7C15ULL;
    unsigned long long h = mix(((unsigned long long)z * golden + k0) ^ k3);
    h = mix(((unsigned long long)y * golden + k1) ^ h);
    return mix(((unsigned long long)x * golden + k2) ^ h);
}
"""
#: Place on the lattice along an axis, in 64ths of a step (`noise.SNAP`); ``m``: rows of the inverse, and the shift.
_ALONG = """
__device__ double along(const double* m, int row, const double* p) {
    double sum = 0.0;
    for (int k = 0; k < 3; ++k) {
        if (m[3 * row + k] != 0.0) sum = sum + (p[k] - m[9 + k]) * m[3 * row + k];
    }
    return rint(sum * 64.0) / 64.0;
}
"""
_KEYS = "uint64 k0, uint64 k1, uint64 k2, uint64 k3"
_LATTICE = ", ".join(f"float64 m{k}" for k in range(12))
_PLACE = (
    "const double m[12] = {" + ", ".join(f"m{k}" for k in range(12)) + "}; const double p[3] = {x, y, z};"
)

_DRAW = Kernel(
    "noise_draw",
    _KEYS + ", int64 z0, int64 y0, int64 x0, int64 ny, int64 nx, float32 scale",
    "raw float32 out",
    """
    unsigned long long h = hashed(k0, k1, k2, k3, z0 + i / (nx * ny), y0 + i / nx % ny, x0 + i % nx);
    float drawn = (float)((h & 65535) + (h >> 16 & 65535) + (h >> 32 & 65535) + (h >> 48));
    drawn = drawn - 131070.0f;
    out[i] = drawn * scale;
    """,
    _HASH,
)
_SMOOTH = Kernel(
    "noise_smooth",
    "raw float32 values, raw float32 weights, int32 taps, int64 inner, int64 along",
    "raw float32 out",
    """
    long long at = (i / (inner * along) * (along + taps - 1) + i / inner % along) * inner + i % inner;
    float sum = values[at] * weights[0];
    for (int k = 1; k < taps; ++k) { float one = values[at + k * inner] * weights[k]; sum = sum + one; }
    out[i] = sum;
    """,
)
#: The value between the points of a box; ``box``: its first point (z, y, x), and its points along y and x.
BETWEEN = (
    _ALONG
    + """
template <typename F>
__device__ float noise_between(const double* p, const double* m, const float* rho, const F& field,
                               const long long* box) {
    long long whole[3]; float weight[3][2], variance = 1.0f;
    for (int axis = 0; axis < 3; ++axis) {
        double at = along(m, axis, p), low = floor(at);
        float f = (float)(at - low), g = 1.0f - f;
        whole[axis] = (long long)low;
        weight[axis][0] = g; weight[axis][1] = f;
        float a = g * g, b = f * f, c = 2.0f * rho[axis];
        c = c * f; c = c * g;
        float left = a + b;
        left = left + c;
        variance = axis == 0 ? left : variance * left;
    }
    float sum = 0.0f;
    for (int c = 0; c < 8; ++c) {
        int iz = c >> 2, iy = c >> 1 & 1, ix = c & 1;
        float share = weight[0][iz] * weight[1][iy];
        share = share * weight[2][ix];
        long long at = (whole[0] + iz - box[0]) * box[3] + (whole[1] + iy - box[1]);
        at = at * box[4] + (whole[2] + ix - box[2]);
        float one = share * field[at];
        sum = c == 0 ? one : sum + one;
    }
    return sum / sqrt(variance);
}
"""
)
_READ = Kernel(
    "noise_read",
    "float64 x, float64 y, float64 z, raw float32 field, raw float64 lattice",
    "float32 noise",
    """
    double m[12]; for (int k = 0; k < 12; ++k) m[k] = lattice[k];
    const double p[3] = {x, y, z};
    const float rho[3] = {(float)lattice[17], (float)lattice[18], (float)lattice[19]};
    const long long box[5] = {(long long)lattice[12], (long long)lattice[13], (long long)lattice[14],
                              (long long)lattice[15], (long long)lattice[16]};
    noise = noise_between(p, m, rho, field, box);
    """,
    BETWEEN,
)
_UNIFORM = Kernel(
    "noise_uniform",
    "float64 x, float64 y, float64 z, " + _KEYS + ", " + _LATTICE,
    "float32 drawn",
    _PLACE
    + """
    unsigned long long h = hashed(k0, k1, k2, k3, (long long)rint(along(m, 0, p)), (long long)rint(along(m, 1, p)),
                                  (long long)rint(along(m, 2, p)));
    drawn = (float)(h >> 40) * 5.9604644775390625e-08f;
    """,
    _HASH + _ALONG,
)


def _numbers(inverse: np.ndarray, matrix: np.ndarray) -> list[float]:
    return [*inverse.ravel().tolist(), *matrix[:3, 3].tolist()]


def extent(inverse: np.ndarray, matrix: np.ndarray, within: Geometry) -> tuple[list[int], list[int]]:
    """First lattice index along each axis that a voxel of a grid can be read from, and one beyond the last.

    The device is not asked.
    """
    ends = np.array(np.meshgrid(*((0, n - 1) for n in within.shape), indexing="ij")).reshape(3, -1).T
    index = (within.to_world(ends) - matrix[:3, 3]) @ inverse.T
    # one more for what rounding and snapping may move
    return (np.floor(index.min(axis=0)).astype(int) - 1).tolist(), (
        np.floor(index.max(axis=0)).astype(int) + 3
    ).tolist()


def draw(keys: Sequence[int], low: Sequence[int], shape: Sequence[int], scale: float, xp: Any) -> Any:
    """`noise.lattice_normals` of a box."""
    out = xp.empty(tuple(shape), dtype=np.float32)
    _DRAW(
        xp, *(np.uint64(key) for key in keys), *low, *shape[1:], np.float32(scale), out.ravel(), size=out.size
    )
    return out


def smooth(values: Any, taps: Sequence[np.ndarray], xp: Any) -> Any:
    """`noise._weighted` along each axis."""
    for axis, weights in enumerate(taps):
        if len(weights) == 1:
            continue
        shape = list(values.shape)
        shape[axis] -= len(weights) - 1
        inner = int(np.prod(shape[axis + 1 :]))
        out = xp.empty(tuple(shape), dtype=np.float32)
        there = constant(weights, xp)
        _SMOOTH(xp, values.ravel(), there, len(weights), inner, shape[axis], out.ravel(), size=out.size)
        values = out
    return values


def lattice_numbers(
    inverse: np.ndarray,
    matrix: np.ndarray,
    start: Sequence[int],
    shape: Sequence[int],
    correlations: Sequence[float],
) -> np.ndarray:
    """(20,) float64: what a kernel takes to read a box that begins at ``start``."""
    rho = [float(np.float32(one)) for one in correlations]
    return np.array([*_numbers(inverse, matrix), *start, *shape[1:], *rho], np.float64)


def read(field: Any, lattice: np.ndarray, positions: Sequence[Any], xp: Any) -> Any:
    """Values between the points of a box, with the variance that they had on the points; see `lattice_numbers`."""
    return _READ(xp, *positions, field.ravel(), xp.asarray(lattice))


def uniform_at(
    keys: Sequence[int], inverse: np.ndarray, matrix: np.ndarray, positions: Sequence[Any], xp: Any
) -> Any:
    """`NoiseField.uniform`: the nearest point alone is drawn."""
    return _UNIFORM(xp, *positions, *(np.uint64(key) for key in keys), *_numbers(inverse, matrix))

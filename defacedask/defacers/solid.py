"""Planes and boxes, and what is protected, asked voxel by voxel in one kernel that writes the block.

On a device the place of a voxel, the side of each plane, the inside of each box and the distance of each protected
structure cost one launch, and no array but the answer. The sums are those of `Geometry.positions`,
`shear.half_space`, `boxes.in_boxes` and `Protected.withdraw`, in their order (see `defacedask.kernels`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.backend import constant, to_numpy
from defacedask.defacers.boxes import Box
from defacedask.defacers.shear import order_of
from defacedask.geometry import Geometry
from defacedask.kernels import LINEAR, PLACE, Kernel
from defacedask.sampling import index_matrix
from defacedask.volume import to_stored

if TYPE_CHECKING:
    from typing import Protocol

    class Protected(Protocol):
        """What is asked of a `defacedask.defacers.protect.Protected`."""

        @property
        def grid(self) -> Geometry: ...
        @property
        def distance(self) -> np.ndarray: ...
        @property
        def margin_mm(self) -> float: ...


__all__ = ["Solid", "restore", "withdraw"]

#: ``b``: of `Geometry.root`. ``w``: place of the voxel ``i`` of the block.
_VOXEL = """
    long long nx = (long long)b[20], ny = (long long)b[19], z = i / (nx * ny);
    double iz = b[12] + b[15] * (double)z, iy = b[13] + b[16] * (double)(i / nx % ny);
    double ix = b[14] + b[17] * (double)(i % nx);
    double w[3] = {world(b, 0, iz, iy, ix), world(b, 1, iz, iy, ix), world(b, 2, iz, iy, ix)};
"""
#: ``k``: for each structure the map to its field's index (12 numbers), shape, first element, margin (see `_numbers`).
_KEPT = (
    PLACE
    + LINEAR
    + """
template <typename K, typename D>
__device__ bool kept(const K& k, const D& distance, int structures, const double* w) {
    for (int s = 0; s < structures; ++s) {
        int at = 17 * s, n[3], end[3][2]; double weight[3][2], sum = 0.0;
        bool far = false;
        for (int axis = 0; axis < 3; ++axis) {
            double index = mapped(k, at, axis, w);
            n[axis] = (int)k[at + 12 + axis];
            far = far || outside_of(index, n[axis]);
            if (far) break;
            sides(index, n[axis], end[axis], weight[axis]);
        }
        if (far) continue;
        for (int c = 0; c < 8; ++c) {
            int iz = c >> 2, iy = c >> 1 & 1, ix = c & 1;
            long long here = ((long long)end[0][iz] * n[1] + end[1][iy]) * n[2] + end[2][ix];
            double one = (double)((float)distance[(long long)k[at + 15] + here] * 0.25f);
            one = one * weight[0][iz]; one = one * weight[1][iy]; one = one * weight[2][ix];
            sum = sum + one;
        }
        if (!((float)sum > (float)k[at + 16])) return true;
    }
    return false;
}
"""
)
#: After `Geometry.root`: how many planes, planes of which all must be met, and boxes; the boxes' map; then of each
#: plane normal, offset, order of the terms, their number; of each box its corners (see `Solid.numbers`).
_INSIDE = """
template <typename B> __device__ bool beyond(const B& b, int at, const double* w) {
    int count = (int)b[at + 7];
    double rest = b[at + 3];
    for (int t = 0; t < count - 1; ++t) {
        int k = (int)b[at + 4 + t];
        double term = b[at + k] * w[k];
        rest = rest - term;
    }
    int k = (int)b[at + 3 + count];
    return b[at + k] * w[k] > rest;
}
template <typename B> __device__ bool inside(const B& b, const double* w) {
    int planes = (int)b[21], within = (int)b[22], boxes = (int)b[23], at = 36;
    bool any = false;
    for (int s = 0; s < planes && !any; ++s) any = beyond(b, at + 8 * s, w);
    at += 8 * planes;
    for (int s = 0; s < within && any; ++s) any = beyond(b, at + 8 * s, w);
    at += 8 * within;
    if (any || boxes == 0) return any;
    double p[3] = {mapped(b, 24, 0, w), mapped(b, 24, 1, w), mapped(b, 24, 2, w)};
    for (int s = 0; s < boxes; ++s, at += 6) {
        bool here = true;
        for (int k = 0; k < 3; ++k) here = here && p[k] >= b[at + k] && p[k] <= b[at + 3 + k];
        if (here) return true;
    }
    return false;
}
"""

_WRITE = Kernel(
    "solid",
    "T stored, raw float64 b, raw float64 k, raw int8 distance, int32 structures, raw T fresh",
    "T out",
    _VOXEL
    + """
    out = inside(b, w) && !kept(k, distance, structures, w) ? fresh[z] : stored;
    """,
    _KEPT + _INSIDE,
)
_REGION = Kernel(
    "solid_region",
    "raw float64 b, raw float64 k, raw int8 distance, int32 structures",
    "bool region",
    _VOXEL + "region = inside(b, w) && !kept(k, distance, structures, w);",
    _KEPT + _INSIDE,
)
_WITHDRAW = Kernel(
    "withdraw",
    "raw float64 b, raw float64 k, raw int8 distance, int32 structures",
    "bool region",
    "if (region) {" + _VOXEL + "if (kept(k, distance, structures, w)) region = false; }",
    _KEPT,
)
_RESTORE = Kernel(
    "restore",
    "T stored, raw float64 b, raw float64 k, raw int8 distance, int32 structures",
    "T out",
    "if (out != stored) {" + _VOXEL + "if (kept(k, distance, structures, w)) out = stored; }",
    _KEPT,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Solid:
    """What lies beyond any of some planes and beyond all of others, and what lies in any of some boxes.

    Attributes
    ----------
    planes, within : sequences of (4,) tuples
        As `shear.beyond_planes` takes them.
    boxes : sequence of Box
    matrix : (4, 4) array
        World LPS mm -> the boxes' space.
    """

    planes: Sequence[tuple[float, float, float, float]] = ()
    within: Sequence[tuple[float, float, float, float]] = ()
    boxes: Sequence[Box] = ()
    matrix: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(4))

    def numbers(self, geometry: Geometry) -> np.ndarray:
        """As the kernel takes them, after those of `Geometry.root`."""
        parts: list[Any] = [geometry.root(), (len(self.planes), len(self.within), len(self.boxes))]
        parts.append(np.asarray(self.matrix, np.float64)[:3].ravel())
        for plane in (*self.planes, *self.within):
            order = order_of(plane[:3], geometry)
            parts += [plane, [*order, *[0] * (3 - len(order))], (len(order),)]
        for box in self.boxes:
            parts += [box.low, box.high]
        return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])

    def region(self, geometry: Geometry, protected: Sequence[Protected], xp: Any) -> Any:
        """Voxels of a block in the solid, but for what is protected: bool array on the device."""
        out = xp.empty(geometry.shape, dtype=bool)
        _REGION(xp, xp.asarray(self.numbers(geometry)), *_there(protected, xp), out)
        return out

    def filled(
        self,
        stored: Any,
        geometry: Geometry,
        value: float,
        slope: Any,
        intercept: Any,
        protected: Sequence[Protected],
        xp: Any,
    ) -> Any:
        """Stored values of a block with one real value in the solid, but in what is protected.

        Parameters
        ----------
        stored : (z, y, x) array
            On the device.
        geometry : Geometry
            Of the block.
        value : float
        slope, intercept : (z, 1, 1) arrays
        protected : sequence of Protected
        xp : module
        """
        slope, intercept = (to_numpy(part).astype(np.float32) for part in (slope, intercept))
        new = np.full((1, 1, 1), value, dtype=np.float32)
        fresh = np.broadcast_to(to_stored(new, slope, intercept, stored.dtype).ravel(), (geometry.shape[0],))
        block = xp.asarray(self.numbers(geometry))
        return _WRITE(xp, stored, block, *_there(protected, xp), xp.asarray(np.ascontiguousarray(fresh)))


def withdraw(region: Any, protected: Iterable[Protected], geometry: Geometry, xp: Any) -> None:
    """Take what is protected out of a region on a device, in place."""
    _WITHDRAW(xp, xp.asarray(geometry.root()), *_there(protected, xp), region)


def restore(out: Any, stored: Any, protected: Iterable[Protected], geometry: Geometry, xp: Any) -> None:
    """Put back what is protected into a block on a device, in place; both as whole numbers, see `plan.bits`."""
    _RESTORE(xp, stored, xp.asarray(geometry.root()), *_there(protected, xp), out)


def _there(protected: Iterable[Protected], xp: Any) -> tuple[Any, Any, int]:
    kept = tuple(protected)
    numbers, distances = _numbers(kept)
    return constant(numbers, xp), constant(distances, xp), len(kept)


@functools.lru_cache(maxsize=8)
def _numbers(protected: tuple[Protected, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What kernels ask of structures, and their distances one after the other; made once for a plan's."""
    numbers, first = [np.zeros(0)], 0
    for one in protected:
        matrix = index_matrix(one.grid)[:3].ravel()
        numbers.append(np.array([*matrix, *one.grid.shape, first, one.margin_mm]))
        first += one.distance.size
    distances = [one.distance.ravel() for one in protected] or [np.zeros(0, np.int8)]
    # a kernel's raw array is never empty
    return np.concatenate([*numbers, np.zeros(1)]), np.concatenate([*distances, np.zeros(1, np.int8)])

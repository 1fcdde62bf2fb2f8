"""Fused kernels for a device: many single operations on each element in one launch, with the bits that NumPy gives.

Each stands beside the plain expression that it stands for, and is taken where a namespace can compile one (CuPy's
``ElementwiseKernel``); elsewhere the expression itself is evaluated. A body makes the same operations, in the same
type and the same order, and the compiler may not contract a product and a sum into one rounding (`OPTIONS`). That,
and the rules below, make the bits equal by construction:

- nothing but ``+ - * /``, comparisons, ``floor``, ``rint``, ``sqrt``, ``ldexp`` and whole numbers: all of these are
  rounded correctly by every machine;
- a float becomes a whole number only where it fits: beyond that each machine does what it likes.

`defacedask.testing.strict_kernels` compiles the same bodies for the host, so that all this is tested without a card.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

__all__ = ["LINEAR", "OPTIONS", "PLACE", "Kernel", "fuses", "unfused"]

#: What every kernel is compiled with: no product and sum in one rounding.
OPTIONS = ("--fmad=false",)

#: Where a voxel lies. ``b`` holds the rows of a grid's affine (steps along z, y, x; origin) and ``m``, from ``at``
#: on, those of a map of places (x, y, z; shift). The sums are those of `Geometry.positions` and `apply_affine`, which
#: skip zeros.
PLACE = r"""
template <typename P> __device__ double world(const P& b, int row, double z, double y, double x) {
    double sum = b[4 * row + 3];
    if (b[4 * row] != 0.0) sum = sum + z * b[4 * row];
    if (b[4 * row + 1] != 0.0) sum = sum + y * b[4 * row + 1];
    if (b[4 * row + 2] != 0.0) sum = sum + x * b[4 * row + 2];
    return sum;
}
template <typename P> __device__ double mapped(const P& m, int at, int row, const double* p) {
    double sum = m[at + 4 * row + 3];
    for (int k = 0; k < 3; ++k) {
        double factor = m[at + 4 * row + k];
        if (factor != 0.0) sum = sum + factor * p[k];
    }
    return sum;
}
"""

#: Linear interpolation as `Between` has it: elements on both sides of an index along an axis, and their weights.
LINEAR = r"""
__device__ void sides(double index, int n, int* end, double* weight) {
    double low = floor(index), last = n - 1.0;
    double first = 1.0 - (index - low), high = low + 1.0;
    end[0] = (int)(low < 0.0 ? 0.0 : low > last ? last : low);
    end[1] = (int)(high < 0.0 ? 0.0 : high > last ? last : high);
    weight[0] = first;
    weight[1] = 1.0 - first;
}
__device__ bool outside_of(double index, int n) { return index < 0.0 || index > n - 1.0; }
"""

_fusing = [True]


def fuses(xp: Any) -> bool:
    """Whether a namespace can compile kernels, and is to."""
    return xp is not np and _fusing[0] and hasattr(xp, "ElementwiseKernel")


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """Evaluate the plain expressions on a device, as long as the block runs: to compare, in one thread."""
    was, _fusing[0] = _fusing[0], False
    try:
        yield
    finally:
        _fusing[0] = was


class Kernel:
    """One kernel, compiled by each namespace when it is first called there.

    Parameters
    ----------
    name : str
        As a profiler shows it.
    inputs, outputs : str
        Parameters as CuPy's ``ElementwiseKernel`` takes them.
    body : str
        C++ for one element.
    preamble : str
        Functions that the body calls.

    Attributes
    ----------
    known : list of Kernel
        All that were written, for tests of them all.
    """

    known: ClassVar[list[Kernel]] = []

    def __init__(self, name: str, inputs: str, outputs: str, body: str, preamble: str = "") -> None:
        self.name, self.inputs, self.outputs = f"defacedask_{name}", inputs, outputs
        self.body, self.preamble = body, preamble
        Kernel.known.append(self)
        self._made: weakref.WeakKeyDictionary[ModuleType, Any] = weakref.WeakKeyDictionary()

    def __call__(self, xp: Any, *arguments: Any, **more: Any) -> Any:
        """Launch it on arrays of a namespace; arguments as those of ``ElementwiseKernel``."""
        made = self._made.get(xp)
        if made is None:
            made = xp.ElementwiseKernel(
                self.inputs, self.outputs, self.body, self.name, preamble=self.preamble, options=OPTIONS
            )
            self._made[xp] = made
        return made(*arguments, **more)

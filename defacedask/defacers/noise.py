"""Noise that is a function of place: drawn on a world lattice from a secret key, the same in any chunking.

Every lattice point hashes its integer index with the key (a counter-based generator: no state, no order), so a
voxel's noise does not depend on the block, the grid or the machine that asks for it. All of it is integer
arithmetic and single float additions and products, so NumPy and CuPy give the same bits.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from defacedask.backend import to_numpy
from defacedask.defacers import noise_kernels
from defacedask.defacers.tiling import in_parts
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.kernels import fuses

__all__ = ["NoiseField", "hashed", "lattice_normals", "lattice_uniform", "sigma_from_correlation"]

#: Positions are snapped to this fraction of a lattice step: finer differences are rounding, not place.
SNAP = 64.0
#: Lattice points that NumPy works on at a time, so that they stay in a core's own cache; a GPU gets all of them.
_AT_ONCE = 2**16
_GOLDEN = 0x9E3779B97F4A7C15
#: To a variance of 1, of the sum of four 16-bit numbers.
_SCALE = 1.0 / math.sqrt(4 * (65536.0**2 - 1) / 12)


def _subkeys(key: bytes, stream: str) -> list[int]:
    digest = hashlib.sha256(len(key).to_bytes(4, "little") + key + stream.encode()).digest()
    return [int.from_bytes(digest[k : k + 8], "little") for k in range(0, 32, 8)]


def _mix(h: Any, xp: Any) -> Any:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection with full avalanche. Works in place."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        h ^= h >> xp.uint64(shift)
        h *= xp.uint64(factor)
    h ^= h >> xp.uint64(31)
    return h


def hashed(key: bytes, start: Sequence[int], stop: Sequence[int], *, stream: str = "", xp: Any = np) -> Any:
    """64 random bits for each lattice point of a box.

    Parameters
    ----------
    key : bytes
        Secret of the run and case.
    start, stop : (z, y, x) ints
        Lattice box, ``stop`` exclusive; indices may be negative.
    stream : str
        Independent fields from one key.
    xp : module
        Array namespace of the result.

    Returns
    -------
    uint64 array of shape ``stop - start``
    """
    keys = _subkeys(key, stream)
    h = xp.full((1, 1, 1), keys[3], dtype=xp.uint64)
    for axis in range(3):
        along = [1, 1, 1]
        along[axis] = stop[axis] - start[axis]
        index = xp.arange(start[axis], stop[axis], dtype=xp.int64).astype(xp.uint64).reshape(along)
        # one axis absorbed at a time: only the last step works on the whole box
        h = _mix((index * xp.uint64(_GOLDEN) + xp.uint64(keys[axis])) ^ h, xp)
    return h


def lattice_normals(
    key: bytes, start: Sequence[int], stop: Sequence[int], *, stream: str = "", xp: Any = np
) -> Any:
    """Draw about normal numbers of mean 0 and variance 1 (sum of four 16-bit numbers: no tails beyond 3.5).

    Returns
    -------
    float32 array of shape ``stop - start``
    """
    bits = hashed(key, start, stop, stream=stream, xp=xp)
    # two sums of two side by side, then the sum of these: in the lower half, and less than 2 ** 18
    every_other = xp.uint64(0x0000FFFF0000FFFF)
    total = bits & every_other
    bits >>= xp.uint64(16)
    bits &= every_other
    total += bits
    total += total >> xp.uint64(32)
    drawn = total.astype(xp.uint32).astype(xp.float32)
    drawn -= xp.float32(131070.0)
    drawn *= xp.float32(_SCALE)
    return drawn


def lattice_uniform(
    key: bytes, start: Sequence[int], stop: Sequence[int], *, stream: str = "", xp: Any = np
) -> Any:
    """Draw numbers in [0, 1) with 24 random bits; float32 array of shape ``stop - start``."""
    bits = hashed(key, start, stop, stream=stream, xp=xp)
    return (bits >> xp.uint64(40)).astype(xp.float32) * xp.float32(2.0**-24)


def sigma_from_correlation(correlation: float) -> float:
    """Width of the Gaussian (in steps) that gives white noise this correlation between neighbours.

    Correlations are clipped to 0..0.97; the answer is that of the sampled Gaussian, not of the continuous one.
    """
    rho = min(float(correlation), 0.97)
    if rho < 0.02:
        return 0.0
    low, high = 0.0, 3.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _neighbour(middle) < rho else (low, middle)
    return high


def _neighbour(sigma: float) -> float:
    """Correlation between neighbours after smoothing."""
    weights = _taps(sigma).astype(np.float64)
    return float((weights[1:] * weights[:-1]).sum())


@functools.lru_cache(maxsize=64)
def _taps(sigma: float) -> np.ndarray:
    """Gaussian weights with unit sum of squares; `[1]` for no smoothing."""
    radius = math.ceil(3.0 * sigma) if sigma > 0.05 else 0
    k = np.arange(-radius, radius + 1)
    w = np.exp(-0.5 * (k / sigma) ** 2) if radius else np.ones(1)
    return (w / math.sqrt(float((w**2).sum()))).astype(np.float32)


def _extent(whole: Sequence[Any], part: Sequence[Any], xp: Any) -> tuple[list[int], list[int], list[int]]:
    """Least and largest whole index along each axis, and whether any lies between; a device is waited for once."""
    facts = [w.min() for w in whole] + [w.max() for w in whole] + [(f != 0).any() for f in part]
    found = to_numpy(xp.stack([fact.astype(xp.int64) for fact in facts])).tolist()
    n = len(whole)
    return found[:n], found[n : 2 * n], found[2 * n :]


@dataclasses.dataclass(frozen=True)
class NoiseField:
    """Gaussian noise of unit variance all over space, with a chosen grain.

    Parameters
    ----------
    key : bytes
        Secret of the run and case.
    affine : (4, 4) nested tuple or array
        Lattice index (z, y, x, 1) to LPS mm: the grid of the image whose noise is imitated.
    sigma : (z, y, x)
        Correlation length along the lattice axes, in lattice steps (standard deviation of the Gaussian that
        white noise was smoothed with); 0 is white.
    stream : str
        Independent fields from one key.

    Raises
    ------
    InputError
        If the affine is singular.
    """

    key: bytes
    affine: Any
    sigma: tuple[float, float, float] = (0.0, 0.0, 0.0)
    stream: str = ""

    def __post_init__(self) -> None:
        matrix = np.asarray(self.affine, dtype=np.float64)
        if matrix.shape != (4, 4) or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise InputError("a noise lattice needs an affine that can be inverted.")

    @classmethod
    def on(
        cls, geometry: Geometry, key: bytes, *, sigma: Sequence[float] = (0, 0, 0), stream: str = ""
    ) -> NoiseField:
        """Noise on the grid of an image."""
        z, y, x = (float(s) for s in sigma)
        return cls(key, geometry.affine, (z, y, x), stream)

    def at(self, positions: tuple[Any, Any, Any], xp: Any = np, *, within: Geometry | None = None) -> Any:
        """Noise at world positions.

        Parameters
        ----------
        positions : tuple of float64 arrays
            x, y, z in LPS mm, broadcastable to one shape (see `Geometry.positions`).
        xp : module
            Array namespace.
        within : Geometry, optional
            A block that all positions are voxels of: a device need not be asked where they lie.

        Returns
        -------
        float32 array of the positions' broadcast shape
        """
        if within is not None and fuses(xp):
            return noise_kernels.read(*self.box(within, xp), positions, xp)
        if xp is not np or any(p.ndim != 1 for p in positions):
            return self._between(*self._split(positions, xp), xp)
        split = in_parts(lambda *some: itertools.chain(*self._split(some, xp)), *positions)
        return self._between(split[:3], split[3:], xp)

    def at_voxels(self, block: Geometry, at: Any, xp: Any = np) -> Any:
        """Noise at some voxels of a block, that of `at`; cheap where the lattice and the block are parallel.

        Parameters
        ----------
        block : Geometry
        at : (n,) int array
            Indices in the flat block, in the namespace ``xp``.
        xp : module

        Returns
        -------
        (n,) float32 array
        """
        if not fuses(xp):
            whole, part = self._split(block.positions(xp, np.float64), xp)
            if all(w.size == max(w.shape) for w in whole):  # one place a slice, a row or a column
                return self._between(
                    whole, part, xp, lambda one: xp.broadcast_to(one, block.shape).ravel().take(at)
                )
        index = xp.unravel_index(at, block.shape)
        return self.at(block.positions_at(index, xp), xp, within=block)

    def _split(self, positions: tuple[Any, Any, Any], xp: Any) -> tuple[list[Any], list[Any]]:
        """Along each axis of the lattice the point before a position, and the part of a step from there."""
        whole, part = [], []
        for along in self._index(positions, xp):
            floor = xp.floor(along)
            whole.append(floor.astype(xp.int64))
            part.append((along - floor).astype(xp.float32))
        return whole, part

    def _between(
        self,
        whole: Sequence[Any],
        part: Sequence[Any],
        xp: Any,
        chosen: Callable[[Any], Any] = lambda one: one,
    ) -> Any:
        """Values between the points of the lattice (see `_split`), of all positions or some."""
        if any(w.size == 0 for w in whole):
            return xp.zeros(xp.broadcast_shapes(*(w.shape for w in whole)), dtype=xp.float32)
        start, last, between = _extent(whole, part, xp)
        field = self._box(start, [n + 1 + b for n, b in zip(last, between, strict=True)], xp)
        _, ny, nx = field.shape
        table = field.ravel()
        low = chosen(((whole[0] - start[0]) * ny + (whole[1] - start[1])) * nx + (whole[2] - start[2]))
        axes = [axis for axis in range(3) if between[axis]]
        if not axes:
            return table.take(low)
        steps = [(ny * nx, nx, 1)[axis] for axis in axes]
        rho = [np.float32(_neighbour(self.sigma[axis])) for axis in axes]
        parts = [chosen(part[axis]) for axis in axes]
        if xp is not np or low.ndim != 1:
            return _interpolated(table, low, parts, steps, rho, xp)
        (found,) = in_parts(
            lambda low, *some: (_interpolated(table, low, some, steps, rho, xp),), low, *parts
        )
        return found

    def uniform(self, positions: tuple[Any, Any, Any], xp: Any = np) -> Any:
        """Uniform numbers in [0, 1) of the nearest lattice points (``sigma`` plays no part).

        Parameters
        ----------
        positions : tuple of float64 arrays
            x, y, z in LPS mm, broadcastable to one shape.
        xp : module
            Array namespace.

        Returns
        -------
        float32 array of the positions' broadcast shape
        """
        if fuses(xp):
            keys = _subkeys(self.key, self.stream)
            return noise_kernels.uniform_at(keys, *self._matrices, positions, xp)
        index = [xp.rint(along).astype(xp.int64) for along in self._index(positions, xp)]
        if any(i.size == 0 for i in index):
            return xp.zeros(xp.broadcast_shapes(*(i.shape for i in index)), dtype=xp.float32)
        start, last, _ = _extent(index, (), xp)
        field = lattice_uniform(self.key, start, [n + 1 for n in last], stream=self.stream, xp=xp)
        z, y, x = (i - s for i, s in zip(index, start, strict=True))
        return field.ravel().take((z * field.shape[1] + y) * field.shape[2] + x)

    def _index(self, positions: tuple[Any, Any, Any], xp: Any) -> Iterator[Any]:
        """Place on the lattice along each of its axes, in steps of ``1 / SNAP``; broadcastable float64 arrays."""
        inverse, matrix = self._matrices
        for row in range(3):
            along: Any = xp.zeros((1,) * positions[0].ndim, dtype=xp.float64)
            for k in range(3):
                if inverse[row, k] != 0.0:
                    along = along + (positions[k] - matrix[k, 3]) * inverse[row, k]
            yield xp.rint(along * SNAP) / SNAP

    @property
    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """From mm, once the shift is taken off, to steps of the lattice; and the lattice's affine."""
        matrix = np.asarray(self.affine, dtype=np.float64)
        inverse = np.linalg.inv(matrix[:3, :3])
        inverse[np.abs(inverse) < 1e-12] = 0.0
        return inverse, matrix

    def box(self, within: Geometry, xp: Any) -> tuple[Any, np.ndarray]:
        """Values on the lattice around a block, on a device.

        Returns
        -------
        (z, y, x) float32 array
        (20,) float64 array
            What kernels take to read it (see `noise_kernels.lattice_numbers`), on the host.
        """
        taps = [_taps(s) for s in self.sigma]
        inverse, matrix = self._matrices
        start, stop = noise_kernels.extent(inverse, matrix, within)
        low = [a - len(t) // 2 for a, t in zip(start, taps, strict=True)]
        shape = [b + len(t) // 2 - a for a, b, t in zip(low, stop, taps, strict=True)]
        drawn = noise_kernels.draw(_subkeys(self.key, self.stream), low, shape, _SCALE, xp)
        field = noise_kernels.smooth(drawn, taps, xp)
        rho = [_neighbour(s) for s in self.sigma]
        return field, noise_kernels.lattice_numbers(inverse, matrix, start, field.shape, rho)

    def _box(self, start: Sequence[int], stop: Sequence[int], xp: Any) -> Any:
        """Smoothed lattice values of a box; the halo is drawn too, so the box does not matter."""
        taps = [_taps(s) for s in self.sigma]
        halo = [len(t) // 2 for t in taps]
        low = [a - h for a, h in zip(start, halo, strict=True)]
        high = [b + h for b, h in zip(stop, halo, strict=True)]
        rows = _AT_ONCE // ((high[1] - low[1]) * (high[2] - low[2])) if xp is np else high[0] - low[0]

        def draw(a: int, b: int) -> Any:
            begin, end = [low[0] + a, *low[1:]], [low[0] + b, *high[1:]]
            return lattice_normals(self.key, begin, end, stream=self.stream, xp=xp)

        drawn = _by_slabs(draw, [b - a for a, b in zip(low, high, strict=True)], rows, xp)
        if not any(halo):
            return drawn

        def smooth(a: int, b: int) -> Any:
            slab = drawn[a : b + 2 * halo[0]]
            for axis, weights in enumerate(taps):
                slab = _weighted(slab, axis, weights, xp)
            return slab

        return _by_slabs(smooth, [b - a for a, b in zip(start, stop, strict=True)], rows, xp)


def _interpolated(
    table: Any, low: Any, parts: Sequence[Any], steps: Sequence[int], rho: Sequence[Any], xp: Any
) -> Any:
    """Values between points of a flat lattice, with the variance that they have on it.

    Parameters
    ----------
    table : array
        Values on the points.
    low : array of int
        Point before each place.
    parts : sequence of arrays
        Of the step from there, along each axis.
    steps : sequence of int
        To the next point in the table, along each axis.
    rho : sequence of float32
        Correlation between neighbours, along each axis.
    xp : module
    """
    # corners in a fixed order, each with the product of its weights: the last axis changes fastest
    corners: list[tuple[int, Any]] = [(0, None)]
    for f, step in zip(parts, steps, strict=True):
        sides = ((0, xp.float32(1.0) - f), (step, f))
        corners = [
            (at + more, side if weight is None else weight * side)
            for at, weight in corners
            for more, side in sides
        ]
    total, variance = None, None
    for at, weight in corners:
        value = weight * table.take(low + at)
        total = value if total is None else total + value
    for f, r in zip(parts, rho, strict=True):
        # what linear interpolation between correlated neighbours leaves of the variance
        left = (1 - f) * (1 - f) + f * f + 2 * r * f * (1 - f)
        variance = left if variance is None else variance * left
    return total / xp.sqrt(variance)


def _by_slabs(make: Callable[[int, int], Any], shape: Sequence[int], rows: int, xp: Any) -> Any:
    """Float32 array of what ``make`` gives of its planes a to b, some at a time."""
    if rows >= shape[0]:
        return make(0, shape[0])
    out = xp.empty(shape, dtype=xp.float32)
    step = max(1, rows)
    for a in range(0, shape[0], step):
        b = min(a + step, shape[0])
        out[a:b] = make(a, b)
    return out


def _weighted(values: Any, axis: int, weights: np.ndarray, xp: Any) -> Any:
    """Weighted sum of neighbours along an axis, where all of them are there; always added in the same order."""
    if len(weights) == 1:
        return values
    n = values.shape[axis] - len(weights) + 1
    total = None
    for k, w in enumerate(weights):
        piece = values[(slice(None),) * axis + (slice(k, k + n),)] * xp.float32(w)
        if total is None:
            total = piece
        else:
            total += piece
    return total

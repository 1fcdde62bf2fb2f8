"""What an image's tissue, air and noise look like, so that an average face can be painted in its own values."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.backend import constant
from defacedask.defacers.base import record
from defacedask.defacers.noise import sigma_from_correlation
from defacedask.kernels import Kernel, fuses
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "PAINT",
    "UNKNOWN",
    "Noise",
    "Palette",
    "ct_map",
    "measure_noise",
    "quantile_map",
    "robust_air",
    "smooth_fill",
]


#: `Palette.paint` for kernels; of each knot its two values and the slope to the next.
PAINT = """
template <typename K> __device__ float painted_as(float value, const K& knots, int count) {
    float found = knots[1];
    for (int k = 0; k < count - 1; ++k) {
        float over = value - knots[3 * k];
        over = over * knots[3 * k + 2];
        if (value >= knots[3 * k]) found = knots[3 * k + 1] + over;
    }
    return value >= knots[3 * count - 3] ? knots[3 * count - 2] : found;
}
"""
_PAINT = Kernel(
    "paint",
    "float32 value, raw float32 knots, int32 count",
    "float32 out",
    "out = painted_as(value, knots, count);",
    PAINT,
)


@record
@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """Amplitude and grain of an image's noise.

    Attributes
    ----------
    tissue, air : float
        Standard deviation in tissue and (of one of two channels, on MR) in air; units of the image.
    lattice : (4, 4) array
        Grid of the image: index (z, y, x) to LPS mm.
    sigma : (z, y, x)
        Grain, in steps of that grid (see `NoiseField`).
    """

    kind: ClassVar[str] = "Noise"

    tissue: float
    air: float
    lattice: np.ndarray
    sigma: tuple[float, float, float]

    def summary(self) -> dict[str, Any]:
        """Amplitudes and grain."""
        return {"tissue": self.tissue, "air": self.air, "grain": [round(s, 2) for s in self.sigma]}


@record
@dataclasses.dataclass(frozen=True, eq=False)
class Palette:
    """How the average's values become the image's.

    Attributes
    ----------
    modality : str
    template : str
        Which form of the average is painted: ``average_ct`` or ``average_t1``.
    knots : tuple of (average, image) pairs
        Piecewise linear map of values.
    noise : Noise
    field : (z, y, x) int8 or uint16 array
        On the plan's coarse grid; MR: gain in steps of 1/48 octave; RTDOSE: dose in steps of ``step``; else empty.
    step : float
        Unit of ``field`` for dose, Gy.
    air : float
        Robust mean of the image's air.
    clean_above : float
        Air above this is a ghost or wrapped tissue (MR); infinite: nothing is.
    deep : (z, y, x) int8 array
        RTDOSE: mm from where the dose ends, on the grid of ``field``, in steps of 0.25 mm; else empty.
    """

    kind: ClassVar[str] = "Palette"

    modality: str
    template: str
    knots: tuple[tuple[float, float], ...]
    noise: Noise
    field: np.ndarray
    step: float
    air: float
    clean_above: float
    deep: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0, 0), np.int8))

    def summary(self) -> dict[str, Any]:
        """Modality, map and noise."""
        return {
            "modality": self.modality,
            "template": self.template,
            "map": [[round(a, 1), round(b, 3)] for a, b in self.knots],
            "noise": self.noise.summary(),
            "air": self.air,
            "clean_above": None if np.isinf(self.clean_above) else self.clean_above,
        }

    def paint(self, values: Any, xp: Any = np) -> Any:
        """Average's values (float32) in the image's units, without gain."""
        if fuses(xp) and values.dtype == np.float32:
            return _PAINT(xp, values, constant(self.segments, xp), len(self.knots))
        xs, ys = np.array(self.knots, dtype=np.float32).T
        # segment by segment, so that every library makes the same sums
        out = xp.full(values.shape, float(self.knots[0][1]), dtype=xp.float32)
        for k in range(len(self.knots) - 1):
            slope = (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
            out = xp.where(values >= xs[k], ys[k] + (values - xs[k]) * slope, out)
        return xp.where(values >= xs[-1], ys[-1], out).astype(xp.float32)

    @functools.cached_property
    def segments(self) -> np.ndarray:
        """Of each knot its two values and the slope to the next, float32."""
        xs, ys = np.array(self.knots, dtype=np.float32).T
        slopes = [(ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k]) for k in range(len(xs) - 1)]
        return np.column_stack([xs, ys, np.array([*slopes, 0.0], np.float32)]).ravel()


#: Stands in until an image has been measured.
UNKNOWN = Palette(
    "", "average_ct", (), Noise(0.0, 0.0, np.eye(4), (0.0, 0.0, 0.0)), np.zeros((0, 0, 0)), 0.0, 0.0, 0.0
)


def ct_map(values: np.ndarray, air: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Map of HU: the average's fat, muscle and air to the patient's, all else as it is.

    Parameters
    ----------
    values : array
        HU of the patient's soft tissue near the face.
    air : array
        HU around the patient: scanners, and what is done to images after them, differ in what air has.
    """
    empty = air[air < -900]
    air_to = float(np.median(empty)) if empty.size > 300 else -1000.0
    fat = values[(values > -160) & (values < -40)]
    lean = values[(values > 0) & (values < 140)]
    fat_to = float(np.median(fat)) if fat.size > 300 else -95.0
    lean_to = float(np.median(lean)) if lean.size > 300 else 55.0
    return (
        (-1000.0, air_to),
        (-700.0, -700.0),
        (-95.0, fat_to),
        (55.0, lean_to),
        (350.0, 350.0),
        (2000.0, 2000.0),
    )


def quantile_map(average: np.ndarray, image: np.ndarray, air: float) -> tuple[tuple[float, float], ...]:
    """Map of MR values between matched places: by quantiles where both rise together, else by medians.

    Parameters
    ----------
    average, image : arrays
        Values of the average and of the image at the same places in tissue.
    air : float
        Image's air: what the average's 0 becomes.
    """
    levels = np.linspace(0.03, 0.99, 13)
    xs = np.quantile(average, levels)
    order_a, order_b = average.argsort().argsort(), image.argsort().argsort()
    together = float(np.corrcoef(order_a, order_b)[0, 1])
    if together > 0.15:
        ys = np.quantile(image, levels)
    else:
        # another contrast (T2, FLAIR): what the image shows where the average has this value
        near = [np.abs(order_a / len(average) - q) < 0.05 for q in levels]
        ys = np.array([np.median(image[n]) for n in near])
    keep = np.concatenate([[True], np.diff(xs) > 1e-3 * max(float(np.ptp(xs)), 1e-6)]) & (xs > 1)
    pairs = [(0.0, air), *zip(xs[keep].tolist(), ys[keep].tolist(), strict=True)]
    return tuple((float(a), float(b)) for a, b in pairs)


def robust_air(values: np.ndarray) -> float:
    """Mean of air without its brightest tenth (ghosts, wrap, tubes); 0 for no values."""
    if values.size == 0:
        return 0.0
    return float(values[values <= np.quantile(values, 0.9)].mean())


def measure_noise(
    volume: xr.DataArray, centre: np.ndarray, where: Any, *, size_mm: float = 40.0
) -> tuple[float, Any]:
    """Noise of an image where it is even: amplitude, and grain.

    Parameters
    ----------
    volume : xarray.DataArray
        The image, on its own grid; only a box of it is read.
    centre : (3,) array
        LPS mm of the middle of that box.
    where : callable
        From LPS points (n, 3) to bool: which count.
    size_mm : float
        Side of the box, mm.

    Returns
    -------
    amplitude : float
        Standard deviation, real units; 0 if too few voxels count.
    grain : (z, y, x) tuple of float
        See `NoiseField`.
    """
    from scipy.ndimage import gaussian_filter, uniform_filter

    nothing = 0.0, (0.0, 0.0, 0.0)
    geometry = geometry_of(volume)
    index = geometry.to_index(centre)
    reach = size_mm / 2 / np.array(geometry.spacing)
    first = np.clip(np.floor(index - reach), 0, np.array(geometry.shape) - 1).astype(int)
    last = np.clip(np.ceil(index + reach) + 1, first + 1, geometry.shape).astype(int)
    data = volume.data[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    if hasattr(data, "compute"):
        data = data.compute(scheduler="synchronous")
    data = data.get() if hasattr(data, "get") else data
    slope = np.asarray(volume.coords["slope"].values, np.float32)[first[0] : last[0], None, None]
    values = data.astype(np.float32) * slope
    grid = geometry.block(first.tolist(), last.tolist())
    points = np.argwhere(np.ones(values.shape, bool))
    keep = where(grid.to_world(points))
    if keep.sum() < 150:
        return nothing
    # thick slices differ by anatomy, not by noise: only neighbours along the finer axes are compared
    flat = [s <= 1.8 * min(geometry.spacing) for s in geometry.spacing]
    rest = values - gaussian_filter(values, [1.2 if f else 0.0 for f in flat])
    local = uniform_filter(rest * rest, [5 if f else 1 for f in flat])
    at = tuple(points[keep].T)
    # anatomy only adds: the evenest quarter is noise (its variances, of small samples, are a little low)
    even = local[at] <= np.quantile(local[at], 0.25)
    chosen = tuple(a[even] for a in at)
    k = np.exp(-0.5 * (np.arange(-4, 5) / 1.2) ** 2)
    kept = 1 - float((k / k.sum())[4]) ** sum(flat)
    amplitude = float(np.sqrt(np.median(local[chosen]) / 0.85 / kept))
    part, grain = rest[chosen], []
    for axis, f in enumerate(flat):
        moved = list(chosen)
        moved[axis] = np.minimum(moved[axis] + 1, values.shape[axis] - 1)
        other = rest[tuple(moved)]
        spread = float(np.sqrt((part**2).mean() * (other**2).mean()))
        rho = float((part * other).mean()) / spread if f and spread > 0 else 0.0
        # after the high-pass, neighbours of white noise are a little unlike
        grain.append(sigma_from_correlation((rho + 0.1) / 1.1) if f else 0.0)
    return amplitude, tuple(grain)


def smooth_fill(values: np.ndarray, known: np.ndarray, sigmas: tuple[float, ...]) -> np.ndarray:
    """Spread known values over a grid: the nearest ones where there are any, farther ones elsewhere.

    Parameters
    ----------
    values : (z, y, x) array
    known : (z, y, x) array
        Weight of each value, 0 where unknown.
    sigmas : tuple of float
        Standard deviations of the Gaussians, in voxels, from fine to coarse.
    """
    from scipy.ndimage import gaussian_filter

    known = known.astype(np.float32)
    total, weight = np.zeros(values.shape, np.float32), np.full(values.shape, 1e-9, np.float32)
    for k, sigma in enumerate(sigmas):
        share = np.float32(0.03**k)
        total += share * gaussian_filter((values * known).astype(np.float32), sigma, mode="constant")
        weight += share * gaussian_filter(known, sigma, mode="constant")
    return total / weight

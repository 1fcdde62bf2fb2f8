"""First-order radiomics of structures, before and after defacing.

The ten features of the study with the definitions of pyradiomics 3.0.1 (``radiomics.firstorder``), from the
distinct grey levels of a structure and how often each occurs. That is the same sum in another order, and on
CT a small fraction of the work; tests hold it to the full extractor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from defacedask.errors import InputError

__all__ = ["FEATURES", "SETTINGS", "compare_many", "compare_structures", "first_order", "percent_change"]

#: The study's features, in the order of its tables.
FEATURES = (
    "90Percentile",
    "Energy",
    "Entropy",
    "Kurtosis",
    "Maximum",
    "Median",
    "Range",
    "Skewness",
    "Uniformity",
    "Variance",
)
#: pyradiomics' settings in use; written to the study's configuration.
SETTINGS = {"binWidth": 25, "voxelArrayShift": 0, "definitions": "pyradiomics 3.0.1 firstorder"}
#: Grey-level features closer to zero than this part of the structure's standard deviation make a percentage
#: of themselves meaningless; skewness (dimensionless) is held to the same number.
NEAR_ZERO = 0.05


def first_order(
    values: Any, mask: Any | None = None, *, bin_width: float = 25, shift: float = 0
) -> dict[str, float]:
    """Ten first-order features of the voxels inside a mask.

    Parameters
    ----------
    values : array
        Real values (HU, SUV, ...), of any shape.
    mask : bool array, optional
        Of the same shape; all voxels if not given.
    bin_width : float
        Of the histogram behind Entropy and Uniformity; edges are multiples of it.
    shift : float
        pyradiomics' ``voxelArrayShift``, added before Energy.

    Returns
    -------
    dict
        One float for each of `FEATURES`; all nan without a voxel or with a value that is not finite. Kurtosis
        is not corrected by -3. A flat structure has Skewness and Kurtosis 0, as pyradiomics says.

    Raises
    ------
    InputError
        If shapes differ.
    """
    values = np.asarray(values)
    if mask is not None:
        mask = np.asarray(mask, dtype=bool)
        if mask.shape != values.shape:
            raise InputError(f"a mask of {mask.shape} does not fit values of {values.shape}.")
        values = values[mask]
    levels, counts = _levels(values.ravel())
    return _from_levels(levels, counts, bin_width, shift)


def _levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, ascending, in the values' own precision, and how often each occurs."""
    if values.size and values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        whole = (
            np.isfinite(low) and np.isfinite(high) and high - low < 65536 and max(abs(low), abs(high)) < 2**24
        )
        if whole:
            integers = values.astype(np.int32)
            whole = bool((integers == values).all())
    elif values.size and values.dtype.kind in "iu":
        whole = int(values.max()) - int(values.min()) < 65536
        integers = values
    else:
        whole = False
    if not whole:
        return np.unique(values, return_counts=True)
    low = int(integers.min())
    counts = np.bincount(integers.astype(np.int64) - low)
    present = np.flatnonzero(counts)
    return (present + low).astype(values.dtype), counts[present]


def _from_levels(levels: np.ndarray, counts: np.ndarray, bin_width: float, shift: float) -> dict[str, float]:
    total = int(counts.sum())
    if total == 0 or not np.isfinite(levels.astype(np.float64)).all():
        return dict.fromkeys(FEATURES, float("nan"))
    x = levels.astype(np.float64)
    weight = counts.astype(np.float64)
    reached = np.cumsum(counts)

    def ordered(rank: int) -> float:
        return float(x[np.searchsorted(reached, rank, side="right")])

    def quantile(q: float) -> float:
        place = q * (total - 1)
        below = int(np.floor(place))
        low, high = ordered(below), ordered(min(below + 1, total - 1))
        return low + (high - low) * (place - below)

    mean = float((weight * x).sum() / total)
    from_mean = x - mean
    square = from_mean * from_mean
    m2 = float((weight * square).sum() / total)
    m3 = float((weight * square * from_mean).sum() / total)
    m4 = float((weight * square * square).sum() / total)
    flat = len(levels) == 1
    portion = _histogram(levels, counts, bin_width) / total
    return {
        "90Percentile": quantile(0.9),
        "Energy": float((weight * (x + shift) ** 2).sum()),
        "Entropy": float(-(portion * np.log2(portion + np.spacing(1))).sum()),
        "Kurtosis": 0.0 if flat else m4 / m2**2,
        "Maximum": float(x[-1]),
        "Median": quantile(0.5),
        "Range": float(x[-1] - x[0]),
        "Skewness": 0.0 if flat else m3 / m2**1.5,
        "Uniformity": float((portion**2).sum()),
        "Variance": 0.0 if flat else m2,
    }


def _histogram(levels: np.ndarray, counts: np.ndarray, width: float) -> np.ndarray:
    """Voxels in each bin that holds any; edges at multiples of ``width``, bins open above."""
    first = levels[0]
    if levels.dtype.kind in "iu":
        first = int(first)  # small integer types overflow where the last edge is made
        edges = np.arange(first - first % width, int(levels[-1]) + 2 * width, width)
    else:
        edges = np.arange(first - (first % width), levels[-1] + 2 * width, width)
    bins = np.digitize(levels, edges)
    held = np.bincount(bins - bins[0], weights=counts)
    return held[held > 0]


def percent_change(original: float, defaced: float) -> float:
    """``100 * (original - defaced) / original``: negative if defacing increased the value.

    Equal values give exactly 0, also where both are 0; nan where only the original is 0 or one is nan.
    The sign is the study's: its table has changes below -100 % of features that cannot be negative.
    """
    if original == defaced:
        return 0.0
    if original == 0 or not np.isfinite(original) or not np.isfinite(defaced):
        return float("nan")
    return 100.0 * (original - defaced) / original


def compare_structures(
    original: Any,
    defaced: Any,
    structures: Iterable[Any],
    geometry: Any | None = None,
    *,
    bin_width: float = 25,
    voxel_array_shift: float = 0,
) -> list[dict[str, Any]]:
    """Ten features of each structure in the original and in the defaced image.

    Parameters
    ----------
    original, defaced : arrays
        (z, y, x) values on the structures' grid: NumPy, Dask or xarray. Floating-point values and plain arrays
        are taken as real ones (HU, SUV, ...); a volume of stored integers is rescaled by its slope and
        intercept.
    structures : iterable of Structure
        With ``name``, ``start`` and ``mask``.
    geometry : Geometry, optional
        Of the images; checked against their shape.
    bin_width, voxel_array_shift : float
        pyradiomics' settings of these names.

    Returns
    -------
    list of dict
        One row a (structure, feature): structure, feature, original, defaced, percent
        (`percent_change`), voxels, voxels_changed, note. ``note`` names what keeps a percentage from
        meaning what it says: ``no voxels``, ``flat``, ``zero denominator``, ``near-zero denominator``,
        ``not finite``.

    Raises
    ------
    InputError
        If shapes differ or a structure does not fit.
    """
    return compare_many(
        original,
        {"": defaced},
        structures,
        geometry,
        bin_width=bin_width,
        voxel_array_shift=voxel_array_shift,
    )[""]


def compare_many(
    original: Any,
    defaced: Mapping[str, Any],
    structures: Iterable[Any],
    geometry: Any | None = None,
    *,
    bin_width: float = 25,
    voxel_array_shift: float = 0,
) -> dict[str, list[dict[str, Any]]]:
    """`compare_structures` for several defacers, with the original read and measured once.

    Parameters
    ----------
    original : array
        As in `compare_structures`.
    defaced : mapping
        Defacer to array.
    structures, geometry, bin_width, voxel_array_shift
        As in `compare_structures`.

    Returns
    -------
    dict
        Defacer to rows.
    """
    shape = tuple(original.shape)
    for name, image in defaced.items():
        if tuple(image.shape) != shape:
            raise InputError(f"the defaced image {name} is {tuple(image.shape)}, the original {shape}.")
    if geometry is not None and tuple(geometry.shape) != shape:
        raise InputError(f"the images are {shape}, their grid {tuple(geometry.shape)}.")
    parts = [_Part(s.name, tuple(s.start), np.asarray(s.mask, dtype=bool)) for s in structures]
    for part in parts:
        if min(part.start) < 0 or any(e > s for e, s in zip(part.stop, shape, strict=True)):
            raise InputError(f"structure {part.name} does not fit an image of {shape}.")
    used = [part for part in parts if part.mask.any()]
    corner = tuple(min((part.start[a] for part in used), default=0) for a in range(3))
    reach = tuple(max((part.stop[a] for part in used), default=0) for a in range(3))
    union = tuple(slice(a, b) for a, b in zip(corner, reach, strict=True))

    def inside(values: np.ndarray, part: _Part) -> np.ndarray:
        if not part.mask.any():
            return values.ravel()[:0]
        box = tuple(slice(a - c, b - c) for a, b, c in zip(part.start, part.stop, corner, strict=True))
        return values[box][part.mask]

    image = _read(original, union)
    before = [inside(image, part) for part in parts]
    features = [first_order(values, bin_width=bin_width, shift=voxel_array_shift) for values in before]
    out = {}
    for name, other in defaced.items():
        image = _read(other, union)
        rows = []
        for part, old, known in zip(parts, before, features, strict=True):
            new = inside(image, part)
            different = old != new
            if old.dtype.kind == "f" and new.dtype.kind == "f":
                different &= ~(np.isnan(old) & np.isnan(new))
            changed = int(np.count_nonzero(different))
            after = first_order(new, bin_width=bin_width, shift=voxel_array_shift) if changed else known
            rows += _rows(part.name, known, after, len(old), changed)
        out[name] = rows
    return out


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """A structure whose mask was read once."""

    name: str
    start: tuple[int, ...]
    mask: np.ndarray

    @property
    def stop(self) -> tuple[int, ...]:
        return tuple(a + n for a, n in zip(self.start, self.mask.shape, strict=True))


def _read(image: Any, box: tuple[slice, ...]) -> np.ndarray:
    """Real values of the part of an image that holds all structures, in one read."""
    part = image[box]
    coords = getattr(part, "coords", {})
    values = np.asarray(part)
    if values.dtype.kind in "iu" and "slope" in coords:
        slope, intercept = (np.asarray(coords[k].values)[:, None, None] for k in ("slope", "intercept"))
        if (slope != 1).any() or (intercept != 0).any():
            values = (values.astype(np.float32) * slope.astype(np.float32)) + intercept.astype(np.float32)
    return values


def _rows(name: str, before: dict, after: dict, voxels: int, changed: int) -> list[dict[str, Any]]:
    deviation = before["Variance"] ** 0.5 if voxels else 0.0
    rows = []
    for feature in FEATURES:
        old, new = before[feature], after[feature]
        rows.append(
            {
                "structure": name,
                "feature": feature,
                "original": old,
                "defaced": new,
                "percent": percent_change(old, new),
                "voxels": voxels,
                "voxels_changed": changed,
                "note": _note(feature, old, new, voxels, deviation),
            }
        )
    return rows


def _note(feature: str, old: float, new: float, voxels: int, deviation: float) -> str:
    if voxels == 0:
        return "no voxels"
    if not np.isfinite(old) or not np.isfinite(new):
        return "not finite"
    notes = []
    if deviation == 0:
        notes.append("flat")
    scale = {"Median": deviation, "90Percentile": deviation, "Maximum": deviation, "Skewness": 1.0}
    if old == 0:
        notes.append("zero denominator")
    elif abs(old) < NEAR_ZERO * scale.get(feature, 0.0):
        notes.append("near-zero denominator")
    return "; ".join(notes)

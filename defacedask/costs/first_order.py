"""First-order features of a set of voxels.

The ten features of the study with the definitions of pyradiomics 3.0.1 (``radiomics.firstorder``), from the
distinct grey levels of a structure and how often each occurs. That is the same sum in another order, and on
CT a small fraction of the work; tests hold it to the full extractor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from defacedask.costs.features import TEN_FEATURES
from defacedask.errors import InputError

__all__ = ["first_order", "percent_change"]


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
        One float for each of `TEN_FEATURES`; all nan without a voxel or with a value that is not finite. Kurtosis
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
        return dict.fromkeys(TEN_FEATURES, float("nan"))
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

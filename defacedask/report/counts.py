"""An interval of the median that holds for few cases: exact, and without random numbers."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtr

__all__ = ["median_interval"]


def median_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Median with an interval by order statistics, free of assumptions on the distribution.

    Parameters
    ----------
    values : (n,) array
    confidence : float

    Returns
    -------
    median, low, high : float
        With fewer than six values no pair of order statistics covers 95 %: low and high are then NaN.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if n == 0:
        return math.nan, math.nan, math.nan
    middle = float(np.median(ordered))
    # the largest k with P(Binomial(n, 1/2) < k) < tail: from the k-th smallest to the k-th largest
    k = int(np.searchsorted(bdtr(np.arange(n + 1), n, 0.5), (1 - confidence) / 2))
    if k < 1:
        return middle, math.nan, math.nan
    return middle, float(ordered[k - 1]), float(ordered[n - k])

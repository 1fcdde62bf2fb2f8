"""Intervals of counts and medians that hold for few cases: exact, and without random numbers."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

__all__ = ["exact_interval", "median_interval", "upper_bound"]


def exact_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion, two-sided.

    Parameters
    ----------
    successes, trials : int
    confidence : float

    Returns
    -------
    low, high : float
        Shares 0..1; (0, 1) without trials.

    References
    ----------
    Clopper & Pearson, Biometrika 26 (1934) 404.
    """
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(stats.beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def upper_bound(successes: int, trials: int, confidence: float = 0.95) -> float:
    """One-sided exact upper bound of a proportion; ``1 - 0.05**(1/n)`` for 0 of n, 1 without trials."""
    if trials == 0 or successes == trials:
        return 1.0
    return float(stats.beta.ppf(confidence, successes + 1, trials - successes))


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
    k = int(stats.binom.ppf((1 - confidence) / 2, n, 0.5))
    if k < 1:
        return middle, math.nan, math.nan
    return middle, float(ordered[k - 1]), float(ordered[n - k])

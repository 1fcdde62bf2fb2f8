"""Rates with their uncertainty: exact intervals, ROC, calibration, bootstrap. Plain NumPy, no pictures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from defacedask.errors import InputError

__all__ = [
    "Calibration",
    "Roc",
    "at_least",
    "auc_and_tpr",
    "bootstrap_interval",
    "bootstrap_intervals",
    "calibrate_threshold",
    "cmc",
    "exact_interval",
    "roc",
    "sweep",
    "upper_bound",
]


def upper_bound(count: int, n: int, confidence: float = 0.95) -> float:
    """One-sided exact upper bound of a rate (Clopper and Pearson 1934).

    Parameters
    ----------
    count, n : int
        Events and trials.
    confidence : float
        0.95 gives ``1 - 0.05**(1/n)`` when nothing happened.

    Returns
    -------
    float
        Between 0 and 1; NaN without trials.

    Raises
    ------
    InputError
        If the count does not lie between 0 and n.
    """
    _check(count, n)
    if n == 0:
        return math.nan
    if count == n:
        return 1.0
    if count == 0:
        return 1.0 - (1.0 - confidence) ** (1.0 / n)
    from scipy.special import betaincinv  # the same as `scipy.stats.beta.ppf`, whose import takes 0.7 s

    return float(betaincinv(count + 1, n - count, confidence))


def exact_interval(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided exact interval of a rate (Clopper and Pearson 1934); NaNs without trials.

    Raises
    ------
    InputError
        If the count does not lie between 0 and n.
    """
    _check(count, n)
    if n == 0:
        return math.nan, math.nan
    from scipy.special import betaincinv

    tail = (1.0 - confidence) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, tail))
    return low, upper_bound(count, n, 1.0 - tail)


def at_least(count: int, n: int, rate: float) -> float:
    """Probability of so many events or more in n trials of a known rate (one-sided binomial test).

    Raises
    ------
    InputError
        If the count does not lie between 0 and n.
    """
    _check(count, n)
    if count == 0:
        return 1.0
    from scipy.special import betainc

    return float(betainc(count, n - count + 1, rate))


def _check(count: int, n: int) -> None:
    if not 0 <= count <= n:
        raise InputError(f"{count} events in {n} trials is not a rate.")


@dataclasses.dataclass(frozen=True, eq=False)
class Roc:
    """Receiver operating characteristic of a distance: small means same person.

    Attributes
    ----------
    thresholds : (k,) array
        Rising, starting below the smallest distance.
    fpr, tpr : (k,) arrays
        Share of impostor and of genuine comparisons at or below each threshold.
    auc : float
        Chance that a genuine distance is smaller than an impostor one, ties counting half; comparisons
        without a face are at infinity.
    """

    thresholds: np.ndarray
    fpr: np.ndarray
    tpr: np.ndarray
    auc: float

    def threshold_at(self, fpr: float) -> float:
        """Largest threshold whose false positive rate does not exceed ``fpr``.

        Halfway to the next distance of all, so that it does not sit on a sample.
        """
        k = int(np.flatnonzero(self.fpr <= fpr + 1e-12)[-1])
        if k + 1 == len(self.thresholds):
            return float(self.thresholds[k])
        if k == 0:
            return float(np.nextafter(self.thresholds[1], -np.inf))
        return float((self.thresholds[k] + self.thresholds[k + 1]) / 2)

    def tpr_at(self, fpr: float) -> float:
        """True positive rate at a false positive rate of at most ``fpr``."""
        return float(self.tpr[np.flatnonzero(self.fpr <= fpr + 1e-12)[-1]])

    @property
    def eer(self) -> tuple[float, float]:
        """Equal error rate and the threshold where it is reached."""
        k = int(np.argmin(np.abs(self.fpr - (1 - self.tpr))))
        return float((self.fpr[k] + 1 - self.tpr[k]) / 2), float(self.thresholds[k])


def roc(genuine: Any, impostor: Any) -> Roc:
    """Compare distances of the same person with those of different persons.

    Parameters
    ----------
    genuine, impostor : (n,), (m,) arrays
        Distances; NaN means that no face was there to compare, and counts as never matching.

    Raises
    ------
    InputError
        If either is empty.
    """
    same, other = _distances(genuine), _distances(impostor)
    if not len(same) or not len(other):
        raise InputError("a ROC needs comparisons of the same and of different persons.")
    finite = np.unique(np.concatenate([same, other]))
    finite = finite[np.isfinite(finite)]
    thresholds = np.concatenate([[finite[0] - 1.0 if len(finite) else 0.0], finite])
    same, other = np.sort(same), np.sort(other)
    tpr = np.searchsorted(same, thresholds, side="right") / len(same)
    fpr = np.searchsorted(other, thresholds, side="right") / len(other)
    return Roc(thresholds, fpr, tpr, _auc(same, other))


def auc_and_tpr(genuine: Any, impostor: Any, fprs: Sequence[float]) -> list[float]:
    """What `roc` gives as ``auc`` and `Roc.tpr_at`, without its curve: a third of the time, for a bootstrap.

    Parameters
    ----------
    genuine, impostor : (n,), (m,) arrays
        See `roc`; neither may be empty.
    fprs : sequence of float

    Returns
    -------
    list of float
        The AUC, and one true positive rate a false positive rate.
    """
    same, other = np.sort(_distances(genuine)), np.sort(_distances(impostor))
    found = [_auc(same, other)]
    rates = np.arange(1, len(other) + 1) / len(other)
    for fpr in fprs:
        # so many of the impostors may lie at or below the threshold, which lies below the next of them
        may = int(np.searchsorted(rates, fpr + 1e-12, side="right"))
        following = other[may] if may < len(other) else np.inf
        found.append(float(np.searchsorted(same, following, side="left") / len(same)))
    return found


def _auc(same: np.ndarray, other: np.ndarray) -> float:
    """Of sorted distances."""
    below = np.searchsorted(other, same, side="left")
    upto = np.searchsorted(other, same, side="right")
    wins = (len(other) - upto) + 0.5 * (upto - below)
    return float(wins.sum() / (len(same) * len(other)))


def _distances(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isnan(values), np.inf, values)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A threshold found on originals, and how good it is there.

    Attributes
    ----------
    threshold : float
        Distance up to which two pictures count as the same person; NaN if it cannot be calibrated.
    fpr : float
        Wanted share of different persons taken for the same one.
    tpr : float
        Share of same-person comparisons at or below the threshold.
    auc, eer, eer_threshold : float
    genuine, impostor : int
        Comparisons it rests on.
    reason : str
        Why there is no threshold, or a caution.
    """

    threshold: float
    fpr: float
    tpr: float
    auc: float
    eer: float
    eer_threshold: float
    genuine: int
    impostor: int
    reason: str = ""


def calibrate_threshold(genuine: Any, impostor: Any, fpr: float = 0.01) -> Calibration:
    """Threshold at a fixed false positive rate, from originals alone.

    The rate of impostors is fixed, not the rate of genuine matches: what a match of a *defaced* head is worth
    depends on how often two different people match by chance, and that is the same before and after.

    Parameters
    ----------
    genuine : array
        Distances between pictures of the same original at different views.
    impostor : array
        Distances between different persons' originals.
    fpr : float
        1 % by default. With fewer than ``1/fpr`` impostor comparisons the threshold lies just below the
        smallest of them, and ``reason`` says so.
    """
    same, other = _distances(genuine), _distances(impostor)
    if not len(same) or not len(other) or not np.isfinite(other).any():
        reason = (
            "fewer than two persons' faces were detected"
            if not len(other) or not np.isfinite(other).any()
            else "no person's face was detected in two pictures"
        )
        return Calibration(*(math.nan,) * 6, len(same), len(other), reason)
    curve = roc(same, other)
    threshold = curve.threshold_at(fpr)
    eer, at = curve.eer
    few = f"only {len(other)} impostor comparisons" if len(other) * fpr < 1 else ""
    tpr = float((same <= threshold).mean())
    return Calibration(threshold, fpr, tpr, curve.auc, eer, at, len(same), len(other), few)


def cmc(ranks: Any, gallery_size: int) -> np.ndarray:
    """Cumulative match characteristic: share of probes whose own person is among the k nearest.

    Parameters
    ----------
    ranks : array
        1 is the nearest; NaN or <= 0 where no face was there to compare.
    gallery_size : int

    Returns
    -------
    (gallery_size,) array
        Element k-1 is the rate at rank k, of all probes.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    ranks = np.where(ranks > 0, ranks, np.inf)
    steps = np.arange(1, gallery_size + 1)
    return (ranks[:, None] <= steps).mean(axis=0) if len(ranks) else np.full(gallery_size, math.nan)


def sweep(distances: Any, tolerances: Sequence[float]) -> np.ndarray:
    """Share of distances at or below each tolerance; NaN distances never match."""
    values = _distances(distances)
    if not len(values):
        return np.full(len(tolerances), math.nan)
    return (values[:, None] <= np.asarray(tolerances)).mean(axis=0)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence[Any],
    *,
    repeats: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """`bootstrap_intervals` of one number."""
    found = bootstrap_intervals(
        lambda rows: [statistic(rows)], groups, repeats=repeats, confidence=confidence, seed=seed
    )
    return found[0] if found else (math.nan, math.nan)


def bootstrap_intervals(
    statistics: Callable[[np.ndarray], Sequence[float]],
    groups: Sequence[Any],
    *,
    repeats: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """Percentile intervals of several statistics, drawing whole persons with replacement.

    Pictures of one person are not independent, so persons are drawn and not pictures.

    Parameters
    ----------
    statistics : callable
        Takes the indices of the drawn rows (with repetitions) and returns numbers; NaN draws are left out.
    groups : sequence
        The person of each row.
    repeats : int
    confidence : float
    seed : int
        The same seed gives the same intervals.

    Returns
    -------
    list of (low, high)
        One a statistic; NaNs with fewer than two persons.
    """
    labels, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(labels) < 2:
        return [(math.nan, math.nan)] * len(statistics(np.arange(len(member))))
    rows = [np.flatnonzero(member == k) for k in range(len(labels))]
    generator = np.random.default_rng(seed)
    drawn = np.array(
        [
            statistics(np.concatenate([rows[k] for k in generator.integers(len(labels), size=len(labels))]))
            for _ in range(repeats)
        ],
        dtype=np.float64,
    )
    tail = (1 - confidence) / 2
    spans = []
    for values in drawn.T:
        known = values[~np.isnan(values)]
        low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (math.nan, math.nan)
        spans.append((float(low), float(high)))
    return spans

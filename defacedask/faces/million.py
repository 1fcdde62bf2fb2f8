"""How often the own person would be the nearest in a gallery of a million: an estimate from a small gallery.

A probe at distance d to its own person is named first among N if none of the N - 1 others is nearer. With a chance p
that one stranger is, that is (1 - p)^(N - 1). In a gallery of tens, p cannot be counted below a few percent. It is
estimated from the nearest tenth of all comparisons with strangers, each probe's taken from their mean, and what lies
beyond them depends on the tail that is assumed. The estimate continues a normal tail. The interval is the widest that
three tails give in a bootstrap over persons: the normal one, an exponential one (strangers come nearer: fewer are
named) and a generalised Pareto one with an end (peaks over threshold, Pickands 1975; by the probability-weighted
moments of Hosking and Wallis, Technometrics 29:339, 1987: more are named). It is an estimate, and never a count.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from defacedask.faces.rates import bootstrap_intervals, exact_interval
from defacedask.faces.verification import BestScores

__all__ = ["FEWEST", "MILLION", "TAILS", "TOO_WIDE", "Tail", "rank_one_among"]

MILLION = 1_000_000
#: From how many persons on anything is said: nine others have no tail.
FEWEST = 10
#: What may lie beyond the comparisons that there are; the first gives the estimate.
TAILS = ("normal", "exponential", "bounded")
#: Part of the comparisons that is the tail, and how many of them it takes.
_TAIL, _FEWEST_IN_TAIL = 0.1, 20
#: Comparisons in a bootstrap draw.
_ENOUGH = 20_000
#: An interval as wide as this tells nothing.
TOO_WIDE = 0.9


@dataclasses.dataclass(frozen=True)
class Tail:
    """Lower tail of comparisons with strangers, as distances from each probe's mean.

    Attributes
    ----------
    body : (n,) array
        All comparisons, sorted: chances are counted where they lie.
    start, part : float
        Where the tail begins, and the share of comparisons in it.
    middle, deviation : float
        Of the normal distribution whose quantiles those of the tail are, by least squares.
    mean : float
        Mean distance below the start: the exponential tail's.
    shape, scale : float
        Of the generalised Pareto tail; a shape of at most zero.
    """

    body: np.ndarray
    start: float
    part: float
    middle: float
    deviation: float
    mean: float
    shape: float
    scale: float

    @classmethod
    def of(cls, values: np.ndarray) -> Tail | None:
        """Fit it; None with too few comparisons, or without a spread."""
        from scipy.special import ndtri

        body = np.sort(values[np.isfinite(values)])
        count = int(_TAIL * len(body))
        if count < _FEWEST_IN_TAIL:
            return None
        start, order = float(body[count]), np.arange(1, count + 1)
        below = start - body[:count][::-1]
        mean = float(below.mean())
        weight = float((below * (count - order + 0.35) / count).mean())
        if not mean > 0 or not mean - 2 * weight > 0:
            return None
        quantiles = ndtri((order - 0.5) / len(body))
        away = quantiles - quantiles.mean()
        deviation = float(away @ body[:count] / (away @ away))
        middle = float(body[:count].mean() - deviation * quantiles.mean())
        shape = min(max(2.0 - mean / (mean - 2 * weight), -0.5), 0.0)
        # given the shape, the scale that keeps the mean
        return cls(body, start, count / len(body), middle, deviation, mean, shape, mean * (1.0 - shape))

    def chance(self, values: np.ndarray, tail: str = TAILS[0]) -> np.ndarray:
        """Chance that one stranger is nearer than each distance."""
        from scipy.special import ndtr

        values = np.asarray(values, dtype=np.float64)
        counted = np.searchsorted(self.body, values, side="left") / len(self.body)
        below = np.maximum(self.start - values, 0.0)
        if tail == "normal":
            beyond = np.minimum(ndtr((values - self.middle) / self.deviation), self.part)
        elif tail == "exponential" or self.shape == 0:
            beyond = self.part * np.exp(-below / self.mean)
        else:
            left = np.maximum(1.0 + self.shape * below / self.scale, 0.0)
            beyond = self.part * left ** (-1.0 / self.shape)
        return np.where(values < self.start, beyond, counted)


def rank_one_among(
    best: BestScores, size: int = MILLION, *, repeats: int = 200, seed: int = 0
) -> dict[str, Any]:
    """Estimate how often a case's own person would be the nearest among ``size`` persons.

    Parameters
    ----------
    best : BestScores
    size : int
        Of the gallery.
    repeats, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``rank_1_million``, with ``_low`` and ``_high`` (0..1); NaN where it cannot be told, and ``note`` says why. No
        interval is narrower than so few cases allow (Clopper and Pearson).
    """
    nothing = {f"rank_1_million{end}": math.nan for end in ("", "_low", "_high")}
    rows = best.judged
    people = len({best.own[row] for row in rows})
    if people < FEWEST:
        return {**nothing, "note": f"a gallery of a million cannot be told from {people} persons"}
    mean = _means(best, rows)
    mine, away = best.genuine - mean, best.values[rows] - mean[:, None]
    mine = np.where(np.isnan(mine), math.inf, mine)
    others = best.others[rows]
    kept = others
    if others.sum() > _ENOUGH:
        kept = others & (np.random.default_rng(seed).random(others.shape) < _ENOUGH / others.sum())

    def shares(drawn: np.ndarray, mask: np.ndarray = kept) -> list[float]:
        tail = Tail.of(away[drawn][mask[drawn]])
        if tail is None:
            return [math.nan] * len(TAILS)
        nearer = [np.minimum(tail.chance(mine[drawn], one), 1.0 - 1e-15) for one in TAILS]
        return [float(np.exp((size - 1) * np.log1p(-p)).mean()) for p in nearer]

    value = shares(np.arange(len(rows)), others)[0]
    spans = bootstrap_intervals(shares, [best.own[row] for row in rows], repeats=repeats, seed=seed)
    if math.isnan(value) or any(math.isnan(low) for low, _ in spans):
        return {
            **nothing,
            "note": "a gallery of a million cannot be told: too few comparisons with strangers",
        }
    least, most = exact_interval(round(value * people), people)
    low, high = min(least, *(low for low, _ in spans)), max(most, *(high for _, high in spans))
    found = {"rank_1_million": value, "rank_1_million_low": low, "rank_1_million_high": high}
    wide = high - low >= TOO_WIDE
    return {
        **found,
        "note": "the interval for a gallery of a million is too wide to say anything" if wide else "",
    }


def _means(best: BestScores, rows: np.ndarray) -> np.ndarray:
    """Mean of each case's distances to strangers; NaN without a face."""
    away = np.where(best.others[rows], best.values[rows], math.nan)
    mean = np.full(len(rows), math.nan)
    told = (~np.isnan(away)).any(axis=1)
    mean[told] = np.nanmean(away[told], axis=1)
    return mean

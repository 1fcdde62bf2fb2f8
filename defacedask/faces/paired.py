"""The area under a ROC alone, quickly; and by how much it differs between two ways of looking at the same cases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from defacedask.faces.rates import bootstrap_intervals
from defacedask.faces.verification import ENOUGH, FEWEST, BestScores

__all__ = ["area", "auc_difference", "auc_interval"]


def area(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """AUC as `defacedask.faces.rates.roc` gives it, without the curve; NaN where one of them is empty."""
    if not len(genuine) or not len(impostor):
        return math.nan
    same = np.where(np.isnan(genuine), math.inf, genuine)
    other = np.sort(np.where(np.isnan(impostor), math.inf, impostor))
    below, upto = (np.searchsorted(other, same, side=side) for side in ("left", "right"))
    return float(1.0 - (below + upto).mean() / (2.0 * len(other)))


def auc_interval(best: BestScores, *, repeats: int = 300, seed: int = 0) -> tuple[float, float, float]:
    """AUC of the judged cases against all others of the gallery, and its interval (see `auc_difference`)."""
    cases = _Cases(best, best.judged, seed)
    value = cases.whole
    return value, *_interval(lambda drawn: cases.area(drawn), cases.persons, repeats, seed)


def auc_difference(
    one: BestScores, other: BestScores, *, repeats: int = 300, seed: int = 0
) -> dict[str, Any]:
    """AUC of the one minus that of the other, over the cases that both have judged.

    Parameters
    ----------
    one, other : BestScores
    repeats, seed : int
        Of the bootstrap, which draws persons once for both: what makes a person easy or hard to recognise is in both.

    Returns
    -------
    dict
        ``pairs`` (cases), ``auc``, ``auc_other``, ``difference`` with ``_low`` and ``_high`` (95 %), which are NaN
        with fewer than six persons or where every draw gives the same.
    """
    rows = [{best.cases[row]: row for row in best.judged} for best in (one, other)]
    cases = sorted(rows[0].keys() & rows[1].keys())
    first, second = (
        _Cases(best, np.array([each[case] for case in cases], dtype=int), seed)
        for best, each in zip((one, other), rows, strict=True)
    )
    low, high = _interval(lambda drawn: first.area(drawn) - second.area(drawn), first.persons, repeats, seed)
    return {
        "pairs": len(cases),
        "auc": first.whole,
        "auc_other": second.whole,
        "difference": first.whole - second.whole,
        "difference_low": low,
        "difference_high": high,
    }


def _interval(statistic: Any, persons: list[str], repeats: int, seed: int) -> tuple[float, float]:
    if len(set(persons)) < FEWEST:
        return math.nan, math.nan
    low, high = bootstrap_intervals(lambda drawn: [statistic(drawn)], persons, repeats=repeats, seed=seed)[0]
    return (math.nan, math.nan) if low == high else (low, high)


class _Cases:
    """Some cases of scores against everybody else of the gallery."""

    def __init__(self, best: BestScores, rows: np.ndarray, seed: int) -> None:
        self.persons = [best.own[row] for row in rows]
        self.own = best.values[rows, best.place[rows]]
        self.values, self.others = best.values[rows], best.others[rows]
        self.whole = area(self.own, self.values[self.others])
        if self.others.sum() > ENOUGH:
            drawn = np.random.default_rng(seed).random(self.others.shape)
            self.others = self.others & (drawn < ENOUGH / self.others.sum())

    def area(self, drawn: np.ndarray) -> float:
        """Of cases that were drawn, with repetitions."""
        return area(self.own[drawn], self.values[drawn][self.others[drawn]])

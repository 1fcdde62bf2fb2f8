"""Two ways of looking at the same cases: by how much the one recognises more than the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from defacedask.faces.rates import bootstrap_intervals, roc
from defacedask.faces.verification import BestScores

__all__ = ["FEWEST", "auc_difference"]

#: From how many persons on a bootstrap over persons means anything, as in `defacedask.faces.verification`.
FEWEST = 6


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
        ``pairs`` (cases), ``auc``, ``auc_other``, ``difference`` with ``_low`` and ``_high``, which are NaN with
        fewer than six persons or where every draw gives the same.
    """
    rows = [{best.cases[row]: row for row in best.judged} for best in (one, other)]
    cases = sorted(rows[0].keys() & rows[1].keys())
    places = [np.array([each[case] for case in cases], dtype=int) for each in rows]
    persons = [one.own[row] for row in places[0]]
    both = [_Auc(best, place) for best, place in zip((one, other), places, strict=True)]

    def difference(drawn: np.ndarray) -> list[float]:
        return [both[0](drawn) - both[1](drawn)]

    every = np.arange(len(cases))
    low = high = math.nan
    if len(set(persons)) >= FEWEST:
        low, high = bootstrap_intervals(difference, persons, repeats=repeats, seed=seed)[0]
        if low == high:
            low = high = math.nan
    found = [each(every) for each in both]
    return {
        "pairs": len(cases),
        "auc": found[0],
        "auc_other": found[1],
        "difference": found[0] - found[1],
        "difference_low": low,
        "difference_high": high,
    }


class _Auc:
    """AUC of some cases against everybody else of the gallery."""

    def __init__(self, best: BestScores, rows: np.ndarray) -> None:
        self.own = best.values[rows, best.place[rows]]
        self.values, self.others = best.values[rows], best.others[rows]

    def __call__(self, drawn: np.ndarray) -> float:
        rest = self.values[drawn][self.others[drawn]]
        return roc(self.own[drawn], rest).auc if len(drawn) and len(rest) else math.nan

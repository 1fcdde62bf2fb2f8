"""Searches of a gallery that need not hold the person: what is missed where few strangers may be named.

The terms are those of ISO/IEC 19795-1 and of NIST's evaluations of identification: a *mate search* is of a person who
is in the gallery, a *non-mate search* of one who is not. FPIR: share of non-mate searches that name anybody; FNIR:
share of mate searches that do not name the person, as the nearest and within the limit.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from defacedask.faces.rates import bootstrap_intervals, exact_interval
from defacedask.faces.verification import BestScores, measurable

__all__ = ["FPIRS", "Searches", "nearest_stranger", "open_set"]

#: Rates of non-mate searches that name somebody, at which what is missed is told.
FPIRS = (0.01, 0.1)


@dataclasses.dataclass(frozen=True, eq=False)
class Searches:
    """One mate search and one non-mate search a case.

    Attributes
    ----------
    persons : tuple of str
        Of each case.
    own : (n,) array
        Distance to the own person; NaN: no face, which finds nobody.
    first : (n,) bool array
        Nobody else of the gallery is strictly nearer.
    stranger : (n,) array
        Smallest distance to anybody in a gallery without the own person.
    """

    persons: tuple[str, ...]
    own: np.ndarray
    first: np.ndarray
    stranger: np.ndarray

    @classmethod
    def of(cls, best: BestScores, stranger: np.ndarray | None = None) -> Searches:
        """Of the judged cases of a gallery.

        Parameters
        ----------
        best : BestScores
        stranger : (cases,) array, optional
            See `Searches`. Default: the smallest distance to another person, which is that of a gallery without the
            own one where a distance does not depend on who else is in the gallery.
        """
        rows = best.judged
        if stranger is None:
            stranger = nearest_stranger(best)
        own = best.genuine
        return cls(tuple(best.own[row] for row in rows), own, best.ranks == 1, stranger[rows])


def nearest_stranger(best: BestScores) -> np.ndarray:
    """(cases,) smallest distance of each case to another person; NaN where there is none."""
    others = np.where(np.isnan(best.values) | ~best.others, math.inf, best.values)
    found = others.min(axis=1, initial=math.inf)
    return np.where(np.isinf(found), math.nan, found)


def open_set(
    searches: Searches, *, fpirs: tuple[float, ...] = FPIRS, repeats: int = 300, seed: int = 0
) -> dict[str, Any]:
    """FNIR at fixed FPIR.

    Parameters
    ----------
    searches : Searches
    fpirs : tuple of float
        A rate of which there are too few non-mate searches (`measurable`) gives NaN, and ``note`` says so.
    repeats, seed : int
        Of the bootstrap over persons, which draws the limit anew.

    Returns
    -------
    dict
        ``mate_searches``, ``non_mate_searches``, and for each rate ``fnir_at_0.01`` with ``_low`` and ``_high``: the
        bootstrap's, and no narrower than the exact interval of Clopper and Pearson at the one limit.
    """
    count = len(searches.own)
    names = [f"fnir_at_{fpir:g}" for fpir in fpirs]
    out: dict[str, Any] = {"mate_searches": count, "non_mate_searches": count}
    told = [measurable(fpir, count) for fpir in fpirs]
    out["note"] = "; ".join(
        f"FNIR at {100 * fpir:g} % FPIR cannot be told from {count} non-mate searches "
        f"(at least {math.ceil(1 / fpir)} needed)"
        for fpir, can in zip(fpirs, told, strict=True)
        if not can
    )
    if not count:
        return {**out, **{name + end: math.nan for name in names for end in ("", "_low", "_high")}}

    def missed(rows: np.ndarray) -> list[float]:
        return [
            _fnir(searches, rows, fpir) if can else math.nan for fpir, can in zip(fpirs, told, strict=True)
        ]

    found = missed(np.arange(count))
    spans = bootstrap_intervals(missed, searches.persons, repeats=repeats, seed=seed)
    for name, value, (low, high) in zip(names, found, spans, strict=True):
        if not math.isnan(value):
            least, most = exact_interval(round(value * count), count)
            low, high = float(np.fmin(low, least)), float(np.fmax(high, most))
        out |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return out


def _fnir(searches: Searches, rows: np.ndarray, fpir: float) -> float:
    """Share of mate searches without a hit, at the largest limit that names strangers no more often than ``fpir``."""
    strangers = np.sort(np.where(np.isnan(searches.stranger[rows]), math.inf, searches.stranger[rows]))
    allowed = math.floor(fpir * len(strangers) + 1e-9)
    # strictly below the first stranger that may not be named
    limit = strangers[allowed] if allowed < len(strangers) else math.inf
    hit = searches.first[rows] & (searches.own[rows] < limit)
    return float(1.0 - hit.mean())

"""Case by case: the best of all views of a case against every person of the gallery, and what that is worth.

Whoever tries many views and attacks also finds strangers more often. So the same best-of-all-tries is taken for
every other person of the gallery: their share within the limit is what chance gives to as many tries, and the
ROC is that of cases, not of pictures. Intervals are bootstrapped over persons.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from defacedask.faces.identification import Scores
from defacedask.faces.rates import auc_and_tpr, bootstrap_intervals, cmc, exact_interval, roc

__all__ = [
    "ENOUGH",
    "FEWEST",
    "FPRS",
    "BestScores",
    "Beyond",
    "best_scores",
    "curves",
    "join",
    "measurable",
    "verification",
]

#: False positive rates at which the true positive rate is told.
FPRS = (0.01, 0.001)
#: Impostor comparisons in a bootstrap draw; with more of them a thinned set gives the same interval.
ENOUGH = 5000
#: From how many persons on a bootstrap over persons means anything: five can be drawn in 126 ways only.
FEWEST = 6
#: Points of a stored curve.
_POINTS = 201


@dataclasses.dataclass(frozen=True, eq=False)
class BestScores:
    """Smallest distance of each case to each person of the gallery, over all its pictures.

    Attributes
    ----------
    cases, own : tuple of str
        Each probe case and its person.
    persons : tuple of str
        The gallery.
    values : (cases, persons) array
        NaN where there was nothing to compare.
    absent : frozenset of str
        Cases to which the gallery could not show their own person (`Gallery.unable`): they meet the others, and
        are not judged themselves.
    """

    cases: tuple[str, ...]
    own: tuple[str, ...]
    persons: tuple[str, ...]
    values: np.ndarray
    absent: frozenset[str] = frozenset()

    @property
    def place(self) -> np.ndarray:
        """Column of each case's person, -1 where the gallery does not hold it."""
        where = {person: k for k, person in enumerate(self.persons)}
        return np.array([where.get(person, -1) for person in self.own], dtype=int)

    @property
    def judged(self) -> np.ndarray:
        """Rows whose person can be recognised in the gallery."""
        able = np.array([case not in self.absent for case in self.cases], dtype=bool)
        return np.flatnonzero((self.place >= 0) & able)

    @property
    def genuine(self) -> np.ndarray:
        """Distance of each judged case to its own person."""
        rows = self.judged
        return self.values[rows, self.place[rows]]

    @property
    def others(self) -> np.ndarray:
        """(cases, persons) bool: the person is not the case's own."""
        return self.place[:, None] != np.arange(len(self.persons))

    @property
    def ranks(self) -> np.ndarray:
        """1 plus the persons strictly nearer, of each judged case; NaN without a distance to the own."""
        rows, mine = self.judged, self.genuine
        nearer = (self.values[rows] < mine[:, None]) & self.others[rows]
        return np.where(np.isnan(mine), math.nan, 1 + nearer.sum(axis=1))

    def chance(self, limit: float) -> float:
        """Share of (case, other person) within the limit: what chance gives to as many tries."""
        rest = self.values[self.others]
        return float((rest <= limit).mean()) if len(rest) and not math.isnan(limit) else math.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Beyond:
    """Cases of persons outside a sample: they are counted, and their comparisons with others are not kept.

    Attributes
    ----------
    cases, with_face : int
    genuine, ranks : (n,) arrays
        Of those that are judged, as in `BestScores`.
    """

    cases: int
    with_face: int
    genuine: np.ndarray
    ranks: np.ndarray


def best_scores(scores: Scores, absent: Iterable[str] = ()) -> BestScores:
    """Reduce pictures to cases (``facts["case"]``, else the person), by the smallest distance.

    ``absent`` are the cases that cannot be judged, see `defacedask.faces.galleries.Gallery.unable`.
    """
    keys = [(str(p.facts.get("case", p.person)), p.person) for p in scores.probes]
    names = list(dict.fromkeys(keys))
    number = {key: k for k, key in enumerate(names)}
    values = np.full((len(names), len(scores.persons)), math.inf)
    rows = np.array([number[key] for key in keys], dtype=int)
    np.minimum.at(values, rows, np.where(np.isnan(scores.values), math.inf, scores.values))
    values[np.isinf(values)] = math.nan
    cases, own = (tuple(name[k] for name in names) for k in (0, 1))
    return BestScores(cases, own, scores.persons, values, frozenset(absent))


def join(parts: Sequence[BestScores], limits: Sequence[float] | None = None) -> BestScores:
    """Join several attacks (images, recognisers): the smallest distance by any of them.

    Parameters
    ----------
    parts : sequence of BestScores
        A case or person that is missing in one of them has no distance there.
    limits : sequence of float, optional
        Divide each part by its own limit first, so that distances of different recognisers compare: a joined
        value of at most 1 is within the limit of at least one of them.
    """
    cases = list(dict.fromkeys((c, o) for p in parts for c, o in zip(p.cases, p.own, strict=True)))
    persons = sorted({person for p in parts for person in p.persons})
    row = {case: k for k, case in enumerate(cases)}
    column = {person: k for k, person in enumerate(persons)}
    values = np.full((len(cases), len(persons)), math.nan)
    for k, part in enumerate(parts):
        at = np.ix_(
            [row[c, o] for c, o in zip(part.cases, part.own, strict=True)], [column[p] for p in part.persons]
        )
        values[at] = np.fmin(values[at], part.values / (limits[k] if limits else 1.0))
    able = {case for part in parts for case in part.cases if case not in part.absent}
    absent = frozenset(case for case, _ in cases if case not in able)
    return BestScores(tuple(c for c, _ in cases), tuple(o for _, o in cases), tuple(persons), values, absent)


def measurable(fpr: float, impostor: int) -> bool:
    """Whether a false positive rate can be told from so many comparisons: at least one of them must be one."""
    return impostor * fpr >= 1 - 1e-9


def verification(
    best: BestScores,
    *,
    limit: float = math.nan,
    tolerance: float = math.nan,
    fprs: Sequence[float] = FPRS,
    repeats: int = 300,
    seed: int = 0,
    beyond: Beyond | None = None,
    joint: BestScores | None = None,
) -> dict[str, Any]:
    """AUC, TPR at fixed FPR, rank-1 and matches of a set of cases, beside what chance gives.

    A case without a face never matches, and counts.

    Parameters
    ----------
    best : BestScores
    limit : float
        Largest distance at which a case counts as recognised.
    tolerance : float
        The recogniser's; NaN if it has none, or it means nothing here.
    fprs : sequence of float
        A rate that the number of impostor comparisons cannot show (`measurable`) gives NaN, and ``note`` says
        so.
    repeats : int
        Bootstrap draws over persons.
    seed : int
    beyond : Beyond, optional
        Cases that count beside those of ``best``, and of which no impostor comparisons are kept.
    joint : BestScores, optional
        By what AUC, TPR and EER are told where ``best`` is the smallest distance by several attacks
        (`defacedask.faces.together`); default: ``best``.

    Returns
    -------
    dict
        ``cases``, ``judged`` (their person is in the gallery), ``with_face``, ``gallery_size``, ``genuine`` and
        ``impostor`` (comparisons), ``matched`` and ``chance`` at the limit, ``matched_tolerance`` and
        ``chance_tolerance``, ``rank_1``, ``auc`` and ``tpr_at_0.01``, ... each with ``_low`` and ``_high``,
        ``eer``, ``note``. Where every draw gives the same (nobody is found, or everybody), a bootstrap knows no
        interval: rates get the exact one of Clopper and Pearson, the AUC none. With fewer than six persons there
        is none of the AUC either.
    """
    mine, ranks = best.genuine, best.ranks
    rest = best.values[best.others]
    more = beyond or Beyond(0, 0, np.empty(0), np.empty(0))
    every, every_rank = np.append(mine, more.genuine), np.append(ranks, more.ranks)
    out: dict[str, Any] = {
        "cases": len(best.cases) + more.cases,
        "judged": len(every),
        "with_face": more.with_face
        + (int((~np.isnan(best.values)).any(axis=1).sum()) if best.values.size else 0),
        "gallery_size": len(best.persons),
        "genuine": len(every),
        "impostor": len(rest),
        "limit": limit,
        "matched": int((every <= limit).sum()),
        "chance": best.chance(limit),
        "matched_tolerance": None if math.isnan(tolerance) else int((every <= tolerance).sum()),
        "chance_tolerance": best.chance(tolerance),
        "rank_1": int((every_rank == 1).sum()),
    }
    names = ["auc", *(f"tpr_at_{fpr:g}" for fpr in fprs)]
    if not len(mine) or not len(rest):
        empty = {name + end: math.nan for name in names for end in ("", "_low", "_high")}
        return {**out, **empty, "eer": math.nan, "note": "nobody else in the gallery to compare with"}
    told = [measurable(fpr, len(rest)) for fpr in fprs]
    out["note"] = "; ".join(
        f"TPR at {100 * fpr:g} % FPR cannot be told from {len(rest)} impostor comparisons "
        f"(at least {math.ceil(1 / fpr)} needed)"
        for fpr, can in zip(fprs, told, strict=True)
        if not can
    )
    told_by = joint or best
    rows, own = told_by.judged, told_by.place
    able = np.zeros(len(own), dtype=bool)
    able[rows] = True
    mine, rest = told_by.genuine, told_by.values[told_by.others]
    kept = told_by.others
    if len(rest) > ENOUGH:
        kept = kept & (np.random.default_rng(seed).random(kept.shape) < ENOUGH / len(rest))

    possible = [fpr for fpr, can in zip(fprs, told, strict=True) if can]

    def figures(drawn: np.ndarray, mask: np.ndarray) -> list[float]:
        some = drawn[able[drawn]]
        others = told_by.values[drawn][mask[drawn]]
        if not len(some) or not len(others):
            return [math.nan] * len(names)
        auc, *tprs = auc_and_tpr(told_by.values[some, own[some]], others, possible)
        known = dict(zip(possible, tprs, strict=True))
        return [auc, *(known.get(fpr, math.nan) for fpr in fprs)]

    found = figures(np.arange(len(told_by.cases)), told_by.others)
    spans = bootstrap_intervals(lambda drawn: figures(drawn, kept), told_by.own, repeats=repeats, seed=seed)
    few = len({told_by.own[row] for row in rows}) < FEWEST  # of whom nothing can be matched tells nothing
    for name, value, (low, high) in zip(names, found, spans, strict=True):
        if few or low == high:
            share = name != "auc" and not math.isnan(value)
            low, high = exact_interval(round(value * len(mine)), len(mine)) if share else (math.nan, math.nan)
        out |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return {**out, "eer": roc(mine, rest).eer[0]}


def curves(best: BestScores, joint: BestScores | None = None) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """ROC (``fpr``, ``tpr``) and CMC (rank, share of judged cases) of cases, each of at most 201 points.

    ``joint`` as for `verification`: the ROC is of it.
    """
    told_by = joint or best
    mine, rest = told_by.genuine, told_by.values[told_by.others]
    found = {}
    if len(mine) and len(rest):
        line = roc(mine, rest)
        fpr, tpr = np.append(line.fpr, 1.0), np.append(line.tpr, line.tpr[-1])
        # a staircase: where it does not step up, nothing is lost
        steps = np.flatnonzero(np.diff(tpr, prepend=-1.0, append=2.0)[:-1] > 0)
        keep = np.unique(np.concatenate([[0], steps, [len(fpr) - 1]]))
        found["roc"] = _thin(fpr[keep], tpr[keep])
    if len(mine) and len(best.persons) >= 2:
        found["cmc"] = _thin(np.arange(1, len(best.persons) + 1), cmc(best.ranks, len(best.persons)))
    return found


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(x) > _POINTS:
        keep = np.unique(np.rint(np.linspace(0, len(x) - 1, _POINTS)).astype(int))
        x, y = x[keep], y[keep]
    return np.asarray(x, dtype=float), np.asarray(y, dtype=float)

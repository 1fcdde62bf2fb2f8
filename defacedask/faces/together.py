"""One score of several attacks, images and recognisers: each weighs by how well it knows *other* persons.

The smallest distance by any of them is right for counting matches: whoever tries many ways and is recognised by one
of them is recognised, and chance gets as many tries. It is wrong for telling own from other persons (AUC, TPR at a
fixed FPR): an attack that sees nothing, and whose distances happen to be small, decides most minima, and drowns the
others. Simulated with 30 persons: an attack of AUC 0.80 beside six that see nothing had 0.52 by the smallest distance
and 0.80 by the score here; two that see something had 0.83 and 0.86.

The score is a sum of log likelihood ratios, as independent normal evidence adds up (naive Bayes):

- a distance counts by how many deviations it is nearer than the median stranger is by that attack: no recogniser's
  unit is left;
- it weighs by the mean deviate of the own persons, less its standard error, or not at all where that is below zero;
- weights are learnt without the person that is judged: on four fifths of the persons for the other fifth. So an
  attack that sees nothing weighs nothing but for noise, and adds nothing but for noise; one alone keeps its AUC.

Where no attack weighs anything all weigh the same: then nothing is told, with the usual noise. What the attacker is
taken to know is what he can find out with heads of his own and a public defacer.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from defacedask.faces.verification import FEWEST, BestScores

__all__ = ["FOLDS", "Together"]

#: A fifth of the persons is judged by what the others teach.
FOLDS = 5
#: Deviates beyond which nothing is told apart.
_MOST = 1e3
#: One standard deviation below a normal median, it, and one above.
_SIDES = (0.158655, 0.5, 0.841345)


@dataclasses.dataclass(eq=False)
class _Sums:
    """Over the attacks: of weight times deviate, of deviates, and of squared weights; and how many told anything."""

    weighted: np.ndarray
    plain: np.ndarray
    told: np.ndarray
    squares: np.ndarray
    attacks: np.ndarray


class Together:
    """Adds up scores of the same cases by several attacks; one part at a time, so that not all must be held.

    Parameters
    ----------
    persons : sequence of str
        Everybody of any gallery.
    """

    def __init__(self, persons: tuple[str, ...]) -> None:
        self.persons = tuple(sorted(persons))
        self._column = {person: k for k, person in enumerate(self.persons)}
        self._row: dict[tuple[str, str], int] = {}
        self._absent: dict[str, bool] = {}
        empty = np.zeros((0, len(self.persons)))
        self._sums = _Sums(empty, empty, empty.astype(bool), np.zeros(0), np.zeros(0))

    def add(self, part: BestScores) -> None:
        """Add what one attack came to. Too few persons to learn from: nothing is learnt of it."""
        known = part.values[part.others & ~np.isnan(part.values)]
        if not len(known):
            self._take(part, np.full(part.values.shape, math.nan), np.zeros(len(part.cases)))
            return
        # of strangers alone, and the same for all cases: an attack by itself keeps the order of its distances
        strange = _Strangers.of(known)
        deviates, judged = strange(part.values), part.judged
        own = strange(part.genuine)
        fold = {person: k % FOLDS for k, person in enumerate(sorted({*part.own, *part.persons}))}
        folds = np.array([fold[person] for person in part.own], dtype=int)
        weights = np.zeros(len(part.cases))
        for number in range(FOLDS):
            taught = folds[judged] != number
            persons = [part.own[row] for row in judged[taught]]
            weights[folds == number] = _weight(own[taught], persons)
        self._take(part, deviates, weights)

    def scores(self) -> BestScores:
        """The joint score as a distance: small means that person. NaN where no attack says anything."""
        sums = self._sums
        none = sums.squares == 0
        total = np.where(none[:, None], sums.plain, sums.weighted)
        size = np.sqrt(np.where(none, np.maximum(sums.attacks, 1.0), sums.squares))
        values = np.where(sums.told, -total / size[:, None], math.nan)
        keys = list(self._row)
        absent = frozenset(case for case, is_absent in self._absent.items() if is_absent)
        return BestScores(
            tuple(case for case, _ in keys), tuple(own for _, own in keys), self.persons, values, absent
        )

    def _take(self, part: BestScores, deviates: np.ndarray, weights: np.ndarray) -> None:
        for case, own in zip(part.cases, part.own, strict=True):
            self._row.setdefault((case, own), len(self._row))
            # who can be judged by any of the attacks is judged
            self._absent[case] = self._absent.get(case, True) and case in part.absent
        more = len(self._row) - len(self._sums.squares)
        self._sums = _Sums(
            *(
                np.concatenate([some, np.zeros((more, *some.shape[1:]), some.dtype)])
                for some in vars(self._sums).values()
            )
        )
        rows = np.array([self._row[key] for key in zip(part.cases, part.own, strict=True)], dtype=int)
        columns = np.array([self._column[person] for person in part.persons], dtype=int)
        at = np.ix_(rows, columns)
        there = ~np.isnan(deviates)
        found = np.where(there, deviates, 0.0)
        self._sums.weighted[at] += weights[:, None] * found
        self._sums.plain[at] += found
        self._sums.told[at] |= there
        # an attack that shows no face of a case has no say in it
        self._sums.squares[rows] += np.where(there.any(axis=1), weights**2, 0.0)
        self._sums.attacks[rows] += there.any(axis=1)


@dataclasses.dataclass(frozen=True)
class _Strangers:
    """Distances between different persons by one attack: their median, and how far a deviation is on each side.

    The two sides are not alike: strangers may lie far away without end, which says nothing of the near ones.
    """

    middle: float
    near: float
    far: float

    @classmethod
    def of(cls, distances: np.ndarray) -> _Strangers:
        low, middle, high = np.quantile(distances, _SIDES).tolist()
        least = 1e-9 * max(abs(middle), 1e-9)
        return cls(middle, max(middle - low, least), max(high - middle, least))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Standard deviates of distances: near is large; NaN stays."""
        away = self.middle - values
        return np.clip(away / np.where(away > 0, self.near, self.far), -_MOST, _MOST)


def _weight(own: np.ndarray, persons: list[str]) -> float:
    """Mean deviate of the own persons, each weighing the same, less its standard error; 0 if that is not above 0."""
    each: dict[str, list[float]] = {}
    for value, person in zip(own.tolist(), persons, strict=True):
        if not math.isnan(value):
            each.setdefault(person, []).append(value)
    if len(each) < FEWEST - 1:
        return 0.0
    means = np.array([np.mean(some) for some in each.values()])
    return max(0.0, float(means.mean() - means.std(ddof=1) / math.sqrt(len(means))))

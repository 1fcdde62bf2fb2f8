"""Enrolment: a classifier trained on many pictures of everybody, which names whoever a new picture shows.

One linear classifier a person against all others, by regularised least squares (a least-squares support vector
machine): every person weighs the same, all of them share one matrix, and the solution is closed (one system of
equations of the encodings' length, whatever the number of persons). It classifies as well as the usual support vector
machine (Rifkin and Klautau, In defense of one-vs-all classification, J Mach Learn Res 5:101, 2004), needs no library
beyond NumPy, and has no seed.

A score has no unit. To be counted beside the recogniser's distances it is put on their scale (`Scale`), with two
points found on originals at views that nobody was enrolled with: the threshold at the same rate of false matches, and
the median stranger.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.identification import Scores, Sighting
from defacedask.faces.rates import calibrate_threshold

__all__ = ["FOLDS", "STRENGTH", "Classifier", "Enrolled", "Scale", "enrolled", "fold_of", "train"]

#: Of the regularisation, as a part of the mean variance of an encoding's numbers.
STRENGTH = 1.0
#: Persons are left out of the gallery, to be strangers to it, a fifth at a time.
FOLDS = 5
#: Rows scored at a time.
_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """One linear function a person.

    Attributes
    ----------
    persons : tuple of str
        Sorted.
    weights : (persons, d) array
    middle : (d,) array
        Mean of the persons' mean encodings.
    """

    persons: tuple[str, ...]
    weights: np.ndarray
    middle: np.ndarray

    def scores(self, codes: np.ndarray) -> np.ndarray:
        """(n, persons) scores of (n, d) encodings: large means that person."""
        codes = np.asarray(codes, dtype=np.float64)
        parts = [
            (codes[k : k + _AT_ONCE] - self.middle) @ self.weights.T for k in range(0, len(codes), _AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.persons)))


def train(codes: np.ndarray, owners: Sequence[str], strength: float = STRENGTH) -> Classifier:
    """Train a classifier of persons.

    Parameters
    ----------
    codes : (n, d) array
        Encodings.
    owners : sequence of str
        Person of each.
    strength : float
        Of the regularisation, as a part of the mean variance.

    Raises
    ------
    InputError
        With fewer than two persons.

    Notes
    -----
    The score of a person is, up to a constant that is the same for all, the least-squares fit of one for the person's
    own encodings and zero for the others'.
    """
    codes = np.asarray(codes, dtype=np.float64)
    persons, member = np.unique(np.asarray(owners, dtype=object).astype(str), return_inverse=True)
    if len(persons) < 2:
        raise InputError("a classifier of persons needs pictures of two persons at least.")
    count = np.bincount(member)
    means = np.zeros((len(persons), codes.shape[1]))
    np.add.at(means, member, codes)
    means /= count[:, None]
    middle = means.mean(axis=0)
    # everybody weighs the same, however many of their pictures show a face
    away = (codes - middle) / np.sqrt(count[member] * len(persons))[:, None]
    spread = away.T @ away
    spread[np.diag_indices(len(spread))] += strength * max(float(np.trace(spread)) / len(spread), 1e-12)
    weights = np.linalg.solve(spread, (means - middle).T).T / len(persons)
    return Classifier(tuple(map(str, persons)), weights, middle)


@dataclasses.dataclass(frozen=True)
class Scale:
    """From scores to a recogniser's distances: one threshold for both, one median stranger, and never below zero."""

    score: float
    distance: float
    rate: float

    def __call__(self, scores: Any) -> np.ndarray:
        """Distances of scores."""
        power = np.clip(self.rate * (self.score - np.asarray(scores, dtype=np.float64)), -50.0, 50.0)
        return self.distance * np.exp(power)

    @classmethod
    def of(
        cls, same: np.ndarray, other: np.ndarray, threshold: float, stranger: float, fpr: float
    ) -> Scale | None:
        """Find it; None where it cannot be told.

        Parameters
        ----------
        same, other : arrays
            Scores of originals at unseen views, for their own person and for others.
        threshold : float
            The recogniser's, at ``fpr``.
        stranger : float
            Median distance of different persons.
        fpr : float
        """
        if not threshold > 0 or not stranger > threshold:
            return None
        at = -calibrate_threshold(-same, -other, fpr).threshold
        middle = float(np.median(other)) if len(other) else math.nan
        if not at > middle:
            return None
        return cls(at, threshold, math.log(stranger / threshold) / (at - middle))


def fold_of(person: str, persons: Sequence[str]) -> int:
    """In which fold of a sorted gallery a person is left out."""
    return list(persons).index(person) % FOLDS


@dataclasses.dataclass(frozen=True, eq=False)
class Enrolled:
    """Everybody of a gallery, enrolled.

    Attributes
    ----------
    whole : dict
        Number of the scan that is left out (0: none) -> classifier of all persons.
    without : dict
        The same -> classifiers, each without a fold of the persons.
    numbers : dict
        (person, case) -> number of the scan within the person, in a gallery of second scans; else empty.
    scale : Scale, optional
        None: the negative score stands for the distance.
    """

    whole: Mapping[int, Classifier]
    without: Mapping[int, Sequence[Classifier]]
    numbers: Mapping[tuple[str, str], int]
    scale: Scale | None = None

    @property
    def persons(self) -> tuple[str, ...]:
        """Everybody who is enrolled in any of them."""
        return tuple(sorted({person for one in self.whole.values() for person in one.persons}))

    def score(self, probes: Sequence[Sighting]) -> tuple[Scores, np.ndarray]:
        """Distances of probes to all persons, and each probe's smallest to any where its own is not enrolled.

        Parameters
        ----------
        probes : sequence of Sighting
            Of persons of the gallery.

        Returns
        -------
        Scores
            NaN where there is no encoding, or nobody to compare with.
        (n,) array
            Of the classifier that was trained without the probe's person (and others).
        """
        persons = self.persons
        values = np.full((len(probes), len(persons)), math.nan)
        strange = np.full(len(probes), math.nan)
        rows: dict[int, list[int]] = {}
        for row, probe in enumerate(probes):
            if isinstance(probe.encoding, (list, np.ndarray)):
                rows.setdefault(self._number(probe), []).append(row)
        for number, some in rows.items():
            one = self.whole.get(number)
            if one is None:
                continue
            codes = np.array([np.asarray(probes[row].encoding, dtype=np.float64) for row in some])
            columns = [persons.index(person) for person in one.persons]
            values[np.ix_(some, columns)] = self._distances(one.scores(codes))
            own = np.array([probes[row].person for row in some], dtype=object)
            for fold, other in enumerate(self.without.get(number, ())):
                mine = np.array(
                    [p in one.persons and fold_of(p, one.persons) == fold for p in own], dtype=bool
                )
                if mine.any():
                    strange[np.array(some)[mine]] = self._distances(other.scores(codes[mine]).max(axis=1))
        self._forget_own_scan(probes, values, persons)
        return Scores(tuple(probes), persons, values), strange

    def _distances(self, scores: np.ndarray) -> np.ndarray:
        return -scores if self.scale is None else self.scale(scores)

    def _number(self, probe: Sighting) -> int:
        return self.numbers.get((probe.person, str(probe.facts.get("case", ""))), 0)

    def _forget_own_scan(
        self, probes: Sequence[Sighting], values: np.ndarray, persons: Sequence[str]
    ) -> None:
        """In a gallery of second scans, who was scanned once is enrolled with that scan: not to be met again."""
        scans: dict[str, int] = {}
        for person, _ in self.numbers:
            scans[person] = scans.get(person, 0) + 1
        place = {person: k for k, person in enumerate(persons)}
        for row, probe in enumerate(probes):
            if scans.get(probe.person) == 1 and probe.person in place:
                values[row, place[probe.person]] = math.nan


def enrolled(
    pictures: Sequence[Sighting],
    unseen: Sequence[Sighting],
    *,
    threshold: float,
    stranger: float,
    fpr: float = 0.01,
    numbers: Mapping[tuple[str, str], int] | None = None,
    strength: float = STRENGTH,
) -> Enrolled | None:
    """Enrol everybody.

    Parameters
    ----------
    pictures : sequence of Sighting
        Of the gallery, many a person (`defacedask.attacks.enrolment`).
    unseen : sequence of Sighting
        Originals at views that are not among them: the scale is found on these.
    threshold, stranger, fpr
        See `Scale.of`.
    numbers : mapping, optional
        See `Enrolled`; of a gallery of second scans.
    strength : float

    Returns
    -------
    Enrolled or None
        None with fewer than two persons, or where the scale cannot be told.
    """
    known = [one for one in pictures if isinstance(one.encoding, (list, np.ndarray))]
    scans = dict(numbers or {})
    several = {person for (person, _), k in scans.items() if k > 1}
    whole, without = {}, {}
    for left in sorted({0, *scans.values()}):
        some = [
            one for one in known if not left or one.person not in several or scans.get(_scan(one)) != left
        ]
        owners = [one.person for one in some]
        if len(set(owners)) < 2:
            continue
        codes = np.array([np.asarray(one.encoding, dtype=np.float64) for one in some])
        whole[left] = train(codes, owners, strength)
        folds = np.array([fold_of(person, whole[left].persons) for person in owners])
        rest = [folds != fold for fold in range(FOLDS)]
        names = np.array(owners, dtype=object)
        if all(len(set(names[keep])) >= 2 for keep in rest):
            without[left] = [train(codes[keep], names[keep].tolist(), strength) for keep in rest]
    if not whole:
        return None
    scores, _ = Enrolled(whole, {}, scans).score(unseen)
    same, other = (-part[~np.isnan(part)] for part in (scores.genuine, scores.impostor))
    scale = Scale.of(same, other, threshold, stranger, fpr)
    return None if scale is None else Enrolled(whole, without, scans, scale)


def _scan(one: Sighting) -> tuple[str, str]:
    return one.person, str(one.facts.get("case", ""))

"""Enrolment: a classifier trained on many pictures of everybody, which names whoever a new picture shows.

One linear classifier a person against all others, by regularised least squares (a least-squares support vector
machine): every person weighs the same, all of them share one matrix, and the solution is closed (one system of
equations of the encodings' length, whatever the number of persons). It classifies as well as the usual support vector
machine (Rifkin and Klautau, In defense of one-vs-all classification, J Mach Learn Res 5:101, 2004), needs no library
beyond NumPy, and has no seed.

Pictures of defaced heads are all alike, and all unlike those that anybody is enrolled with: what they have in common
would name one person for all of them. Whoever has a release has many such pictures, and takes their mean from each
(`centres`).

A classifier of some persons gives every picture to one of them, a picture of nobody too. So a score counts by how far
it stands out: for each person it is taken from the mean of the picture's scores for all others, in units of their
standard deviation (T-norm; Auckenthaler and others, Digital Signal Processing 10:42, 2000). To be counted beside the
recogniser's distances it is put on their scale (`Scale`), with two points found on originals at views that nobody
was enrolled with: the threshold at the same rate of false matches, and the median stranger. Strangers are persons
whom the classifier was trained without.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.identification import Scores, Sighting
from defacedask.faces.rates import calibrate_threshold

__all__ = [
    "FEWEST",
    "FOLDS",
    "STRENGTH",
    "Classifier",
    "Enrolled",
    "Kind",
    "Scale",
    "centres",
    "enrolled",
    "kind_of",
    "train",
]

#: Of the regularisation, as a part of the mean variance of an encoding's numbers.
STRENGTH = 1.0
#: Persons are left out of the gallery, to be strangers to it, a fifth at a time.
FOLDS = 5
#: Fewer persons have no standard deviation worth the name.
FEWEST = 4
#: (defacer, attack, variant).
Kind = tuple[str, ...]
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

    def outstanding(self, codes: np.ndarray) -> np.ndarray:
        """(n, persons) by how much each score exceeds the picture's scores for all others, in their deviations.

        Takes encodings less the centre of their kind.
        """
        scores = self.scores(codes)
        rest = scores.shape[1] - 1
        mean = (scores.sum(axis=1, keepdims=True) - scores) / rest
        square = ((scores**2).sum(axis=1, keepdims=True) - scores**2) / rest
        spread = np.sqrt(np.maximum(square - mean**2, 1e-24) * rest / (rest - 1))
        return (scores - mean) / spread

    def scores(self, codes: np.ndarray) -> np.ndarray:
        """(n, persons) scores of (n, d) encodings less their centre: large means that person."""
        codes = np.asarray(codes, dtype=np.float64)
        parts = [codes[k : k + _AT_ONCE] @ self.weights.T for k in range(0, len(codes), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.persons)))


def train(codes: np.ndarray, owners: Sequence[str], strength: float = STRENGTH) -> Classifier:
    """Train a classifier of persons.

    Parameters
    ----------
    codes : (n, d) array
        Encodings.
    owners : sequence of str
        Person of each; "" leaves it out.
    strength : float
        Of the regularisation, as a part of the mean variance.

    Raises
    ------
    InputError
        With fewer than two persons.

    Notes
    -----
    The score of a person is, up to a constant that is the same for all, the least-squares fit of one for the person's
    own encodings and zero for the others'. Encodings are gone through in parts: a large gallery is not copied.
    """
    names = np.asarray(owners, dtype=object).astype(str)
    used = np.flatnonzero(names != "")
    persons, member = np.unique(names[used], return_inverse=True)
    if len(persons) < 2:
        raise InputError("a classifier of persons needs pictures of two persons at least.")
    count = np.bincount(member)
    parts = [slice(k, k + _AT_ONCE) for k in range(0, len(used), _AT_ONCE)]
    means = np.zeros((len(persons), codes.shape[1]))
    for part in parts:
        np.add.at(means, member[part], np.asarray(codes[used[part]], dtype=np.float64))
    means /= count[:, None]
    middle = means.mean(axis=0)
    spread = np.zeros((codes.shape[1],) * 2)
    for part in parts:
        # everybody weighs the same, however many of their pictures show a face
        away = (codes[used[part]] - middle) / np.sqrt(count[member[part]] * len(persons))[:, None]
        spread += away.T @ away
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


def kind_of(picture: Sighting) -> Kind:
    """Of pictures that are alike, whoever they show: (defacer, attack, variant)."""
    return tuple(str(picture.facts.get(name) or "") for name in ("defacer", "attack", "variant"))


def centres(pictures: Iterable[Sighting]) -> dict[Kind, np.ndarray]:
    """Mean encoding of each kind of picture of which there are four persons, each weighing the same."""
    sums: dict[Kind, dict[str, tuple[np.ndarray, int]]] = {}
    for one in pictures:
        if isinstance(one.encoding, (list, np.ndarray)):
            mine = sums.setdefault(kind_of(one), {})
            total, count = mine.get(one.person, (np.zeros(len(one.encoding)), 0))
            mine[one.person] = total + np.asarray(one.encoding, dtype=np.float64), count + 1
    return {
        kind: np.mean([total / count for total, count in mine.values()], axis=0)
        for kind, mine in sums.items()
        if len(mine) >= FEWEST
    }


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
        None: the negative of how far a score stands out is the distance.
    centres : mapping
        See `centres`; of another kind of picture the classifier's middle is taken.
    """

    whole: Mapping[int, Classifier]
    without: Mapping[int, Sequence[Classifier]]
    numbers: Mapping[tuple[str, str], int]
    scale: Scale | None = None
    centres: Mapping[Kind, np.ndarray] = dataclasses.field(default_factory=dict)

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
        place = {person: k for k, person in enumerate(persons)}
        for number, rows, codes in self._batches(probes):
            one = self.whole[number]
            columns = [place[person] for person in one.persons]
            values[np.ix_(rows, columns)] = self._distances(one.outstanding(codes))
            for some, scores in self._left_out(number, [probes[row].person for row in rows], codes):
                strange[np.array(rows)[some]] = self._distances(scores.max(axis=1))
        self._forget_own_scan(probes, values, persons)
        return Scores(tuple(probes), persons, values), strange

    def strangers(self, probes: Sequence[Sighting]) -> np.ndarray:
        """Scores of probes for all persons, by classifiers that were trained without theirs; flat."""
        found = [np.zeros(0)]
        for number, rows, codes in self._batches(probes):
            left_out = self._left_out(number, [probes[row].person for row in rows], codes)
            found += [scores.ravel() for _, scores in left_out]
        return np.concatenate(found)

    def _batches(self, probes: Sequence[Sighting]) -> Iterator[tuple[int, list[int], np.ndarray]]:
        """Probes that the same classifier looks at: its number, their places, their encodings less centres."""
        found: dict[int, list[int]] = {}
        for row, probe in enumerate(probes):
            if isinstance(probe.encoding, (list, np.ndarray)):
                found.setdefault(self._number(probe), []).append(row)
        for number, rows in found.items():
            if number in self.whole:
                middle = self.whole[number].middle
                away = [
                    np.asarray(probes[k].encoding, dtype=np.float64)
                    - self.centres.get(kind_of(probes[k]), middle)
                    for k in rows
                ]
                yield number, rows, np.array(away)

    def _left_out(
        self, number: int, own: Sequence[str], codes: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of (n, d) encodings, and their scores by the classifier without their persons, fold by fold."""
        fold_of = {person: k % FOLDS for k, person in enumerate(self.whole[number].persons)}
        folds = np.array([fold_of.get(person, -1) for person in own])
        for fold, other in enumerate(self.without.get(number, ())):
            if (folds == fold).any():
                yield np.flatnonzero(folds == fold), other.outstanding(codes[folds == fold])

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
    middles: Mapping[Kind, np.ndarray] | None = None,
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
    middles : mapping, optional
        See `centres`.

    Returns
    -------
    Enrolled or None
        None with fewer than four persons, or where the scale cannot be told.
    """
    known = [one for one in pictures if isinstance(one.encoding, (list, np.ndarray))]
    scans = dict(numbers or {})
    several = {person for (person, _), k in scans.items() if k > 1}
    whole, without = {}, {}
    codes = np.array([np.asarray(one.encoding, dtype=np.float32) for one in known])
    for left in sorted({0, *scans.values()}):
        owners = [
            one.person if not left or one.person not in several or scans.get(_scan(one)) != left else ""
            for one in known
        ]
        persons = sorted(set(owners) - {""})
        if len(persons) < FEWEST:
            continue
        whole[left] = train(codes, owners, strength)
        folds = [persons[fold::FOLDS] for fold in range(FOLDS)]
        if all(len(persons) - len(some) >= FEWEST - 1 for some in folds):
            strangers = [set(some) for some in folds]
            without[left] = [
                train(codes, ["" if who in some else who for who in owners], strength) for some in strangers
            ]
    if not whole:
        return None
    raw = Enrolled(whole, without, scans, None, middles or {})
    same, other = -raw.score(unseen)[0].genuine, raw.strangers(unseen)
    same = same[~np.isnan(same)]
    scale = Scale.of(same, other, threshold, stranger, fpr)
    return None if scale is None else dataclasses.replace(raw, scale=scale)


def _scan(one: Sighting) -> tuple[str, str]:
    return one.person, str(one.facts.get("case", ""))

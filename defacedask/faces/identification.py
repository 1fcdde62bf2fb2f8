"""Who is it? Defaced heads against a gallery of known persons.

A picture is scored against a person by the smallest distance to any of that person's gallery pictures.
Calibration on originals, the positive control and the attack all use this one score, so that a larger gallery
cannot flatter one of them; only, an original never meets itself: it is compared with its person's other views.
What the scores are worth is said by `defacedask.faces.controls` and `defacedask.faces.verification`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Distance", "Scores", "Sighting", "distances", "identify", "score"]

Distance = Callable[[Any, Any], float]
#: Probes compared with the gallery at a time: bounds the memory of large cohorts.
_AT_ONCE = 2048


@dataclasses.dataclass(frozen=True, eq=False)
class Sighting:
    """One picture that a recogniser looked at.

    Attributes
    ----------
    person : str
        Who it is of: the case, or the patient where several scans of one patient are compared.
    view : str
        Name of the camera direction.
    encoding : array or Any, optional
        None if there was no face to encode.
    detected : bool
        Whether the detector found a face (an encoding may have been forced without one).
    facts : dict
        Carried into the rows: defacer, modality, recogniser, attack, level, ...
    """

    person: str
    view: str = ""
    encoding: Any = None
    detected: bool = False
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def distances(a: Sequence[Any], b: Sequence[Any], distance: Distance | None = None) -> np.ndarray:
    """(n, m) distances between two lists of encodings, NaN where an encoding is None.

    Parameters
    ----------
    a, b : sequences of encodings
    distance : callable, optional
        A recogniser's; default: Euclidean.
    """
    out = np.full((len(a), len(b)), math.nan)
    rows = [k for k, code in enumerate(a) if code is not None]
    columns = [k for k, code in enumerate(b) if code is not None]
    if not rows or not columns:
        return out
    if distance is None:
        from scipy.spatial.distance import cdist

        left = np.array([np.asarray(a[k], dtype=np.float64) for k in rows])
        right = np.array([np.asarray(b[k], dtype=np.float64) for k in columns])
        out[np.ix_(rows, columns)] = cdist(left, right)
    else:
        out[np.ix_(rows, columns)] = [[distance(a[i], b[j]) for j in columns] for i in rows]
    return out


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Every probe against every person of the gallery.

    Attributes
    ----------
    probes : tuple of Sighting
    persons : tuple of str
        The gallery, sorted.
    values : (probes, persons) array
        Smallest distance; NaN where there is nothing to compare.
    """

    probes: tuple[Sighting, ...]
    persons: tuple[str, ...]
    values: np.ndarray

    @property
    def genuine(self) -> np.ndarray:
        """Distance of each probe whose person is in the gallery to that person."""
        rows, columns = self._own()
        return self.values[rows, columns]

    @property
    def impostor(self) -> np.ndarray:
        """Distances of all probes to all other persons."""
        return self.values[self.others]

    @property
    def others(self) -> np.ndarray:
        """(probes, persons) bool: the person is not the probe's own."""
        own = np.array([p.person for p in self.probes], dtype=object)[:, None]
        return own != np.array(self.persons, dtype=object)[None]

    def _own(self) -> tuple[list[int], list[int]]:
        place = {person: k for k, person in enumerate(self.persons)}
        rows = [k for k, probe in enumerate(self.probes) if probe.person in place]
        return rows, [place[self.probes[k].person] for k in rows]


def score(
    probes: Sequence[Sighting],
    gallery: Sequence[Sighting],
    *,
    distance: Distance | None = None,
    same_view: bool | None = None,
    allowed: Callable[[Sighting, Sighting], bool] | None = None,
) -> Scores:
    """Score probes against the persons of a gallery.

    Parameters
    ----------
    probes : sequence of Sighting
        Defaced heads, or the originals themselves for the controls.
    gallery : sequence of Sighting
        The known persons' originals (second scans, photographs); those without an encoding are left out,
        their person stays in the gallery only through other pictures.
    distance : callable, optional
        A recogniser's; default: Euclidean.
    same_view : bool, optional
        False: a probe is compared with pictures of other views only, for every person alike. Default: False
        where probe and gallery are the same picture set (``probes is gallery``), else True.
    allowed : callable, optional
        ``allowed(probe, picture)``: whether the two may be compared at all, the same for pictures of one case
        (``facts["case"]``; see `defacedask.faces.galleries`). Default: always.

    Returns
    -------
    Scores
    """
    if same_view is None:
        same_view = probes is not gallery
    asked, pictures = tuple(probes), tuple(gallery)
    known = [g for g in pictures if g.encoding is not None]
    persons = tuple(sorted({g.person for g in known}))
    owner = np.array([g.person for g in known], dtype=object)
    columns = [np.flatnonzero(owner == person) for person in persons]
    values = np.full((len(asked), len(persons)), math.nan)
    for begin in range(0, len(asked), _AT_ONCE):
        some = asked[begin : begin + _AT_ONCE]
        every = distances([p.encoding for p in some], [g.encoding for g in known], distance)
        if not same_view:
            views = np.array([p.view for p in some], dtype=object)[:, None]
            every[views == np.array([g.view for g in known], dtype=object)[None]] = math.nan
        if allowed is not None:
            every[~_allowed(some, known, allowed)] = math.nan
        for k, mine in enumerate(columns):
            part = every[:, mine]
            seen = ~np.isnan(part).all(axis=1)
            values[begin : begin + len(some)][seen, k] = np.nanmin(part[seen], axis=1)
    return Scores(asked, persons, values)


def _allowed(
    probes: Sequence[Sighting], pictures: Sequence[Sighting], rule: Callable[[Sighting, Sighting], bool]
) -> np.ndarray:
    """(probes, pictures) bool, the rule asked once a pair of cases."""
    sides, places = [], []
    for side in (probes, pictures):
        keys = [(s.person, str(s.facts.get("case", ""))) for s in side]
        number = {key: k for k, key in enumerate(dict.fromkeys(keys))}
        first = dict(zip(reversed(keys), reversed(side), strict=True))
        sides.append([first[key] for key in number])
        places.append([number[key] for key in keys])
    table = np.array([[rule(a, b) for b in sides[1]] for a in sides[0]], dtype=bool)
    return table[np.ix_(*places)]


def identify(scores: Scores) -> list[dict[str, Any]]:
    """Rows of the recognition table.

    Returns
    -------
    list of dict
        The sighting's facts, ``view``, ``detected``, ``distance_to_own``, ``rank_of_own`` (1 plus the number
        of persons that are strictly nearer, so a tie counts for the attacker),
        ``nearest_other`` and ``gallery_size``; None where there is nothing to compare.
    """
    place = {person: k for k, person in enumerate(scores.persons)}
    rows = []
    for probe, values in zip(scores.probes, scores.values, strict=True):
        column = place.get(probe.person)
        own = math.nan if column is None else float(values[column])
        rest = values if column is None else np.delete(values, column)
        rest = rest[~np.isnan(rest)]
        rows.append(
            {
                **probe.facts,
                "view": probe.view,
                "detected": probe.detected,
                "distance_to_own": None if math.isnan(own) else own,
                "rank_of_own": None if math.isnan(own) else 1 + int((rest < own).sum()),
                "nearest_other": float(rest.min()) if len(rest) else None,
                "gallery_size": len(scores.persons),
            }
        )
    return rows

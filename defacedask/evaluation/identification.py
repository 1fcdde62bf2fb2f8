"""Who is it? Defaced heads against a gallery of known persons, and what the answer is worth.

A picture is scored against a person by the smallest distance to any of that person's gallery pictures.
Calibration on originals, the positive control and the attack all use this one score, so that a larger gallery
cannot flatter one of them; only, an original never meets itself: it is compared with its person's other views.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.evaluation.rates import (
    Calibration,
    Roc,
    bootstrap_interval,
    calibrate_threshold,
    cmc,
    exact_interval,
    roc,
    sweep,
    upper_bound,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Calibration",
    "Roc",
    "Scores",
    "Sighting",
    "bootstrap_interval",
    "calibrate_threshold",
    "cmc",
    "controls",
    "detection_table",
    "distances",
    "exact_interval",
    "identify",
    "roc",
    "score",
    "sweep",
    "upper_bound",
    "verification",
]

Distance = Callable[[Any, Any], float]


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
        left = np.array([np.asarray(a[k], dtype=np.float64) for k in rows])
        right = np.array([np.asarray(b[k], dtype=np.float64) for k in columns])
        out[np.ix_(rows, columns)] = np.linalg.norm(left[:, None] - right[None], axis=2)
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
    def genuine_persons(self) -> list[str]:
        """The person of each element of `genuine`."""
        return [self.probes[k].person for k in self._own()[0]]

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

    Returns
    -------
    Scores
    """
    if same_view is None:
        same_view = probes is not gallery
    asked, pictures = tuple(probes), tuple(gallery)
    known = [g for g in pictures if g.encoding is not None]
    persons = tuple(sorted({g.person for g in known}))
    every = distances([p.encoding for p in asked], [g.encoding for g in known], distance)
    if not same_view:
        views = np.array([p.view for p in asked], dtype=object)[:, None]
        every = np.where(views == np.array([g.view for g in known], dtype=object)[None], math.nan, every)
    values = np.full((len(asked), len(persons)), math.nan)
    owner = np.array([g.person for g in known], dtype=object)
    for k, person in enumerate(persons):
        mine = every[:, owner == person]
        seen = ~np.isnan(mine).all(axis=1)
        values[seen, k] = np.nanmin(mine[seen], axis=1)
    return Scores(asked, persons, values)


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


def verification(
    scores: Scores, *, fprs: Sequence[float] = (0.01, 0.001), repeats: int = 500, seed: int = 0
) -> dict[str, Any]:
    """AUC and TPR at fixed FPR of a set of probes, with bootstrap intervals over persons.

    A probe without a face never matches, and counts.

    Returns
    -------
    dict
        ``auc``, ``auc_low``, ``auc_high``, and for each rate such as 0.01 ``tpr_at_0.01`` with ``_low`` and
        ``_high``; ``eer``; ``genuine`` and ``impostor`` comparisons; ``probes_without_face``. Empty figures
        are NaN.
    """
    genuine, impostor = scores.genuine, scores.impostor
    out: dict[str, Any] = {
        "genuine": len(genuine),
        "impostor": len(impostor),
        "probes_without_face": sum(p.encoding is None for p in scores.probes),
    }
    names = ["auc", *(f"tpr_at_{rate:g}" for rate in fprs)]
    if not len(genuine) or not len(impostor):
        return {**out, **{n + e: math.nan for n in names for e in ("", "_low", "_high")}, "eer": math.nan}
    place = {person: k for k, person in enumerate(scores.persons)}
    own = np.array([place.get(p.person, -1) for p in scores.probes])
    others = scores.others

    def figures(rows: np.ndarray) -> list[float]:
        mine = rows[own[rows] >= 0]
        rest = scores.values[rows][others[rows]]
        if not len(mine) or not len(rest):
            return [math.nan] * len(names)
        curve = roc(scores.values[mine, own[mine]], rest)
        return [curve.auc, *(curve.tpr_at(rate) for rate in fprs)]

    curve = roc(genuine, impostor)
    found = figures(np.arange(len(scores.probes)))
    persons = [p.person for p in scores.probes]
    for k, name in enumerate(names):
        low, high = bootstrap_interval(
            functools.partial(_one, figures, k), persons, repeats=repeats, seed=seed
        )
        out |= {name: found[k], f"{name}_low": low, f"{name}_high": high}
    return {**out, "eer": curve.eer[0]}


def _one(figures: Callable[[np.ndarray], list[float]], k: int, rows: np.ndarray) -> float:
    return figures(rows)[k]


def controls(
    originals: Sequence[Sighting],
    *,
    distance: Distance | None = None,
    fpr: float = 0.01,
    tolerance: float = 0.3,
) -> dict[str, Any]:
    """Does the attack work at all, and does it tell people apart? Calibrates on originals by the way.

    Parameters
    ----------
    originals : sequence of Sighting
        Pictures of undefaced heads, several views a person.
    distance : callable, optional
        A recogniser's; default: Euclidean.
    fpr : float
        Rate of impostors at the calibrated threshold.
    tolerance : float
        The study's fixed tolerance.

    Returns
    -------
    dict
        ``calibration`` (`Calibration`), ``persons``, ``persons_detected``; positive control (each picture
        against the other views of its person): ``positive_matches``, ``positive_rank_1``, ``positive_n``
        by person (best view); negative control: ``negative_rate`` of impostor comparisons at the tolerance;
        ``holds`` and ``reason``: the positive control holds if at least half of the persons are detected, and
        half of those detected in two views are matched at the calibrated threshold. If it does not hold, a
        low match rate after defacing proves nothing.
    """
    pictures = list(originals)
    scores = score(pictures, pictures, distance=distance)
    # an impostor may meet the gallery at its own view, as the defaced heads will
    impostors = _some(score(pictures, pictures, distance=distance, same_view=True).impostor)
    calibration = calibrate_threshold(_some(scores.genuine), impostors, fpr)
    persons = sorted({p.person for p in pictures})
    detected = {p.person for p in pictures if p.detected}
    best: dict[str, tuple[float, int]] = {}
    for probe, row in zip(pictures, identify(scores), strict=True):
        if row["distance_to_own"] is not None:
            found = (row["distance_to_own"], row["rank_of_own"])
            best[probe.person] = min(best.get(probe.person, found), found)
    matched = sum(d <= calibration.threshold for d, _ in best.values())
    reason = ""
    if len(detected) * 2 < len(persons):
        reason = f"faces were detected on {len(detected)} of {len(persons)} originals only"
    elif math.isnan(calibration.threshold):
        reason = f"no threshold could be calibrated: {calibration.reason}"
    elif matched * 2 < len(best) or not best:
        reason = f"only {matched} of {len(best)} originals match themselves at another view"
    return {
        "calibration": calibration,
        "persons": len(persons),
        "persons_detected": len(detected),
        "positive_n": len(best),
        "positive_matches": matched,
        "positive_matches_at_tolerance": sum(d <= tolerance for d, _ in best.values()),
        "positive_rank_1": sum(rank == 1 for _, rank in best.values()),
        "negative_n": len(impostors),
        "negative_rate": float((impostors <= tolerance).mean()) if len(impostors) else math.nan,
        "holds": not reason,
        "reason": reason,
    }


def _some(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def detection_table(
    recognition: pd.DataFrame, *, tolerance: float = 0.3, threshold: float = math.nan
) -> pd.DataFrame:
    """The study's table from rows of recognition: defacer x modality x recogniser.

    Parameters
    ----------
    recognition : pandas.DataFrame
        As in INTERFACE: case, defacer, modality, recogniser, attack, view, detected, distance_to_own, ...
    tolerance : float
        The study's.
    threshold : float
        Calibrated on originals; NaN if there is none.

    Returns
    -------
    pandas.DataFrame
        One row a (defacer, modality, recogniser): ``cases``; ``faces_detected`` (cases with a face in any
        plain view); ``matches`` (cases matched to their own original at the tolerance in any plain view) and
        ``upper_bound_95`` of that rate; ``matches_calibrated`` with ``upper_bound_95_calibrated``;
        ``rank_1``
        (cases whose nearest known person is the right one in any plain view); ``matches_any_attack`` (at the
        calibrated threshold, else at the tolerance) and ``attacks`` tried; ``detected_upper_bound_95``.
    """
    import pandas as pd

    rows = []
    keys = ["defacer", "modality", "recogniser"]
    limit = tolerance if math.isnan(threshold) else threshold
    for names, part in recognition.groupby(keys, sort=False, dropna=False):
        plain = part[part["attack"] == "plain"]
        cases = part["case"].nunique()
        own = plain["distance_to_own"].astype(float)
        found = plain.loc[plain["detected"].astype(bool), "case"].nunique()
        matches = plain.loc[own <= tolerance, "case"].nunique()
        calibrated = plain.loc[own <= threshold, "case"].nunique()
        rank = plain["rank_of_own"].astype(float)
        anyhow = part.loc[part["distance_to_own"].astype(float) <= limit, "case"].nunique()
        known = not math.isnan(threshold)
        rows.append(
            {
                **dict(zip(keys, names, strict=True)),
                "cases": cases,
                "faces_detected": found,
                "matches": matches,
                "tolerance": tolerance,
                "upper_bound_95": upper_bound(matches, cases),
                "detected_upper_bound_95": upper_bound(found, cases),
                "matches_calibrated": calibrated if known else None,
                "threshold": threshold,
                "upper_bound_95_calibrated": upper_bound(calibrated, cases) if known else math.nan,
                "rank_1": plain.loc[rank == 1, "case"].nunique(),
                "matches_any_attack": anyhow,
                "attacks": part["attack"].nunique(),
            }
        )
    return pd.DataFrame(rows)

"""What the recognition rows say case by case: who was detected, who was matched, and whether that means much.

A case counts once, however many views were rendered: it is *detected* if any view shows a face and *matched*
if in any view the distance to its own original is small enough. Any view, because whoever wants to recognise
somebody picks the best one. Small enough is the larger of the recogniser's tolerance, if it has one, and the
threshold calibrated on originals, because whoever wants to recognise somebody also chooses the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from defacedask.faces.rates import exact_interval, upper_bound
from defacedask.faces.tolerances import largest_distance, tolerance_of

__all__ = [
    "ANY",
    "ORIGINAL",
    "PLAIN",
    "Control",
    "Rate",
    "any_attack",
    "by_case",
    "comparing",
    "detectors",
    "limits",
    "originals",
    "positive_controls",
    "rank_one",
    "threshold",
]

ORIGINAL = "original"
PLAIN = "plain"
#: As an attack, image or recogniser of the table ``verification``: the nearest by any of them.
ANY = "any"
#: Below this share of originals recognised, "not recognised after defacing" says nothing.
VOID_BELOW = 0.5
#: Below this share the control is weak: it passes, with a warning.
WEAK_BELOW = 0.8

_CASE = ["defacer", "recogniser", "modality", "attack", "case"]


@dataclass(frozen=True)
class Rate:
    """A count of cases."""

    hits: int
    cases: int

    def __add__(self, other: Rate) -> Rate:
        """Of other cases, too."""
        return Rate(self.hits + other.hits, self.cases + other.cases)

    @property
    def share(self) -> float:
        """0..1, NaN without cases."""
        return self.hits / self.cases if self.cases else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Exact two-sided 95 % interval of the share; 0..1 without cases."""
        return exact_interval(self.hits, self.cases) if self.cases else (0.0, 1.0)

    @property
    def upper(self) -> float:
        """Exact one-sided 95 % upper bound of the share; 1 without cases."""
        return upper_bound(self.hits, self.cases) if self.cases else 1.0


def threshold(controls: pd.DataFrame | None, modality: str, recogniser: str) -> float:
    """Threshold calibrated on the originals of one modality, NaN if there is none."""
    if controls is None or not len(controls):
        return math.nan
    rows = controls.loc[(controls["modality"] == modality) & (controls["recogniser"] == recogniser)]
    return float(rows["threshold"].iloc[0]) if len(rows) else math.nan


def limits(controls: pd.DataFrame | None, tolerances: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """(modality, recogniser) -> largest distance at which a case counts as recognised; NaN where nothing says."""
    if controls is None:
        return {}
    each = zip(controls["modality"], controls["recogniser"], controls["threshold"], strict=True)
    return {(m, r): largest_distance(tolerance_of(tolerances, r), t) for m, r, t in each}


def by_case(
    recognition: pd.DataFrame,
    tolerances: Mapping[str, float],
    limit: Mapping[tuple[str, str], float] | None = None,
) -> pd.DataFrame:
    """One row a (defacer, recogniser, modality, attack, case).

    Parameters
    ----------
    recognition : DataFrame
        The study's recognition table.
    tolerances : mapping
        Recogniser -> its tolerance, where it has one.
    limit : mapping, optional
        See `limits`; where there is none, the recogniser's tolerance holds, and without one nothing matches.

    Returns
    -------
    DataFrame
        Columns of the key, then ``detected``, ``matched`` (within the limit), ``distance`` (smallest to the
        own original, NaN if never encoded), ``views``, ``encoded`` and ``gallery_size``.
    """
    rows = recognition
    if not len(rows):
        columns = [*_CASE, "matched", "detected", "distance", "views", "encoded", "gallery_size"]
        return pd.DataFrame({c: pd.Series([], dtype=object) for c in columns})
    rows = rows.assign(detected=rows["detected"].fillna(False).astype(bool))
    if "comparable" in rows:  # who is not in the gallery cannot be matched, which proves nothing
        rows = rows.loc[rows["comparable"].fillna(True).astype(bool)]
    table = (
        rows.groupby(_CASE, sort=False)
        .agg(
            detected=("detected", "any"),
            distance=("distance_to_own", "min"),
            views=("view", "size"),
            encoded=("distance_to_own", "count"),
            gallery_size=("gallery_size", "max"),
        )
        .reset_index()
    )
    pairs = zip(table["modality"], table["recogniser"], strict=True)
    largest = np.array([(limit or {}).get(pair, tolerance_of(tolerances, pair[1])) for pair in pairs])
    table.insert(len(_CASE), "matched", table["distance"].to_numpy(dtype=float) <= largest)
    return table


def any_attack(cases: pd.DataFrame) -> pd.DataFrame:
    """Join the attacks: a case is detected or matched if it was by any of them."""
    key = [c for c in _CASE if c != "attack"]
    if not len(cases):
        return cases.drop(columns="attack")
    return (
        cases.groupby(key, sort=False)
        .agg(
            detected=("detected", "any"),
            matched=("matched", "any"),
            distance=("distance", "min"),
            attacks=("attack", "nunique"),
        )
        .reset_index()
    )


@dataclass(frozen=True)
class Control:
    """The positive control of one recogniser on one modality: whether the originals are recognised at all.

    ``detected`` counts persons with a face detected, ``matched`` those of them that match themselves at
    another view (in another scan, a photograph: see ``gallery``; ``missing`` are persons of whom it holds
    nothing), at most ``limit`` apart. ``calibrated`` is False where a threshold was to be calibrated and could
    not be: with one person there is nobody to be taken for another. Of dose grids, ``not_judged`` persons have no
    dose at the face and are not among them; ``planted_detected`` and ``planted_matched`` are of doses that reach all
    of the face.
    """

    recogniser: str
    modality: str
    detected: Rate
    matched: Rate
    limit: float
    calibrated: bool = True
    reason: str = ""
    others: Rate | None = None
    gallery: str = "originals"
    missing: str = ""
    note: str = ""
    not_judged: int = 0
    planted_detected: Rate = Rate(0, 0)
    planted_matched: Rate = Rate(0, 0)

    @property
    def apart(self) -> bool:
        """Whether there is nobody whom it could be judged on."""
        return bool(self.not_judged) and not self.detected.cases

    @property
    def state(self) -> Literal["ok", "weak", "void"]:
        """Ok, weak (warn) or void (nothing can be concluded)."""
        if not self.matched.cases:
            return "void"
        lowest = min(self.detected.share, self.matched.share)
        if lowest < VOID_BELOW:
            return "void"
        return "weak" if lowest < WEAK_BELOW or not self.calibrated else "ok"


def originals(cases: pd.DataFrame) -> dict[tuple[str, str], tuple[Rate, Rate]]:
    """(recogniser, modality) -> originals detected, and of these matched at another view (plain attack only).

    Parameters
    ----------
    cases : DataFrame
        See `by_case`.
    """
    found = {}
    rows = cases.loc[(cases["defacer"] == ORIGINAL) & (cases["attack"] == PLAIN)]
    for (recogniser, modality), part in rows.groupby(["recogniser", "modality"], sort=False):
        seen = part.loc[part["detected"].astype(bool)]
        found[str(recogniser), str(modality)] = (
            Rate(len(seen), len(part)),
            Rate(int(seen["matched"].sum()), len(seen)),
        )
    return found


def positive_controls(
    counts: Mapping[tuple[str, str], tuple[Rate, Rate]],
    tolerances: Mapping[str, float],
    controls: pd.DataFrame | None = None,
) -> list[Control]:
    """Judge the originals: detected, and matched with themselves at another view.

    Where the run left a ``controls`` table, persons are counted there; else these are the ``counts`` of `originals`.
    """
    found = []
    if controls is not None and len(controls):
        largest = limits(controls, tolerances)
        for row in comparing(controls).to_dict("records"):
            comparisons = _count(row["negative_n"])
            # the limit is the larger of tolerance and threshold, so the larger count is that at the limit
            tolerance = tolerance_of(tolerances, row["recogniser"])
            at_tolerance = 0
            if not math.isnan(tolerance):
                at_tolerance = _count(row.get("positive_matches_at_tolerance"))
            limit = largest[row["modality"], row["recogniser"]]
            found.append(
                Control(
                    row["recogniser"],
                    row["modality"],
                    Rate(int(row["persons_detected"]), int(row["persons"])),
                    Rate(max(_count(row["positive_matches"]), at_tolerance), int(row["positive_n"])),
                    limit,
                    math.isfinite(row["threshold"]),
                    row["reason"],
                    _others(row, comparisons, limit, tolerance),
                    row.get("gallery") or "originals",
                    row.get("not_in_gallery") or "",
                    row.get("gallery_note") or "",
                    _count(row.get("not_judged")),
                    Rate(_count(row.get("planted_detected")), _count(row.get("planted"))),
                    Rate(_count(row.get("planted_matches")), _count(row.get("planted"))),
                )
            )
        return found
    return [
        Control(recogniser, modality, seen, matched, tolerance_of(tolerances, recogniser))
        for (recogniser, modality), (seen, matched) in counts.items()
    ]


def comparing(controls: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table ``controls`` of recognisers that tell persons apart."""
    if "compares" not in controls:
        return controls
    return controls.loc[controls["compares"].fillna(True).astype(bool)]


def detectors(controls: pd.DataFrame | None) -> list[tuple[str, str, Rate]]:
    """(modality, recogniser, persons with a face of all originals) of those that only find faces."""
    if controls is None or "compares" not in controls:
        return []
    rows = controls.loc[~controls["compares"].fillna(True).astype(bool)].to_dict("records")
    return [
        (row["modality"], row["recogniser"], Rate(int(row["persons_detected"]), int(row["persons"])))
        for row in rows
    ]


def _others(row: Mapping[str, Any], comparisons: int, limit: float, tolerance: float) -> Rate | None:
    """Comparisons of different persons within the limit; None where nothing says, or nobody counted them."""
    if math.isnan(limit):
        return None
    if math.isnan(tolerance) and pd.notna(row.get("negative_rate")):
        return None  # an earlier version counted within the study's tolerance, whoever looked
    if pd.notna(row.get("negative_matches")):
        return Rate(_count(row["negative_matches"]), comparisons)
    if limit != tolerance:
        return None
    rate = float(row["negative_rate"]) if pd.notna(row["negative_rate"]) else 0.0
    return Rate(round(rate * comparisons), comparisons)


def _count(number: Any) -> int:
    return 0 if number is None or pd.isna(number) else int(number)


def rank_one(rows: pd.DataFrame) -> tuple[float, float, int]:
    """How often the right person is the nearest of the gallery, each case weighing the same.

    Returns
    -------
    share, chance, cases : float, float, int
        Over all views, those without an encoding counting as not identified; what drawing one person of the
        gallery at random would give; cases with a gallery of at least two. NaN without such cases.
    """
    usable = rows.loc[pd.to_numeric(rows["gallery_size"]).fillna(0) >= 2]
    if not len(usable):
        return math.nan, math.nan, 0
    hit = (usable["rank_of_own"] == 1).fillna(False).astype(float)
    chance = 1 / usable["gallery_size"].astype(float)
    per_case = pd.DataFrame({"case": usable["case"], "hit": hit, "chance": chance}).groupby("case").mean()
    return float(per_case["hit"].mean()), float(per_case["chance"].mean()), len(per_case)

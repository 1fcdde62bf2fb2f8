"""What the recognition rows say case by case: who was detected, who was matched, and whether that means much.

A case counts once, however many views were rendered: it is *detected* if any view shows a face and *matched*
if in any view the distance to its own original is within the tolerance. Any view, because whoever wants to
recognise somebody picks the best one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from defacedask.report.counts import exact_interval, upper_bound

__all__ = [
    "IMAGES",
    "ORIGINAL",
    "PLAIN",
    "Control",
    "Rate",
    "any_attack",
    "by_case",
    "cumulative_match",
    "positive_controls",
    "rank_one",
    "sweep",
]

ORIGINAL = "original"
PLAIN = "plain"
#: Modalities that are images of the patient. Surfaces of contours and dose grids are judged beside them.
IMAGES = ("CT", "MR", "PT")
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

    @property
    def share(self) -> float:
        """0..1, NaN without cases."""
        return self.hits / self.cases if self.cases else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Exact two-sided 95 % interval of the share."""
        return exact_interval(self.hits, self.cases)

    @property
    def upper(self) -> float:
        """Exact one-sided 95 % upper bound of the share."""
        return upper_bound(self.hits, self.cases)


def by_case(recognition: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """One row a (defacer, recogniser, modality, attack, case).

    Parameters
    ----------
    recognition : DataFrame
        The study's recognition table.
    tolerance : float
        Largest distance that counts as a match.

    Returns
    -------
    DataFrame
        Columns of the key, then ``detected`` and ``matched`` (bool), ``distance`` (smallest to the own
        original, NaN if never encoded), ``views``, ``encoded`` and ``gallery_size``.

    Notes
    -----
    A row of the originals at distance exactly 0 is the enrolled picture compared with itself; it is left out.
    """
    rows = recognition
    own = (rows["defacer"] == ORIGINAL) & (rows["distance_to_own"] == 0)
    rows = rows.loc[~own]
    if not len(rows):
        columns = [*_CASE, "detected", "matched", "distance", "views", "encoded", "gallery_size"]
        return pd.DataFrame({c: pd.Series([], dtype=object) for c in columns})
    rows = rows.assign(detected=rows["detected"].fillna(False).astype(bool))
    grouped = rows.groupby(_CASE, sort=False)
    table = grouped.agg(
        detected=("detected", "any"),
        distance=("distance_to_own", "min"),
        views=("view", "size"),
        encoded=("distance_to_own", "count"),
        gallery_size=("gallery_size", "max"),
    ).reset_index()
    table.insert(len(_CASE), "matched", (table["distance"] <= tolerance).to_numpy())
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
    """The positive control of one recogniser on one modality: whether the originals are recognised at all."""

    recogniser: str
    modality: str
    detected: Rate
    matched: Rate
    gallery_size: int

    @property
    def state(self) -> Literal["ok", "weak", "void"]:
        """Ok, weak (warn) or void (nothing can be concluded)."""
        lowest = min(self.detected.share, self.matched.share) if self.matched.cases else 0.0
        return "void" if lowest < VOID_BELOW else "weak" if lowest < WEAK_BELOW else "ok"


def positive_controls(cases: pd.DataFrame) -> list[Control]:
    """Judge the originals: detected, and matched with themselves at another view (plain attack only)."""
    rows = cases.loc[(cases["defacer"] == ORIGINAL) & (cases["attack"] == PLAIN)]
    found = []
    for (recogniser, modality), part in rows.groupby(["recogniser", "modality"], sort=False):
        size = pd.to_numeric(part["gallery_size"]).max()
        found.append(
            Control(
                str(recogniser),
                str(modality),
                Rate(int(part["detected"].sum()), len(part)),
                Rate(int(part["matched"].sum()), len(part)),
                0 if pd.isna(size) else int(size),
            )
        )
    return found


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
        return float("nan"), float("nan"), 0
    hit = (usable["rank_of_own"] == 1).fillna(False).astype(float)
    chance = 1 / usable["gallery_size"].astype(float)
    per_case = pd.DataFrame({"case": usable["case"], "hit": hit, "chance": chance}).groupby("case").mean()
    return float(per_case["hit"].mean()), float(per_case["chance"].mean()), len(per_case)


def cumulative_match(rows: pd.DataFrame) -> np.ndarray | None:
    """Cumulative match characteristic: share identified within rank 1, 2, ... of the gallery.

    Returns
    -------
    (gallery,) array or None
        None where the gallery holds fewer than three persons or its size varies: ranks then mean little.
    """
    sizes = rows["gallery_size"].dropna().unique()
    if len(sizes) != 1 or int(sizes[0]) < 3:
        return None
    size = int(sizes[0])
    rank = rows["rank_of_own"].astype("float64").to_numpy()
    curve = np.array([rank <= k for k in range(1, size + 1)], dtype=float)
    per_case = pd.DataFrame(curve.T).groupby(rows["case"].to_numpy()).mean()
    return per_case.mean().to_numpy()


def sweep(cases: pd.DataFrame, tolerances: np.ndarray) -> np.ndarray:
    """Share of cases matched at each tolerance (rows of `by_case` or `any_attack`, one a case)."""
    distance = cases["distance"].astype("float64").to_numpy()
    return np.array([(distance <= t).mean() if len(distance) else np.nan for t in tolerances])

"""Which cases are pictured: the worst of each defacer and the median, so that a page is bounded and no favourites."""

from __future__ import annotations

import numpy as np
import pandas as pd

from defacedask.faces.tolerances import tolerance_of
from defacedask.modality import IMAGES
from defacedask.report import numbers
from defacedask.report.run import CONTROL, Run
from defacedask.tables import evidence
from defacedask.tables.sampled import case_hashes, kept_cases, most_cases

__all__ = ["MOST_CASES", "chosen_cases"]

#: Cases pictured in a page, whatever the size of the cohort.
MOST_CASES = 6
_COLUMNS = (
    "case",
    "defacer",
    "modality",
    "recogniser",
    "attack",
    "view",
    "detected",
    "distance_to_own",
    "gallery_size",
    "comparable",
)


class _Near:
    """(defacer, case) -> smallest part of the threshold: of the cases of a sample, and of each defacer's worst."""

    def __init__(self, pictured: np.ndarray) -> None:
        self._pictured = pictured
        self._held: pd.Series | None = None

    def add(self, table: pd.DataFrame) -> None:
        """Add some cases, one row a look."""
        table = table.loc[
            np.isin(case_hashes(table["case"]), self._pictured) & table["modality"].isin(IMAGES)
        ]
        table = table.loc[~table["defacer"].isin(["original", CONTROL])].dropna(subset="part")
        each = table.groupby(["defacer", "case"])["part"].min()
        self._held = each if self._held is None else pd.concat([self._held, each])
        inside = self._inside(self._held)
        if not inside.all():
            worst = self._held.index.isin(self._held.groupby(level="defacer").idxmin())
            self._held = self._held.loc[inside | worst]

    @staticmethod
    def _inside(some: pd.Series) -> np.ndarray:
        return kept_cases(case_hashes(some.index.get_level_values("case")), most_cases())[0]

    @property
    def all(self) -> pd.Series:
        """All that is held."""
        nothing = pd.MultiIndex.from_arrays([[], []], names=["defacer", "case"])
        return pd.Series([], index=nothing, dtype=float) if self._held is None else self._held.sort_index()

    @property
    def sample(self) -> pd.Series:
        """Of the cases of the sample alone."""
        held = self.all
        return held.loc[self._inside(held)] if len(held) else held


def chosen_cases(run: Run, most: int = MOST_CASES) -> dict[str, str]:
    """Cases to picture, with the reason.

    Parameters
    ----------
    run : Run
    most : int

    Returns
    -------
    dict
        Case -> why it was chosen: the case in which each defacer hides least (the smallest part of the threshold
        by any attack on an image), and that of the median, which comes second. Where nobody looked for faces,
        the first cases.
    """
    # of each picture a number for its case's name
    pictured = np.unique(case_hashes(str(p.get("case", "")) for p in run.pictures))
    if not len(pictured):
        return {}
    near = _Near(pictured)
    limits = {(c.modality, c.recogniser): c.limit for c in run.controls}
    known = evidence.limits(run.tables["controls"], run.tolerances)
    for rows in run.read("recognition", _COLUMNS):
        table = evidence.by_case(rows, run.tolerances, known)
        largest = [
            limits.get(pair, tolerance_of(run.tolerances, pair[1]))
            for pair in zip(table["modality"], table["recogniser"], strict=True)
        ]
        near.add(table.assign(part=table["distance"].astype(float) / np.array(largest, dtype=float)))
    worst: dict[str, list[str]] = {}
    ranked = near.all.sort_values()
    for defacer in dict.fromkeys(name for name, _ in ranked.index):
        case, part = ranked[defacer].index[0], float(ranked[defacer].iloc[0])
        worst.setdefault(str(case), []).append(
            f"worst for {defacer} (nearest picture at {numbers.rate(part)} of the threshold)"
        )
    middle = near.sample.groupby(level="case").min().sort_values()
    if not len(middle):
        names: dict[str, str] = {}
        for picture in run.pictures:
            names[str(picture.get("case", ""))] = "among the first cases; no face was looked for"
            if len(names) == most:
                break
        return names
    median = str(middle.index[len(middle) // 2])
    # the worst of all comes first and the median second, so that a bound takes neither
    order = list(dict.fromkeys([next(iter(worst)), median, *worst]))[:most]
    return {
        case: ", ".join([*worst.get(case, []), *(["median over all defacers"] if case == median else [])])
        for case in order
    }

"""Which cases are pictured: the worst of each defacer and the median, so that a page is bounded and no favourites."""

from __future__ import annotations

import numpy as np

from defacedask.modality import IMAGES
from defacedask.report import numbers
from defacedask.report.run import CONTROL, Run

__all__ = ["MOST_CASES", "chosen_cases"]

#: Cases pictured in a page, whatever the size of the cohort.
MOST_CASES = 6


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
    pictured = list(dict.fromkeys(str(p.get("case", "")) for p in run.pictures))
    table = run.by_case
    table = table.loc[table["case"].isin(pictured) & table["modality"].isin(IMAGES)]
    limits = {(c.modality, c.recogniser): c.limit for c in run.controls}
    largest = [
        limits.get(pair, run.tolerance) for pair in zip(table["modality"], table["recogniser"], strict=True)
    ]
    table = table.assign(part=table["distance"].astype(float) / np.array(largest, dtype=float))
    worst: dict[str, list[str]] = {}
    nearest = table.loc[~table["defacer"].isin(["original", CONTROL])].dropna(subset="part")
    ranked = nearest.groupby(["defacer", "case"])["part"].min().sort_values()
    for defacer in dict.fromkeys(name for name, _ in ranked.index):
        case, part = ranked[defacer].index[0], float(ranked[defacer].iloc[0])
        worst.setdefault(str(case), []).append(
            f"worst for {defacer} (nearest picture at {numbers.rate(part)} of the threshold)"
        )
    middle = nearest.groupby("case")["part"].min().sort_values()
    if not len(middle):
        return dict.fromkeys(pictured[:most], "among the first cases; no face was looked for")
    median = str(middle.index[len(middle) // 2])
    # the worst of all comes first and the median second, so that a bound takes neither
    order = list(dict.fromkeys([next(iter(worst)), median, *worst]))[:most]
    return {
        case: ", ".join([*worst.get(case, []), *(["median over all defacers"] if case == median else [])])
        for case in order
    }

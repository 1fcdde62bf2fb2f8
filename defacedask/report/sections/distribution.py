"""Box plots of percent changes: all structures in one figure, then one figure a structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from defacedask.report import figures
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.cost import ten
from defacedask.tables.derive import in_order
from defacedask.tables.files import TEN_FEATURES

__all__ = ["box_plots"]

_MOST_STRUCTURES = 24
#: Fewer cases have no distribution: the tables say as much, and the figures take most of the time of a page.
_FEWEST_CASES = 5


def box_plots(run: Run) -> dict[str, Any] | None:
    """Pooled over features first, then one figure a structure that has at least five cases."""
    rows = ten(run)
    rows = rows.loc[np.isfinite(rows["percent"]) & (rows["defacer"] != CONTROL)]
    if not len(rows):
        return None
    defacers = [d for d in run.defacers if (rows["defacer"] == d).any()]
    every = in_order(rows["structure"].unique().tolist())
    if rows["modality"].nunique() > 1:  # a box is of one image
        pairs = rows.drop_duplicates(["structure", "modality"])
        named = {s: sorted(pairs.loc[pairs["structure"] == s, "modality"]) for s in every}
        every = [f"{s} ({m})" for s in every for m in named[s]]
        rows = rows.assign(structure=rows["structure"] + " (" + rows["modality"] + ")")
    structures = every[:_MOST_STRUCTURES]
    sizes = (
        rows.assign(percent=rows["percent"].abs())
        .groupby(["defacer", "structure", "case"])["percent"]
        .median()
    )
    pooled = [(d, run.look(d), [_select(sizes, d, s) for s in structures]) for d in defacers]
    indexed = rows.set_index(["defacer", "structure", "feature"])["percent"].sort_index()
    single = []
    for number, structure in enumerate(structures):
        n = rows.loc[rows["structure"] == structure, "case"].nunique()
        if n < _FEWEST_CASES:
            continue
        series = [
            (d, run.look(d), [_select(indexed, d, structure, f) for f in TEN_FEATURES]) for d in defacers
        ]
        single.append(
            {
                "structure": structure,
                "n": n,
                "svg": figures.boxes(
                    TEN_FEATURES,
                    series,
                    name=f"box{number}",
                    title=f"{structure}: percent change by feature",
                    xlabel="100·(original − defaced)/original, %  (left of 0: increased by defacing)",
                ),
            }
        )
    return {
        "pooled": figures.boxes(
            structures,
            pooled,
            name="boxes",
            title="Median absolute percent change of the ten features, by structure",
            xlabel="median |percent change| of a case's ten features, %",
            absolute=True,
        ),
        "single": single,
        "left_out": len(every) - len(structures),
    }


def _select(values: pd.Series, *key: str) -> np.ndarray:
    try:
        return np.atleast_1d(np.asarray(values.loc[key], dtype=np.float64))
    except KeyError:
        return np.zeros(0)

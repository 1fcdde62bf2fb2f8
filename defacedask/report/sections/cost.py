"""What defacing cost, in numbers: how far features moved, and whether what must not move did not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from defacedask.report.counts import median_interval
from defacedask.report.run import CONTROL, Run
from defacedask.tables.files import TEN_FEATURES

__all__ = ["control_exact", "large_change", "ten", "untouched_equal", "utility"]


def utility(run: Run, defacer: str) -> tuple[float, float, float, int]:
    """Median over cases of each case's median absolute percent change, its 95 % interval, and the cases."""
    rows = ten(run)
    rows = rows.loc[(rows["defacer"] == defacer) & np.isfinite(rows["percent"])]
    medians = rows["percent"].abs().groupby(rows["case"]).median().to_numpy()
    return (*median_interval(medians), len(medians))


def large_change(run: Run, defacer: str) -> float:
    """95th percentile of all absolute percent changes: what a median of zero may hide."""
    rows = ten(run)
    sizes = rows.loc[(rows["defacer"] == defacer) & np.isfinite(rows["percent"]), "percent"].abs()
    return float(np.percentile(sizes, 95)) if len(sizes) else float("nan")


def ten(run: Run) -> pd.DataFrame:
    """Rows of the study's ten features."""
    rows = run.tables["radiomics"]
    return rows.loc[rows["feature"].isin(TEN_FEATURES)]


def untouched_equal(run: Run) -> tuple[int, int]:
    """Values of structures without a changed voxel, whoever defaced: (how many, how many differ)."""
    rows = run.tables["radiomics"]
    rows = rows.loc[(rows["voxels_changed"] == 0).fillna(False).to_numpy(bool) & (rows["defacer"] != CONTROL)]
    before, after = rows["original"].to_numpy(dtype=float), rows["defaced"].to_numpy(dtype=float)
    differs = ~((before == after) | (np.isnan(before) & np.isnan(after)))
    return len(rows), int(differs.sum())


def control_exact(run: Run) -> tuple[int, int, float]:
    """Look whether convert-only changed anything: (values compared, values that differ, largest difference)."""
    compared = differing = 0
    largest = 0.0
    for name in ("radiomics", "dose"):
        rows = run.tables[name]
        rows = rows.loc[rows["defacer"] == CONTROL]
        before, after = rows["original"].to_numpy(dtype=float), rows["defaced"].to_numpy(dtype=float)
        differs = ~((before == after) | (np.isnan(before) & np.isnan(after)))
        compared += len(rows)
        differing += int(differs.sum())
        if differs.any():
            largest = max(largest, float(np.nanmax(np.abs(before - after)[differs], initial=0.0)))
    return compared, differing, largest

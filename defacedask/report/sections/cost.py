"""What defacing cost, in numbers: how far features moved, and whether what must not move did not."""

from __future__ import annotations

from defacedask.report.counts import median_interval
from defacedask.report.run import Run
from defacedask.tables.sampled import Numbers

__all__ = ["control_exact", "large_change", "untouched_equal", "utility"]


def utility(run: Run, defacer: str) -> tuple[float, float, float, int]:
    """Median over cases of each case's median absolute percent change, its 95 % interval, and the cases."""
    medians = run.features.by_case.get(defacer) or Numbers()
    return (*median_interval(medians.values), medians.count)


def large_change(run: Run, defacer: str) -> float:
    """95th percentile of all absolute percent changes: what a median of zero may hide."""
    return run.features.large_change(defacer)


def untouched_equal(run: Run) -> tuple[int, int]:
    """Values of structures without a changed voxel, whoever defaced: (how many, how many differ)."""
    return run.features.untouched.compared, run.features.untouched.differing


def control_exact(run: Run) -> tuple[int, int, float]:
    """Look whether convert-only changed anything: (values compared, values that differ, largest difference)."""
    both = run.features.exact, run.doses.exact
    return sum(e.compared for e in both), sum(e.differing for e in both), max(e.largest for e in both)

"""Of the table ``dose``: how far each metric moved, and where it moved farthest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pandas as pd

from defacedask.report.gathered import CONTROL
from defacedask.report.gathered.features import Equal
from defacedask.tables.batches import Reader
from defacedask.tables.sampled import Numbers, case_hashes, grouped

__all__ = ["Doses", "Moved", "doses"]

_COLUMNS = ("case", "defacer", "structure", "metric", "original", "defaced")
Key = tuple[str, str, str]


class Moved:
    """Changes (original - defaced) of one metric of one structure by one defacer.

    Attributes
    ----------
    changes : Numbers
        Those that are finite.
    worst : float
        The largest by its size, finite.
    known : bool
        Whether there is any that is a number.
    gy : float
        The largest by its size, of all.
    case : str
        Where.
    row : int
        Of the table, where that stands: of equal ones the first counts.
    """

    __slots__ = ("case", "changes", "gy", "known", "row", "worst")

    def __init__(self) -> None:
        self.changes, self.worst = Numbers(), 0.0
        self.known, self.gy, self.case, self.row = False, 0.0, "", 0

    def add(self, change: np.ndarray, hashes: np.ndarray, cases: np.ndarray, rows: np.ndarray) -> None:
        """Add some cases."""
        finite = np.isfinite(change)
        some = change[finite]
        if len(some):
            worst = float(some[np.abs(some).argmax()])
            if not self.changes.count or abs(worst) > abs(self.worst):
                self.worst = worst
            self.changes.add(some, hashes[finite])
        told = np.flatnonzero(~np.isnan(change))
        if len(told):
            first = int(told[np.abs(change[told]).argmax()])
            if not self.known or abs(change[first]) > abs(self.gy):
                self.gy, self.case, self.row = float(change[first]), str(cases[first]), int(rows[first])
            self.known = True


class Doses:
    """What was gathered.

    Attributes
    ----------
    rows : int
    structures, metrics, defacers : dict
        Of all rows, as they come.
    moved : dict
        (defacer, structure, metric) -> `Moved`, as they come.
    cases : Counter
        (defacer, structure) -> cases; (defacer, "") -> of any structure.
    exact : Equal
        Values of the convert-only control.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.structures: dict[str, None] = {}
        self.metrics: dict[str, None] = {}
        self.defacers: dict[str, None] = {}
        self.moved: dict[Key, Moved] = defaultdict(Moved)
        self.cases: Counter[tuple[str, str]] = Counter()
        self.exact = Equal()

    def changed(self, defacer: str) -> set[str]:
        """Structures of which any metric changed in any case."""
        return {s for (d, s, _), one in self.moved.items() if d == defacer and one.known and one.gy != 0}

    def of(self, defacer: str) -> list[str]:
        """Structures that were measured."""
        return list(dict.fromkeys(s for d, s, _ in self.moved if d == defacer))

    def worst(self, defacer: str, wanted: Callable[[str, str], bool]) -> tuple[str, str, str, float] | None:
        """Structure, metric, case and change of the metric that changed most, of those that are wanted."""
        found = [
            (abs(one.gy), -one.row, structure, metric, one)
            for (who, structure, metric), one in self.moved.items()
            if who == defacer and one.known and wanted(structure, metric)
        ]
        if not found:
            return None
        *_, structure, metric, one = max(found, key=lambda each: each[:2])
        return structure, metric, one.case, one.gy

    def add(self, rows: pd.DataFrame) -> None:
        """Add a batch."""
        self.structures |= dict.fromkeys(rows["structure"].unique())
        self.metrics |= dict.fromkeys(rows["metric"].unique())
        self.defacers |= dict.fromkeys(rows["defacer"].unique())
        self.exact.add(rows.loc[rows["defacer"] == CONTROL])
        change = (rows["original"] - rows["defaced"]).to_numpy(dtype=float)
        hashes, cases = case_hashes(rows["case"]), rows["case"].to_numpy(dtype=object)
        numbers = self.rows + np.arange(len(rows))
        for key, some in grouped(rows, ["defacer", "structure", "metric"]):
            self.moved[key].add(change[some], hashes[some], cases[some], numbers[some])  # type: ignore[index]
        for key, number in rows.groupby(["defacer", "structure"], sort=False)["case"].nunique().items():
            self.cases[key] += int(number)
        for defacer, number in rows.groupby("defacer", sort=False)["case"].nunique().items():
            self.cases[str(defacer), ""] += int(number)
        self.rows += len(rows)


def doses(read: Reader) -> Doses:
    """Gather it."""
    found = Doses()
    for rows in read("dose", _COLUMNS):
        found.add(rows)
    return found

"""Of the table ``timing``: seconds and memory of each part of the work, and who was defaced at all."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pandas as pd

from defacedask.tables.batches import Reader
from defacedask.tables.sampled import Numbers, case_hashes, grouped

__all__ = ["Stage", "Times", "times"]

_COLUMNS = ("case", "stage", "defacer", "status", "seconds", "peak_rss_mb")


class Stage:
    """One part of the work.

    Attributes
    ----------
    seconds, by_case : Numbers
        Of each task, and of all tasks of a case.
    memory : float
        Largest, MB.
    """

    def __init__(self) -> None:
        self.seconds, self.by_case = Numbers(), Numbers()
        self.memory = float("nan")

    def add(self, rows: pd.DataFrame, hashes: np.ndarray) -> None:
        """Add some cases."""
        self.seconds.add(rows["seconds"], hashes)
        sums = rows.groupby("case")["seconds"].sum()
        self.by_case.add(sums, case_hashes(sums.index))
        self.memory = float(np.fmax(self.memory, rows["peak_rss_mb"].max()))


class Times:
    """What was gathered.

    Attributes
    ----------
    tasks : int
    whole : Stage
        All parts; what has no time counts as 0 s.
    stages : dict
        Stage -> `Stage`.
    applied : bool
        Whether there is anything of the stage that defaces.
    defaced : Counter
        Defacer -> cases that it defaced.
    """

    def __init__(self) -> None:
        self.tasks = 0
        self.whole = Stage()
        self.stages: dict[str, Stage] = defaultdict(Stage)
        self.applied = False
        self.defaced: Counter[str] = Counter()

    def add(self, rows: pd.DataFrame) -> None:
        """Add a batch."""
        self.tasks += len(rows)
        hashes = case_hashes(rows["case"])
        self.whole.add(rows.assign(seconds=rows["seconds"].fillna(0.0)), hashes)
        for (stage,), some in grouped(rows, ["stage"]):
            self.stages[str(stage)].add(rows.iloc[some], hashes[some])
        applied = rows.loc[rows["stage"] == "apply"]
        self.applied |= bool(len(applied))
        done = applied.loc[applied["status"] == "done"]
        for defacer, number in done.groupby("defacer")["case"].nunique().items():
            self.defaced[str(defacer)] += int(number)


def times(read: Reader) -> Times:
    """Gather it."""
    found = Times()
    for rows in read("timing", _COLUMNS):
        found.add(rows)
    return found

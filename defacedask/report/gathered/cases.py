"""Of the tables ``cases``, ``exports`` and ``skipped``: what became of everybody; the first lines, and counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pandas as pd

from defacedask.tables.batches import Reader
from defacedask.tables.sampled import case_hashes

__all__ = ["Cases", "Exports", "Skips", "cases", "exports", "skips"]

#: Worst last: a case counts at its best.
_STATUS = {"done": 0, "refused": 1, "failed": 2}


class Cases:
    """What was gathered.

    Attributes
    ----------
    rows, virtual, undone : int
        Rows; of virtual patients; with a status or a reason to be named.
    statuses, best : Counter
        Of rows; of cases, each at its best.
    modalities : dict
    columns : list of str
        Of the table; ``numeric``: those that are numbers.
    first, named : list of dict
        Rows to show: those with a reason first, then by name; and the first of those that are to be named.
    """

    def __init__(self, most: int, most_named: int) -> None:
        self._most, self._most_named = most, most_named
        self.rows = self.virtual = self.undone = 0
        self.statuses: Counter[str] = Counter()
        self.best: Counter[str] = Counter()
        self.modalities: dict[str, None] = {}
        self.columns: list[str] = []
        self.numeric: list[str] = []
        self.first: list[dict[str, Any]] = []
        self.named: list[dict[str, Any]] = []
        self._kept: list[str] = []
        self._partly: Counter[str] = Counter()

    def face_kept(self, defacer: str) -> int:
        """Rows that say that protected structures keep a part of the face."""
        return self._partly[defacer]

    def add(self, table: pd.DataFrame, defacers: list[str]) -> None:
        """Add a batch."""
        self.rows += len(table)
        self.virtual += int(table["virtual"].fillna(False).astype(bool).sum())
        self.statuses.update(table["status"])
        order = table["status"].map(_STATUS).fillna(3)
        best = table.assign(order=order).sort_values("order", kind="stable").drop_duplicates("case")
        self.best.update(best["status"])
        self.modalities |= dict.fromkeys(table["modality"].unique())
        self.columns = list(map(str, table.columns))
        self.numeric = [c for c in self.columns if pd.api.types.is_numeric_dtype(table[c])]
        kept = table["face_kept"].fillna("")
        if (kept != "").any():
            for defacer in defacers:
                self._partly[defacer] += int(kept.str.contains(f"{defacer}: ", regex=False).sum())
        shown = pd.DataFrame({"order": table["status"].map({"failed": 0, "refused": 1, "done": 2}).fillna(3)})
        shown = shown.assign(case=table["case"]).sort_values(["order", "case"], kind="stable")
        more = table.loc[shown.index[: self._most]].to_dict("records")
        ranks = {"failed": 0, "refused": 1, "done": 2}
        self.first = sorted([*self.first, *more], key=lambda r: (ranks.get(r["status"], 3), r["case"]))
        self.first = self.first[: self._most]
        undone = table.loc[(table["status"] != "done") | (table["reason"] != "")]
        self.undone += len(undone)
        self.named += undone.head(self._most_named - len(self.named)).to_dict("records")


def cases(read: Reader, defacers: list[str], most: int, most_named: int) -> Cases:
    """Gather it; at most so many rows are kept to be shown, and to be named."""
    found = Cases(most, most_named)
    for rows in read("cases"):
        found.add(rows, defacers)
    return found


class Written:
    """Rows of one defacer: all, written, with a face found visible, with what moved, with people recognised."""

    def __init__(self) -> None:
        self.rows = self.done = self.visible = self.measured = self.recognised = 0
        self.recognised_done = False

    def add(self, rows: pd.DataFrame) -> None:
        """Add some cases."""
        done = rows["status"] == "done"
        visible = rows["reason"].fillna("").str.contains("still visible")
        visible |= rows["visible"].fillna(False).astype(bool)
        recognised = rows["recognised"].fillna(False).astype(bool)
        self.rows += len(rows)
        self.done += int(done.sum())
        self.visible += int(visible.sum())
        self.measured += int(rows["face_moved"].notna().sum())
        self.recognised += int(recognised.sum())
        self.recognised_done |= bool((recognised & done).any())


class Exports(defaultdict[str, Written]):
    """Defacer -> `Written`."""

    def __init__(self) -> None:
        super().__init__(Written)


def exports(read: Reader) -> Exports:
    """Gather it."""
    found = Exports()
    for rows in read(
        "exports", ("case", "defacer", "status", "reason", "face_moved", "visible", "recognised")
    ):
        for defacer, part in rows.groupby("defacer", sort=False):
            found[str(defacer)].add(part)
    return found


class Skips:
    """Files that belong to no case, by reason and patient.

    Attributes
    ----------
    lines : dict
        (reason, patient) -> [files, listed, first names], of the first of them.
    left : int
        Reasons and patients that are not among them.
    """

    def __init__(self, most: int, most_names: int) -> None:
        self._most, self._names = most, most_names
        self.lines: dict[tuple[str, str], tuple[int, int, list[str]]] = {}
        self._further: set[int] = set()

    @property
    def left(self) -> int:
        """How many lines there are beside."""
        return len(self._further)

    def add(self, rows: pd.DataFrame) -> None:
        """Add a batch."""
        for key, part in rows.groupby(["reason", "patient_id"], sort=False):
            if key not in self.lines and len(self.lines) == self._most:
                # a number for a text: what is not shown is counted
                self._further.add(int(case_hashes(["\n".join(map(str, key))])[0]))
                continue
            files, listed, names = self.lines.get(key, (0, 0, []))
            paths = [str(path) for path in part["path"] if path]
            self.lines[key] = (
                files + int(part["files"].fillna(1).sum()),
                listed + len(paths),
                [*names, *paths[: self._names - len(names)]],
            )


def skips(read: Reader, most: int, most_names: int) -> Skips:
    """Gather it."""
    found = Skips(most, most_names)
    for rows in read("skipped", ("path", "reason", "patient_id", "files")):
        found.add(rows)
    return found

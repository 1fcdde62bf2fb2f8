"""Of the table ``geometry``: which structures lie in the region that a plan may change, and how deep."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pandas as pd

from defacedask.report.gathered import CONTROL
from defacedask.tables.batches import Reader
from defacedask.tables.sampled import Numbers, Worst, case_hashes, grouped

__all__ = ["Volume", "Volumes", "volumes"]

_COLUMNS = (
    "case",
    "defacer",
    "structure",
    "target",
    "volume_ml",
    "region_ml",
    "region_percent",
    "after_ml",
    "note",
)


class Volume:
    """One structure against one defacer's region.

    Attributes
    ----------
    cases, touched : int
        Cases (and images) of which it is known; with a voxel in the region.
    volumes, shares, losses : Numbers
        Volume before, ml; part in the region, %; volume that its contours lose on export, ml.
    target, aside, hit, hit_aside : bool
        Whether it is a target in any case; whether it lies in the region in any; and where it is none.
    notes : set of str
    """

    def __init__(self) -> None:
        self.cases = self.touched = 0
        self.volumes, self.shares, self.losses = Numbers(), Numbers(), Numbers()
        self.target = self.hit = self.hit_aside = False
        self.notes: set[str] = set()

    def add(self, rows: pd.DataFrame, hashes: np.ndarray) -> None:
        """Add some cases."""
        inside = rows["region_percent"].notna().to_numpy()
        touched = (rows["region_ml"] > 0).to_numpy()
        target = rows["target"].to_numpy(dtype=bool)
        self.target |= bool(target.any())
        self.hit |= bool(touched.any())
        self.hit_aside |= bool((touched & ~target).any())
        self.notes |= {str(n) for n in rows["note"].unique() if n and n != "no voxels"}
        rows, hashes = rows.loc[inside], hashes[inside]
        self.cases += len(rows)
        self.touched += int((touched & inside).sum())
        volume = rows["volume_ml"].to_numpy(dtype=float)
        self.volumes.add(volume[~np.isnan(volume)], hashes[~np.isnan(volume)])
        self.shares.add(rows["region_percent"].to_numpy(dtype=float), hashes)
        self.losses.add(volume - rows["after_ml"].to_numpy(dtype=float), hashes)


class Volumes:
    """What was gathered.

    Attributes
    ----------
    structures : dict
        Of all rows, as they come.
    outlines, aims : set of str
        Structures that are outlines of the body; that are targets, in any case.
    of : dict
        (defacer, structure) -> `Volume`, but for the control.
    target_cases, cut_cases : Counter
        Defacer -> cases with a target; of these, with a target in the region.
    worst : dict
        Defacer -> the target that lies deepest in the region: `Worst` of its percent, about its structure.
    """

    def __init__(self) -> None:
        self.structures: dict[str, None] = {}
        self.outlines: set[str] = set()
        self.aims: set[str] = set()
        self.of: dict[tuple[str, str], Volume] = defaultdict(Volume)
        self.target_cases: Counter[str] = Counter()
        self.cut_cases: Counter[str] = Counter()
        self.worst: dict[str, Worst] = defaultdict(Worst)

    def structures_of(self, defacer: str) -> list[str]:
        """Structures of which something is known, as they come."""
        return [structure for who, structure in self.of if who == defacer]

    def add(self, rows: pd.DataFrame) -> None:
        """Add a batch."""
        rows = rows.assign(target=rows["target"].fillna(False).astype(bool))
        self.outlines |= set(rows.loc[rows["note"].str.startswith("outline"), "structure"])
        self.aims |= set(rows.loc[rows["target"], "structure"])
        self.structures |= dict.fromkeys(rows["structure"].unique())
        rows = rows.loc[rows["defacer"] != CONTROL]
        hashes = case_hashes(rows["case"])
        for key, some in grouped(rows, ["defacer", "structure"]):
            self.of[key].add(rows.iloc[some], hashes[some])  # type: ignore[index]
        targets = rows.loc[rows["target"] & rows["region_ml"].notna()]
        cut = targets.loc[targets["region_ml"] > 0]
        for counts, part in ((self.target_cases, targets), (self.cut_cases, cut)):
            for defacer, number in part.groupby("defacer")["case"].nunique().items():
                counts[str(defacer)] += int(number)
        for defacer, part in cut.groupby("defacer"):
            self.worst[str(defacer)].add(part["region_percent"], part["structure"].to_numpy(dtype=object))


def volumes(read: Reader) -> Volumes:
    """Gather it."""
    found = Volumes()
    for rows in read("geometry", _COLUMNS):
        found.add(rows)
    return found

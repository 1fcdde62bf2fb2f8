"""Of the table ``residual_skin``: how much of the skin of the face, and of the ears, is where it was."""

from __future__ import annotations

import numpy as np
import pandas as pd

from defacedask.modality import IMAGES
from defacedask.report.gathered import CONTROL
from defacedask.tables.batches import Reader
from defacedask.tables.sampled import Numbers, case_hashes, grouped

__all__ = ["Left", "Skin", "skin"]

#: Share of an image's skin from which on it counts as left.
HALF = 0.5
_COLUMNS = ("case", "defacer", "modality", "region", "points", "kept", "untouched", "note")


class Left:
    """Of one region, image and defacer: shares kept and untouched; images that keep half or more, or have none."""

    def __init__(self) -> None:
        self.kept, self.untouched = Numbers(), Numbers()
        self.half = self.unknown = 0
        self.why: dict[str, int] = {}

    def add(self, rows: pd.DataFrame, hashes: np.ndarray) -> None:
        """Add some images."""
        known = (rows["kept"].notna()).to_numpy()
        kept = rows["kept"].to_numpy(dtype=float)[known]
        self.kept.add(kept, hashes[known])
        same = rows["untouched"].to_numpy(dtype=float)
        there = known & ~np.isnan(same)
        self.untouched.add(same[there], hashes[there])
        self.half += int((kept >= HALF).sum())
        self.unknown += int((~known).sum())
        for note in rows.loc[~known, "note"]:
            self.why[note] = self.why.get(note, 0) + 1


class Skin(dict[tuple[str, str], dict[str, Left]]):
    """(region, modality) -> defacer -> `Left`; the control is left out."""

    def add(self, rows: pd.DataFrame) -> None:
        """Add a batch."""
        rows = rows.loc[(rows["defacer"] != CONTROL) & rows["region"].isin(["brow_to_chin", "ears"])]
        hashes = case_hashes(rows["case"])
        for (region, modality, defacer), some in grouped(rows, ["region", "modality", "defacer"]):
            by = self.setdefault((str(region), str(modality)), {})
            by.setdefault(str(defacer), Left()).add(rows.iloc[some], hashes[some])


def skin(read: Reader) -> Skin:
    """Gather it."""
    found = Skin()
    for rows in read("residual_skin", _COLUMNS):
        found.add(rows)
    for key in sorted(found, key=lambda one: IMAGES.index(one[1])):
        found[key] = found.pop(key)
    return found

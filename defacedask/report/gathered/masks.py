"""Of the table ``utility``: masks that our own methods find before and after."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd

from defacedask.report.gathered import CONTROL
from defacedask.tables.batches import Reader
from defacedask.tables.sampled import Numbers, case_hashes, grouped

__all__ = ["Mask", "Masks", "masks"]

_COLUMNS = ("case", "defacer", "modality", "structure", "measure", "original", "defaced")


class Mask:
    """One mask, before and after one defacer: Dice, HD95 in mm, and the change of its volume in percent."""

    def __init__(self) -> None:
        self.overlap, self.apart, self.change = Numbers(), Numbers(), Numbers()
        self.known, self.worst = False, 0.0

    def add(self, measure: str, rows: pd.DataFrame, hashes: np.ndarray) -> None:
        """Add some cases."""
        was, now = (rows[side].to_numpy(dtype=float) for side in ("original", "defaced"))
        self.known |= measure == "dice"
        if measure == "volume_ml":
            some = was > 0
            change = 100 * (was - now)[some] / was[some]
            if len(change):
                worst = float(change[np.abs(change).argmax()])
                if not self.change.count or abs(worst) > abs(self.worst):
                    self.worst = worst
            self.change.add(change, hashes[some])
        elif measure in ("dice", "hd95_mm"):
            some = ~np.isnan(now)
            (self.overlap if measure == "dice" else self.apart).add(now[some], hashes[some])


class Masks(dict[tuple[str, str], dict[str, Mask]]):
    """(modality, mask) -> defacer -> `Mask`, as overlaps come; the control is left out."""

    def __init__(self) -> None:
        super().__init__()
        self._all: dict[tuple[str, str, str], Mask] = defaultdict(Mask)

    def add(self, rows: pd.DataFrame) -> None:
        """Add a batch."""
        rows = rows.loc[rows["defacer"] != CONTROL]
        hashes = case_hashes(rows["case"])
        for (modality, name, defacer, measure), some in grouped(
            rows, ["modality", "structure", "defacer", "measure"]
        ):
            mask = self._all[str(modality), str(name), str(defacer)]
            mask.add(str(measure), rows.iloc[some], hashes[some])
        found = rows.loc[rows["measure"] == "dice"].drop_duplicates(["modality", "structure", "defacer"])
        for row in found.itertuples():
            by = self.setdefault((row.modality, row.structure), {})
            by[row.defacer] = self._all[row.modality, row.structure, row.defacer]


def masks(read: Reader) -> Masks:
    """Gather it."""
    found = Masks()
    for rows in read("utility", _COLUMNS):
        found.add(rows)
    return found

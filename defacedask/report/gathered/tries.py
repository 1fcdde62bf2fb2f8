"""Of the tables ``unmasking`` and ``inversion``: attempts at the original under what defacing left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from defacedask.tables.batches import Reader
from defacedask.tables.evidence import Rate
from defacedask.tables.sampled import Numbers, case_hashes, grouped, kept_cases, most_cases

__all__ = ["Unmasked", "inverted", "of_some", "unmasked"]


class Unmasked:
    """One way of un-masking.

    Attributes
    ----------
    controls : Rate
        Images below whose planted layer the skin was found, of those judged.
    not_judged : int
        Images with no whole face, in which the control neither holds nor fails.
    by : dict
        Defacer -> share of the true skin that was found, and that the best peel finds.
    """

    def __init__(self) -> None:
        self._good = self._cases = self.not_judged = 0
        self.by: dict[str, tuple[Numbers, Numbers]] = {}

    @property
    def controls(self) -> Rate:
        """See above."""
        return Rate(self._good, self._cases)

    def add(self, rows: pd.DataFrame) -> None:
        """Add some cases."""
        each = rows.drop_duplicates(["case", "modality"])
        holds = each["control_holds"]
        self._good += int(holds.fillna(False).astype(bool).sum())
        self._cases += int(holds.notna().sum())
        self.not_judged += int(holds.isna().sum())
        hashes = case_hashes(rows["case"])
        for (defacer,), some in grouped(rows, ["defacer"]):
            numbers = self.by.setdefault(str(defacer), (Numbers(), Numbers()))
            for one, column in zip(numbers, ("skin_found", "peel_found"), strict=True):
                values = rows[column].to_numpy(dtype=float)[some]
                one.add(values[~np.isnan(values)], hashes[some][~np.isnan(values)])


def unmasked(read: Reader) -> dict[str, Unmasked]:
    """Attempt -> what came of it."""
    found: dict[str, Unmasked] = defaultdict(Unmasked)
    columns = ("case", "defacer", "modality", "attempt", "skin_found", "peel_found", "control_holds")
    for rows in read("unmasking", columns):
        for attempt, part in rows.groupby("attempt", sort=False):
            found[str(attempt)].add(part)
    return found


def inverted(read: Reader, columns: Sequence[str]) -> tuple[pd.DataFrame, bool]:
    """Rows of ``inversion`` with their persons, of many cases those of a sample; and whether they are."""
    held, sampled = of_some(read, "inversion", columns)
    if not len(held):
        return held, False
    names: dict[str, str] = {}
    mine = set(held["case"])
    for rows in read("cases", ("case", "patient")):
        rows = rows.loc[rows["case"].isin(mine)]
        names |= dict(zip(rows["case"], rows["patient"].fillna(rows["case"]), strict=True))
    return held.assign(person=held["case"].map(names).fillna(held["case"])), sampled


def of_some(read: Reader, table: str, columns: Sequence[str]) -> tuple[pd.DataFrame, bool]:
    """Rows of a table, of many cases those of a sample; and whether they are."""
    held = pd.DataFrame()
    below: int | None = None
    for rows in read(table, columns):
        rows = rows.assign(hash=case_hashes(rows["case"]))
        held = pd.concat([held, rows], ignore_index=True) if len(held) else rows
        inside, found = kept_cases(held["hash"].to_numpy(), most_cases())
        if found is not None:
            held, below = held.loc[inside], found
    if not len(held):
        return held, False
    return held.drop(columns="hash").reset_index(drop=True), below is not None

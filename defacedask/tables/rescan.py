"""The table ``rescan``: what defacing changed beside what a second scan changes, one structure at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from defacedask.costs.agreement import rescan
from defacedask.tables.batches import Reader
from defacedask.tables.files import as_table
from defacedask.tables.sampled import case_hashes, most_cases

__all__ = ["rescan_table"]

#: Table -> its column of what was measured; doses have no modality of their own.
_TABLES = {"radiomics": "feature", "dose": "metric", "utility": "measure"}
#: Comparisons of two masks, which one scan alone does not have.
_OF_TWO = ("dice", "hd95_mm")


def rescan_table(read: Reader) -> pd.DataFrame:
    """Make the table; empty where nobody has two scans.

    Of more than `report.most-cases` cases it is of a sample of persons with so many (`defacedask.tables.sampled`).

    Parameters
    ----------
    read : Reader
    """
    twice, below = _persons(read)
    found = []
    if twice:
        patients: dict[str, str] = {}
        for part in read("cases", columns=["case", "patient"]):
            some = _inside(part["patient"].where(part["patient"] != "", part["case"]), below)
            patients |= dict(zip(part.loc[some, "case"], part.loc[some, "patient"], strict=True))
        for name, measure in _TABLES.items():
            names: dict[str, None] = {}
            for part in read(name, columns=["structure"]):
                names |= dict.fromkeys(part["structure"].unique())
            for structure in names:
                found.append(_one(read, name, measure, structure, patients, below))
    return as_table("rescan", pd.concat(found, ignore_index=True) if found else [])


def _persons(read: Reader) -> tuple[bool, int | None]:
    """Whether anybody has two scans, and the hash below which the persons of the sample lie; None: all."""
    known = [np.empty(0, np.uint64)]
    every = [np.empty(0, np.uint64)]
    for part in read("cases", columns=["case", "patient"]):
        named = part["patient"] != ""
        known.append(case_hashes(part.loc[named, "patient"]))
        every.append(case_hashes(part["patient"].where(named, part["case"])))
    patients, persons = np.concatenate(known), np.sort(np.concatenate(every))
    twice = len(np.unique(patients)) < len(patients)
    return twice, int(persons[most_cases()]) if len(persons) > most_cases() else None


def _inside(persons: pd.Series, below: int | None) -> np.ndarray:
    return np.ones(len(persons), bool) if below is None else case_hashes(persons) < below


def _one(
    read: Reader, name: str, measure: str, structure: str, patients: Mapping[str, str], below: int | None
) -> pd.DataFrame:
    columns = ["case", "defacer", "structure", measure, "original", "defaced"]
    columns += [] if name == "dose" else ["modality"]
    parts = []
    for part in read(name, columns=columns, filters=[("structure", "in", [structure])]):
        if below is not None:
            part = part.loc[part["case"].isin(patients)]
        parts.append(part)
    rows = _joined(parts)
    rows = rows.rename(columns={measure: "measure"})
    if name == "dose":
        rows = rows.assign(modality="RTDOSE")
    return rescan(rows.loc[~rows["measure"].isin(_OF_TWO)], patients)


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    some = [part for part in parts if len(part)]
    return pd.concat(some, ignore_index=True) if some else pd.DataFrame()

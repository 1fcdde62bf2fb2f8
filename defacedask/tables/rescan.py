"""The table ``rescan``: what defacing changed beside what a second scan changes, one structure at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from defacedask.costs.agreement import rescan
from defacedask.tables.files import as_table

__all__ = ["chosen", "rescan_table"]

#: Table -> its column of what was measured; doses have no modality of their own.
_TABLES = {"radiomics": "feature", "dose": "metric", "utility": "measure"}
#: Comparisons of two masks, which one scan alone does not have.
_OF_TWO = ("dice", "hd95_mm")


def chosen(
    table: pd.DataFrame | None, columns: Sequence[str] | None = None, filters: Sequence[Any] = ()
) -> Iterator[pd.DataFrame]:
    """A table as `defacedask.tables.parts.frames` gives it, in one piece."""
    if table is None or not len(table):
        return
    for name, _, wanted in filters:
        table = table.loc[table[name].isin(wanted)]
    yield table if columns is None else table[list(columns)]


def rescan_table(read: Callable[..., Iterable[pd.DataFrame]]) -> pd.DataFrame:
    """Make the table; empty where nobody has two scans.

    Parameters
    ----------
    read : callable
        ``read(name, columns=..., filters=...)``: parts of a table.
    """
    cases = _joined(read("cases", columns=["case", "patient"]))
    patients: Mapping[str, str] = (
        dict(zip(cases["case"], cases["patient"].fillna(""), strict=True)) if len(cases) else {}
    )
    known = [patient for patient in patients.values() if patient]
    found = []
    if len(set(known)) < len(known):
        for name, measure in _TABLES.items():
            names = _joined(read(name, columns=["structure"]))
            for structure in names["structure"].unique() if len(names) else ():
                found.append(_one(read, name, measure, structure, patients))
    return as_table("rescan", pd.concat(found, ignore_index=True) if found else [])


def _one(
    read: Callable[..., Iterable[pd.DataFrame]],
    name: str,
    measure: str,
    structure: str,
    patients: Mapping[str, str],
) -> pd.DataFrame:
    columns = ["case", "defacer", "structure", measure, "original", "defaced"]
    columns += [] if name == "dose" else ["modality"]
    rows = _joined(read(name, columns=columns, filters=[("structure", "in", [structure])]))
    rows = rows.rename(columns={measure: "measure"})
    if name == "dose":
        rows = rows.assign(modality="RTDOSE")
    return rescan(rows.loc[~rows["measure"].isin(_OF_TWO)], patients)


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    some = [part for part in parts if len(part)]
    return pd.concat(some, ignore_index=True) if some else pd.DataFrame()

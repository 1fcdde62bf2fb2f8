"""The tables of a run as a mapping that reads each of them when it is asked for, whole or batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path

import pandas as pd

from defacedask.tables.batches import Filters, batches, stored_batches, stored_columns, stored_rows
from defacedask.tables.files import read_table

__all__ = ["LazyTables"]


class LazyTables(MutableMapping[str, pd.DataFrame]):
    """Name -> DataFrame, read from ``OUT/tables`` at the first use.

    Parameters
    ----------
    out : Path
        The run's output folder.
    names : sequence of str
    """

    def __init__(self, out: Path, names: Sequence[str]) -> None:
        self._folder = out / "tables"
        self._read: dict[str, pd.DataFrame | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> pd.DataFrame:
        found = self._read[name]
        if found is None:
            found = self._read[name] = read_table(self._folder, name)
        return found

    def batches(
        self, name: str, columns: Sequence[str] | None = None, filters: Filters = ()
    ) -> Iterator[pd.DataFrame]:
        """Rows of a table, which is not kept; see `defacedask.tables.batches.batches`."""
        known = self._read.get(name)
        if known is not None:
            return batches({name: known}, name, columns, filters)
        return stored_batches(self._folder, name, columns, filters)

    def rows(self, name: str) -> int:
        """Rows of a table, which is not read for it."""
        known = self._read[name]
        return stored_rows(self._folder, name) if known is None else len(known)

    def columns(self, name: str) -> list[str]:
        """Columns of a table, which is not read for it."""
        known = self._read[name]
        return stored_columns(self._folder, name) if known is None else list(map(str, known.columns))

    def __setitem__(self, name: str, table: pd.DataFrame) -> None:
        self._read[name] = table

    def __delitem__(self, name: str) -> None:
        del self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)

    def __repr__(self) -> str:
        return f"LazyTables({', '.join(self._read)}) in {self._folder}"

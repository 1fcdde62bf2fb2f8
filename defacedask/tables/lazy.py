"""The tables of a run as a mapping that reads each of them when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path

import pandas as pd

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

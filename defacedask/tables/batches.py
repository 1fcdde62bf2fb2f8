"""Tables of a run, some rows at a time: no case is in two batches, so that what is found of cases can be added up.

A Parquet file that `defacedask.tables.parts` joined says so of its row groups (`WHOLE_CASES`), and is read one of
them after the other. Any other table is one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import pyarrow.parquet as pq

from defacedask.tables.files import SCHEMAS, as_columns, read_table, reading

__all__ = [
    "WHOLE_CASES",
    "Batched",
    "Filters",
    "Reader",
    "batches",
    "reader",
    "stored_batches",
    "stored_columns",
    "stored_rows",
]

#: In the metadata of a Parquet file: no case is in two of its row groups.
WHOLE_CASES = b"defacedask.whole-cases"
#: (column, "in", values), all of which must hold.
Filters = Sequence[tuple[str, str, Sequence[Any]]]


class Reader(Protocol):
    """``read(name, columns=..., filters=...)``: rows of a table, in batches."""

    def __call__(
        self, name: str, columns: Sequence[str] | None = None, filters: Filters = ()
    ) -> Iterator[pd.DataFrame]:
        """Batches that have rows."""
        ...


@runtime_checkable
class Batched(Protocol):
    """Tables that need not be read whole."""

    def batches(
        self, name: str, columns: Sequence[str] | None = None, filters: Filters = ()
    ) -> Iterator[pd.DataFrame]:
        """As `batches`."""
        ...


def batches(
    tables: Mapping[str, pd.DataFrame], name: str, columns: Sequence[str] | None = None, filters: Filters = ()
) -> Iterator[pd.DataFrame]:
    """Rows of a table, batch by batch.

    Parameters
    ----------
    tables : mapping
        Tables at hand, or `Batched`.
    name : str
        One that is not there has no rows.
    columns : sequence of str, optional
        Only these are read; those that the table lacks are empty.
    filters : sequence of (str, "in", values)

    Yields
    ------
    DataFrame
        At least one row, in the table's order; all rows of a case are in one batch. The index counts from 0.
    """
    if isinstance(tables, Batched):
        yield from tables.batches(name, columns, filters)
    elif name in tables:
        yield from _chosen(name, tables[name], columns, filters)


def reader(tables: Mapping[str, pd.DataFrame]) -> Reader:
    """`batches` of some tables."""

    def read(
        name: str, columns: Sequence[str] | None = None, filters: Filters = ()
    ) -> Iterator[pd.DataFrame]:
        return batches(tables, name, columns, filters)

    return read


def stored_batches(
    folder: Path, name: str, columns: Sequence[str] | None = None, filters: Filters = ()
) -> Iterator[pd.DataFrame]:
    """As `batches`, of a table in a file.

    Raises
    ------
    InputError
        If it is damaged.
    """
    path = folder / f"{name}.parquet"
    if not path.is_file():
        yield from _chosen(name, read_table(folder, name), columns, filters)
        return
    with reading(folder, name), path.open("rb") as stream, pq.ParquetFile(stream) as file:
        whole = WHOLE_CASES in (file.schema_arrow.metadata or {})
        there = [name for name in file.schema_arrow.names if columns is None or name in columns]
        # a column that is filtered by must be read, too
        there += [f for f, _, _ in filters if f not in there and f in file.schema_arrow.names]
        groups = range(file.num_row_groups)
        for some in [[group] for group in groups] if whole else [list(groups)] * bool(groups):
            part = file.read_row_groups(some, columns=there, use_threads=False).to_pandas()
            yield from _chosen(name, part, columns, filters)
            del part  # the next one is read before this would be let go of


def stored_rows(folder: Path, name: str) -> int:
    """Rows of a table in a file, without reading them where it is Parquet."""
    path = folder / f"{name}.parquet"
    if not path.is_file():
        return len(read_table(folder, name))
    with reading(folder, name):
        return int(pq.read_metadata(path).num_rows)


def stored_columns(folder: Path, name: str) -> list[str]:
    """Columns of a table in a file, without reading its rows where it is Parquet."""
    path = folder / f"{name}.parquet"
    if not path.is_file():
        return list(map(str, read_table(folder, name).columns))
    with reading(folder, name):
        there = list(map(str, pq.read_schema(path).names))
    return list(dict.fromkeys([*(column.name for column in SCHEMAS[name]), *there]))


def _chosen(
    name: str, table: pd.DataFrame, columns: Sequence[str] | None, filters: Filters
) -> Iterator[pd.DataFrame]:
    for column, _, wanted in filters:
        table = table.loc[table[column].isin(list(wanted))]
    if len(table):
        yield as_columns(name, table.reset_index(drop=True), columns)

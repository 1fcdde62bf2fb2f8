"""Tables of a cohort in parts: a folder a few cases, a Parquet file a table, joined without ever being held whole.

Workers write the parts (`write_parts`); the client reads them one after the other (`frames`) and joins them to the
tables that a person opens (`join_parts`). So a hundred thousand cases need no more memory than a hundred.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from defacedask.tables.batches import WHOLE_CASES, Filters, Reader
from defacedask.tables.files import as_table, empty_table, saying_why, table_files
from defacedask.whole_files import replacing

__all__ = [
    "MOST_LINES",
    "frames",
    "join_parts",
    "keep_parts",
    "read_part",
    "reader_of",
    "rows_of",
    "write_batches",
    "write_parts",
]

#: Rows up to which a table is written as CSV, too: a spreadsheet opens no more.
MOST_LINES = 1_048_575


def write_parts(folder: Path, tables: Mapping[str, pd.DataFrame | pa.Table]) -> None:
    """Write the parts of some cases; the folder is there with all of them, or not at all."""
    with replacing(folder) as aside:
        try:
            aside.mkdir()
            for name, table in tables.items():
                content = (
                    table
                    if isinstance(table, pa.Table)
                    else pa.Table.from_pandas(table, preserve_index=False)
                )
                pq.write_table(content, aside / f"{name}.parquet", compression="zstd")
            shutil.rmtree(folder, ignore_errors=True)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def keep_parts(folder: Path, parts: Iterable[Path]) -> None:
    """Remove all from a folder of parts but these: what earlier runs made of other results."""
    known = {part.name for part in parts}
    for old in folder.iterdir() if folder.is_dir() else ():
        if old.name not in known:
            shutil.rmtree(old, ignore_errors=True)


def rows_of(folders: Iterable[Path], name: str) -> int:
    """Rows of a table in all parts."""
    return sum(pq.read_metadata(folder / f"{name}.parquet").num_rows for folder in folders)


def read_part(folder: Path, name: str, columns: Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
    """One part of a table; options are those of `pyarrow.parquet.read_table`, such as ``filters``."""
    # not `pandas.read_parquet`: it reads a folder's name such as KEY=VALUE as a column
    file = pa.OSFile(str(folder / f"{name}.parquet"))
    return pq.read_table(file, columns=None if columns is None else list(columns), **options).to_pandas()


def frames(
    folders: Iterable[Path], name: str, columns: Sequence[str] | None = None, **options: Any
) -> Iterator[pd.DataFrame]:
    """Parts of a table that have rows, one after the other; as `read_part`."""
    parts = (read_part(folder, name, columns, **options) for folder in folders)
    return (part for part in parts if len(part))


def reader_of(folders: Sequence[Path]) -> Reader:
    """Rows of a table that stands in parts; no case is in two of them."""

    def read(
        name: str, columns: Sequence[str] | None = None, filters: Filters = ()
    ) -> Iterator[pd.DataFrame]:
        return frames(folders, name, columns, filters=[(c, "in", list(v)) for c, _, v in filters] or None)

    return read


def join_parts(
    out: Path, parts: Mapping[str, Sequence[Path]], small: Mapping[str, pd.DataFrame] | None = None
) -> None:
    """Join parts to ``OUT/tables/NAME.parquet`` and, where a person can open it, ``NAME.csv``.

    Parameters
    ----------
    out : Path
        The run's output folder.
    parts : mapping
        Table -> folders that hold a part of it, in the order of its rows.
    small : mapping, optional
        Tables that are at hand, to be written with them.

    Raises
    ------
    OutputError
        If they cannot be written; the tables of an earlier run are then untouched.
    """
    folder = out / "tables"
    with saying_why(folder), contextlib.ExitStack() as files:
        unopened = []
        for name, table in (small or {}).items():
            for file, content in table_files(name, table).items():
                _write(files.enter_context(replacing(folder / file)), content)
        for name, folders in parts.items():
            parquet = files.enter_context(replacing(folder / f"{name}.parquet"))
            csv = folder / f"{name}.csv"
            if rows_of(folders, name) <= MOST_LINES:
                _join(name, folders, parquet, files.enter_context(replacing(csv)))
            else:
                _join(name, folders, parquet, None)
                unopened.append(csv)
        for csv in unopened:
            csv.unlink(missing_ok=True)


def write_batches(out: Path, name: str, rows: Iterable[pd.DataFrame]) -> None:
    """Write one table of rows that come batch by batch, as `join_parts` does; no case is in two of them."""
    folder = out / "tables"
    schema = pa.Schema.from_pandas(empty_table(name), preserve_index=False).with_metadata({WHOLE_CASES: b"1"})
    with saying_why(folder), contextlib.ExitStack() as files:
        parquet = files.enter_context(replacing(folder / f"{name}.parquet"))
        with parquet.open("wb") as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            for part in rows:
                table = pa.Table.from_pandas(as_table(name, part)[schema.names], schema, preserve_index=False)
                writer.write_table(table, row_group_size=max(len(part), 1))
        csv = folder / f"{name}.csv"
        with pq.ParquetFile(parquet) as file:
            if file.metadata.num_rows > MOST_LINES:
                csv.unlink(missing_ok=True)
                return
            with files.enter_context(replacing(csv)).open("wb") as lines:
                lines.write(_csv(empty_table(name), header=True))
                for group in range(file.num_row_groups):
                    lines.write(_csv(as_table(name, file.read_row_group(group).to_pandas()), header=False))


def _join(name: str, folders: Sequence[Path], parquet: Path, csv: Path | None) -> None:
    schema = _columns(folders, name)
    texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    with contextlib.ExitStack() as files:
        stream = files.enter_context(parquet.open("wb"))
        lines = files.enter_context(csv.open("wb")) if csv else None
        with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            if lines:
                lines.write(_csv(pd.DataFrame(columns=schema.names), header=True))
            for part in frames(folders, name):
                part = part.reindex(columns=schema.names)
                for text in texts:
                    part[text] = part[text].astype(object).where(part[text].notna(), "").astype("str")
                table = as_table(name, part)
                rows = pa.Table.from_pandas(table, schema=schema, preserve_index=False)
                # a row group a part: `batches` rests on it
                writer.write_table(rows, row_group_size=len(table))
                if lines:
                    lines.write(_csv(table, header=False))
        for file in filter(None, (stream, lines)):
            file.flush()
            os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _csv(table: pd.DataFrame, *, header: bool) -> bytes:
    return table.to_csv(index=False, header=header, lineterminator="\n").encode()


def _columns(folders: Iterable[Path], name: str) -> pa.Schema:
    """Columns of a table: the schema's, then those that rows brought, as they came; a type that holds all parts."""
    joined = pa.Schema.from_pandas(empty_table(name), preserve_index=False).remove_metadata()
    for folder in folders:
        file = pq.read_schema(folder / f"{name}.parquet").remove_metadata()
        if file != joined:
            joined = pa.unify_schemas([joined, file], promote_options="permissive")
    return joined.with_metadata({WHOLE_CASES: b"1"})

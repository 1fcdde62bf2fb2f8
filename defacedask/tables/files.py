"""The tables a run leaves in ``OUT/tables``: one schema each, written as Parquet and CSV, never half.

Errors are rows too: a case that was refused or failed has its row in `cases` with the reason. An empty table
keeps its columns and types, so that whoever reads it need not ask whether there was anything to say.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from defacedask.errors import DefacedaskError, InputError, OutputError, os_error_in, printable
from defacedask.tables.schemas import SCHEMAS, TEN_FEATURES, Column

__all__ = [
    "SCHEMAS",
    "TEN_FEATURES",
    "Column",
    "as_columns",
    "as_table",
    "empty_table",
    "read_table",
    "read_tables",
    "reading",
    "saying_why",
    "table_files",
    "table_names",
    "write_tables",
]

_DTYPES = {"text": "str", "number": "float64", "count": "Int64", "flag": "boolean"}


def table_names() -> list[str]:
    """Names of all tables, in the order they are read."""
    return list(SCHEMAS)


def _schema(name: str) -> tuple[Column, ...]:
    try:
        return SCHEMAS[name]
    except KeyError:
        raise InputError(f"there is no table {name!r}.", f"Tables: {', '.join(SCHEMAS)}.") from None


def empty_table(name: str) -> pd.DataFrame:
    """Return a table without rows, with all its columns and types."""
    columns = {c.name: pd.Series([], dtype=_DTYPES[c.kind]) for c in _schema(name)}
    return pd.DataFrame(columns)


def as_table(name: str, rows: pd.DataFrame | Iterable[Mapping[str, Any]] | None) -> pd.DataFrame:
    """Bring rows into a table's schema.

    Parameters
    ----------
    name : str
        One of `table_names`.
    rows : DataFrame or iterable of mappings
        A row may bring columns of its own (``seconds_read``, ...): they are kept, after the schema's.

    Returns
    -------
    pandas.DataFrame
        The schema's columns first and in order, with their types; index 0..n-1.

    Raises
    ------
    InputError
        For an unknown table, a required column that is missing or a value that does not fit its column.
    """
    schema = _schema(name)
    frame = (
        rows.copy() if isinstance(rows, pd.DataFrame) else pd.DataFrame([_readable(r) for r in rows or []])
    )
    if not len(frame):
        extra = [c for c in frame.columns if c not in {s.name for s in schema}]
        return pd.concat([empty_table(name), frame.loc[:, extra].reset_index(drop=True)], axis=1)
    missing = [c.name for c in schema if c.required and c.name not in frame.columns]
    if missing:
        raise InputError(f"rows of the table {name} lack the columns {', '.join(missing)}.")
    done: dict[str, pd.Series] = {}
    for column in schema:
        values = frame[column.name] if column.name in frame.columns else pd.Series(None, index=frame.index)
        done[column.name] = _cast(values, column, name)
    for label in frame.columns:
        if label not in done:
            done[str(label)] = _plain(frame[label])
    return pd.DataFrame(done).reset_index(drop=True)


def as_columns(name: str, table: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Some columns of a table that was written, with the types of its schema; those it lacks are empty.

    Parameters
    ----------
    name : str
        One of `table_names`.
    table : DataFrame
        Some of its rows.
    columns : sequence of str, optional
        Default: the schema's, then those that it has beside.
    """
    known = {column.name: column for column in _schema(name)}
    names = list(dict.fromkeys([*known, *map(str, table.columns)])) if columns is None else list(columns)
    done = {}
    for label in names:
        values = table[label] if label in table.columns else pd.Series(None, index=table.index, dtype=object)
        done[label] = _cast(values, known[label], name) if label in known else _plain(values)
    return pd.DataFrame(done, index=table.index)


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose texts can be written: names of files need not be text."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _cast(values: pd.Series, column: Column, table: str) -> pd.Series:
    try:
        if column.kind == "text":
            if values.dtype == "str" and not values.hasnans:
                return values
            present = values.notna()
            return values.astype(object).where(present, "").map(str).astype("str")
        if column.kind == "number":
            return pd.to_numeric(values, errors="raise").astype("float64")
        if column.kind == "flag":
            if values.dtype == "boolean":
                return values
            # 1 and 1.0 hash as True, so counts and what CSV gives back are understood as well
            known = values.map({True: True, False: False, "True": True, "False": False})
            if bool((known.isna() & values.notna()).any()):
                raise ValueError("not a flag")
            return known.astype("boolean")
        return pd.to_numeric(values, errors="raise").astype("Int64")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the column {column.name} of the table {table} holds what is no {column.kind} ({error})."
        ) from None


def _plain(values: pd.Series) -> pd.Series:
    """Types that Parquet and CSV both hold, for columns that no schema knows."""
    inferred = values.infer_objects()
    if inferred.dtype == object:
        return inferred.astype(object).where(inferred.notna(), "").map(str).astype("str")
    return inferred


# --- files


def _sentence(error: OSError, folder: Path) -> OutputError:
    hints = {
        errno.ENOSPC: ("the disk is full", "Free some space and run again: what is finished is kept."),
        errno.EDQUOT: (
            "the disk quota is used up",
            "Free some space and run again: what is finished is kept.",
        ),
        errno.EROFS: ("the disk is read-only", "Choose another output folder."),
        errno.EACCES: (
            "writing is not permitted",
            "Choose another output folder, or change its permissions.",
        ),
        errno.EPERM: ("writing is not permitted", "Choose another output folder, or change its permissions."),
        errno.ENOTDIR: ("a part of the path is a file", "Choose another output folder."),
        errno.EEXIST: ("a file of that name is in the way", "Choose another output folder."),
    }
    found = os_error_in(error) or error
    said = found.strerror or " ".join(str(found).splitlines()[:1])
    reason, hint = hints.get(found.errno or 0, (said, "Choose another output folder."))
    return OutputError(f"nothing can be written to {folder}: {reason}.", hint)


@contextlib.contextmanager
def saying_why(folder: Path) -> Iterator[None]:
    """Turn a failure of the file system into one sentence about a folder that cannot be written."""
    try:
        yield
    except OSError as error:
        raise _sentence(error, folder) from error


def write_files(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files so that each appears whole or not at all.

    All are written and flushed under temporary names first; only then are they renamed. A full disk therefore
    leaves the files of an earlier run as they were.

    Parameters
    ----------
    folder : pathlib.Path
        Made if missing.
    contents : mapping of file name to bytes

    Raises
    ------
    OutputError
        When the folder is read-only, full or not a folder: one sentence, and no temporary file stays.
    """
    waiting: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            streams = []
            for name, data in contents.items():
                temporary = folder / f".{name}.{os.getpid()}.part"
                waiting.append((temporary, folder / name))
                streams.append(stack.enter_context(temporary.open("wb")))
                streams[-1].write(data)
                streams[-1].flush()
            # waited for when the disk has all of them, which takes less than one by one
            for stream in streams:
                os.fsync(stream.fileno())
        for temporary, final in waiting:
            temporary.replace(final)
    except OSError as error:
        for temporary, _ in waiting:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise _sentence(error, folder) from error
    return [final for _, final in waiting]


def write_tables(out: str | os.PathLike[str], tables: Mapping[str, Any]) -> list[Path]:
    """Write tables as ``OUT/tables/NAME.parquet`` and ``NAME.csv``.

    Parameters
    ----------
    out : path
        The run's output folder.
    tables : mapping of table name to DataFrame or rows
        Only the tables named are written; the others stay as they are.

    Returns
    -------
    list of pathlib.Path
        The files written.

    Raises
    ------
    InputError
        If rows do not fit their table.
    OutputError
        If the folder cannot be written; the tables of an earlier run are then untouched.
    """
    contents: dict[str, bytes] = {}
    for name, rows in tables.items():
        contents |= table_files(name, rows)
    return write_files(Path(out) / "tables", contents)


def table_files(name: str, rows: Any) -> dict[str, bytes]:
    """Name -> content of the files of one table."""
    frame = as_table(name, rows)
    return {
        f"{name}.parquet": frame.to_parquet(index=False, compression="zstd"),
        f"{name}.csv": frame.to_csv(index=False, lineterminator="\n").encode(),
    }


def read_tables(out: str | os.PathLike[str]) -> dict[str, pd.DataFrame]:
    """Read back whatever tables a run left.

    Parameters
    ----------
    out : path
        The run's output folder.

    Returns
    -------
    dict of str to DataFrame
        Every known table; those that are not there are empty, with their columns. Where the Parquet file is
        missing, the CSV file is read.

    Raises
    ------
    InputError
        If there is no such folder or a table is damaged.
    """
    folder = Path(out) / "tables"
    if not Path(out).is_dir():
        raise InputError(f"there is no folder {out}.", "Give the output folder of `defacedask study`.")
    return {name: read_table(folder, name) for name in SCHEMAS}


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read one table of ``OUT/tables``; as in `read_tables`."""
    parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
    with reading(folder, name):
        if parquet.is_file():
            frame = pd.read_parquet(parquet)
        elif csv.is_file():
            texts = {c.name: "str" for c in SCHEMAS[name] if c.kind == "text"}
            frame = pd.read_csv(csv, keep_default_na=False, na_values=[""], dtype=texts)
        else:
            frame = empty_table(name)
    return as_table(name, frame)


@contextlib.contextmanager
def reading(folder: Path, name: str) -> Iterator[None]:
    """Turn whatever a damaged table raises into one sentence."""
    try:
        yield
    except DefacedaskError:
        raise
    except Exception as error:  # pyarrow and pandas raise many kinds for a damaged file
        raise InputError(
            f"the table {name} in {folder} is damaged ({type(error).__name__}).",
            "Run `defacedask study` again: it writes the tables anew.",
        ) from error

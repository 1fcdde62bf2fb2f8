"""Tables of a data set: tab-separated text, rows and columns taken out, never changed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Sequence

__all__ = ["Table", "read_table", "table_text"]

#: What stands for no value.
NONE = "n/a"

Table = list[dict[str, str]]


def read_table(text: str) -> Table:
    """Rows of a table, by column; none if its lines do not fit its first one."""
    lines = io.StringIO(text.removeprefix("\ufeff"))
    try:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    except csv.Error:
        return []
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows or any(len(row) != len(rows[0]) for row in rows) or len(set(rows[0])) < len(rows[0]):
        return []
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def table_text(rows: Iterable[dict[str, str]], columns: Sequence[str]) -> str:
    """A table as text; what breaks a cell becomes a space."""

    def cell(value: str) -> str:
        return " ".join(str(value).split()) or NONE

    lines = ["\t".join(columns), *("\t".join(cell(row.get(c, "")) for c in columns) for row in rows)]
    return "\n".join(lines) + "\n"


def reduced(
    rows: Table, keep: Callable[[dict[str, str]], bool], columns: Collection[str] | None = None
) -> tuple[Table, list[str]]:
    """Rows that are kept, and the columns that are (all, if none are named), in their order."""
    there = list(rows[0]) if rows else []
    left = [name for name in there if columns is None or name in columns]
    return [{name: row[name] for name in left} for row in rows if keep(row)], left

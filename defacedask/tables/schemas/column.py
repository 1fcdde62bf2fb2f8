"""A column of a table."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Column", "columns"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
    kind : str
        ``text``, ``number`` (float64, NaN where there is none), ``count`` (nullable integer) or ``flag``
        (nullable boolean).
    meaning : str
        One line for people, with the unit.
    required : bool
        False for columns that rows need not bring; they are filled with "nothing".
    """

    name: str
    kind: str
    meaning: str
    required: bool = True


def columns(*rows: tuple[str, str, str] | tuple[str, str, str, bool]) -> tuple[Column, ...]:
    """Columns of rows (name, kind, meaning, and where it is not so whether it is required)."""
    return tuple(Column(*row) for row in rows)

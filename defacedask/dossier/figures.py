"""Figures of a dossier: each is looked up in a table, and says in which row and column."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from defacedask.report import numbers
from defacedask.tables.evidence import Rate

__all__ = ["HOW", "Figure", "Source", "Table", "interval_of", "share_of"]

#: Ways from the rows that fit to one number.
HOW: dict[str, Callable[[pd.Series], Any]] = {
    "only": lambda column: column.iloc[0],
    "count": len,
    "distinct": lambda column: column[column.notna() & (column != "")].nunique(),
    "sum": lambda column: column.sum(),
    "min": lambda column: column.min(),
    "median": lambda column: column.median(),
    "max": lambda column: column.max(),
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure as it is printed.

    Attributes
    ----------
    text : str
    of : str
        JSON: table, where (column -> value), column, how (see `HOW`), and of a share the column of cases.
    value : str
        The number itself, with all its digits; "" where there is none.
    small : str
        Printed below it.
    """

    text: str
    of: str
    value: str
    small: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a dossier: words are str, figures `Figure`."""

    caption: str
    heads: tuple[str, ...]
    rows: list[list[str | Figure]]
    note: str = ""


class Source:
    """Tables that figures come from.

    Parameters
    ----------
    tables : mapping
        Name -> DataFrame.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self.tables = tables

    def rows(self, table: str, **where: Any) -> pd.DataFrame:
        """Rows of a table whose columns have these values."""
        found = self.tables[table]
        for column, value in where.items():
            found = found.loc[(found[column] == value).fillna(False).astype(bool)]
        return found

    def one(
        self,
        table: str,
        column: str,
        how: str = "only",
        write: Callable[[Any], str] = numbers.count,
        **where: Any,
    ) -> Figure:
        """One figure; a dash where no row fits."""
        rows = self.rows(table, **where)
        of = {"table": table, "where": where, "column": column, "how": how}
        known = rows[column] if column in rows else pd.Series([], dtype=float)
        if how not in ("count", "sum", "distinct"):
            known = known.dropna() if how != "only" else known
            if not len(known) or pd.isna(HOW[how](known)):
                return Figure(numbers.NOTHING, _json(of), "")
        value = HOW[how](known)
        return Figure(write(value), _json(of), repr(_plain(value)))

    def spread(self, table: str, name: str, write: Callable[[Any], str], **where: Any) -> Figure:
        """A figure with its interval, from the columns NAME, NAME_low and NAME_high."""
        found = self.one(table, name, write=write, **where)
        ends = [self.one(table, f"{name}_{end}", write=write, **where) for end in ("low", "high")]
        small = f"{ends[0].text} to {ends[1].text}" if all(end.value for end in ends) else ""
        return dataclasses.replace(found, small=small)

    def share(self, table: str, hits: str, cases: str, **where: Any) -> Figure:
        """``hits of cases`` with its exact 95 % interval, and the largest rate that a zero still allows."""
        some, all_ = self.one(table, hits, **where), self.one(table, cases, **where)
        if not some.value or not all_.value:
            return some
        rate = Rate(int(float(some.value)), int(float(all_.value)))
        of = {**json.loads(some.of), "cases": cases}
        return Figure(share_of(rate), _json(of), repr([rate.hits, rate.cases]), interval_of(rate))


def share_of(rate: Rate) -> str:
    """Write ``hits of cases``."""
    return f"{numbers.count(rate.hits)} of {numbers.count(rate.cases)}"


def interval_of(rate: Rate) -> str:
    """Write the exact 95 % interval of a share; of none, its one-sided upper bound."""
    if not rate.cases:
        return ""
    return numbers.interval(*rate.interval) if rate.hits else f"below {numbers.bound(rate.upper)}"


def _json(of: Mapping[str, Any]) -> str:
    return json.dumps(of, sort_keys=True)


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value

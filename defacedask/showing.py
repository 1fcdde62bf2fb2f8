"""How objects show themselves at a prompt and in a notebook: short, whatever they hold."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from defacedask.errors import printable

__all__ = ["Shown", "beside", "counted", "html_table", "short", "sized"]

#: Rows of a table; letters of a cell.
ROWS, LETTERS = 12, 60


class Shown(abc.ABC):
    """Base of what is shown as a title and a table."""

    @abc.abstractmethod
    def _title(self) -> str:
        """One line."""

    @abc.abstractmethod
    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
        """Heads of the columns, rows, and sentences below."""

    def __repr__(self) -> str:
        heads, rows, notes = self._table()
        return "\n".join([self._title(), *text_table(heads, rows), *map(short_line, notes)])

    def _repr_html_(self) -> str:
        heads, rows, notes = self._table()
        return html_table(self._title(), heads, rows, notes)


def short(value: Any, letters: int = LETTERS) -> str:
    """Text of a value on one line, cut where it is too long; what is no text is written as numbers."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    text = "".join(c if c.isprintable() else " " for c in printable(text))
    return text if len(text) <= letters else text[: letters - 3] + "..."


def short_line(text: str) -> str:
    """A sentence of at most two lines."""
    return short(text, 200)


def text_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a table in columns, `ROWS` of them at most."""
    cells = [list(heads), *([short(c) for c in row] for row in rows[:ROWS])]
    widths = [max(len(row[k]) for row in cells) for k in range(len(heads))]
    lines = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [*(lines if rows else []), *([f"  ... and {len(rows) - ROWS} more"] if len(rows) > ROWS else [])]


def html_table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], notes: Sequence[str] = ()
) -> str:
    """A table in HTML, `ROWS` rows at most; nothing in it can be markup."""

    def line(kind: str, cells: Iterable[Any]) -> str:
        return "<tr>" + "".join(f"<{kind}>{escape(short(c))}</{kind}>" for c in cells) + "</tr>"

    body = "".join(line("td", row) for row in rows[:ROWS])
    table = f"<table><thead>{line('th', heads)}</thead><tbody>{body}</tbody></table>" if rows else ""
    more = [f"... and {len(rows) - ROWS} more"] if len(rows) > ROWS else []
    below = "".join(f"<div>{escape(short_line(note))}</div>" for note in [*more, *notes])
    return f"<div><b>{escape(short_line(title))}</b>{table}{below}</div>"


def beside(value: float, limit: float, spec: str = ".3g") -> str:
    """A value as it stands beside the limit that it misses: with more digits where it would read like that.

    Parameters
    ----------
    value, limit : float
    spec : str
        Of both: ``.0f``, ``.3g`` and the like.
    """
    kind, digits = spec[-1], int(spec[1:-1])
    texts = [f"{value:.{more}{kind}}" for more in range(digits, digits + 9)]
    return next((text for text in texts if float(text) != float(f"{limit:{spec}}")), texts[0])


def counted(number: int, one: str, several: str = "") -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def sized(count: int) -> str:
    """Bytes as a person reads them."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:,.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:,.1f} {unit}"
        amount /= 1000
    raise AssertionError

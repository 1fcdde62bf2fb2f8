"""How objects show themselves at a prompt and in a notebook: short, whatever they hold."""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from defacedask.errors import printable

if TYPE_CHECKING:
    from defacedask.defacers.base import Plan
    from defacedask.io.dicom.model import Case, Scan, Series

__all__ = ["Shown", "html_table", "short"]

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


def counted(number: int, one: str, several: str = "") -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def size_of(series: Series) -> str:
    """Voxels and spacing of an image, such as ``60 x 512 x 512 of 2.5 x 1 x 1 mm``."""
    if series.geometry is None:
        return ""
    from defacedask.geometry import Geometry

    grid = Geometry.from_dict(series.geometry)
    return f"{' x '.join(map(str, grid.shape))} of {' x '.join(f'{mm:.3g}' for mm in grid.spacing)} mm"


def what_is_in(case: Case) -> str:
    """Modalities of the images of a case, such as ``CT, 2 MR``."""
    kinds = Counter(series.modality for series in case.images)
    return ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in sorted(kinds.items()))


def case_table(case: Case) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
    """Table of the series of a case."""
    rows = [
        (s.modality, s.description, size_of(s) or _names(s), len(s.files), _flags(s)) for s in case.series
    ]
    return ("series", "description", "what", "files", ""), rows, ()


def _names(series: Series) -> str:
    names = series.facts.get("structures", ())
    return f"{counted(len(names), 'structure')}: {', '.join(names)}" if names else ""


def _flags(series: Series) -> str:
    return ", ".join(
        word
        for fact, word in (("registered", "registered"), ("already_defaced", "already defaced"))
        if fact in series.facts
    )


def scan_table(scan: Scan) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
    """Table of the cases of a scan; what was skipped, by its reason."""
    rows = [
        (
            case.id,
            case.patient_id,
            what_is_in(case),
            size_of(case.primary),
            sum(len(s.facts.get("structures", ())) for s in case.structures),
            len(case.doses),
        )
        for case in scan.cases
    ]
    why = Counter(skip.reason for skip in scan.skipped).most_common()
    notes = [f"skipped {n}: {reason}" for reason, n in why[:3]]
    notes += [f"and for {counted(len(why) - 3, 'other reason')} (see .skipped)"] if len(why) > 3 else []
    notes += [f"note: {note}" for note in scan.notes[:3]]
    notes += [f"and {counted(len(scan.notes) - 3, 'more note')} (see .notes)"] if len(scan.notes) > 3 else []
    return ("case", "patient", "images", "planned on", "structures", "doses"), rows, notes


def plan_table(plan: Plan) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
    """Table of what a plan says of itself; secrets stand in it as their SHA-256 alone."""
    rows = []
    for name, value in plan.summary().items():
        if name == "defacer":
            continue
        if name == "protected":
            value = ", ".join(str(one.get("name", one)) for one in value if isinstance(one, Mapping))
        rows.append((name, value))
    return ("fact", "value"), rows, ()

"""What a page is made of, before it is HTML: tables of cells that know how to be sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Cell", "Head", "Table", "cell", "text"]


@dataclass(frozen=True)
class Head:
    """A column's head; ``title`` explains it."""

    label: str
    number: bool = True
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """What is shown, what it sorts by, smaller lines under it, and a tone (good, bad, warn, quiet)."""

    text: str
    key: float | str = ""
    small: str = ""
    tone: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption and notes."""

    name: str
    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default_factory=tuple)


def text(words: Any, tone: str = "", small: str = "") -> Cell:
    """Make a cell of words."""
    return Cell(str(words), str(words).lower(), small, tone)


def cell(shown: str, number: Any, small: str = "", tone: str = "", title: str = "") -> Cell:
    """Make a cell of a number; what is missing sorts last."""
    try:
        key = float(number)
    except (TypeError, ValueError):
        key = math.nan
    return Cell(shown, "" if math.isnan(key) else key, small, tone, title)

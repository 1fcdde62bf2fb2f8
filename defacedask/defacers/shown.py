"""How a plan shows itself: its facts as a table at a prompt and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["plan_table"]


def plan_table(summary: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
    """Table of what a plan says of itself (`Plan.summary`); secrets stand in it as their SHA-256 alone."""
    rows = []
    for name, value in summary.items():
        if name == "defacer":
            continue
        if name == "protected":
            value = ", ".join(str(one.get("name", one)) for one in value if isinstance(one, Mapping))
        rows.append((name, value))
    return ("fact", "value"), rows, ()

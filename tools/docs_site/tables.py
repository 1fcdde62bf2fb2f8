"""The reference of the tables, from their schemas."""

from __future__ import annotations

import html

from defacedask.io.bids.outcomes import COLUMNS, LEVELS
from defacedask.tables.schemas import SCHEMAS

__all__ = ["page"]


def page() -> str:
    """Markdown of all tables and their columns."""
    parts = [
        "# Tables",
        "`study` and `attack` leave these in `OUT/tables`, each as Parquet and as CSV. This page is made from the "
        "schemas that the tables are written by. A *text* is empty, a *number* is NaN, and a *count* or *flag* is "
        "missing where there is nothing to say. Errors are rows too: look at `status` and `reason` first.",
        "One sign holds in all of them: original - defaced. Negative means increased by defacing.",
    ]
    for name, columns in SCHEMAS.items():
        rows = [f"| `{one.name}` | {one.kind} | {_text(one.meaning)} |" for one in columns]
        parts += [f"## {name}", "\n".join(["| column | kind | meaning |", "| --- | --- | --- |", *rows])]
    rows = [f"| `{name}` | {_text(meaning)} |" for name, meaning in COLUMNS.items()]
    parts += [
        "## BIDS: participants_defacing.tsv",
        "`deface` leaves this one in a BIDS data set: a row for each participant and session.",
        "\n".join(["| column | meaning |", "| --- | --- |", *rows]),
        "Of its column `status`: " + " ".join(f"*{name}*: {meaning}" for name, meaning in LEVELS.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _text(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "&#124;").replace("*", "&#42;")

"""How often the recognisers agree."""

from __future__ import annotations

from typing import Any

import pandas as pd

from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import Run
from defacedask.report.sections.privacy import first_cell, rate_cell
from defacedask.tables.evidence import ORIGINAL, Rate

__all__ = ["agreement_table"]


def agreement_table(run: Run) -> Table | None:
    """Each pair of recognisers: cases that both match, that one matches, that neither does."""
    table = run.tables["agreement"]
    if not len(table):
        return None
    order = [ORIGINAL, *run.defacers]
    lines = []
    for row in sorted(table.to_dict("records"), key=lambda r: order.index(r["defacer"])):
        cases = int(row["cases"])
        agreed = int(row["both"]) + int(row["neither"])
        lines.append(
            [
                first_cell(row["defacer"]),
                text(row["modality"]),
                text(f"{row['recogniser_a']}, {row['recogniser_b']}"),
                *(_count(row, name) for name in ("both", "only_a", "only_b", "neither")),
                rate_cell(Rate(agreed, cases)),
                cell(f"{row['kappa']:.2f}", row["kappa"]) if pd.notna(row["kappa"]) else _NONE,
            ]
        )
    heads = [
        Head("defacer", False),
        Head("image", False),
        Head("recognisers", False, "the first and the second"),
        Head("both match"),
        Head("only the first"),
        Head("only the second"),
        Head("neither"),
        Head("agree", title="cases of which both say the same, exact 95 % interval"),
        Head("kappa", title="Cohen’s: 0 is what their rates give by chance, 1 is full agreement"),
    ]
    return Table(
        "agreement",
        "Agreement of the recognisers",
        heads,
        lines,
        (
            "Cases matched with their own person by any attack, each recogniser at its own threshold. Everywhere "
            "else on this page a match by either counts. Kappa is empty where both give every case one answer.",
        ),
    )


_NONE = Cell(numbers.NOTHING, tone="quiet")


def _count(row: dict[str, Any], name: str) -> Cell:
    return cell(numbers.count(int(row[name])), int(row[name]))

"""The forced crop in both its forms, and which of them the verdict uses."""

from __future__ import annotations

from typing import Any

import pandas as pd

from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.privacy import first_cell, rate_cell
from defacedask.tables.evidence import ORIGINAL, Rate

__all__ = ["crops_table", "crops_words"]

_WHY = (
    "The distance to the own person is the same in both, so the verdict’s matches are, too. Its chance, ranks and "
    "AUC are of the own landmarks, which were tried on every case, and the matrix on a sample; where they differ, "
    "the matrix is the fair one."
)


def crops_words(run: Run) -> list[str]:
    """Say what the full matrix found, and which form the verdict uses; nothing where it was not made."""
    table = run.tables["forced_matrix"]
    table = table.loc[~table["defacer"].isin((ORIGINAL, CONTROL)) & table["auc"].notna()]
    if not len(table):
        return []
    each = []
    for defacer in run.defacers:
        part = table.loc[table["defacer"] == defacer]
        if len(part):
            worst = part.loc[part["auc"].idxmax()]
            each.append(f"{defacer} {worst['auc']:.2f} (own landmarks alone {worst['plain_auc']:.2f})")
    return [
        f"Forced crop as a full matrix on {int(table['persons'].max())} persons, the largest AUC of any recogniser: "
        f"{', '.join(each)}. {_WHY}"
    ]


def crops_table(run: Run) -> Table | None:
    """Lay out both forms side by side, on the same cases."""
    table = run.tables["forced_matrix"]
    if not len(table):
        return None
    lines, order = [], [ORIGINAL, *run.defacers]
    for row in sorted(table.to_dict("records"), key=lambda r: order.index(r["defacer"])):
        cases = int(row["cases"])
        lines.append(
            [
                first_cell(row["defacer"]),
                text(row["modality"]),
                text(row["recogniser"]),
                rate_cell(Rate(int(row["matched"]), cases)),
                *(_share(row, form + "chance") for form in ("plain_", "")),
                *(rate_cell(Rate(int(row[form + "rank_1"]), cases)) for form in ("plain_", "")),
                *(_auc(row, form + "auc") for form in ("plain_", "")),
            ]
        )
    heads = [Head("defacer", False), Head("image", False), Head("recogniser", False)]
    heads.append(Head("matched", title="within the threshold of their own person, the same in both forms"))
    for what in ("chance", "right person nearest", "AUC"):
        heads += [
            Head(f"{what}, own", title="the own original’s landmarks for everybody"),
            Head(f"{what}, matrix", title="everybody’s own landmarks"),
        ]
    persons, seed = int(table["persons"].max()), int(table["seed"].max())
    return Table(
        "crops",
        "The forced crop: the own landmarks for everybody, or everybody’s own",
        heads,
        lines,
        (
            f"{persons} persons, drawn with seed {seed} of those whose original shows a face; plain views. Own: the "
            "landmarks of the own original are put on the defaced picture, and that one crop is compared with "
            "everybody: the crop may carry the person. Matrix: for each person of the gallery that person’s "
            "landmarks.",
            _WHY,
        ),
    )


def _share(row: dict[str, Any], name: str) -> Cell:
    value = row[name]
    return Cell(numbers.NOTHING, tone="quiet") if pd.isna(value) else cell(numbers.rate(value), value)


def _auc(row: dict[str, Any], name: str) -> Cell:
    if pd.isna(row[name]):
        return Cell(numbers.NOTHING, tone="quiet")
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return cell(f"{row[name]:.2f}", row[name], "" if pd.isna(low) else f"{low:.2f} to {high:.2f}")

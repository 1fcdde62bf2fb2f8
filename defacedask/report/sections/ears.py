"""Who people are by their ears: a table of its own, and its controls; ears are no part of what is said of faces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.inversion import InversionLine
from defacedask.report.sections.privacy import first_cell, rate_cell
from defacedask.tables.evidence import ORIGINAL, Rate

__all__ = ["ear_lines", "ears_table"]

_QUIET = Cell(numbers.NOTHING, tone="quiet")


def ears_table(run: Run) -> Table | None:
    """A line an image and defacer: whether the ears that it leaves point to their owner."""
    table = _rows(run)
    lines = []
    for row in table.loc[table["judged"] > 0].to_dict("records"):
        told = row["auc_low"] > 0.5 and row["defacer"] not in (ORIGINAL, CONTROL)
        lines.append(
            [
                first_cell(row["defacer"]),
                text(row["modality"]),
                cell(numbers.count(row["judged"]), row["judged"], f"{numbers.count(row['persons'])} persons"),
                cell(f"{row['auc']:.2f}", row["auc"], _interval(row, "auc"), "bad" if told else ""),
                rate_cell(Rate(int(row["rank_1"]), int(row["judged"]))),
            ]
        )
    if not lines:
        return None
    scan = (
        "another scan of everybody"
        if table["second_scan"].any()
        else "everybody’s original, the very scan too"
    )
    return Table(
        "ears",
        "Recognition by the ears",
        [
            Head("defacer", False),
            Head("image", False),
            Head(
                "judged", title="images with an ear that could be measured, and a person to be compared with"
            ),
            Head("AUC", title="of the own ears against others’; 95 % bootstrap interval over persons"),
            Head("right person most alike", title="exact 95 % interval"),
        ],
        lines,
        (
            f"The relief of each ear, seen from the side, is laid on that of {scan}; how alike two heads are is the "
            "correlation of the reliefs where they agree best, mean of both ears. An ear that is gone is like "
            "nobody’s (AUC 0.5). Red: the interval lies above 0.5, so the ears that are left tell who it is. No "
            "figure about faces, and no verdict, counts this.",
        ),
    )


def ear_lines(run: Run) -> Iterator[InversionLine]:
    """A positive and a negative control of each modality, on the originals."""
    table = _rows(run)
    for modality, rows in table.groupby("modality", sort=True):
        by = {row["defacer"]: row for row in rows.to_dict("records")}
        own = by.get(ORIGINAL)
        known = own is not None and own["judged"] > 0
        yield InversionLine(
            f"positive: ears, {modality}",
            "originals’ ears are more like their own in another scan than like others’ (the interval above 0.5)",
            _words(own, "auc") if own is not None and known else "not tried",
            bool(own["auc_low"] > 0.5) if own is not None and known else None,
            str(own["note"] or "") if own is not None else "",
            False,
        )
        tried = own if known else by.get(CONTROL)
        if tried is not None and pd.notna(tried["exchanged_auc"]):
            yield InversionLine(
                f"negative: ears, {modality}",
                "where everybody goes by the name of another, nothing is told (the interval holds 0.5)",
                _words(tried, "exchanged"),
                bool(tried["exchanged_low"] <= 0.5 <= tried["exchanged_high"]),
                "",
                False,
            )


def _rows(run: Run) -> pd.DataFrame:
    table = run.tables["ears"]
    order = [ORIGINAL, *run.defacers]
    return table.loc[table["defacer"].isin(order)]


def _words(row: dict[Any, Any], name: str) -> str:
    return f"AUC {row[f'{name}_auc' if name == 'exchanged' else name]:.2f} ({_interval(row, name)})"


def _interval(row: dict[Any, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{low:.2f} to {high:.2f}" if pd.notna(low) else "no interval"

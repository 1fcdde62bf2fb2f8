"""What defacing cost in radiotherapy: targets in the plan's region, volumes, and dose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from defacedask.report import numbers
from defacedask.report.derive import in_order
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run

__all__ = ["dose_table", "volume_table"]

#: Metrics with a column of their own, where there are any; all are in tables/dose.csv.
_METRICS = ("Dmean", "D0.01cc", "D2", "D95", "V5Gy", "V20Gy", "V30Gy", "V50Gy", "V60Gy")


def dose_table(run: Run) -> Table | None:
    """Dose changes: by defacer and structure, one column a metric; structures that nobody changed in one line."""
    rows = run.tables["dose"]
    if not len(rows):
        return None
    metrics = [m for m in _METRICS if (rows["metric"] == m).any()]
    metrics += [m for m in dict.fromkeys(rows["metric"]) if m not in metrics and len(metrics) < 6]
    order = in_order(rows["structure"].unique().tolist())
    lines: list[list[Cell]] = []
    for defacer in [d for d in run.defacers if (rows["defacer"] == d).any()]:
        part = rows.loc[rows["defacer"] == defacer]
        change = part["defaced"] - part["original"]
        moved = part.loc[(change != 0) & change.notna(), "structure"].unique()
        for structure in [s for s in order if s in set(moved)]:
            lines.append(_dose_line(defacer, structure, part.loc[part["structure"] == structure], metrics))
        still = part.loc[~part["structure"].isin(moved), "structure"].nunique()
        if still:
            cases = part["case"].nunique()
            words = "every structure" if not len(moved) else f"{still} other structures"
            lines.append(
                [text(defacer), text(f"{words}: all metrics exactly as before", "quiet")]
                + [cell(numbers.count(cases), cases)]
                + [cell("0", 0.0, tone="quiet")] * len(metrics)
            )
    return Table(
        "dose",
        "Dose: defaced minus original, by structure and metric",
        [
            Head("defacer", False),
            Head("structure", False),
            Head("n", title="cases"),
            *(Head(m, title=_meaning(m)) for m in metrics),
        ],
        lines,
        (
            "Mean change over cases; below, in brackets, the largest in one case. Doses in Gy, V-doses in percent of "
            "the structure’s volume. Negative: less after defacing. Every metric of every case: tables/dose.csv.",
        ),
    )


def _dose_line(defacer: str, structure: str, rows: pd.DataFrame, metrics: Sequence[str]) -> list[Cell]:
    line = [
        text(defacer),
        text(structure),
        cell(numbers.count(rows["case"].nunique()), rows["case"].nunique()),
    ]
    for metric in metrics:
        each = rows.loc[rows["metric"] == metric]
        change = (each["defaced"] - each["original"]).to_numpy(dtype=float)
        change = change[np.isfinite(change)]
        if not len(change):
            line.append(Cell(numbers.NOTHING, tone="quiet"))
            continue
        worst = float(change[np.abs(change).argmax()])
        small = "" if not worst else f"({numbers.value(worst, 3)})"
        line.append(cell(numbers.value(change.mean(), 3), change.mean(), small, "" if worst else "quiet"))
    return line


def _meaning(metric: str) -> str:
    if metric.startswith("V"):
        return f"percent of the volume that gets at least {metric[1:-2]} Gy"
    known = {"Dmean": "mean dose, Gy", "D0.01cc": "least dose of the hottest 0.01 cm³, Gy"}
    return known.get(metric, f"least dose of the hottest {metric[1:]} % of the volume, Gy")


def volume_table(run: Run) -> Table | None:
    """Targets in the plan's region, and every other structure that meets it."""
    rows = run.tables["geometry"]
    rows = rows.loc[rows["defacer"] != CONTROL]
    if not len(rows):
        return None
    rows = rows.assign(target=rows["target"].fillna(False).astype(bool))
    order = in_order(rows["structure"].unique().tolist())
    lines: list[list[Cell]] = []
    for defacer in [d for d in run.defacers if (rows["defacer"] == d).any()]:
        part = rows.loc[rows["defacer"] == defacer]
        hit = set(part.loc[part["region_ml"] > 0, "structure"])
        targets = set(part.loc[part["target"], "structure"])
        shown = [s for s in order if s in targets] + [s for s in order if s in hit and s not in targets]
        lines += [_volume_line(defacer, s, part.loc[part["structure"] == s], s in targets) for s in shown]
        still = part["structure"].nunique() - len(shown)
        if still:
            words = f"{still} other structures: nothing in the region"
            lines.append([text(defacer), text(words, "quiet"), *[Cell(numbers.NOTHING, tone="quiet")] * 7])
    return Table(
        "volumes",
        "Targets and structures in the region that defacing may change",
        [
            Head("defacer", False),
            Head("structure", False),
            Head("target", False),
            Head("cases"),
            Head("cases in the region", title="cases in which a voxel of the structure lies in the region"),
            Head("median volume, ml"),
            Head("median in the region, %"),
            Head("largest in the region, %"),
            Head("largest volume change, ml", title="of the contours on export"),
        ],
        lines,
        (
            "On export, contours lose what lies in the region; the body’s outline takes the new surface, and what "
            "follows the skin loses a margin more. A target in the region: protect it (--protect), or take another "
            "defacer.",
        ),
    )


def _volume_line(defacer: str, structure: str, rows: pd.DataFrame, target: bool) -> list[Cell]:
    inside = rows.loc[rows["region_percent"].notna()]
    share = inside["region_percent"].to_numpy(dtype=float)
    touched = int((inside["region_ml"] > 0).sum())
    change = (inside["after_ml"] - inside["volume_ml"]).to_numpy(dtype=float)
    notes = sorted({str(n) for n in rows["note"] if n and n != "no voxels"})

    def number(value: Any) -> Cell:
        return cell(numbers.value(value, 3), value)

    empty = Cell(numbers.NOTHING, tone="quiet")
    return [
        text(defacer),
        text(structure, small="\n".join(notes)),
        text("target" if target else ""),
        cell(numbers.count(len(inside)), len(inside)),
        cell(f"{touched} of {len(inside)}", touched, tone="bad" if target and touched else ""),
        number(inside["volume_ml"].median()) if len(inside) else empty,
        number(np.median(share)) if len(share) else empty,
        number(share.max()) if len(share) else empty,
        number(change.min()) if len(change) else empty,
    ]

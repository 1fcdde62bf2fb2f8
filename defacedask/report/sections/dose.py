"""What defacing cost in radiotherapy: targets in the plan's region, volumes, and dose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.tables.derive import in_order

__all__ = ["SIGN", "dose_table", "volume_table"]

#: The page has one sign, and every table that has a sign says it in these words.
SIGN = "The sign: original − defaced. Negative means increased by defacing, positive means decreased."

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
        change = part["original"] - part["defaced"]
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
        "Dose: original − defaced, by structure and metric",
        [
            Head("defacer", False),
            Head("structure", False),
            Head("n", title="cases"),
            *(Head(m, title=_meaning(m)) for m in metrics),
        ],
        lines,
        (
            SIGN,
            "Mean change over cases; below, in brackets, the largest in one case. Doses in Gy, V-doses in percent of "
            "the structure’s volume. Every metric of every case: tables/dose.csv.",
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
        change = (each["original"] - each["defaced"]).to_numpy(dtype=float)
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
    changed = _voxels_changed(run)
    for defacer in [d for d in run.defacers if (rows["defacer"] == d).any()]:
        part = rows.loc[rows["defacer"] == defacer]
        hit = set(part.loc[part["region_ml"] > 0, "structure"])
        targets = set(part.loc[part["target"], "structure"])
        shown = [s for s in order if s in targets] + [s for s in order if s in hit and s not in targets]
        lines += [
            _volume_line(
                defacer, s, part.loc[part["structure"] == s], s in targets, changed.get((defacer, s))
            )
            for s in shown
        ]
        still = part["structure"].nunique() - len(shown)
        if still:
            words = f"{still} other structures: nothing in the region"
            lines.append([text(defacer), text(words, "quiet"), *[Cell(numbers.NOTHING, tone="quiet")] * 8])
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
            Head(
                "voxels changed, %",
                title="of the image inside the structure: median, and largest in one case",
            ),
            Head("most volume lost, ml", title="of the contours on export: original − defaced"),
        ],
        lines,
        (
            "The region is what the plan may change, and on export contours lose what lies in it. Voxels changed is "
            "what it did change of the image there, and radiomics sees that alone: a layer laid on the skin may "
            "hold a structure in its region and leave every voxel of it as it was.",
            "On export, contours lose what lies in the region; the body’s outline takes the new surface, and what "
            "follows the skin loses a margin more. A target in the region: protect it (--protect), or take another "
            "defacer.",
        ),
    )


def _voxels_changed(run: Run) -> dict[tuple[str, str], np.ndarray]:
    """(defacer, structure) -> percent of its voxels changed, one number a case and image."""
    rows = run.tables["radiomics"].drop_duplicates(
        ["case", "defacer", "structure", "modality", "structure_set"]
    )
    share = 100 * rows["voxels_changed"].astype(float) / rows["voxels"].astype(float)
    rows = rows.assign(share=share).dropna(subset="share")
    groups = rows.groupby(["defacer", "structure"])["share"]
    return {(str(d), str(s)): part.to_numpy() for (d, s), part in groups}


def _volume_line(
    defacer: str, structure: str, rows: pd.DataFrame, target: bool, changed: np.ndarray | None
) -> list[Cell]:
    inside = rows.loc[rows["region_percent"].notna()]
    share = inside["region_percent"].to_numpy(dtype=float)
    touched = int((inside["region_ml"] > 0).sum())
    change = (inside["volume_ml"] - inside["after_ml"]).to_numpy(dtype=float)
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
        _changed_cell(changed, touched) if changed is not None and len(changed) else empty,
        number(change.max()) if len(change) else empty,
    ]


def _changed_cell(changed: np.ndarray, touched: int) -> Cell:
    """Share of a structure's voxels that changed; where none did though it lies in the region, that is said."""
    middle, most = float(np.median(changed)), float(changed.max())
    if most == 0 and touched:
        return cell("0", 0.0, "in the region,\nno voxel changed", "quiet")
    return cell(numbers.percent(middle), middle, f"up to {numbers.percent(most)}" if most else "")

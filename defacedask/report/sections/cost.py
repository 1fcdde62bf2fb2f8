"""What defacing cost: the study's radiomics tables, ratios that mean little, box plots, dose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from defacedask.evaluation.summary import radiomics_percent, radiomics_summary
from defacedask.report import figures, numbers
from defacedask.report.counts import median_interval
from defacedask.report.derive import in_order
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.tables import TEN_FEATURES

__all__ = [
    "box_plots",
    "control_exact",
    "dose_table",
    "hazard_table",
    "large_change",
    "radiomics_tables",
    "utility",
]

_MOST_STRUCTURES = 24


def utility(run: Run, defacer: str) -> tuple[float, float, float, int]:
    """Median over cases of each case's median absolute percent change, its 95 % interval, and the cases."""
    rows = run.tables["radiomics"]
    rows = rows.loc[(rows["defacer"] == defacer) & np.isfinite(rows["percent"])]
    medians = rows["percent"].abs().groupby(rows["case"]).median().to_numpy()
    return (*median_interval(medians), len(medians))


def large_change(run: Run, defacer: str) -> float:
    """95th percentile of all absolute percent changes: what a median of zero may hide."""
    rows = run.tables["radiomics"]
    sizes = rows.loc[(rows["defacer"] == defacer) & np.isfinite(rows["percent"]), "percent"].abs()
    return float(np.percentile(sizes, 95)) if len(sizes) else float("nan")


def control_exact(run: Run) -> tuple[int, int, float]:
    """Look whether convert-only changed anything: (values compared, values that differ, largest difference)."""
    compared = differing = 0
    largest = 0.0
    for name in ("radiomics", "dose"):
        rows = run.tables[name]
        rows = rows.loc[rows["defacer"] == CONTROL]
        before, after = rows["original"].to_numpy(dtype=float), rows["defaced"].to_numpy(dtype=float)
        differs = ~((before == after) | (np.isnan(before) & np.isnan(after)))
        compared += len(rows)
        differing += int(differs.sum())
        if differs.any():
            largest = max(largest, float(np.nanmax(np.abs(before - after)[differs], initial=0.0)))
    return compared, differing, largest


def hazards_of(rows: pd.DataFrame) -> pd.Series:
    """Why a row's percent change means little: the note it brought, else that the ratio does not exist; or ""."""
    note = rows["note"].fillna("") if "note" in rows else pd.Series("", index=rows.index)
    odd = note.str.contains("zero denominator|no voxels|not finite", regex=True)
    absent = ~np.isfinite(rows["percent"])
    return note.where(odd, "").mask(absent & ~odd, "ratio does not exist")


def radiomics_tables(run: Run) -> list[dict[str, Any]]:
    """One pair of tables (mean, median) a defacer, with the published means in the cells where given."""
    rows = run.tables["radiomics"]
    if not len(rows):
        return []
    summary = radiomics_summary(rows)
    odd = rows.loc[hazards_of(rows) != ""]
    sheet = _Sheet(
        {what: _nested(radiomics_percent(summary, what)) for what in ("mean", "median", "n", "q1", "q3")},
        odd.groupby(["defacer", "structure", "feature"]).size().to_dict(),
        _changed(rows),
        _nested(run.reference.percent) if run.reference is not None else {},
    )
    found = []
    for defacer in [d for d in run.defacers if d in sheet.numbers["n"]]:
        part = rows.loc[rows["defacer"] == defacer]
        found.append(
            {
                "defacer": defacer,
                "views": [_percent_table(defacer, what, sheet) for what in ("mean", "median")],
                "total": numbers.count(len(part)),
                "unchanged": bool(
                    (
                        (part["original"] == part["defaced"])
                        | (part["original"].isna() & part["defaced"].isna())
                    ).all()
                ),
            }
        )
    return found


@dataclass(frozen=True)
class _Sheet:
    """What the percent tables are written from, looked up by defacer, structure and feature."""

    numbers: dict[str, dict[str, dict[str, dict[str, float]]]]
    hazards: dict[Any, int]
    changed: dict[Any, tuple[int, int, float]]
    published: dict[str, dict[str, dict[str, float]]]


def _nested(wide: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Defacer -> structure -> feature -> number."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in wide.to_dict("records"):
        found.setdefault(row["defacer"], {})[row["structure"]] = row
    return found


def _changed(rows: pd.DataFrame) -> dict[Any, tuple[int, int, float]]:
    """(defacer, structure) -> cases with a changed voxel, cases, median percent of voxels changed."""
    found = {}
    for key, part in rows.drop_duplicates(["case", "defacer", "structure"]).groupby(["defacer", "structure"]):
        share = (part["voxels_changed"].astype(float) / part["voxels"].astype(float)).dropna()
        if len(share):
            found[key] = (int((share > 0).sum()), len(share), float(100 * share.median()))
    return found


def _percent_table(defacer: str, what: str, sheet: _Sheet) -> Table:
    published = sheet.published.get(defacer, {}) if what == "mean" else {}
    lines = []
    for structure, counts in sheet.numbers["n"][defacer].items():
        most = max((int(counts[f]) for f in TEN_FEATURES if pd.notna(counts[f])), default=0)
        touched = sheet.changed.get((defacer, structure))
        line = [text(structure), cell(numbers.count(most), most)]
        line.append(
            cell(f"{touched[0]} of {touched[1]}", touched[0], f"{numbers.percent(touched[2])} % of voxels")
            if touched
            else Cell(numbers.NOTHING)
        )
        for feature in TEN_FEATURES:
            number = sheet.numbers[what][defacer][structure][feature]
            small = []
            if what == "median":
                q1, q3 = (sheet.numbers[q][defacer][structure][feature] for q in ("q1", "q3"))
                if pd.notna(q1) and q1 != q3:
                    small.append(f"{numbers.percent(q1)} to {numbers.percent(q3)}")
            elif feature in published.get(structure, {}):
                small.append(f"[{numbers.percent(published[structure][feature])}]")
            if pd.notna(counts[feature]) and int(counts[feature]) != most:
                small.append(f"n {int(counts[feature])}")
            weak = sheet.hazards.get((defacer, structure, feature), 0)
            why = f"{weak} case(s) with an original near zero or a ratio that does not exist" if weak else ""
            line.append(
                cell(numbers.percent(number) + ("†" if weak else ""), number, "\n".join(small), title=why)
            )
        lines.append(line)
    heads = [
        Head("structure", False),
        Head("n", title="cases"),
        Head("cases touched", title="cases in which a voxel changed; median share of the structure’s voxels"),
        *(Head(f) for f in TEN_FEATURES),
    ]
    notes = []
    if published:
        notes.append("[ ] the mean printed in the reference folder; of other patients, for orientation only.")
    if any(key[0] == defacer for key in sheet.hazards):
        notes.append(
            "† an original near zero, or ratios that do not exist left out: see “Ratios to distrust”."
        )
    label = "mean" if what == "mean" else "median (quartiles)"
    return Table(
        f"percent-{what}-{defacer}",
        f"{defacer}: {label} over cases of the percent change, by structure and feature",
        heads,
        lines,
        notes,
    )


def hazard_table(run: Run) -> Table | None:
    """List where a percent change is a ratio to (nearly) nothing."""
    rows = run.tables["radiomics"]
    rows = rows.loc[rows["defacer"] != CONTROL]
    rows = rows.assign(why=hazards_of(rows))
    rows = rows.loc[rows["why"] != ""]
    if not len(rows):
        return None
    lines = []
    for (structure, feature, why), part in rows.groupby(["structure", "feature", "why"], sort=False):
        absent = int((~np.isfinite(part["percent"])).sum())
        each = part["percent"].abs()
        largest = each[np.isfinite(each)].max()
        lines.append(
            [
                text(structure),
                text(feature),
                cell(numbers.count(part["case"].nunique()), part["case"].nunique()),
                cell(numbers.value(part["original"].abs().min()), part["original"].abs().min()),
                cell(numbers.percent(largest), largest),
                cell(numbers.count(absent), absent),
                text(why),
            ]
        )
    return Table(
        "hazards",
        "Ratios to distrust: the original value is zero, nearly zero or undefined",
        [
            Head("structure", False),
            Head("feature", False),
            Head("cases"),
            Head("smallest |original|"),
            Head("largest |percent|"),
            Head("left out", title="rows whose ratio does not exist; not part of any mean"),
            Head("why", False),
        ],
        lines,
        (
            "Over all defacers. Near zero: closer to it than 5 % of the structure’s standard deviation "
            "(skewness: than 0.05). Means with such ratios are marked † and are better read as medians.",
        ),
    )


def box_plots(run: Run) -> dict[str, Any] | None:
    """Pooled over features first, then one figure a structure."""
    rows = run.tables["radiomics"]
    rows = rows.loc[np.isfinite(rows["percent"]) & (rows["defacer"] != CONTROL)]
    if not len(rows):
        return None
    defacers = [d for d in run.defacers if (rows["defacer"] == d).any()]
    every = in_order(rows["structure"].unique().tolist())
    structures = every[:_MOST_STRUCTURES]
    sizes = (
        rows.assign(percent=rows["percent"].abs())
        .groupby(["defacer", "structure", "case"])["percent"]
        .median()
    )
    pooled = [(d, run.look(d), [_select(sizes, d, s) for s in structures]) for d in defacers]
    indexed = rows.set_index(["defacer", "structure", "feature"])["percent"].sort_index()
    single = []
    for number, structure in enumerate(structures):
        series = [
            (d, run.look(d), [_select(indexed, d, structure, f) for f in TEN_FEATURES]) for d in defacers
        ]
        n = rows.loc[rows["structure"] == structure, "case"].nunique()
        single.append(
            {
                "structure": structure,
                "n": n,
                "svg": figures.boxes(
                    TEN_FEATURES,
                    series,
                    name=f"box{number}",
                    title=f"{structure}: percent change by feature",
                    xlabel="100·(original − defaced)/original, %  (left of 0: increased by defacing)",
                ),
            }
        )
    return {
        "pooled": figures.boxes(
            structures,
            pooled,
            name="boxes",
            title="Median absolute percent change of the ten features, by structure",
            xlabel="median |percent change| of a case's ten features, %",
            absolute=True,
        ),
        "single": single,
        "left_out": len(every) - len(structures),
    }


def _select(values: pd.Series, *key: str) -> np.ndarray:
    try:
        return np.atleast_1d(np.asarray(values.loc[key], dtype=np.float64))
    except KeyError:
        return np.zeros(0)


def dose_table(run: Run) -> Table | None:
    """Dose changes: by defacer, structure and metric."""
    rows = run.tables["dose"]
    if not len(rows):
        return None
    lines = []
    order = in_order(rows["structure"].unique().tolist())
    for defacer in [d for d in run.defacers if (rows["defacer"] == d).any()]:
        part = rows.loc[rows["defacer"] == defacer]
        groups = dict(list(part.groupby(["structure", "metric"], sort=False)))
        for structure, metric in sorted(groups, key=lambda k: order.index(k[0])):
            each = groups[structure, metric]
            change = (each["defaced"] - each["original"]).to_numpy(dtype=float)
            good = change[np.isfinite(change)]
            mean = good.mean() if len(good) else np.nan
            worst = good[np.abs(good).argmax()] if len(good) else np.nan
            same = int((good == 0).sum())
            lines.append(
                [
                    text(defacer),
                    text(structure),
                    text(metric),
                    cell(numbers.count(len(good)), len(good)),
                    cell(numbers.value(each["original"].mean()), each["original"].mean()),
                    cell(numbers.value(mean), mean),
                    cell(numbers.value(worst), abs(worst)),
                    cell(f"{same} of {len(good)}", same),
                ]
            )
    return Table(
        "dose",
        "Dose: defaced minus original, by structure and metric",
        [
            Head("defacer", False),
            Head("structure", False),
            Head("metric", False),
            Head("n", title="cases"),
            Head("mean original"),
            Head("mean change"),
            Head("largest change"),
            Head("unchanged", title="cases whose value is exactly the same"),
        ],
        lines,
        (
            "Values are in Gy, volumes and V-doses in the unit their name says. Negative: less after defacing.",
        ),
    )

"""What defacing cost: the study's radiomics tables, ratios that mean little, box plots, dose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from defacedask.report import figures, numbers
from defacedask.report.counts import median_interval
from defacedask.report.derive import STUDY_STRUCTURES, in_order, radiomics_percent, radiomics_summary
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.tables import TEN_FEATURES

__all__ = ["box_plots", "control_exact", "dose_table", "hazard_table", "radiomics_tables", "utility"]

#: Below this size an original value is too near zero for a ratio to mean much (units of the feature).
NEAR_ZERO = {
    "Median": (1.0, "within 1 unit of zero"),
    "90Percentile": (1.0, "within 1 unit of zero"),
    "Maximum": (1.0, "within 1 unit of zero"),
    "Range": (1.0, "at most 1 unit"),
    "Skewness": (0.05, "within 0.05 of zero"),
    "Entropy": (0.01, "at most 0.01"),
    "Variance": (1e-6, "flat structure"),
}
_MOST_STRUCTURES = 24


def utility(run: Run, defacer: str) -> tuple[float, float, float, int]:
    """Median over cases of each case's median absolute percent change, its 95 % interval, and the cases."""
    rows = run.tables["radiomics"]
    rows = rows.loc[(rows["defacer"] == defacer) & np.isfinite(rows["percent"])]
    medians = rows["percent"].abs().groupby(rows["case"]).median().to_numpy()
    return (*median_interval(medians), len(medians))


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


def near_zero(rows: pd.DataFrame) -> pd.Series:
    """Flag rows whose original is too near zero, or not there, for a percent change to mean much."""
    limits = rows["feature"].map({name: limit for name, (limit, _) in NEAR_ZERO.items()}).astype(float)
    return (rows["original"].abs() <= limits) | ~np.isfinite(rows["percent"])


def radiomics_tables(run: Run) -> list[dict[str, Any]]:
    """One pair of tables (mean, median) a defacer, with the published means in the cells where given."""
    rows = run.tables["radiomics"]
    if not len(rows):
        return []
    summary = radiomics_summary(rows)
    hazards = rows.loc[near_zero(rows)].groupby(["defacer", "structure", "feature"]).size().to_dict()
    changed = _changed(rows)
    wide = {what: radiomics_percent(summary, what) for what in ("mean", "median", "n", "q1", "q3")}
    found = []
    for defacer in [d for d in run.defacers if (rows["defacer"] == d).any()]:
        views = [_percent_table(run, defacer, what, wide, hazards, changed) for what in ("mean", "median")]
        found.append({"defacer": defacer, "views": views})
    return found


def _changed(rows: pd.DataFrame) -> dict[tuple[str, str], tuple[int, int, float]]:
    """(defacer, structure) -> cases with a changed voxel, cases, median percent of voxels changed."""
    found = {}
    for key, part in rows.drop_duplicates(["case", "defacer", "structure"]).groupby(["defacer", "structure"]):
        share = (part["voxels_changed"].astype(float) / part["voxels"].astype(float)).dropna()
        if len(share):
            found[key] = (int((share > 0).sum()), len(share), float(100 * share.median()))
    return found


def _percent_table(
    run: Run,
    defacer: str,
    what: str,
    wide: dict[str, pd.DataFrame],
    hazards: dict[Any, int],
    changed: dict[Any, Any],
) -> Table:
    published = pd.DataFrame()
    if run.reference is not None and len(run.reference.percent):
        published = run.reference.percent.loc[run.reference.percent["defacer"] == defacer].set_index(
            "structure"
        )
    own = {k: t.loc[t["defacer"] == defacer].set_index("structure") for k, t in wide.items()}
    lines = []
    for structure in own["mean"].index:
        n = own["n"].loc[structure, list(TEN_FEATURES)]
        most = int(n.max()) if n.notna().any() else 0
        touched = changed.get((defacer, structure))
        line = [
            text(structure),
            cell(numbers.count(most), most),
            cell(
                f"{touched[0]} of {touched[1]}",
                touched[0],
                f"median {numbers.percent(touched[2])} % of voxels",
            )
            if touched
            else Cell(numbers.NOTHING),
        ]
        for feature in TEN_FEATURES:
            number = own[what].loc[structure, feature]
            small = []
            if pd.notna(n[feature]) and int(n[feature]) != most:
                small.append(f"n {int(n[feature])}")
            if what == "median" and pd.notna(own["q1"].loc[structure, feature]):
                q1, q3 = own["q1"].loc[structure, feature], own["q3"].loc[structure, feature]
                if q1 != q3:
                    small.append(f"{numbers.percent(q1)} to {numbers.percent(q3)}")
            if structure in published.index and feature in published.columns and what == "mean":
                small.append(f"publ. {numbers.percent(published.loc[structure, feature])}")
            weak = hazards.get((defacer, structure, feature), 0)
            line.append(
                cell(
                    numbers.percent(number) + ("†" if weak else ""),
                    number,
                    " · ".join(small),
                    title=f"{weak} case(s) with an original value near zero or a ratio that does not exist"
                    if weak
                    else "",
                )
            )
        lines.append(line)
    heads = [
        Head("structure", False),
        Head("n", title="cases"),
        Head("cases touched", title="cases in which a voxel of the structure changed"),
        *(Head(f) for f in TEN_FEATURES),
    ]
    label = "Mean" if what == "mean" else "Median (and quartiles)"
    notes = []
    if what == "mean" and len(published):
        notes.append(
            "publ. = the mean printed in the reference folder; other patients, only for orientation."
        )
    if any(key[0] == defacer for key in hazards):
        notes.append(
            "† includes originals near zero, or leaves out ratios that do not exist: see “Ratios to distrust”."
        )
    return Table(
        f"percent-{what}-{defacer}",
        f"{defacer}: {label.lower()} over cases of the percent change, by structure and feature",
        heads,
        lines,
        notes,
    )


def hazard_table(run: Run) -> Table | None:
    """List where a percent change is a ratio to (nearly) nothing."""
    rows = run.tables["radiomics"]
    rows = rows.loc[(rows["defacer"] != CONTROL)]
    rows = rows.loc[near_zero(rows)]
    if not len(rows):
        return None
    lines = []
    for (structure, feature), part in rows.groupby(["structure", "feature"], sort=False):
        absent = int((~np.isfinite(part["percent"])).sum())
        reason = NEAR_ZERO.get(feature, (0, "zero"))[1] if absent < len(part) else "ratio does not exist"
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
                text(reason),
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
        ("Means that include such ratios are marked † and are better read as medians.",),
    )


def box_plots(run: Run) -> dict[str, Any] | None:
    """Pooled over features first, then one figure a structure."""
    rows = run.tables["radiomics"]
    rows = rows.loc[np.isfinite(rows["percent"]) & (rows["defacer"] != CONTROL)]
    if not len(rows):
        return None
    defacers = [d for d in run.defacers if (rows["defacer"] == d).any()]
    every = in_order(rows["structure"].unique().tolist(), STUDY_STRUCTURES)
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
    order = in_order(rows["structure"].unique().tolist(), STUDY_STRUCTURES)
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

"""The study's radiomics tables, ratios that mean little, and further feature classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from defacedask.costs.summary import radiomics_percent
from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import Run
from defacedask.report.sampled import sample_notes
from defacedask.report.sections.dose import SIGN
from defacedask.tables import radiomics_parts
from defacedask.tables.files import TEN_FEATURES
from defacedask.tables.sampled import Numbers

__all__ = ["classes_table", "definitions", "hazard_table", "radiomics_tables"]

_SHEETS = ("mean", "median", "n", "q1", "q3", "p95", "ratio_of_means", "concordance")


def definitions(run: Run) -> str:
    """Say by which definitions the features were computed; empty if the configuration is gone."""
    settings = run.config.get("settings")
    chosen = settings.get("radiomics") if isinstance(settings, Mapping) else None
    if not isinstance(chosen, Mapping):
        return ""
    return (
        f"Definitions of pyradiomics 3.0.1: bin width {chosen.get('bin_width')}, "
        f"voxelArrayShift {chosen.get('voxel_array_shift')}."
    )


def radiomics_tables(run: Run) -> list[dict[str, Any]]:
    """Three tables (mean, median, agreement) a defacer, with the published means in the cells where given."""
    features = run.features
    if not features.totals:
        return []
    _, summary = radiomics_parts.radiomics_tables(run.read, features=TEN_FEATURES)
    sheet = _Sheet(
        {what: _nested(radiomics_percent(summary, what)) for what in _SHEETS},
        features.weak,
        {
            key: (features.hit[key], share.count, 100 * share.median)
            for key, share in features.touched.items()
        },
        _published(run),
        summary["modality"].nunique() > 1,
        features.sampled,
    )
    return [
        {
            "defacer": defacer,
            "views": [_percent_table(defacer, what, sheet) for what in ("mean", "median", "agreement")],
            "total": numbers.count(features.totals[defacer]),
            "unchanged": not features.unequal[defacer],
        }
        for defacer in run.defacers
        if defacer in sheet.numbers["n"]
    ]


@dataclass(frozen=True)
class _Sheet:
    """What the percent tables are written from, looked up by defacer, structure and feature."""

    numbers: dict[str, dict[str, dict[tuple[str, str], dict[str, float]]]]
    hazards: dict[Any, int]
    changed: dict[Any, tuple[int, int, float]]
    published: dict[str, dict[str, dict[str, float]]]
    images: bool
    sampled: bool


def _nested(wide: pd.DataFrame) -> dict[str, dict[tuple[str, str], dict[str, float]]]:
    """Defacer -> (modality, structure) -> feature -> number."""
    found: dict[str, dict[tuple[str, str], dict[str, float]]] = {}
    for row in wide.to_dict("records"):
        found.setdefault(row["defacer"], {})[row["modality"], row["structure"]] = row
    return found


def _published(run: Run) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in run.reference.percent.to_dict("records") if run.reference is not None else ():
        found.setdefault(row["defacer"], {})[row["structure"]] = row
    return found


def _percent_table(defacer: str, what: str, sheet: _Sheet) -> Table:
    published = sheet.published.get(defacer, {}) if what == "mean" else {}
    lines = []
    for (modality, structure), counts in sheet.numbers["n"][defacer].items():
        most = max((int(counts[f]) for f in TEN_FEATURES if pd.notna(counts[f])), default=0)
        touched = sheet.changed.get((defacer, modality, structure))
        line = [text(structure)] + ([text(modality)] if sheet.images else [])
        line.append(cell(numbers.count(most), most))
        line.append(
            cell(
                f"{touched[0]} of {touched[1]}",
                touched[0],
                f"median {numbers.percent(touched[2])} %",
            )
            if touched
            else Cell(numbers.NOTHING)
        )
        found = {name: sheet.numbers[name][defacer][modality, structure] for name in _SHEETS}
        for feature in TEN_FEATURES:
            weak = sheet.hazards.get((defacer, modality, structure, feature), 0)
            given = published.get(structure, {}).get(feature)
            line.append(_value(what, {n: found[n][feature] for n in found}, most, weak, given))
        lines.append(line)
    heads = [Head("structure", False)] + ([Head("image", False)] if sheet.images else [])
    heads += [
        Head("n", title="cases"),
        Head(
            "cases with voxels changed",
            title="of the image; the region that may change is in Targets and dose. Below: median share of voxels",
        ),
        *(Head(f) for f in TEN_FEATURES),
    ]
    notes = [SIGN]
    if published:
        notes.append(
            "[ ] the mean printed in the reference folder; of other patients, for orientation only."
            + (" It does not say of which image." if sheet.images else "")
        )
    if what == "agreement":
        notes.append(
            "Lin’s concordance of original and defaced values over cases: 1 is identity, 0 none; it needs two cases "
            "that differ. Below, r.o.m.: 100·(mean original − mean defaced)/mean original; p95: 95th percentile of "
            "the absolute percent changes."
        )
    elif any(key[0] == defacer for key in sheet.hazards):
        notes.append(
            "† an original near zero, or ratios that do not exist left out: see “Ratios to distrust”."
        )
    notes += sample_notes(sheet.sampled)
    label = {
        "mean": "mean over cases of the percent change",
        "median": "median (quartiles) over cases of the percent change",
        "agreement": "agreement of original and defaced values",
    }[what]
    return Table(
        f"percent-{what}-{defacer}", f"{defacer}: {label}, by structure and feature", heads, lines, notes
    )


def _value(what: str, found: dict[str, float], most: int, weak: int, published: float | None) -> Cell:
    """One structure's feature in one of the views."""
    if what == "agreement":
        if pd.isna(found["n"]) or not found["n"]:
            return Cell(numbers.NOTHING)
        known = pd.notna(found["concordance"])
        small = f"r.o.m. {numbers.percent(found['ratio_of_means'])}\np95 {numbers.percent(found['p95'])}"
        return cell(f"{found['concordance']:.3f}" if known else numbers.NOTHING, found["concordance"], small)
    small_lines = []
    if what == "median":
        if pd.notna(found["q1"]) and found["q1"] != found["q3"]:
            small_lines.append(f"{numbers.percent(found['q1'])} to {numbers.percent(found['q3'])}")
    elif published is not None:
        small_lines.append(f"[{numbers.percent(published)}]")
    if pd.notna(found["n"]) and int(found["n"]) != most:
        small_lines.append(f"n {int(found['n'])}")
    why = f"{weak} case(s) with an original near zero or a ratio that does not exist" if weak else ""
    shown = numbers.percent(found[what]) + ("†" if weak else "")
    return cell(shown, found[what], "\n".join(small_lines), title=why)


def hazard_table(run: Run) -> Table | None:
    """List where a percent change is a ratio to (nearly) nothing."""
    if not run.features.hazards:
        return None
    lines = [
        [
            text(structure),
            text(feature),
            cell(numbers.count(one.cases), one.cases),
            cell(numbers.value(one.smallest), one.smallest),
            cell(numbers.percent(one.largest), one.largest),
            cell(numbers.count(one.absent), one.absent),
            text(why),
        ]
        for (structure, feature, why), one in run.features.hazards.items()
    ]
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


def classes_table(run: Run) -> Table | None:
    """Feature classes beyond the ten, by defacer, image and class."""
    kinds = run.features.kinds
    if not kinds:
        return None
    lines = []
    order = {d: k for k, d in enumerate(run.defacers)}
    for (defacer, modality, kind), one in sorted(kinds.items(), key=lambda g: order[g[0][0]]):
        same, absent = one.same / one.rows, one.rows - one.sizes.count
        lines.append(
            [
                text(defacer),
                text(modality),
                text(kind),
                cell(numbers.count(len(one.features)), len(one.features)),
                cell(numbers.count(one.sizes.count), one.sizes.count),
                *(_quantile(one.sizes, q) for q in (50, 95)),
                cell(numbers.rate(same), same),
                cell(numbers.count(absent), absent),
            ]
        )
    return Table(
        "classes",
        "Other feature classes of pyradiomics: absolute percent changes over structures and cases",
        [
            Head("defacer", False),
            Head("image", False),
            Head("class", False),
            Head("features"),
            Head("values"),
            Head("median |change|, %"),
            Head("95th percentile, %"),
            Head("exactly equal", title="share of values"),
            Head("left out", title="values without a percent change"),
        ],
        lines,
        (
            "Feature by feature, with median, quartiles and concordance: tables/radiomics_summary.csv.",
            *sample_notes(any(one.sizes.sampled for one in kinds.values())),
        ),
    )


def _quantile(values: Numbers, percent: float) -> Cell:
    if not values.count:
        return Cell(numbers.NOTHING)
    number = values.percentile(percent)
    return cell(numbers.percent(number), number)

"""What defacing changed beside a second scan, and what automatic tools still find."""

from __future__ import annotations

import numpy as np
import pandas as pd

from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.privacy import detector_words
from defacedask.tables.derive import in_order

__all__ = ["masks_table", "rescan_table"]


def rescan_table(run: Run) -> Table | None:
    """One line a defacer, image and structure: the change as a share of test-retest, over its features."""
    rows = run.tables["rescan"]
    rows = rows.loc[(rows["defacer"] != CONTROL) & rows["share"].notna()]
    if not len(rows):
        return None
    order = in_order(rows["structure"].unique().tolist())
    lines: list[list[Cell]] = []
    for defacer in [d for d in run.defacers if (rows["defacer"] == d).any()]:
        own = rows.loc[rows["defacer"] == defacer]
        for modality in dict.fromkeys(own["modality"]):
            part = own.loc[own["modality"] == modality]
            moved = set(part.loc[part["share"] > 0, "structure"])
            still = part["structure"].nunique() - len(moved)
            if still:
                what = f"{'other ' if moved else ''}structure{'' if still == 1 else 's'}"
                about = f"{still} {what}: exactly unchanged"
                lines.append(
                    [text(defacer), text(modality), text(about, "quiet"), *[Cell("")] * 2, cell("0", 0.0)]
                )
                lines[-1] += [Cell("")] * 4
            for structure in [s for s in order if s in moved]:
                lines.append(_line(defacer, modality, structure, part.loc[part["structure"] == structure]))
    return Table(
        "rescan",
        "Change by defacing as a share of the change between two scans of one person",
        [
            Head("defacer", False),
            Head("image", False),
            Head("structure", False),
            Head("persons", title="with two scans"),
            Head("cases"),
            Head(
                "share, median",
                title="over features or metrics: RMS change by defacing / between scans",
            ),
            Head("largest share"),
            Head(
                "lowest ICC",
                title="ICC(2,1) of original and defaced values, of the feature that agrees least",
            ),
            Head("lowest CCC", title="Lin's concordance of the same"),
            Head(
                "within repeatability", title="least share of cases changed by at most 1.96 RMS between scans"
            ),
        ],
        lines,
        (
            "A share of 0: exactly unchanged. Below 1: a repeated scan changes more than defacing does. Two scans of "
            "one patient are the first two cases of the run; how far they lie apart, in time and protocol, is not "
            "known here. Every feature: tables/rescan.csv.",
        ),
    )


def _line(defacer: str, modality: str, structure: str, rows: pd.DataFrame) -> list[Cell]:
    share = rows["share"].to_numpy(dtype=float)
    worst = rows.iloc[int(share.argmax())]
    within = float(rows["within_repeatability"].min())
    persons, cases = int(rows["persons"].max()), int(rows["cases"].max())
    return [
        text(defacer),
        text(modality),
        text(structure),
        cell(numbers.count(persons), persons),
        cell(numbers.count(cases), cases),
        cell(numbers.value(np.median(share), 2), float(np.median(share))),
        cell(numbers.value(share.max(), 2), float(share.max()), str(worst["measure"]) if share.max() else ""),
        *(
            cell(numbers.distance(round(rows[name].min(), 2) + 0.0), rows[name].min())
            for name in ("icc", "concordance")
        ),
        cell(numbers.rate(within), within),
    ]


def masks_table(run: Run) -> Table | None:
    """One line a defacer and mask: overlap, distance and volume of what our own methods find before and after."""
    rows = run.tables["utility"]
    rows = rows.loc[(rows["defacer"] != CONTROL)]
    masks = rows.loc[rows["measure"] == "dice"]
    if not len(masks):
        return None
    lines: list[list[Cell]] = []
    for (modality, name), part in masks.groupby(["modality", "structure"], sort=False):
        for defacer in [d for d in run.defacers if (part["defacer"] == d).any()]:
            here = (rows["defacer"] == defacer) & (rows["modality"] == modality) & (rows["structure"] == name)
            of = {
                measure: rows.loc[here & (rows["measure"] == measure)]
                for measure in ("dice", "hd95_mm", "volume_ml")
            }
            overlap, apart = (of[m]["defaced"].dropna().to_numpy(dtype=float) for m in ("dice", "hd95_mm"))
            was, now = (of["volume_ml"][side].to_numpy(dtype=float) for side in ("original", "defaced"))
            change = 100 * (was - now)[was > 0] / was[was > 0]
            lines.append(
                [
                    text(name),
                    text(modality),
                    text(defacer),
                    cell(numbers.count(len(overlap)), len(overlap)),
                    _pair(overlap, overlap.min, 3),
                    _pair(apart, apart.max, 2) if len(apart) else Cell(numbers.NOTHING, tone="quiet"),
                    _percent(change),
                ]
            )
    return Table(
        "masks",
        "Masks that our own methods find before and after, as a stand-in for automatic contouring",
        [
            Head("mask", False),
            Head("image", False),
            Head("defacer", False),
            Head("cases"),
            Head("Dice, median", title="1: the same mask; below, the least"),
            Head(
                "HD95, mm, median", title="95th percentile of distances between borders; below, the largest"
            ),
            Head("volume, %", title="original − defaced, median; below, the largest in one case"),
        ],
        lines,
        (
            "On a grid of 2 mm; where the head lies is taken from the original. Body, bone and airway lose what was "
            "cut and gain what was added: that is what defacing is for. The brain should stay at 1 and 0. Whether a "
            "face detector still finds a face is in the table of faces.",
            *detector_words(run),
        ),
    )


def _pair(values: np.ndarray, worst: object, digits: int) -> Cell:
    middle, most = float(np.median(values)), float(worst())  # type: ignore[operator]
    return cell(numbers.value(middle, digits), middle, numbers.value(most, digits))


def _percent(change: np.ndarray) -> Cell:
    if not len(change):
        return Cell(numbers.NOTHING, tone="quiet")
    middle, most = float(np.median(change)), float(change[np.abs(change).argmax()])
    return cell(numbers.percent(middle), middle, numbers.percent(most))

"""What defacing changed beside a second scan, and what automatic tools still find."""

from __future__ import annotations

import numpy as np
import pandas as pd

from defacedask.report import numbers
from defacedask.report.gathered.masks import Mask
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sampled import sample_notes
from defacedask.report.sections.privacy import detector_words
from defacedask.tables.derive import in_order
from defacedask.tables.sampled import Numbers

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
    if not run.masks:
        return None
    lines: list[list[Cell]] = []
    for (modality, name), by in run.masks.items():
        for defacer in [d for d in run.defacers if d in by]:
            one = by[defacer]
            lines.append(
                [
                    text(name),
                    text(modality),
                    text(defacer),
                    cell(numbers.count(one.overlap.count), one.overlap.count),
                    _pair(one.overlap, one.overlap.smallest, 3),
                    _pair(one.apart, one.apart.largest, 2),
                    _percent(one),
                ]
            )
    sampled = any(one.overlap.sampled for by in run.masks.values() for one in by.values())
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
            *sample_notes(sampled),
            *detector_words(run),
        ),
    )


def _pair(values: Numbers, worst: float, digits: int) -> Cell:
    if not values.count:
        return Cell(numbers.NOTHING, tone="quiet")
    middle = values.median
    return cell(numbers.value(middle, digits), middle, numbers.value(worst, digits))


def _percent(one: Mask) -> Cell:
    if not one.change.count:
        return Cell(numbers.NOTHING, tone="quiet")
    middle = one.change.median
    return cell(numbers.percent(middle), middle, numbers.percent(one.worst))

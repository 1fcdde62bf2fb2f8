"""What defacing cost in radiotherapy: targets in the plan's region, volumes, and dose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from defacedask.report import numbers
from defacedask.report.gathered.doses import Doses
from defacedask.report.gathered.volumes import Volume
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import Run
from defacedask.report.sampled import sample_notes
from defacedask.tables.derive import in_order
from defacedask.tables.sampled import Numbers

__all__ = ["SIGN", "dose_table", "volume_table"]

#: The page has one sign, and every table that has a sign says it in these words.
SIGN = "The sign: original − defaced. Negative means increased by defacing, positive means decreased."

#: Metrics with a column of their own, where there are any; all are in tables/dose.csv.
_METRICS = ("Dmean", "D0.01cc", "D2", "D95", "V5Gy", "V20Gy", "V30Gy", "V50Gy", "V60Gy")


def dose_table(run: Run) -> Table | None:
    """Dose changes: by defacer and structure, one column a metric; structures that nobody changed in one line."""
    doses = run.doses
    if not doses.rows:
        return None
    metrics = [m for m in _METRICS if m in doses.metrics]
    metrics += [m for m in doses.metrics if m not in metrics and len(metrics) < 6]
    order = in_order(list(doses.structures))
    lines: list[list[Cell]] = []
    for defacer in [d for d in run.defacers if d in doses.defacers]:
        moved = doses.changed(defacer)
        lines += [_dose_line(doses, defacer, structure, metrics) for structure in order if structure in moved]
        still = sum(structure not in moved for structure in doses.of(defacer))
        if still:
            cases = doses.cases[defacer, ""]
            words = "every structure" if not moved else f"{still} other structures"
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


def _dose_line(doses: Doses, defacer: str, structure: str, metrics: Sequence[str]) -> list[Cell]:
    cases = doses.cases[defacer, structure]
    line = [text(defacer), text(structure), cell(numbers.count(cases), cases)]
    for metric in metrics:
        one = doses.moved.get((defacer, structure, metric))
        if one is None or not one.changes.count:
            line.append(Cell(numbers.NOTHING, tone="quiet"))
            continue
        mean = one.changes.mean
        small = "" if not one.worst else f"({numbers.value(one.worst, 3)})"
        line.append(cell(numbers.value(mean, 3), mean, small, "" if one.worst else "quiet"))
    return line


def _meaning(metric: str) -> str:
    if metric.startswith("V"):
        return f"percent of the volume that gets at least {metric[1:-2]} Gy"
    known = {"Dmean": "mean dose, Gy", "D0.01cc": "least dose of the hottest 0.01 cm³, Gy"}
    return known.get(metric, f"least dose of the hottest {metric[1:]} % of the volume, Gy")


def volume_table(run: Run) -> Table | None:
    """Targets in the plan's region, and every other structure that meets it."""
    volumes = run.volumes
    if not volumes.of:
        return None
    order = in_order(list(volumes.structures))
    lines: list[list[Cell]] = []
    shares = run.features.shares
    for defacer in [d for d in run.defacers if any(d == who for who, _ in volumes.of)]:
        own = {structure: volumes.of[defacer, structure] for structure in volumes.structures_of(defacer)}
        known = [structure for structure in order if structure in own]
        shown = [s for s in known if own[s].target] + [s for s in known if own[s].hit and not own[s].target]
        lines += [_volume_line(defacer, s, own[s], shares.get((defacer, s))) for s in shown]
        still = len(own) - len(shown)
        if still:
            words = f"{still} other structures: nothing in the region"
            lines.append([text(defacer), text(words, "quiet"), *[Cell(numbers.NOTHING, tone="quiet")] * 8])
    sampled = any(one.volumes.sampled for one in volumes.of.values())
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
            *sample_notes(sampled),
        ),
    )


def _volume_line(defacer: str, structure: str, one: Volume, changed: Numbers | None) -> list[Cell]:
    def number(value: Any) -> Cell:
        return cell(numbers.value(value, 3), value)

    empty = Cell(numbers.NOTHING, tone="quiet")
    return [
        text(defacer),
        text(structure, small="\n".join(sorted(one.notes))),
        text("target" if one.target else ""),
        cell(numbers.count(one.cases), one.cases),
        cell(f"{one.touched} of {one.cases}", one.touched, tone="bad" if one.target and one.touched else ""),
        number(one.volumes.median) if one.cases else empty,
        number(one.shares.median) if one.cases else empty,
        number(one.shares.largest) if one.cases else empty,
        _changed_cell(changed, one.touched) if changed is not None else empty,
        number(one.losses.largest) if one.cases else empty,
    ]


def _changed_cell(changed: Numbers, touched: int) -> Cell:
    """Share of a structure's voxels that changed; where none did though it lies in the region, that is said."""
    middle, most = changed.median, changed.largest
    if most == 0 and touched:
        return cell("0", 0.0, "in the region,\nno voxel changed", "quiet")
    return cell(numbers.percent(middle), middle, f"up to {numbers.percent(most)}" if most else "")

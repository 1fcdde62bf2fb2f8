"""The record: cases done, refused and failed, and every option and version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from defacedask.report import numbers
from defacedask.report.gathered.cases import skips
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import MOST_LINES, Run
from defacedask.report.sampled import sample_notes

__all__ = [
    "cases_table",
    "config_rows",
    "skipped_table",
    "status_counts",
    "timing_table",
    "undone_table",
]

_PATHS = 3
_SECRET = re.compile(r"(?i)(^|[_.-])(key|secret|token|password|credential)s?$")


def status_counts(run: Run) -> dict[str, int]:
    """How many cases are done, refused, failed (each case once, at its best: done by any defacer counts)."""
    worst = ("done", "refused", "failed")
    counts = run.cases.best
    return {name: int(counts[name]) for name in [*worst, *sorted(set(counts) - set(worst))] if name in counts}


def cases_table(run: Run) -> Table | None:
    """All cases with status, reason and time, those with a reason first."""
    cases = run.cases
    if not cases.rows:
        return None
    stages = [c for c in cases.columns if c.startswith("seconds") and c in cases.numeric]
    total = next((c for c in ("seconds", "seconds_total") if c in stages), None)
    parts = [c for c in stages if c != total]
    others = [c for c in ("defacer",) if c in cases.columns]
    heads = [
        Head("case", False),
        Head("patient", False),
        Head("image", False),
        *(Head(c, False) for c in others),
    ]
    heads += [Head("status", False), Head("reason", False)]
    if stages:
        heads.append(Head("seconds", title="sum of the stages; of each stage: tables/cases.csv"))
    heads.append(Head("peak memory, MB"))
    tones = {"done": "good", "refused": "warn", "failed": "bad"}
    lines = []
    for row in cases.first:
        line = [
            text(row["case"]),
            text(row["patient"] or numbers.NOTHING),
            text(row["modality"] or numbers.NOTHING),
        ]
        line += [text(row[c] or "all") for c in others]
        notes = str(row.get("notes") or "")
        kept = str(row.get("face_kept") or "")
        status = f"{row['status']}, face partly kept" if kept else row["status"]
        tone = "warn" if kept and row["status"] == "done" else tones.get(row["status"], "")
        line += [text(status, tone), text(" ".join(filter(None, [row["reason"], kept])), small=notes)]
        if stages:
            each = [row[c] for c in parts if pd.notna(row[c])]
            whole = row[total] if total else sum(each) if each else None
            line.append(cell(numbers.seconds(whole), whole))
        line.append(cell(numbers.count(row["peak_rss_mb"]), row["peak_rss_mb"]))
        lines.append(line)
    left = cases.rows - len(lines)
    more = (f"{left} more cases are in tables/cases.csv.",) if left else ()
    return Table("cases", "Cases", heads, lines, more)


def undone_table(run: Run) -> Table | None:
    """The cases with a reason to be named on paper: refused, failed, or done by some defacers only."""
    cases = run.cases
    if not cases.undone:
        return None
    lines = [[text(r["case"]), text(r["status"]), text(r["reason"])] for r in cases.named]
    left = cases.undone - len(lines)
    notes = (f"{left} more are in tables/cases.csv.",) if left > 0 else ()
    heads = [Head("case", False), Head("status", False), Head("reason", False)]
    return Table(
        "undone", "Cases that were refused, failed, or not done by every defacer", heads, lines, notes
    )


_STAGES = {
    "ingest": "DICOM into the store",
    "plan": "the head, and every plan",
    "apply": "defacing images and dose",
    "faces": "rendering and recognition",
    "radiomics": "features",
    "geometry": "volumes against the region",
    "dose": "dose metrics",
    "utility": "masks of the head, uptake",
    "skin": "skin of face and ears",
    "pictures": "slices for this page",
    "export": "defaced DICOM, checked",
}


def timing_table(run: Run) -> Table | None:
    """Seconds of each part of the work: one task (a defacer's), and all tasks of a case together."""
    times = run.times
    if not times.tasks:
        return None
    lines = []
    whole = times.whole.seconds.sum
    order = {stage: k for k, stage in enumerate(_STAGES)}
    for stage, one in sorted(times.stages.items(), key=lambda g: (order.get(g[0], 99), g[0])):
        both = (one.seconds, one.by_case)
        numbers_of = [n for each in both for n in (each.median, each.percentile(95))]
        total = one.seconds.sum
        lines.append(
            [
                text(stage, small=_STAGES.get(stage, "")),
                cell(numbers.count(one.seconds.count), one.seconds.count),
                *(cell(numbers.seconds(n), n) for n in numbers_of),
                cell(numbers.rate(total / whole) if whole else numbers.NOTHING, total),
                cell(numbers.count(one.memory), one.memory),
            ]
        )
    every = times.whole.by_case
    lines.append(
        [
            text("all", small="a case from DICOM to its rows"),
            cell(numbers.count(times.tasks), times.tasks),
            *[Cell("")] * 2,
            *(cell(numbers.seconds(n), n) for n in (every.median, every.percentile(95))),
            cell(numbers.rate(1.0), whole),
            cell(numbers.count(times.whole.memory), times.whole.memory),
        ]
    )
    return Table(
        "timing",
        "Seconds of each part of the work",
        [
            Head("part", False),
            Head("tasks", title="one a case, or one a case and defacer"),
            Head("median, a task"),
            Head("95th percentile, a task"),
            Head("median, a case", title="all defacers together"),
            Head("95th percentile, a case"),
            Head("share of all"),
            Head("peak memory, MB"),
        ],
        lines,
        (
            "Wall time inside one worker; tasks of a case and of different cases run side by side.",
            *sample_notes(every.sampled),
        ),
    )


def skipped_table(run: Run) -> Table | None:
    """Files and series that belong to no case, with the reason; equal reasons in one line."""
    skipped = skips(run.read, MOST_LINES, _PATHS)
    if not skipped.lines:
        return None
    lines = []
    for (reason, patient), (files, listed, names) in skipped.lines.items():
        shown = ", ".join(names) + (f" and {listed - _PATHS} more" if listed > _PATHS else "")
        lines.append(
            [text(reason), text(patient or numbers.NOTHING), cell(numbers.count(files), files), text(shown)]
        )
    heads = [Head("reason", False), Head("patient", False), Head("files"), Head("which", False)]
    left = skipped.left
    notes = (f"{left} more lines are in tables/skipped.csv.",) if left > 0 else ()
    caption = "Skipped: files and series that are not part of any case"
    return Table("skipped", caption, heads, lines, notes)


def config_rows(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections of the configuration, each a list of (dotted name, value); secrets are never shown."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for name, value in _flat(run.config):
        head, _, rest = name.partition(".")
        shown = "(not shown)" if _SECRET.search(name) else _plain(value)
        sections.setdefault(head if rest else "run", []).append((rest or head, shown))
    return list(sections.items())


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _plain(value: Any) -> str:
    if value is None:
        return numbers.NOTHING
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "(empty)"
    if isinstance(value, Mapping):
        return "(defaults)"
    return str(value)

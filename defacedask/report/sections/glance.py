"""The first screen's evidence: one line a defacer, from who is still recognised to what was refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sampled import sample_notes
from defacedask.report.sections.cost import large_change
from defacedask.report.sections.harm import LEAST_GY, Harm, harm, said_dose
from defacedask.report.sections.privacy import beyond_chance, strongest
from defacedask.report.sections.standing import covers, nearest_beyond_chance, privacy_void, sharpest
from defacedask.report.sections.threshold import threshold_words
from defacedask.report.sections.tried import attacks_tried, untried
from defacedask.tables.evidence import ANY, Rate

__all__ = ["glance_table"]

_NOTHING = Cell(numbers.NOTHING, tone="quiet")


def glance_table(run: Run) -> Table | None:
    """One line a defacer; what the controls came to stands in the first lines and in their own table."""
    defacers = [d for d in run.defacers if d != CONTROL]
    if not defacers:
        return None
    lines = [_line(run, d) for d in defacers]
    heads = [
        Head("defacer", False),
        Head("matched, any attack", title="cases within the threshold by any attack, in any image"),
        Head("nearest of all", title="cases whose nearest person of the gallery is the right one"),
        Head("AUC", title="how often the own person is nearer than another: 0.5 is guessing, 1 is certain"),
        Head("tried", title="attacks tried, of those there are; named above"),
        Head("face left", False, "on purpose, or found on the files"),
        Head("targets cut", False, title="cases in which a target lies in the region that may change"),
        Head("worst dose change", False, "of a mean dose, in one case"),
        Head("radiomics untouched", False, title="structures exactly as before in every case"),
        Head("cases refused", False, title="cases that were not defaced, or not written"),
    ]
    return Table(
        "glance",
        "Each defacer at a glance",
        heads,
        lines,
        (
            f"Matched: within the threshold ({threshold_words(run)}) of the own original in at least one picture. "
            "Nearest of all: no person of the gallery is nearer, matched or not. Of several recognisers, the one "
            "that sees most counts. Chance: other persons matched by as "
            "many tries; one of the gallery drawn. Intervals (95\u00a0%): exact for counts, over persons for the AUC "
            "(none with fewer than six persons, or where every draw gives the same).",
            *sample_notes(run.features.sampled),
        ),
    )


def _line(run: Run, defacer: str) -> list[Cell]:
    found = harm(run, defacer)
    return [
        text(defacer),
        *_recognised(run, defacer),
        _tried(run, defacer),
        _left(run, defacer),
        _targets(found),
        _dose(found),
        _radiomics(run, defacer, found),
        _refused(run, defacer),
    ]


def _recognised(run: Run, defacer: str) -> list[Cell]:
    hits = strongest(run, defacer)
    if not hits.cases:
        return [Cell("not judged", tone="quiet"), _NOTHING, _NOTHING]
    chance = run.chance(defacer)
    small = numbers.interval(*hits.interval)
    small += "" if math.isnan(chance) else f"\nchance {numbers.rate(chance)}"
    small += "\nvoid" if privacy_void(run) else ""
    more = hits.hits and beyond_chance(hits, chance)
    tone = "bad" if more else "warn" if hits.hits else ""
    cells = [cell(f"{hits.hits} of {hits.cases}", hits.share, small, tone)]
    row = sharpest(run, defacer, "rank_1")
    if row is None or int(row["gallery_size"]) < 2 or not int(row["judged"]):
        return [*cells, Cell("no gallery", tone="quiet"), _NOTHING]
    near = Rate(int(row["rank_1"]), int(row["judged"]))
    size = int(row["gallery_size"])
    tone = "" if nearest_beyond_chance(run, defacer) is None else "bad"
    small = f"{numbers.interval(*near.interval)}\nchance {numbers.rate(1 / size, size)}"
    small += _by(row)
    cells.append(cell(f"{near.hits} of {near.cases}", near.share, small, tone))
    return [*cells, _auc(sharpest(run, defacer, "auc"), bool(tone))]


def _by(row: pd.Series) -> str:
    """Which recogniser it is that sees more than all together."""
    return "" if row["recogniser"] == ANY else f"\nby {row['recogniser']}"


def _auc(row: pd.Series | None, sure: bool) -> Cell:
    if row is None or pd.isna(row["auc"]):
        return _NOTHING
    known = pd.notna(row["auc_low"])
    small = (f"{row['auc_low']:.2f} to {row['auc_high']:.2f}" if known else "no interval") + _by(row)
    tone = "bad" if (known and row["auc_low"] > 0.5) or sure else ""
    return cell(f"{row['auc']:.2f}", row["auc"], small, tone)


def _tried(run: Run, defacer: str) -> Cell:
    tried, lacking = attacks_tried(run, defacer), untried(run, defacer)
    if not tried:
        return Cell("nothing", tone="warn")
    title = f"tried: {', '.join(tried)}; not tried: {', '.join(lacking) or 'none of the known attacks'}"
    return cell(f"{len(tried)} of {len(tried) + len(lacking)}", len(tried), "", "", title)


def _left(run: Run, defacer: str) -> Cell:
    parts, tone = [], ""
    if covers(defacer):
        parts.append("on purpose: all of it, under a layer")
        tone = "bad"
    cases, kept = run.cases.rows, run.cases.face_kept(defacer)
    if kept:
        parts.append(f"on purpose, for protected structures: {kept} of {cases} cases")
        tone = tone or "warn"
    written = run.exports[defacer]
    if written.visible:
        parts.append(f"found visible: {written.visible} of {written.rows} cases")
        tone = "bad"
    if parts:
        return text("; ".join(parts), tone)
    measured = written.measured
    if not measured:  # nobody has looked at what is left
        return text("not measured", "quiet", "no file was written")
    return text("no", small="" if measured == cases else f"measured on {measured} of {cases} cases")


def _targets(found: Harm) -> Cell:
    if not found.target_cases:
        return Cell("no target" if found.volumes else numbers.NOTHING, tone="quiet")
    small = (
        f"{found.worst_target}: up to {numbers.rate(found.worst_percent / 100)}" if found.cut_cases else ""
    )
    shown = f"{found.cut_cases} of {found.target_cases}"
    return cell(shown, found.cut_cases, small, "bad" if found.cut_cases else "good")


def _dose(found: Harm) -> Cell:
    if not found.doses:
        return _NOTHING
    worst, other = found.target_mean, found.other_mean
    if worst is None:
        return text(said_dose(other), small="no target has a dose")
    small = "" if other is None else f"else {said_dose(other)}"
    tone = "bad" if abs(worst.gy) >= LEAST_GY else ""
    return Cell(said_dose(worst), abs(worst.gy), small, tone, f"in {worst.case}")


def _radiomics(run: Run, defacer: str, found: Harm) -> Cell:
    features = found.features
    if not features.known:
        return _NOTHING
    total = len(features.same) + len(features.changed)
    tone = "good" if not features.changed else "bad" if features.targets else "warn"
    small = ""
    if features.changed:
        large = large_change(run, defacer)
        small = "" if np.isnan(large) else f"95th percentile of all changes {numbers.percent(large)} %"
    return cell(f"{len(features.same)} of {total}", len(features.same), small, tone)


def _refused(run: Run, defacer: str) -> Cell:
    cases = run.cases.rows
    if not cases:
        return _NOTHING
    undone = run.not_defaced(defacer)
    exports = run.exports[defacer]
    unwritten = exports.rows - exports.done
    small = f"not written: {unwritten} of {exports.rows}" if exports.rows else "nothing was to be written"
    tone = "warn" if undone or unwritten else "good" if exports.rows else ""
    return cell(f"{undone} of {cases}", undone, small, tone)

"""Who is still recognised: the study's table of faces detected, and the attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from defacedask.faces.rates import at_least
from defacedask.modality import IMAGES, MODALITIES
from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.standing import count_words
from defacedask.report.sections.threshold import threshold_words
from defacedask.tables.evidence import ORIGINAL, Rate, comparing

__all__ = [
    "attacks_table",
    "beyond_chance",
    "detector_words",
    "faces_table",
    "first_cell",
    "plain_matches",
    "rate_cell",
    "strongest",
]

_QUIET = Cell(numbers.NOTHING, tone="quiet")


def strongest(run: Run, defacer: str, plain: bool = False) -> Rate:
    """Cases matched with their original by any attack (or plainly), in any image, by any recogniser."""
    return run.looked.strongest(defacer, plain)


def rate_cell(rate: Rate) -> Cell:
    """Count, share and exact 95 % interval."""
    if not rate.cases:
        return _QUIET
    return cell(
        f"{rate.hits} of {rate.cases}",
        rate.share,
        f"{numbers.rate(rate.share, rate.cases)} ({numbers.interval(*rate.interval)})",
    )


def plain_matches(row: Mapping[str, Any]) -> int:
    """Cases of a row of ``faces_detected`` within the threshold in a plain view.

    The threshold is the larger of the recogniser's tolerance, if it has one, and the calibrated one, so its count is
    the larger of their counts.
    """
    return max(0 if pd.isna(row[name]) else int(row[name]) for name in ("matches", "matches_calibrated"))


def _published(run: Run, defacer: str, modality: str) -> Cell:
    if run.reference is None:
        return _QUIET
    known = MODALITIES.get(modality)
    prefix = known.prefix if known else modality.lower()
    rows = run.reference.faces.loc[run.reference.faces["defacer"] == defacer]
    if not len(rows) or f"{prefix}_cases" not in rows:
        return _QUIET
    cases, faces = rows.iloc[0][f"{prefix}_cases"], rows.iloc[0][f"{prefix}_faces_detected"]
    if pd.isna(cases) or not cases:
        return _QUIET
    return cell(f"{int(faces)} of {int(cases)}", float(faces) / float(cases))


def first_cell(defacer: str) -> Cell:
    """Name of a defacer, or of a control."""
    small = {ORIGINAL: "positive control", CONTROL: "convert only"}
    return text(defacer, small=small.get(defacer, ""))


def detector_words(run: Run) -> list[str]:
    """Whether automatic tools that look for a face first still find one: a sentence a detector and image."""
    if not run.detectors:
        return []
    table = run.looked.detected()
    said = []
    for modality, recogniser, _ in run.detectors:
        rows = table.loc[(table["modality"] == modality) & (table["recogniser"] == recogniser)]
        each = {
            str(r["defacer"]): Rate(int(r["faces_detected"]), int(r["cases"]))
            for r in rows.to_dict("records")
        }
        if ORIGINAL not in each or modality not in IMAGES:
            continue
        after = [
            f"{name} {count_words(each[name])} ({numbers.rate(each[name].share)})"
            for name in run.defacers
            if name in each and name != CONTROL
        ]
        said.append(
            f"Tools that look for a face first, {modality} by {recogniser}: found in {count_words(each[ORIGINAL])} "
            f"originals, and after defacing in {', '.join(after) or 'none'}."
        )
    return said


def faces_table(run: Run) -> Table | None:
    """Lay out the study's table: faces detected, with matches and what zero of n still allows."""
    table = run.looked.detected()
    if not len(table):
        return None
    several = table["recogniser"].nunique() > 1
    words = threshold_words(run)
    heads = [Head("defacer", False), Head("image", False)]
    heads += [Head("recogniser", False)] if several else []
    heads += [
        Head("cases"),
        Head("face detected", title="cases with a face detected in any plain view; exact 95 % interval"),
        Head("matched, plain", title="cases within the threshold of their own original in any plain view"),
        Head("matched, any attack", title="cases within the threshold by any of the attacks tried"),
        Head("95 % upper bound", title="one-sided exact upper bound of the rate matched by any attack"),
        Head(
            "right person nearest",
            title="rank 1, share of views, each case weighing the same; by case, with interval, below",
        ),
    ]
    heads += [Head("published: face detected", title="printed in the reference")] if run.reference else []
    order = [ORIGINAL, *run.defacers]
    finding = {(modality, recogniser) for modality, recogniser, _ in run.detectors}
    rows = []
    for r in sorted(table.to_dict("records"), key=lambda r: (order.index(r["defacer"]), r["recogniser"])):
        share, chance, n = run.looked.rank_one(r["defacer"], r["modality"], r["recogniser"])
        cases = int(r["cases"])
        judged = int(r["judged"]) if pd.notna(r["judged"]) else cases
        row = [first_cell(r["defacer"]), text(r["modality"])]
        row += [text(r["recogniser"])] if several else []
        row += [cell(numbers.count(cases), cases), rate_cell(Rate(int(r["faces_detected"]), cases))]
        if (r["modality"], r["recogniser"]) in finding:
            row += [Cell("finds faces only", tone="quiet")] * 2 + [_QUIET] * 2
            rows.append(row + ([_published(run, r["defacer"], r["modality"])] if run.reference else []))
            continue
        hits = Rate(plain_matches(r), judged)
        # there is nothing to attack in an original
        untried = _QUIET if r["defacer"] == ORIGINAL else Cell("not tried", tone="quiet")
        every = Rate(int(r["matches_any_attack"]), judged)
        row += [rate_cell(hits), rate_cell(every) if r["attacks"] > 1 else untried]
        own = r["defacer"] in (ORIGINAL, CONTROL)
        unknown = _QUIET if own else Cell("not judged", tone="quiet")
        row.append(cell(numbers.bound(every.upper), every.upper) if judged and not own else unknown)
        row.append(
            cell(numbers.rate(share, n), share, f"chance {numbers.rate(chance, n)}")
            if n
            else Cell("no gallery", tone="quiet")
        )
        row += [_published(run, r["defacer"], r["modality"])] if run.reference else []
        rows.append(row)
    notes = [
        f"Matched: within the threshold ({words}) of the own original.",
        "A case counts once: any view in which it is detected or matched is enough. Intervals are exact "
        "(Clopper–Pearson, 95 %); the upper bound is one-sided.",
        "A face that is detected need not be the patient’s: mri_reface puts one there by design, and carina a layer "
        "that may look like one.",
        "Originals are compared with their own other views, never with the same picture.",
        "A match rate is of the cases whose person the gallery shows (in a gallery of originals: whose original "
        "shows a face in that image), which may be fewer than the cases looked at.",
    ]
    notes += detector_words(run)
    known = comparing(run.tables["controls"])
    shaky = [f"{m}: {why}" for m, why in zip(known["modality"], known["threshold_note"], strict=True) if why]
    if shaky:
        notes.insert(
            1,
            f"So few comparisons cannot show 1 %; the calibrated threshold then lies just below the smallest of them "
            f"({'; '.join(dict.fromkeys(shaky))}).",
        )
    images = set(table["modality"])
    if "RTDOSE" in images and (lacking := sorted(_without(table, "RTDOSE"), key=order.index)):
        notes.append(
            f"No RTDOSE row for {', '.join(lacking)}: nothing of the dose grid is left to look at, because a grid "
            "that would still show the face is held back on export."
        )
    return Table("faces", "Faces detected and recognised, defacer × image", heads, rows, notes)


def _without(table: pd.DataFrame, modality: str) -> set[str]:
    """Defacers of which nothing of this kind was looked at."""
    return set(table["defacer"]) - set(table.loc[table["modality"] == modality, "defacer"])


def attacks_table(run: Run) -> Table | None:
    """Matches by attack, where more than the plain one was tried."""
    tried = {key: names for key, names in run.looked.attacks.items() if key[0] != ORIGINAL}
    attacks = list(run.looked.ways)
    if len(attacks) < 2:
        return None
    several = len({recogniser for _, _, recogniser in tried}) > 1
    heads = [Head("defacer", False), Head("image", False)]
    heads += [Head("recogniser", False)] if several else []
    heads += [Head(a.replace("_", " ")) for a in attacks]
    chances = _chances(run)
    lines = []
    for defacer in run.defacers:
        for modality, recogniser in [key[1:] for key in tried if key[0] == defacer]:
            line = [first_cell(defacer), text(modality)]
            line += [text(recogniser)] if several else []
            for attack in attacks:
                rate = run.looked.tried(defacer, modality, recogniser, attack)
                chance = chances.get((defacer, modality, recogniser, attack))
                line.append(_attack_cell(rate, chance, defacer == CONTROL))
            lines.append(line)
    return Table(
        "attacks",
        "Cases recognised as their original, by attack",
        heads,
        lines,
        (
            f"Cases matched of cases tried, within the threshold ({threshold_words(run)}); below, the exact "
            "95 % interval, and, unless it is zero, what as many tries match by chance: the share of other persons "
            "matched. Red: more than chance (one-sided binomial test, 5 %, each cell by itself: of twenty cells in "
            "which nobody is recognised, one turns red).",
        ),
    )


def _chances(run: Run) -> dict[tuple[str, str, str, str], float]:
    table = run.tables["verification"]
    keys = zip(table["defacer"], table["modality"], table["recogniser"], table["attack"], strict=True)
    return dict(zip(keys, table["chance"].astype(float), strict=True))


def _attack_cell(rate: Rate, chance: float | None, control: bool) -> Cell:
    if not rate.cases:
        return _QUIET
    known = chance is not None and chance > 0
    small = numbers.interval(*rate.interval) + (f"\nchance {numbers.rate(chance)}" if known else "")
    more = rate.hits and beyond_chance(rate, chance if chance is not None else float("nan"))
    tone = "" if control else "bad" if more else "warn" if rate.hits else "quiet"
    return cell(f"{rate.hits} of {rate.cases}", rate.share, small, tone)


def beyond_chance(rate: Rate, chance: float) -> bool:
    """Whether so many matches are more than chance gives (one-sided binomial test, 5 %); True if not known."""
    if np.isnan(chance):
        return True
    return bool(at_least(rate.hits, rate.cases, chance) < 0.05)

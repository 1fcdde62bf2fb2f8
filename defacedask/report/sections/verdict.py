"""The first line, and one verdict a defacer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np

from defacedask.report import figures, numbers
from defacedask.report.evidence import IMAGES, ORIGINAL, PLAIN, Control, Rate
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.cost import control_exact, large_change, utility
from defacedask.report.sections.privacy import beyond_chance, strongest

__all__ = ["Verdict", "count_words", "defacer_table", "headline", "name_of", "testifying", "tradeoff"]


#: Fewer cases than this cannot show a rate below 10 %.
_FEW = 29
#: Share of different persons within the tolerance that a negative control may have.
IMPOSTORS = 0.01
#: Share of strangers matched by all tries together that the first lines must mention.
_MUCH = 0.05


@dataclass(frozen=True)
class Verdict:
    """The first line: its state (ok, weak, void) and its sentences."""

    state: str
    first: str
    more: list[str]


def _image_controls(run: Run) -> list[Control]:
    return [c for c in run.controls if c.modality in IMAGES] or run.controls


def count_words(rate: Rate) -> str:
    """Write a count of cases, unbroken."""
    return f"{numbers.count(rate.hits)}\u00a0of\u00a0{numbers.count(rate.cases)}"


def name_of(run: Run, control: Control) -> str:
    """Image of a control, with the recogniser where there are several."""
    several = len({c.recogniser for c in run.controls}) > 1
    return f"{control.modality} by {control.recogniser}" if several else control.modality


def _tested(run: Run) -> dict[str, Rate]:
    """Cases recognised by the strongest attack, of each defacer that was looked at."""
    rates = {d: strongest(run, d) for d in run.defacers if d != CONTROL}
    return {d: rate for d, rate in rates.items() if rate.cases}


def _failing(run: Run, control: Control) -> str:
    return (
        f"{name_of(run, control)}: a face was detected in {count_words(control.detected)} originals, "
        f"and {count_words(control.matched)} of these match {_whom(control)}"
    )


def _whom(control: Control) -> str:
    known = {"second-scan": "their other scan", "photographs": "their photograph"}
    return known.get(control.gallery, "themselves at another view")


def headline(run: Run) -> Verdict:
    """Say in one sentence what the run is worth; the reasons follow."""
    more: list[str] = []
    compared, differing, largest = control_exact(run)
    if differing:
        more.append(
            f"The cost result is void: the convert-only control changed {differing} of {compared} values "
            f"(by up to {numbers.value(largest)}); it must change none."
        )
    statuses = run.tables["cases"]["status"]
    if len(statuses) and not (statuses == "done").any() and not _tested(run):
        first = (
            f"Nothing was defaced: all {len(statuses)} cases were refused or failed; the reasons are below."
        )
        return Verdict("void", first, more)
    controls = _image_controls(run)
    if not controls:
        if len(run.by_case):
            first = (
                "The privacy result is void: no original was looked at, so the positive control is missing."
            )
        else:
            first = "There is no privacy result: no face was looked for in this run."
        return Verdict("void", first, more)
    void = [c for c in controls if c.state == "void"]
    good = [c for c in controls if c.state != "void"]
    reasons = "; ".join(_failing(run, c) for c in void)
    if not good:
        how = {"second-scan": "in their other scan", "photographs": "in their photographs"}
        first = (
            "The privacy result is void: the originals themselves are not recognised "
            f"{how.get(void[0].gallery, 'at another view')}."
        )
        why = [
            f"Positive control failed: {reasons}.",
            "That nobody is recognised after defacing says nothing while nobody is recognised before.",
        ]
        hits = ", ".join(
            f"{d} {count_words(r)}"
            for d, r in _tested(run).items()
            if r.hits and beyond_chance(r, run.chance(d))
        )
        if hits:
            why.append(f"Recognised after defacing even so, and more often than by chance: {hits}.")
        return Verdict("void", first, why + _left_out(run) + _covered(run) + more)
    if void:
        which = ", ".join(name_of(run, c) for c in void)
        first = f"The privacy result is void for {which}: there the originals themselves are not recognised. "
        more.insert(0, f"Positive control failed: {reasons}.")
    else:
        first = ""
    tested = _tested(run)
    if tested:
        first += (
            "Cases recognised after defacing: "
            + ", ".join(f"{d} {count_words(r)}" for d, r in tested.items())
            + "."
        )
    else:
        first += "No defaced image was looked at."
    fewest = min((testifying(run, d).cases for d, r in tested.items() if not r.hits), default=0)
    if 0 < fewest < _FEW:
        bound = numbers.bound(Rate(0, fewest).upper)
        cases = "1 case" if fewest == 1 else f"{fewest} cases"
        more.append(
            f"None recognised of {cases} still allows a true rate of up to {bound} (95 % confidence)."
        )
    chances = {d: run.chance(d) for d in tested}
    if any(chance > _MUCH for chance in chances.values()):
        each = ", ".join(f"{d} {numbers.rate(c)}" for d, c in chances.items() if c > _MUCH)
        more.append(f"So many tries also match strangers: of other persons, {each} match; see “by chance”.")
    if any(c.others is not None and c.others.share > IMPOSTORS for c in good):
        more.append("The negative control failed: different persons often match, so matches may be chance.")
    matched = "; ".join(f"{name_of(run, c)} {count_words(c.matched)}" for c in good)
    where = {"second-scan": "in their other scan", "photographs": "in their photographs"}
    seen = where.get(good[0].gallery, "at another view")
    more.insert(0, f"Originals recognised {seen} (positive control): {matched}.")
    more += _left_out(run) + _covered(run)
    weak = [c for c in good if c.state == "weak"]
    for control in weak:
        cause = _failing(run, control) if control.calibrated else f"{name_of(run, control)}: {control.reason}"
        more.append(f"The positive control is weak, so matches may be missed. {cause}.")
    return Verdict("weak" if weak or void or differing else "ok", first, more)


def _left_out(run: Run) -> list[str]:
    """Say what could not be judged, and of how many cases."""
    found = []
    cases = run.tables["recognition"]
    if "comparable" in cases and len(cases):
        able = cases.loc[cases["modality"].isin(IMAGES) & (cases["defacer"] != ORIGINAL)]
        judged = (
            able.assign(known=able["comparable"].fillna(True).astype(bool)).groupby("case")["known"].any()
        )
        lacking = int((~judged).sum())
        if lacking:
            found.append(
                f"Not judged: {lacking} of {len(judged)} cases, for there is no face of their person to compare "
                "with; see the positive control."
            )
    if len(run.tables["cases"]) and not len(run.tables["radiomics"]):
        found.append("What defacing cost in radiomics was not judged: no structure was measured in this run.")
    return found


def _covered(run: Run) -> list[str]:
    """Say which defacers leave the face inside, whatever the attacks found."""
    from defacedask.defacers import is_reversible
    from defacedask.errors import DefacedaskError

    found = []
    for defacer in run.defacers:
        with contextlib.suppress(DefacedaskError):  # of somebody else: nothing is known
            if is_reversible(defacer):
                found.append(
                    f"{defacer} covers the face and does not remove it: whoever has its images can un-mask the "
                    "original. They are not de-identified, and are written only with --allow-reversible."
                )
    return found


def testifying(run: Run, defacer: str) -> Rate:
    """Matches among the cases whose own original is matched (by the same recogniser, in the same image)."""
    key = ["recogniser", "modality", "case"]
    table = run.by_case
    originals = table.loc[
        (table["defacer"] == ORIGINAL) & (table["attack"] == PLAIN) & table["matched"].astype(bool)
    ]
    able = set(map(tuple, originals[key].to_numpy()))
    rows = table.loc[table["defacer"] == defacer]
    rows = rows.loc[[tuple(k) in able for k in rows[key].to_numpy()]]
    matched = rows.groupby("case")["matched"].any()
    return Rate(int(matched.sum()), len(matched))


def _words(run: Run, defacer: str, hits: Rate, state: str) -> Cell:
    if defacer == CONTROL:
        compared = control_exact(run)[0]
        if not compared:
            return text("control: nothing was compared", "warn")
        return text("control: must be recognised, and change nothing")
    if not hits.cases:
        return text("not judged", "warn")
    chance = run.chance(defacer)
    if hits.hits and not beyond_chance(hits, chance):
        return text(
            f"matched in {count_words(hits)} cases, which may be chance: as many tries match "
            f"{numbers.rate(chance)} of strangers",
            "warn",
        )
    if hits.hits == hits.cases:
        return text("recognised in every case", "bad")
    if hits.hits:
        return text(f"recognised in {count_words(hits)} cases", "bad")
    if state == "void":
        return text("void: the positive control failed", "bad")
    able = testifying(run, defacer)
    if not able.cases:
        return text("void: none of its originals is recognised", "bad")
    few = ", too few cases to tell more" if able.upper > 0.2 else ""
    return text(
        f"not recognised in any of {able.cases} cases whose original is; "
        f"true rate below {numbers.bound(able.upper)} (95 %){few}",
        "warn" if few else "good",
    )


def defacer_table(run: Run) -> Table | None:
    """One line a defacer: recognised or not, at what cost."""
    if not run.defacers:
        return None
    controls = _image_controls(run)
    state = "void" if not any(c.state != "void" for c in controls) else "ok"
    lines = []
    for defacer in run.defacers:
        plain, hits = strongest(run, defacer, plain=True), strongest(run, defacer)
        able = testifying(run, defacer)
        change, low, high, n = utility(run, defacer)
        span = f"{numbers.percent(low)} to {numbers.percent(high)}, " if np.isfinite(low) else ""
        lines.append(
            [
                text(defacer),
                _words(run, defacer, hits, state),
                _rate(plain),
                _rate(hits),
                _chance_cell(run, defacer),
                cell(numbers.bound(able.upper), able.upper, f"{able.cases} able to testify")
                if able.cases and defacer != CONTROL
                else Cell(numbers.NOTHING),
                cell(
                    f"{numbers.percent(change)} %",
                    change,
                    f"{span}n {n}\n95th percentile {numbers.percent(large_change(run, defacer))} %",
                )
                if n
                else Cell(numbers.NOTHING),
            ]
        )
    return Table(
        "verdicts",
        "Verdict for each defacer",
        [
            Head("defacer", False),
            Head("verdict", False),
            Head("matched, plain", title="cases matched with their own original in any plain view"),
            Head("matched, any attack"),
            Head("by chance", title="share of other persons matched by as many tries"),
            Head("95 % upper bound", title="one-sided, among cases whose own original is recognised"),
            Head(
                "median |change|",
                title="median over cases of each case's median absolute change of all features",
            ),
        ],
        lines,
        (
            f"Matched: {_limit_words(run)}, in any view. Counts with exact 95 % intervals. The bound rests only on "
            "cases whose original is itself recognised at another view. By chance: the share of other persons of the "
            "gallery that the same tries match; matches that are no more than that may be hits and no recognition.",
            "Median |change|: over all structures and features; interval by order statistics, from six cases on. The "
            "95th percentile of all changes shows what a median of zero may hide.",
        ),
    )


def _chance_cell(run: Run, defacer: str) -> Cell:
    chance = run.chance(defacer)
    return Cell(numbers.NOTHING) if np.isnan(chance) else cell(numbers.rate(chance), chance)


def _limit_words(run: Run) -> str:
    """Say at which distance a case counts as recognised."""
    calibrated = [c for c in _image_controls(run) if c.limit > run.tolerance]
    if not calibrated:
        return f"distance to the own original at most {run.tolerance:g}"
    each = ", ".join(f"{name_of(run, c)} {c.limit:.2f}" for c in calibrated)
    return (
        f"distance to the own original at most {run.tolerance:g}, or the larger threshold calibrated on the "
        f"originals ({each})"
    )


def _rate(rate: Rate) -> Cell:
    if not rate.cases:
        return Cell(numbers.NOTHING)
    return cell(count_words(rate), rate.share, numbers.interval(*rate.interval))


def tradeoff(run: Run) -> str | None:
    """Draw privacy against utility, for the defacers that have both."""
    points = []
    for defacer in run.defacers:
        hits = strongest(run, defacer)
        change, low, high, n = utility(run, defacer)
        if hits.cases and n:
            points.append(figures.Point(defacer, run.look(defacer), hits, change, low, high, n))
    if not points:
        return None
    original = strongest(run, ORIGINAL, plain=True)
    return figures.privacy_utility(points, original if original.cases else None)

"""The first line, the controls behind it, and one verdict a defacer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defacedask.report import figures, numbers
from defacedask.report.evidence import IMAGES, ORIGINAL, PLAIN, Control, Rate
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.cost import control_exact, large_change, utility
from defacedask.report.sections.privacy import strongest

__all__ = ["Verdict", "control_table", "defacer_table", "headline", "tradeoff"]


#: Fewer cases than this cannot show a rate below 10 %.
_FEW = 29
#: Share of different persons within the tolerance that a negative control may have.
_IMPOSTORS = 0.01


@dataclass(frozen=True)
class Verdict:
    """The first line: its state (ok, weak, void) and its sentences."""

    state: str
    first: str
    more: list[str]


def _image_controls(run: Run) -> list[Control]:
    return [c for c in run.controls if c.modality in IMAGES] or run.controls


def _count(rate: Rate) -> str:
    return f"{numbers.count(rate.hits)}\u00a0of\u00a0{numbers.count(rate.cases)}"


def _name(run: Run, control: Control) -> str:
    several = len({c.recogniser for c in run.controls}) > 1
    return f"{control.modality} by {control.recogniser}" if several else control.modality


def _tested(run: Run) -> dict[str, Rate]:
    """Cases recognised by the strongest attack, of each defacer that was looked at."""
    rates = {d: strongest(run, d) for d in run.defacers if d != CONTROL}
    return {d: rate for d, rate in rates.items() if rate.cases}


def _failing(run: Run, control: Control) -> str:
    return (
        f"{_name(run, control)}: a face was detected in {_count(control.detected)} originals, "
        f"and {_count(control.matched)} of these match themselves at another view"
    )


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
        first = "The privacy result is void: the originals themselves are not recognised at another view."
        why = [
            f"Positive control failed: {reasons}.",
            "That nobody is recognised after defacing says nothing while nobody is recognised before.",
        ]
        hits = ", ".join(f"{d} {_count(r)}" for d, r in _tested(run).items() if r.hits)
        if hits:
            why.append(f"Recognised after defacing even so: {hits}.")
        return Verdict("void", first, why + more)
    if void:
        which = ", ".join(_name(run, c) for c in void)
        first = f"The privacy result is void for {which}: there the originals themselves are not recognised. "
        more.insert(0, f"Positive control failed: {reasons}.")
    else:
        first = ""
    tested = _tested(run)
    if tested:
        first += (
            "Cases recognised after defacing: "
            + ", ".join(f"{d} {_count(r)}" for d, r in tested.items())
            + "."
        )
    else:
        first += "No defaced image was looked at."
    fewest = min((_testifying(run, d).cases for d, r in tested.items() if not r.hits), default=0)
    if 0 < fewest < _FEW:
        bound = numbers.bound(Rate(0, fewest).upper)
        cases = "1 case" if fewest == 1 else f"{fewest} cases"
        more.append(
            f"None recognised of {cases} still allows a true rate of up to {bound} (95 % confidence)."
        )
    if any(c.others is not None and c.others.share > _IMPOSTORS for c in good):
        more.append("The negative control failed: different persons often match, so matches may be chance.")
    matched = "; ".join(f"{_name(run, c)} {_count(c.matched)}" for c in good)
    more.insert(0, f"Originals recognised at another view (positive control): {matched}.")
    weak = [c for c in good if c.state == "weak"]
    for control in weak:
        cause = _failing(run, control) if control.calibrated else f"{_name(run, control)}: {control.reason}"
        more.append(f"The positive control is weak, so matches may be missed. {cause}.")
    return Verdict("weak" if weak or void or differing else "ok", first, more)


def _testifying(run: Run, defacer: str) -> Rate:
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
    if hits.hits == hits.cases:
        return text("recognised in every case", "bad")
    if hits.hits:
        return text(f"recognised in {_count(hits)} cases", "bad")
    if state == "void":
        return text("void: the positive control failed", "bad")
    testifying = _testifying(run, defacer)
    if not testifying.cases:
        return text("void: none of its originals is recognised", "bad")
    few = ", too few cases to tell more" if testifying.upper > 0.2 else ""
    return text(
        f"not recognised in any of {testifying.cases} cases whose original is; "
        f"true rate below {numbers.bound(testifying.upper)} (95 %){few}",
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
        testifying = _testifying(run, defacer)
        change, low, high, n = utility(run, defacer)
        span = f"{numbers.percent(low)} to {numbers.percent(high)}, " if np.isfinite(low) else ""
        lines.append(
            [
                text(defacer),
                _words(run, defacer, hits, state),
                _rate(plain),
                _rate(hits),
                cell(numbers.bound(testifying.upper), testifying.upper, f"{testifying.cases} able to testify")
                if testifying.cases and defacer != CONTROL
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
            Head("95 % upper bound", title="one-sided, among cases whose own original is recognised"),
            Head(
                "median |change|",
                title="median over cases of each case's median absolute change of all features",
            ),
        ],
        lines,
        (
            f"Matched: {_limit_words(run)}, in any view. Counts with exact 95 % intervals. The bound rests only on "
            "cases whose original is itself recognised at another view.",
            "Median |change|: over all structures and features; interval by order statistics, from six cases on. The "
            "95th percentile of all changes shows what a median of zero may hide.",
        ),
    )


def _limit_words(run: Run) -> str:
    """Say at which distance a case counts as recognised."""
    calibrated = [c for c in _image_controls(run) if c.limit > run.tolerance]
    if not calibrated:
        return f"distance to the own original at most {run.tolerance:g}"
    each = ", ".join(f"{_name(run, c)} {c.limit:.2f}" for c in calibrated)
    return (
        f"distance to the own original at most {run.tolerance:g}, or the larger threshold calibrated on the "
        f"originals ({each})"
    )


def _rate(rate: Rate) -> Cell:
    if not rate.cases:
        return Cell(numbers.NOTHING)
    return cell(_count(rate), rate.share, numbers.interval(*rate.interval))


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


def control_table(run: Run) -> Table:
    """Which controls ran, and how they came out."""
    lines: list[list[Cell]] = []

    def add(control: str, must: str, found: str, passed: bool | None, small: str = "") -> None:
        tone = "warn" if passed is None else "good" if passed else "bad"
        word = "did not run" if passed is None else "pass" if passed else "fail"
        lines.append([text(control), text(must), text(found, small=small), text(word, tone)])

    compared, differing, largest = control_exact(run)
    found = f"{numbers.count(differing)} of {numbers.count(compared)} values differ" + (
        f", by up to {numbers.value(largest)}" if differing else ""
    )
    add(
        "convert only (none)",
        "every feature and dose exactly as in the original (difference 0)",
        found if compared else "no row",
        not differing if compared else None,
    )
    controls = run.controls
    for control in controls:
        low, high = control.matched.interval
        surface = "" if control.modality in IMAGES else " (surface that is not an image: for information)"
        add(
            f"positive: originals, {_name(run, control)}{surface}",
            "face detected, and matched with itself at another view, in at least half of the cases",
            f"detected {_count(control.detected)}, of these matched {_count(control.matched)} at {control.limit:.2f}",
            control.state != "void",
            (
                f"95 % interval of the matched share: {numbers.interval(low, high)}"
                if control.matched.cases
                else ""
            )
            + ("; weak" if control.state == "weak" else "")
            + (f"; {control.reason}" if control.reason and control.state != "ok" else ""),
        )
    if not controls:
        add("positive: originals", "face detected, matched with itself at another view", "no row", None)
    same = strongest(run, CONTROL, plain=True)
    add(
        "recognition of convert only (none)",
        "recognised in every case in which the original is",
        f"matched {_count(same)}" if same.cases else "no row",
        _none_as_originals(run) if same.cases else None,
    )
    counted = [c for c in controls if c.others is not None and c.others.cases]
    for control in counted:
        others = control.others or Rate(0, 0)
        add(
            f"negative: other persons, {_name(run, control)}",
            f"different persons rarely within the tolerance of {run.tolerance:g} (at most 1 %)",
            f"{_count(others)} comparisons within it ({numbers.rate(others.share)})",
            others.share <= _IMPOSTORS,
        )
    if not counted:
        add("negative: other persons", "different persons rarely within the tolerance", "no row", None)
    return Table(
        "controls",
        "Controls",
        [Head("control", False), Head("what must hold", False), Head("found", False), Head("result", False)],
        lines,
    )


def _none_as_originals(run: Run) -> bool:
    testifying = _testifying(run, CONTROL)
    return testifying.hits == testifying.cases

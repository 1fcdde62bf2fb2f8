"""The first line: what the run is worth in one sentence, with its reasons; and privacy against utility."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from defacedask.report import figures, numbers
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.cost import control_exact, utility
from defacedask.report.sections.crops import crops_words
from defacedask.report.sections.privacy import beyond_chance, strongest
from defacedask.report.sections.standing import count_words, covers, nearest_beyond_chance, testifying
from defacedask.report.sections.threshold import image_controls, name_of
from defacedask.tables.evidence import ORIGINAL, Control, Rate

__all__ = ["Verdict", "headline", "tradeoff", "virtual_words"]


#: Fewer cases than this cannot show a rate below 10 %.
_FEW = 29
#: Share of different persons within the tolerance that a negative control may have.
IMPOSTORS = 0.01
#: Share of strangers matched by all tries together that the first lines must mention.
_MUCH = 0.05


@dataclass(frozen=True)
class Verdict:
    """The first line: its state (ok, weak, void), its sentences, and ``about`` virtual patients what they are."""

    state: str
    first: str
    more: list[str]
    about: str = ""


def virtual_words(run: Run) -> str:
    """Say that the patients, or some of them, are virtual; "" if none is known to be."""
    virtual, cases = run.virtual
    if not virtual:
        return ""
    if virtual == cases:
        return (
            f"{'This patient is' if cases == 1 else f'All {cases} patients are'} virtual, made by `defacedask "
            "phantom`: no real person is in this report, and it says nothing about how real faces are hidden."
        )
    return (
        f"{virtual} of {cases} cases are virtual patients, made by `defacedask phantom`; the counts on this page "
        "mix them with real persons."
    )


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
    return dataclasses.replace(_headline(run), about=virtual_words(run))


def _headline(run: Run) -> Verdict:
    more: list[str] = []
    compared, differing, largest = control_exact(run)
    if differing:
        more.append(
            f"The cost result is void: the convert-only control changed {differing} of {compared} values "
            f"(by up to {numbers.value(largest)}); it must change none."
        )
    looked = run.cases.rows
    if looked and not run.cases.statuses["done"] and not _tested(run):
        first = f"Nothing was defaced: all {looked} cases were refused or failed; the reasons are below."
        return Verdict("void", first, more)
    controls = image_controls(run)
    if not controls:
        if run.looked.cases:
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
            + ", ".join(f"{d} {count_words(r)}{_nearest(run, d, r)}" for d, r in tested.items())
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
        more.append(f"So many tries also match strangers: of other persons, {each} match; see “chance”.")
    if any(c.others is not None and c.others.share > IMPOSTORS for c in good):
        more.append("The negative control failed: different persons often match, so matches may be chance.")
    matched = "; ".join(f"{name_of(run, c)} {count_words(c.matched)}" for c in good)
    where = {"second-scan": "in their other scan", "photographs": "in their photographs"}
    seen = where.get(good[0].gallery, "at another view")
    more.insert(0, f"Originals recognised {seen} (positive control): {matched}.")
    more += crops_words(run) + _left_out(run) + _covered(run)
    weak = [c for c in good if c.state == "weak"]
    if weak:
        causes = [_failing(run, c) if c.calibrated else f"{name_of(run, c)}: {c.reason}" for c in weak]
        more.append(f"The positive control is weak, so matches may be missed. {'; '.join(causes)}.")
    return Verdict("weak" if weak or void or differing else "ok", first, more)


def _left_out(run: Run) -> list[str]:
    """Say what could not be judged, and of how many cases."""
    found = []
    if run.looked.lacking:
        found.append(
            f"Not judged: {run.looked.lacking} of {run.looked.judged} cases, for there is no face of their person to "
            "compare with; see the positive control."
        )
    if run.cases.rows and not run.features.rows:
        found.append("What defacing cost in radiomics was not judged: no structure was measured in this run.")
    return found


def _nearest(run: Run, defacer: str, hits: Rate) -> str:
    """Nobody within the threshold is half of the truth where the right person is the nearest all the same."""
    near = nearest_beyond_chance(run, defacer)
    if near is None or near.hits <= hits.hits:
        return ""
    return f" (right person nearest of all: {count_words(near)})"


def _covered(run: Run) -> list[str]:
    """Say which defacers leave the face inside, whatever the attacks found."""
    return [
        f"{defacer} covers the face and does not remove it: whoever has its images can un-mask the original. They "
        "are not de-identified, and are written only with --allow-reversible."
        for defacer in run.defacers
        if covers(defacer)
    ]


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

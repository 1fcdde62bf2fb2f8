"""Which controls ran, and how they came out."""

from __future__ import annotations

from defacedask.report import numbers
from defacedask.report.evidence import IMAGES, Control, Rate
from defacedask.report.page import Cell, Head, Table, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.cost import control_exact, untouched_equal
from defacedask.report.sections.privacy import strongest
from defacedask.report.sections.verdict import IMPOSTORS, count_words, name_of, testifying

__all__ = ["control_table"]


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
    untouched, unequal = untouched_equal(run)
    add(
        "untouched structures",
        "where no voxel of a structure changed, every feature exactly as in the original",
        f"{numbers.count(unequal)} of {numbers.count(untouched)} values differ" if untouched else "no row",
        not unequal if untouched else None,
    )
    controls = run.controls
    for control in controls:
        low, high = control.matched.interval
        surface = "" if control.modality in IMAGES else " (surface that is not an image: for information)"
        add(
            f"positive: originals, {name_of(run, control)}{surface}",
            f"face detected, and matched with {_against(run, control)}, in at least half of the cases",
            f"detected {count_words(control.detected)}, of these matched "
            f"{count_words(control.matched)} at {control.limit:.2f}",
            control.state != "void",
            (
                f"95 % interval of the matched share: {numbers.interval(low, high)}"
                if control.matched.cases
                else ""
            )
            + ("; weak" if control.state == "weak" else "")
            + (f"; nothing to compare with: {control.missing}" if control.missing else "")
            + (f"; {control.reason}" if control.reason and control.state != "ok" else ""),
        )
    if not controls:
        add("positive: originals", "face detected, matched with itself at another view", "no row", None)
    same = strongest(run, CONTROL, plain=True)
    add(
        "recognition of convert only (none)",
        "recognised in every case in which the original is",
        f"matched {count_words(same)}" if same.cases else "no row",
        _none_as_originals(run) if same.cases else None,
    )
    counted = [c for c in controls if c.others is not None and c.others.cases]
    for control in counted:
        others = control.others or Rate(0, 0)
        add(
            f"negative: other persons, {name_of(run, control)}",
            f"different persons rarely within the tolerance of {run.tolerance:g} (at most 1 %)",
            f"{count_words(others)} comparisons within it ({numbers.rate(others.share)})",
            others.share <= IMPOSTORS,
        )
    if not counted:
        add("negative: other persons", "different persons rarely within the tolerance", "no row", None)
    return Table(
        "controls",
        "Controls",
        [Head("control", False), Head("what must hold", False), Head("found", False), Head("result", False)],
        lines,
    )


def _against(run: Run, control: Control) -> str:
    """Say what an original is compared with in the positive control."""
    known = {"second-scan": "its other scan", "photographs": "its photograph"}
    return known.get(control.gallery, "itself at another view")


def _none_as_originals(run: Run) -> bool:
    able = testifying(run, CONTROL)
    return able.hits == able.cases

"""Which controls ran, and how they came out."""

from __future__ import annotations

from defacedask.attacks.dose_face import LEAST_AT_FACE
from defacedask.attacks.names import ENROLMENT
from defacedask.attacks.planted import KINDS, LEAST_FOUND
from defacedask.modality import IMAGES
from defacedask.report import numbers
from defacedask.report.gathered.tries import unmasked
from defacedask.report.page import Cell, Head, Table, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sampled import sample_notes
from defacedask.report.sections.cost import control_exact, untouched_equal
from defacedask.report.sections.ears import ear_lines
from defacedask.report.sections.inversion import inversion_lines
from defacedask.report.sections.planted import planted_lines
from defacedask.report.sections.privacy import strongest
from defacedask.report.sections.standing import count_words, testifying
from defacedask.report.sections.threshold import limit_words, name_of
from defacedask.report.sections.verdict import IMPOSTORS
from defacedask.tables.evidence import ORIGINAL, VOID_BELOW, Control, Rate

__all__ = ["control_table"]


def control_table(run: Run) -> Table:
    """Which controls ran, and how they came out."""
    lines: list[list[Cell]] = []

    def add(
        control: str,
        must: str,
        found: str,
        passed: bool | None,
        small: str = "",
        aside: bool = False,
        unknown: str = "did not run",
    ) -> None:
        tone = "warn" if passed is None or (aside and not passed) else "good" if passed else "bad"
        word = unknown if passed is None else "pass" if passed else "fails, aside" if aside else "fail"
        lines.append([text(control), text(must), text(found, small=small), text(word, tone)])

    compared, differing, largest = control_exact(run)
    found = f"{numbers.count(differing)} of {numbers.count(compared)} values differ" + (
        f", by up to {numbers.value(largest)}" if differing else ""
    )
    add(
        "convert only (none)",
        "every feature and dose exactly as in the original (difference 0)",
        found if compared else "no structure to compare",
        not differing if compared else None,
    )
    untouched, unequal = untouched_equal(run)
    add(
        "untouched structures",
        "where no voxel of a structure changed, every feature exactly as in the original",
        f"{numbers.count(unequal)} of {numbers.count(untouched)} values differ"
        if untouched
        else "no such structure",
        not unequal if untouched else None,
    )
    controls = run.controls
    for control in controls:
        low, high = control.matched.interval
        aside = control.modality not in IMAGES
        surface = " (no image of the patient: stands aside)" if aside else ""
        small = [
            f"95 % interval of the matched share: {numbers.interval(low, high)}"
            if control.matched.cases
            else "",
            "weak" if control.state == "weak" else "",
            f"nothing to compare with: {_some(control.missing)}" if control.missing else "",
            control.reason if control.state != "ok" else "",
            f"{control.not_judged} more without dose at the face are not judged"
            if control.not_judged and not control.apart
            else "",
            control.note,
        ]
        add(
            f"positive: originals, {name_of(run, control)}{surface}",
            f"face detected, and matched with {_against(run, control)}, in at least half of the cases",
            "no dose at anybody’s face"
            if control.apart
            else f"detected {count_words(control.detected)}, of these matched "
            f"{count_words(control.matched)} at {limit_words(control.limit)}",
            None if control.apart else control.state != "void",
            "; ".join(filter(None, small)),
            aside,
            "not judged",
        )
        if control.planted_matched.cases:
            add(
                f"positive: a dose planted on all of the head, {name_of(run, control)}",
                "face detected, and matched with itself at another view, in at least half of the persons",
                f"detected {count_words(control.planted_detected)}, matched "
                f"{count_words(control.planted_matched)}",
                min(control.planted_detected.share, control.planted_matched.share) >= VOID_BELOW,
                "on the patient’s own dose grid, at the same level",
                aside,
            )
    for modality, recogniser, seen in run.detectors:
        add(
            f"positive: faces in originals, {modality} by {recogniser}",
            "a face found in any plain view of at least half of the originals",
            f"found in {count_words(seen)}",
            2 * seen.hits >= seen.cases > 0,
            "it only finds faces, and compares nobody",
            modality not in IMAGES,
        )
    if not controls:
        add("positive: originals", "face detected, matched with itself at another view", "no row", None)
    same, able = strongest(run, CONTROL, plain=True), testifying(run, CONTROL)
    add(
        "recognition of convert only (none)",
        "recognised in every case in which the original is",
        f"matched {count_words(able)} whose original is, {count_words(same)} in all"
        if able.cases
        else "there is no case whose original is recognised"
        if same.cases
        else "no row",
        able.hits == able.cases if able.cases else None,
    )
    counted = [c for c in controls if c.others is not None and c.others.cases]
    for control in counted:
        others = control.others or Rate(0, 0)
        add(
            f"negative: other persons, {name_of(run, control)}",
            f"different persons rarely within the threshold of {limit_words(control.limit)} (at most 1 %)",
            f"{count_words(others)} comparisons within it ({numbers.rate(others.share)})",
            others.share <= IMPOSTORS,
            f"95 % upper bound {numbers.bound(others.upper)}, were they independent",
            control.modality not in IMAGES,
        )
    if not counted:
        add("negative: other persons", "different persons rarely within the threshold", "no row", None)
    rates = run.tables["verification"]
    named = rates.loc[(rates["attack"] == ENROLMENT) & (rates["defacer"] == ORIGINAL)]
    for row in named.to_dict("records"):
        right = Rate(int(row["rank_1"]), int(row["judged"]))
        add(
            f"positive: enrolment, {row['modality']} by {row['recogniser']}",
            "the classifier names originals at views that nobody was enrolled with, in at least half of the cases",
            f"named {count_words(right)}; within the threshold {numbers.rate(row['chance'])} of comparisons with "
            "others",
            2 * right.hits >= right.cases > 0,
        )
    hidden = unmasked(run.read)
    for kind, what in KINDS.items():
        if kind not in hidden:
            continue
        good, cut = hidden[kind].controls, hidden[kind].not_judged
        by = []
        for name, both in hidden[kind].by.items():
            found, peel = (numbers.rate(one.median) for one in both)
            by.append(f"{name} {found} (a peel {peel})")
        add(
            f"positive: un-masking by {kind}",
            f"below {what}, planted on the original, {numbers.rate(LEAST_FOUND)} of the face’s skin is found "
            "within 2 mm",
            f"found in {count_words(good)}; where it is not, the attempt proves nothing"
            + (f"; {cut} more, a part of whose face is missing already, not judged" if cut else ""),
            0 < good.cases == good.hits,
            "of the defaced, median found: " + "; ".join(by),
            good.hits > 0,
        )
    sampled = any(one.sampled for each in hidden.values() for both in each.by.values() for one in both)
    for line in (*inversion_lines(run), *planted_lines(run), *ear_lines(run)):
        sampled |= line.sampled
        add(line.control, line.must, line.found, line.passed, line.small)
    return Table(
        "controls",
        "Controls",
        [Head("control", False), Head("what must hold", False), Head("found", False), Head("result", False)],
        lines,
        (*_aside_notes(run), *sample_notes(sampled)),
    )


def _aside_notes(run: Run) -> tuple[str, ...]:
    """Say what a control of contours and doses is worth."""
    aside = [c for c in run.controls if c.modality not in IMAGES]
    if not aside:
        return ()
    notes = [
        "RTSTRUCT is the body’s contour of the structure set, RTDOSE the dose grid. They are attacked beside the "
        "images; whether the originals are recognised in them decides nothing about the images."
    ]
    blind = [name_of(run, c) for c in aside if c.state == "void" and not c.apart]
    bare = [name_of(run, c) for c in aside if c.apart]
    if bare:
        notes.append(
            f"{' and '.join(bare)}: not judged, because no patient’s dose is at the face. A dose shows a face where "
            f"it follows the skin from the brow to the mouth (at least {numbers.rate(LEAST_AT_FACE)} of it), and "
            "here it ends below the eyes, or before the skin. That nobody is recognised in it is no merit of a "
            "defacer; a match in it still counts against one."
        )
    if blind:
        notes.append(
            f"{' and '.join(blind)}: these attacks hardly recognise anybody in it even before defacing, so nothing "
            "can be said of what defacing hides there. A match in it still counts against a defacer, no match counts "
            "for none."
        )
    return tuple(notes)


def _some(names: str, most: int = 5) -> str:
    """Shorten a list of names."""
    each = names.split(", ")
    return ", ".join(each[:most]) + (f" and {len(each) - most} more" if len(each) > most else "")


def _against(run: Run, control: Control) -> str:
    """Say what an original is compared with in the positive control."""
    known = {"second-scan": "its other scan", "photographs": "its photograph"}
    return known.get(control.gallery, "itself at another view")

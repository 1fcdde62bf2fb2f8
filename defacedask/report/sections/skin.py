"""How much of the skin is where it was: the face from brow to chin, and the ears apart."""

from __future__ import annotations

from defacedask.report import numbers
from defacedask.report.gathered.skin import Left
from defacedask.report.page import Cell, Head, Table, cell, text
from defacedask.report.run import Run
from defacedask.report.sampled import sample_notes
from defacedask.report.sections.privacy import first_cell, rate_cell
from defacedask.tables.evidence import Rate

__all__ = ["ear_words", "skin_table"]

_NAMES = {"brow_to_chin": "brow to chin", "ears": "ears"}
_QUIET = Cell(numbers.NOTHING, tone="quiet")


def skin_table(run: Run) -> Table | None:
    """One line a region, image and defacer: the share of the original's skin that is where it was."""
    lines: list[list[Cell]] = []
    for region, name in _NAMES.items():
        for (found, modality), by in run.skin.items():
            for defacer in [d for d in run.defacers if found == region and d in by]:
                one = by[defacer]
                lines.append(
                    [
                        text(name),
                        text(modality),
                        first_cell(defacer),
                        cell(numbers.count(one.kept.count), one.kept.count, _without(one)),
                        _share(one, "median"),
                        _share(one, "largest"),
                        rate_cell(Rate(one.half, one.kept.count)),
                        _untouched(one),
                    ]
                )
    if not lines:
        return None
    sampled = any(one.kept.sampled for by in run.skin.values() for one in by.values())
    return Table(
        "skin",
        "Skin that is where it was: the face, and the ears apart",
        [
            Head("region", False),
            Head("image", False),
            Head("defacer", False),
            Head("measured", title="images; below, in how many the region could not be measured"),
            Head(
                "kept, median",
                title="share of the original’s skin with skin of the defaced image within 3 mm",
            ),
            Head("kept, most"),
            Head("at least half kept", title="images; exact 95 % interval"),
            Head(
                "untouched, median",
                title="share of the original’s skin where the image’s values are as they were",
            ),
        ],
        lines,
        (
            *ear_words(run),
            "Ears can tell who somebody is: see “Recognition by the ears”. An ear is what stands out of the "
            "original’s head near the average head’s ear; one that is not in the image, is cut by the field of view, "
            "or does not stand out is not measured, and counts nowhere. Kept: skin within 3 mm of the new skin, "
            "whosever it is, so that another’s ear on the same spot, or the head behind a removed ear, keeps some; "
            "untouched is the patient’s own skin.",
            *sample_notes(sampled),
        ),
    )


def ear_words(run: Run) -> list[str]:
    """Say, defacer by defacer, how much of the ears is left: a sentence an image."""
    said = []
    for (region, modality), by in run.skin.items():
        each = [
            f"{name} {numbers.rate(by[name].kept.median)}, at least half in {by[name].half} of {by[name].kept.count}"
            for name in run.defacers
            if name in by and by[name].kept.count
        ]
        if region != "ears" or not by:
            continue
        words = "; ".join(each) if each else "no image shows an ear that could be measured"
        said.append(
            f"Ears, {modality}: share of the ear skin that is where it was, median of images: {words}."
        )
    return said


def _without(one: Left) -> str:
    return "\n".join(f"{count} not: {note}" for note, count in sorted(one.why.items(), key=lambda n: -n[1]))


def _share(one: Left, how: str) -> Cell:
    if not one.kept.count:
        return _QUIET
    value = getattr(one.kept, how)
    return cell(numbers.rate(value), value)


def _untouched(one: Left) -> Cell:
    if not one.untouched.count:
        return _QUIET
    return cell(numbers.rate(one.untouched.median), one.untouched.median)

"""Controls of the attacks that look for added, replaced and blurred voxels, as lines of the table of controls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from defacedask.attacks.deblurring_judged import PLANTED_MM
from defacedask.attacks.planted import LEAST_FOUND
from defacedask.attacks.synthetic.judged import MOST_FALSE
from defacedask.attacks.synthetic.planted import LEAST_DICE
from defacedask.report import numbers
from defacedask.report.gathered.tries import of_some
from defacedask.report.run import Run
from defacedask.report.sections.inversion import InversionLine
from defacedask.report.sections.standing import count_words
from defacedask.tables.batches import reader
from defacedask.tables.evidence import Rate

__all__ = ["planted_lines"]

#: Columns that are read.
_ADDED = ("case", "defacer", "modality", "dice", "dice_place", "control_dice", "control_false", "reason")
_SOFT = ("case", "modality", "control_found", "blurred_found", "untouched_mm", "reason")


def planted_lines(run: Run) -> Iterator[InversionLine]:
    """A positive and a negative control of each, over the originals of the run."""
    read = reader(run.tables)
    for name, columns, lines in (("synthetic", _ADDED, _synthetic), ("deblurring", _SOFT, _deblurring)):
        if name in run.tables:
            table, sampled = of_some(read, name, columns)
            yield from lines(table, sampled)


def _synthetic(table: pd.DataFrame, sampled: bool) -> Iterator[InversionLine]:
    for modality, rows, each in _by_modality(table):
        least, false = (each[name].astype(float) for name in ("control_dice", "control_false"))
        found = [
            f"{name} {_median(part['dice'])} (place alone {_median(part['dice_place'])})"
            for name, part in rows.groupby("defacer", sort=False)
            if part["dice"].notna().any()
        ]
        yield InversionLine(
            f"positive: synthetic voxels, {modality}",
            f"weak fills, planted on the original, are found with a Dice of at least {LEAST_DICE:g}",
            f"found in {_words(least >= LEAST_DICE)}; median of the least Dice {_median(least)}",
            bool((least >= LEAST_DICE).all()),
            "; ".join(
                filter(
                    None, ["of the defaced, median Dice: " + "; ".join(found) if found else "", *_why(each)]
                )
            ),
            sampled,
        )
        yield InversionLine(
            f"negative: synthetic voxels, {modality}",
            f"of the untouched original at most {numbers.rate(MOST_FALSE)} is told to be synthetic",
            f"so in {_words(false <= MOST_FALSE)}; median {numbers.rate(float(false.median()))}",
            bool((false <= MOST_FALSE).all()),
            "",
            sampled,
        )


def _deblurring(table: pd.DataFrame, sampled: bool) -> Iterator[InversionLine]:
    for modality, _, each in _by_modality(table):
        found, before, untouched = (
            each[name].astype(float) for name in ("control_found", "blurred_found", "untouched_mm")
        )
        yield InversionLine(
            f"positive: deblurring, {modality}",
            f"behind a blur of {PLANTED_MM:g} mm, planted on the original’s face, {numbers.rate(LEAST_FOUND)} of its "
            "skin is found within 2 mm",
            f"found in {_words(found >= LEAST_FOUND)}; median {numbers.rate(float(found.median()))}, in the blurred "
            f"image itself {numbers.rate(float(before.median()))}",
            bool((found >= LEAST_FOUND).all()),
            "; ".join(_why(each)),
            sampled,
        )
        yield InversionLine(
            f"negative: deblurring, {modality}",
            "the untouched face reads as no softer than the rest of its head",
            f"so in {_words(untouched <= 0)}",
            bool((untouched <= 0).all()),
            "",
            sampled,
        )


def _by_modality(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Modality, its rows, and one of each original."""
    if not len(table):
        return
    for modality, rows in table.groupby("modality", sort=True):
        yield str(modality), rows, rows.drop_duplicates(["case"])


def _words(holds: Any) -> str:
    return count_words(Rate(int(holds.sum()), len(holds)))


def _median(values: Any) -> str:
    return f"{float(values.median()):.2f}"


def _why(each: pd.DataFrame) -> list[str]:
    """Reasons why a control does not hold, each once."""
    some = [why for why in each["reason"].fillna("") if why]
    return list(dict.fromkeys(some))[:3]

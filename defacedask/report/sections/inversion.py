"""What learned inversion knew of the removed faces, and its controls, as lines of the table of controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pandas as pd

from defacedask.attacks.inversion.evidence import SURE, Paired, paired
from defacedask.report import numbers
from defacedask.report.gathered.tries import inverted
from defacedask.report.run import Run
from defacedask.tables.batches import reader

__all__ = ["InversionLine", "inversion_lines"]

#: The planted weak defacer that must be seen through.
MUST = "constant cut"
_COLUMNS = (
    "case",
    "defacer",
    "modality",
    "planted",
    *("error_mm", "average_mm", "nearer"),
    *("shuffled_mm", "shuffled_average_mm", "shuffled_nearer"),
)


@dataclasses.dataclass(frozen=True)
class InversionLine:
    """A control, what must hold, was found, and is known beside it; whether it passed, or did not run (None)."""

    control: str
    must: str
    found: str
    passed: bool | None
    small: str
    sampled: bool


def inversion_lines(run: Run) -> Iterator[InversionLine]:
    """Two controls for each modality: one that must be seen through, and one in which nothing is to be learnt."""
    table, sampled = inverted(reader(run.tables), _COLUMNS)
    if not len(table):
        return
    for modality, rows in table.groupby("modality", sort=True):
        planted = rows.loc[rows["planted"] == MUST]
        weak = _paired(planted)
        by = {f"a mask too small ({name})": part for name, part in _named(rows, "planted") if name != MUST}
        by |= dict(_named(rows.loc[rows["planted"] == ""], "defacer"))
        yield InversionLine(
            f"positive: learned inversion, {modality}",
            "below a cut of constant depth, planted on the originals, the face is told better than by the average "
            f"face (p below {SURE:g})",
            _words(weak),
            weak.better,
            "left by " + "; by ".join(f"{name}: {_words(_paired(part))}" for name, part in by.items())
            if by
            else "",
            sampled,
        )
        exchanged = {MUST: _paired(planted, "shuffled_")}
        exchanged |= {name: _paired(part, "shuffled_") for name, part in by.items()}
        taken_in = [name for name, one in exchanged.items() if one.better]
        yield InversionLine(
            f"negative: learned inversion, {modality}",
            "with the teachers’ faces exchanged, nothing is told better than by the average face",
            f"told below {' and '.join(taken_in)}" if taken_in else f"nothing in {len(exchanged)} trials",
            not taken_in,
            f"below a cut of constant depth: {_words(exchanged[MUST])}",
            sampled,
        )


def _named(rows: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    for name, part in rows.loc[rows[column] != ""].groupby(column, sort=False):
        yield str(name), part


def _paired(rows: pd.DataFrame, kind: str = "") -> Paired:
    names = ("error_mm", "average_mm", "nearer") if not kind else ("mm", "average_mm", "nearer")
    figures = rows[[kind + name for name in names]].astype(float)
    good = figures.notna().all(axis=1)
    people = rows.loc[good, "person"].astype(str)
    return paired(zip(people, *figures.loc[good].to_numpy().T, strict=True))


def _words(one: Paired) -> str:
    if not one.persons:
        return "nothing of the face was changed"
    p = "p < 0.001" if one.p < 0.001 else f"p = {one.p:.3f}"
    span = f" ({one.low:.2f} to {one.high:.2f})" if one.persons > 1 else ""
    return (
        f"error {numbers.value(one.error_mm)} mm, the average face’s {numbers.value(one.average_mm)} mm, {p}, own "
        f"face against others’ AUC {one.auc:.2f}{span}, {one.persons} persons"
    )

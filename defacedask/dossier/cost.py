"""What defacing changed, in a few figures: the brain that is found, and changes beside those of a second scan."""

from __future__ import annotations

from typing import Any

from defacedask.dossier.figures import Figure, Source, Table
from defacedask.report import numbers

__all__ = ["cost_table"]


def cost_table(source: Source, defacers: list[str]) -> Table | None:
    """One line a defacer; None where nothing was measured."""
    rows: list[list[str | Figure]] = []
    for name in defacers:
        if not any(len(source.rows(table, defacer=name)) for table in ("radiomics", "utility")):
            continue
        brain: dict[str, Any] = {"defacer": name, "structure": "brain"}
        rows.append(
            [
                name,
                source.one("radiomics", "feature", "count", defacer=name),
                source.one("radiomics", "feature", "count", defacer=name, voxels_changed=0),
                source.one("utility", "defaced", "min", _three, **brain, measure="dice"),
                source.one("utility", "defaced", "max", _three, **brain, measure="hd95_mm"),
                source.one("rescan", "persons", "max", defacer=name),
                source.one("rescan", "share", "median", _three, defacer=name),
                source.one("rescan", "share", "max", _three, defacer=name),
                source.one("rescan", "icc", "min", _three, defacer=name),
            ]
        )
    heads = (
        "defacer",
        "values of features",
        "of structures without a changed voxel",
        "brain found, least Dice",
        "its border, largest HD95, mm",
        "persons with two scans",
        "change as a share of a second scan's, median",
        "largest",
        "lowest ICC",
    )
    note = (
        "Dice and 95th percentile of border distances of the brain that our own method finds before and after. A "
        "share below 1: a second scan of the same person changes more than defacing does."
    )
    return Table("What defacing changed", heads, rows, note) if rows else None


def _three(value: Any) -> str:
    return numbers.value(value, 3)

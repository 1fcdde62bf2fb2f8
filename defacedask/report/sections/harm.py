"""What defacing did to targets, dose and features, in the facts that the first screen and the decisions rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from defacedask.report import numbers
from defacedask.report.run import CONTROL, Run
from defacedask.tables.derive import in_order

__all__ = ["LEAST_GY", "DoseChange", "Features", "Harm", "harm", "said_dose", "some", "touched_lines"]

#: Smaller changes of a dose metric than this decide nothing, Gy.
LEAST_GY = 0.1


@dataclass(frozen=True)
class DoseChange:
    """The largest change of a dose metric.

    Attributes
    ----------
    structure, metric, case : str
    gy : float
        original - defaced: positive means less dose after defacing.
    """

    structure: str
    metric: str
    case: str
    gy: float


@dataclass(frozen=True)
class Features:
    """Structures (with the image where there are several), by whether a value or voxel changed in any case."""

    same: list[str]
    changed: list[str]
    targets: list[str]

    @property
    def known(self) -> bool:
        """Whether any was measured."""
        return bool(self.same or self.changed)


@dataclass(frozen=True)
class Harm:
    """What one defacer did.

    Attributes
    ----------
    volumes, doses : bool
        Whether volumes and doses were measured at all.
    target_cases, cut_cases : int
        Cases with a target; of these, with a target in the region.
    worst_target, worst_percent : str, float
        The target that lies deepest in the region, and how much of it.
    cut : list of str
        Other structures in the region; the body's outline, which always takes the new surface, is not among them.
    target_mean, other_mean : DoseChange or None
        Largest change of a mean dose of a target, and of any other structure but the outline.
    target_any, other_any : DoseChange or None
        Largest change of any metric in Gy.
    moved : list of str
        Structures, targets apart, of which a metric changed by `LEAST_GY` or more.
    features : Features
    """

    volumes: bool
    doses: bool
    target_cases: int
    cut_cases: int
    worst_target: str
    worst_percent: float
    cut: list[str]
    target_mean: DoseChange | None
    other_mean: DoseChange | None
    target_any: DoseChange | None
    other_any: DoseChange | None
    moved: list[str]
    features: Features


def harm(run: Run, defacer: str) -> Harm:
    """Gather it from the tables."""
    volumes = _of(run, "geometry", defacer)
    is_target = _flag(volumes["target"])
    targets = volumes.loc[is_target & volumes["region_ml"].notna()]
    hit = targets.loc[targets["region_ml"] > 0]
    known = run.tables["geometry"]
    outlines = set(known.loc[known["note"].str.startswith("outline"), "structure"])
    aims = set(known.loc[_flag(known["target"]), "structure"]) | {"Target"}
    worst = hit.loc[hit["region_percent"].idxmax()] if len(hit) else None
    others = volumes.loc[~is_target & (volumes["region_ml"] > 0), "structure"].unique().tolist()
    doses = _of(run, "dose", defacer)
    gray = doses.loc[doses["metric"].str.startswith("D")]
    gray = gray.assign(gy=gray["original"] - gray["defaced"])
    gray = gray.loc[gray["gy"].notna() & ~gray["structure"].isin(outlines)]
    aimed = gray["structure"].isin(aims)
    mean = gray["metric"] == "Dmean"
    moved = gray.loc[~aimed & (gray["gy"].abs() >= LEAST_GY), "structure"].unique().tolist()
    return Harm(
        bool(len(volumes)),
        bool(len(doses)),
        targets["case"].nunique(),
        hit["case"].nunique(),
        str(worst["structure"]) if worst is not None else "",
        float(worst["region_percent"]) if worst is not None else 0.0,
        [s for s in in_order(others) if s not in outlines],
        _largest(gray.loc[aimed & mean]),
        _largest(gray.loc[~aimed & mean]),
        _largest(gray.loc[aimed]),
        _largest(gray.loc[~aimed]),
        in_order(moved),
        _features(run, defacer, aims),
    )


def _of(run: Run, table: str, defacer: str) -> pd.DataFrame:
    rows = run.tables[table]
    return rows.loc[rows["defacer"] == defacer] if defacer != CONTROL else rows.iloc[:0]


def _flag(column: pd.Series) -> pd.Series:
    return column.fillna(False).astype(bool)


def _largest(rows: pd.DataFrame) -> DoseChange | None:
    if not len(rows):
        return None
    row = rows.loc[rows["gy"].abs().idxmax()]
    return DoseChange(str(row["structure"]), str(row["metric"]), str(row["case"]), float(row["gy"]))


def _features(run: Run, defacer: str, aims: set[str]) -> Features:
    rows = _of(run, "radiomics", defacer)
    if not len(rows):
        return Features([], [], [])
    before, after = rows["original"].to_numpy(dtype=float), rows["defaced"].to_numpy(dtype=float)
    differs = ~((before == after) | (np.isnan(before) & np.isnan(after)))
    touched = (rows["voxels_changed"].astype("Float64").fillna(0) > 0).to_numpy(dtype=bool)
    rows = rows.assign(changed=differs | touched)
    several = rows["modality"].nunique() > 1
    by = rows.groupby(["structure", "modality"])["changed"].any()
    names = in_order(rows["structure"].unique().tolist())
    same: list[str] = []
    changed: list[str] = []
    targets: list[str] = []
    for name in names:
        for modality, one in by[name].items():
            shown = f"{name} ({modality})" if several else name
            (changed if one else same).append(shown)
            if one and name in aims:
                targets.append(shown)
    return Features(same, changed, targets)


def said_dose(change: DoseChange | None) -> str:
    """Write a change in words, so that no sign is needed: ``Target Dmean 42.1 Gy less``."""
    if change is None:
        return numbers.NOTHING
    if change.gy == 0:
        return f"{change.structure}: none"
    word = "less" if change.gy > 0 else "more"
    size = "under 0.001" if abs(change.gy) < 0.001 else numbers.value(abs(change.gy), 3)
    return f"{change.structure} {change.metric} {size}\u00a0Gy {word}"


def some(names: list[str], most: int = 4) -> str:
    """Shorten a list of names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def touched_lines(run: Run) -> list[str]:
    """One sentence a defacer that cut a target or changed a target's dose; for the end of a run."""
    lines = []
    for defacer in [d for d in run.defacers if d != CONTROL]:
        found = harm(run, defacer)
        parts, names = [], []
        if found.cut_cases:
            names.append(found.worst_target)
            parts.append(
                f"{found.worst_target} is cut in {found.cut_cases} of {found.target_cases} cases, by up to "
                f"{numbers.rate(found.worst_percent / 100)}"
            )
        if found.target_mean is not None and abs(found.target_mean.gy) >= LEAST_GY:
            names.append(found.target_mean.structure)
            parts.append(f"{said_dose(found.target_mean)} in {found.target_mean.case}")
        if parts:
            lines.append(
                f"Target touched by {defacer}: {'; '.join(parts)}."
                # what somebody else's defacer keeps is not ours to say
                + ("" if defacer in run.arms else f" Protect it (--protect '{names[0]}').")
            )
    return lines

"""What defacing did to targets, dose and features, in the facts that the first screen and the decisions rest on."""

from __future__ import annotations

from dataclasses import dataclass

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
    volumes, doses = run.volumes, run.doses
    measured = volumes.structures_of(defacer)
    aims, outlines = volumes.aims | {"Target"}, volumes.outlines
    worst = volumes.worst.get(defacer)
    others = [s for s in measured if volumes.of[defacer, s].hit_aside]
    own = defacer if defacer != CONTROL else ""

    def gray(structure: str, metric: str) -> bool:
        return metric.startswith("D") and structure not in outlines

    def changed(aimed: bool, mean: bool) -> DoseChange | None:
        found = doses.worst(
            own, lambda s, m: gray(s, m) and (s in aims) == aimed and (m == "Dmean" or not mean)
        )
        return None if found is None else DoseChange(*found)

    moved = {
        structure
        for (who, structure, metric), one in doses.moved.items()
        if who == own and gray(structure, metric) and structure not in aims
        if one.known and abs(one.gy) >= LEAST_GY
    }
    return Harm(
        bool(measured),
        bool(doses.of(own)),
        volumes.target_cases[defacer],
        volumes.cut_cases[defacer],
        str(worst.about[0]) if worst else "",
        float(worst.size) if worst else 0.0,
        [s for s in in_order(others) if s not in outlines],
        changed(True, True),
        changed(False, True),
        changed(True, False),
        changed(False, False),
        in_order(list(moved)),
        _features(run, defacer, aims),
    )


def _features(run: Run, defacer: str, aims: set[str]) -> Features:
    moved = run.features.moved.get(defacer, {})
    several = len({modality for _, modality in moved}) > 1
    same: list[str] = []
    changed: list[str] = []
    targets: list[str] = []
    for name in in_order(list({structure for structure, _ in moved})):
        for modality in sorted(modality for structure, modality in moved if structure == name):
            shown = f"{name} ({modality})" if several else name
            one = moved[name, modality]
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

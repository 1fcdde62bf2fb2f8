"""RTDOSE as one file a plane: which files are planes of one dose, and whether all of its planes are there.

A dose grid may be written as single-frame instances (PS3.3 A.18.3: the Multi-frame Module is optional). What tells
doses of one series apart is what they are doses of: plan, beams, fractions, summation and type. What does not come
out as one even grid is refused with the reason, and never summed or mixed.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from defacedask.io.dicom.gaps import uneven
from defacedask.io.dicom.series_facts import Series

__all__ = ["join_planes", "plane_facts"]

#: Positions are decimal strings: planes may be off an even grid by this many mm, or this part of a step.
NEAR_MM, NEAR = 0.05, 0.01
_SAME = (
    "Rows",
    "Columns",
    "DoseUnits",
    "DoseType",
    "DoseSummationType",
    "FrameOfReferenceUID",
    "BitsAllocated",
)
_GRID = ("PixelSpacing", "ImageOrientationPatient")


def plane_facts(dataset: Any) -> dict[str, Any] | None:
    """What joins a single-frame dose with others: position, and a key of everything that must agree.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Header of an RTDOSE.

    Returns
    -------
    dict or None
        None if it has several frames, or no place of its own.
    """
    if int(dataset.get("NumberOfFrames", 1) or 1) != 1:
        return None
    position = _floats(dataset.get("ImagePositionPatient"), 3)
    orientation = _floats(dataset.get("ImageOrientationPatient"), 6)
    if position is None or orientation is None:
        return None
    key = [str(dataset.get(name, "")) for name in _SAME]
    key += [str(_floats(dataset.get(name), count)) for name, count in zip(_GRID, (2, 6), strict=True)]
    key += [_of_what(dataset), str(dataset.get("DoseComment", "") or "")]
    return {"position": position, "orientation": orientation, "key": key}


def _floats(value: Any, count: int) -> list[float] | None:
    try:
        out = [round(float(v), 4) for v in value]
    except (TypeError, ValueError):
        return None
    return out if len(out) == count and np.isfinite(out).all() else None


def _of_what(dataset: Any) -> str:
    """Plan, fraction groups and beams that a dose refers to."""
    said = []
    for plan in dataset.get("ReferencedRTPlanSequence", None) or ():
        said.append(str(plan.get("ReferencedSOPInstanceUID", "")))
        for group in plan.get("ReferencedFractionGroupSequence", None) or ():
            said.append(f"group {group.get('ReferencedFractionGroupNumber', '')}")
            for keyword, name in (
                ("ReferencedBeamSequence", "ReferencedBeamNumber"),
                ("ReferencedBrachyApplicationSetupSequence", "ReferencedBrachyApplicationSetupNumber"),
            ):
                said += [f"{name} {one.get(name, '')}" for one in group.get(keyword, None) or ()]
    return " ".join(said)


def join_planes(
    objects: Iterable[tuple[Series, tuple[str, ...]]],
) -> tuple[list[tuple[Series, tuple[str, ...]]], list[tuple[list[Series], str]]]:
    """Make one `Series` of the planes of each dose; everything else passes.

    Parameters
    ----------
    objects : iterable of (Series, frames of reference)
        As `defacedask.io.dicom.linking.object_series` gives them.

    Returns
    -------
    objects : list of (Series, frames of reference)
    refused : list of (list of Series, str)
        Planes that make no grid, and why, as a clause.
    """
    out: list[tuple[Series, tuple[str, ...]]] = []
    planes: dict[tuple[Any, ...], list[tuple[Series, tuple[str, ...]]]] = defaultdict(list)
    for series, frames in objects:
        facts = series.facts.get("plane")
        if facts is None:
            out.append((series, frames))
        else:
            planes[series.patient_id, series.study_uid, series.uid, *facts["key"]].append((series, frames))
    refused: list[tuple[list[Series], str]] = []
    for some in planes.values():
        reason = "" if len(some) == 1 else _wrong([series for series, _ in some])
        if reason:
            refused.append(([series for series, _ in some], reason))
        else:
            out.append(_joined(some))
    return out, refused


def _along(series: Series) -> float:
    plane = series.facts["plane"]
    across, down = np.array(plane["orientation"]).reshape(2, 3)
    return float(np.cross(across, down) @ plane["position"])


def _wrong(series: list[Series]) -> str:
    """Why planes make no even grid, or ""."""
    along = np.sort([_along(one) for one in series])
    gaps = np.diff(along)
    if gaps.min() < 1e-3:
        return "two of its dose planes lie at the same place: they are of several doses, which nothing tells apart"
    positions = np.array([one.facts["plane"]["position"] for one in series])
    across, down = np.array(series[0].facts["plane"]["orientation"]).reshape(2, 3)
    if max(np.ptp(positions @ across), np.ptp(positions @ down)) > NEAR_MM:
        return "its dose planes are shifted sideways against each other"
    step = float(along[-1] - along[0]) / len(gaps)
    if float(np.abs(gaps - step).max()) > max(NEAR_MM, NEAR * step):
        return "it is a dose of one plane a file, and of its planes " + uneven(along).replace(
            "slice", "plane"
        )
    return ""


def _joined(some: list[tuple[Series, tuple[str, ...]]]) -> tuple[Series, tuple[str, ...]]:
    if len(some) == 1:
        series, frames = some[0]
        facts = {k: v for k, v in series.facts.items() if k != "plane"}
        return dataclasses.replace(series, facts=facts), frames
    some = sorted(some, key=lambda one: _along(one[0]))
    parts = [series for series, _ in some]
    first, frames = parts[0], some[0][1]
    facts = {k: v for k, v in first.facts.items() if k != "plane"}
    return (
        dataclasses.replace(
            first,
            files=tuple(part.files[0] for part in parts),
            instances=tuple(part.instances[0] for part in parts),
            references=tuple(dict.fromkeys(uid for part in parts for uid in part.references)),
            facts=facts,
        ),
        frames,
    )

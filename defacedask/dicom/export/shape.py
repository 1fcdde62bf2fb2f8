"""Does anything that hangs on the image still have the shape of the face, or lost more than the face."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.dicom.export.image import Written
from defacedask.dicom.export.structures import SKIN_MARGIN_MM, is_outline, is_skin
from defacedask.dicom.structures import read_structures
from defacedask.errors import DefacedaskError, RefusedError
from defacedask.geometry import Geometry

if TYPE_CHECKING:
    from defacedask.defacers import Plan

__all__ = ["check_structures", "follows_skin"]


def check_structures(
    written: Written, plan: Plan, geometry: Geometry, additive: bool, *, frame: str = ""
) -> None:
    """Masks before and after: nothing new but the outline's, nothing gone but in the region.

    Parameters
    ----------
    written : Written
    plan : Plan
    geometry : Geometry
        Of the image, as it came.
    additive : bool
        See `write_structures`.
    frame : str
        Frame of reference of the written files, if it is another.

    Raises
    ------
    DefacedaskError
    """
    from scipy.ndimage import binary_dilation

    try:
        before = {s.number: s for s in read_structures(written.source, geometry)}
    except RefusedError:
        before = {}
    try:
        grid = dataclasses.replace(geometry, frame_of_reference=frame) if frame else geometry
        after = {s.number: s for s in read_structures(written.path, grid)}
    except RefusedError:
        after = {}
    if set(after) - set(before):
        raise DefacedaskError(
            "the defaced structure set has structures that the original has not.", "Please report this."
        )
    shape = geometry.shape
    region: np.ndarray | None = None
    for number, old in before.items():
        new = after.get(number)
        kept = ("colour", "interpreted_type", *(() if frame else ("original_name",)))
        if new is not None and any(getattr(new, name) != getattr(old, name) for name in kept):
            raise DefacedaskError(
                f"the structure {old.original_name} lost its name or colour.", "Please report this."
            )
        a = old.full(shape)
        b = new.full(shape) if new is not None else np.zeros(shape, bool)
        if np.array_equal(a, b) and old.refused:
            continue
        if region is None:
            region = np.asarray(plan.region(geometry))
        name, kind = old.original_name, old.interpreted_type
        outline = is_outline(name, kind)
        # contours between slices see the region of their own plane, not of the slice they are read for
        near = binary_dilation(region, np.ones((3, 1, 1), bool))
        if not outline and is_skin(name, kind):
            if additive:
                continue  # whole contours go
            near = _grown(region, geometry.spacing, SKIN_MARGIN_MM + max(geometry.spacing))
        if ((a != b) & ~near).any():
            raise DefacedaskError(
                f"the structure {name} changed outside the region ({int(((a != b) & ~near).sum())} voxels).",
                "Please report this.",
            )
        if not outline and (b & ~a).any():
            raise DefacedaskError(f"the structure {name} grew.", "Please report this.")
        deep = region & ~binary_dilation(~region, np.ones((3, 1, 1), bool))
        if not outline and (b & deep).any():
            raise DefacedaskError(
                f"the structure {name} still has {int((b & deep).sum())} voxels in the region.",
                "Please report this.",
            )


def _grown(mask: np.ndarray, spacing: tuple[float, float, float], mm: float) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask, sampling=spacing) <= mm if mask.any() else mask


def follows_skin(dose: np.ndarray, region: np.ndarray) -> bool:
    """Whether a dose still ends where the region meets the body.

    Parameters
    ----------
    dose : (z, y, x) array
        After defacing.
    region : bool array
        Air in front of the face, for a plan that only adds.

    Returns
    -------
    bool
        True if at more than one in twenty places where region and body touch the dose steps across 2 % of its
        maximum: a surface at that level is then the face.
    """
    high = dose > 0.02 * float(dose.max(initial=0))
    steps = touching = 0
    for axis in range(3):
        a, b = (np.take(region, range(i, region.shape[axis] - 1 + i), axis) for i in (0, 1))
        x, y = (np.take(high, range(i, region.shape[axis] - 1 + i), axis) for i in (0, 1))
        meet = a != b
        into = np.where(a, y & ~x, x & ~y)
        touching += int((meet & (x | y)).sum())
        steps += int((meet & into).sum())
    return steps > 0.05 * max(touching, 1) and steps > 20

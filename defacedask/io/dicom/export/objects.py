"""Objects that hang on the images and show nothing themselves: plans and registrations, references moved.

Nearly nothing: a compensator makes up for what is missing between the skin and a plane before it, so that its map of
thickness is a relief of the skin. A plan with such maps is not let out.

The vectors of a deformable registration do show something: many systems set them to zero outside the body, so that
their edge draws the skin. Such an object is let out only where its grid stays clear of the face.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import DefacedaskError
from defacedask.geometry import Geometry
from defacedask.io.dicom.export.encoding import target_syntax
from defacedask.io.dicom.export.image import Context, Written, save, start
from defacedask.io.dicom.export.pictures import SAMPLES, count_of
from defacedask.io.dicom.export.walking import walk
from defacedask.io.dicom.headers import open_dataset
from defacedask.whole_files import file_hash

if TYPE_CHECKING:
    from defacedask.defacers import Plan

__all__ = ["reliefs", "vectors_at_face", "write_object"]

#: Maps of a compensator or range compensator (PS3.3 C.8.8.14, C.8.8.25): transmission, thickness, distance.
_RELIEFS = (0x300A00EB, 0x300A00EC, 0x300A02E2)


def reliefs(source: str) -> int:
    """How many points the maps of compensators in a plan have, together; fewer than a picture needs count as none.

    Parameters
    ----------
    source : str
        File of an RT plan or RT ion plan.
    """
    points = 0
    for item, tag, vr in walk(open_dataset(source)):
        if int(tag) in _RELIEFS and (value := item.get_item(tag).value):
            points += count_of(value, vr)
    return points if points >= SAMPLES else 0


def vectors_at_face(source: str, plan: Plan, frame: str) -> bool:
    """Whether a registration has vectors in what a plan may change, or at a place that is not known.

    Parameters
    ----------
    source : str
        File of a spatial registration.
    plan : Plan
    frame : str
        Frame of reference of the plan's coordinates.
    """
    dataset = open_dataset(source)
    known = str(dataset.get("FrameOfReferenceUID", "")) == frame
    grids = [
        grid
        for part in dataset.get("DeformableRegistrationSequence", None) or ()
        for grid in part.get("DeformableRegistrationGridSequence", None) or ()
        if grid.get("VectorGridData", None)
    ]
    return any(not known or _meets(grid, plan, frame) for grid in grids)


def _meets(item: Any, plan: Plan, frame: str) -> bool:
    """Whether a vector grid (PS3.3 C.20.3.1) reaches into the region; one that cannot be placed does."""
    try:
        across, down = np.array(item.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
        size = [int(n) for n in item.GridDimensions]
        step = [float(mm) for mm in item.GridResolution]
        steps = (np.cross(across, down) * step[2], down * step[1], across * step[0])
        grid = Geometry.from_steps(
            (size[2], size[1], size[0]), [float(mm) for mm in item.ImagePositionPatient], *steps, frame
        )
    except (AttributeError, IndexError, TypeError, ValueError, DefacedaskError):
        return True
    return bool(np.asarray(plan.region(grid)).any())


def write_object(source: str, modality: str, place: Callable[[str], Path], context: Context) -> Written:
    """Write an RTPLAN or a spatial registration under new UIDs; its content is not touched.

    Parameters
    ----------
    source : str
        File.
    modality : str
        RTPLAN or REG.
    place, context
        See `write_images`.
    """
    dataset, syntax, dropped = start(source, context)
    source_uid = str(dataset.SOPInstanceUID)
    context.remap(dataset)
    context.mark(dataset, image=False)
    syntax, note = target_syntax(syntax)
    path = place(source)
    digest = save(dataset, path, syntax, context)
    return Written(
        source,
        str(path),
        modality,
        source_uid,
        str(dataset.SOPInstanceUID),
        file_hash(source),
        digest,
        0,
        tuple(dropped),
        (note,) if note else (),
    )

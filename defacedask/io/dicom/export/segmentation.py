"""SEG: what lies in the plan's region is cleared, frame by frame; a segment of the skin is not let out at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import InputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.export.encoding import IMPLICIT, put_pixels, target_syntax
from defacedask.io.dicom.export.image import Context, Written, save, start
from defacedask.io.dicom.export.structures import is_outline, is_skin
from defacedask.io.dicom.frames import read_frames
from defacedask.io.dicom.headers import open_dataset
from defacedask.whole_files import file_hash

if TYPE_CHECKING:
    from defacedask.defacers import Plan

__all__ = ["cleared_frames", "frame_grids", "write_segmentation"]


def frame_grids(dataset: Any) -> list[Geometry]:
    """Grid of every frame, one slice each.

    Raises
    ------
    RefusedError
        If a frame does not say where it lies.
    """
    frames = read_frames(dataset)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    out = []
    for place, cosines, spacing in zip(frames.positions, frames.cosines, frames.spacing, strict=True):
        if not (np.isfinite(place).all() and np.isfinite(cosines).all() and np.isfinite(spacing).all()):
            raise RefusedError("a frame does not say where it lies")
        across, down = cosines[:3], cosines[3:]
        frame = str(dataset.get("FrameOfReferenceUID", ""))
        steps = (np.cross(across, down), down * spacing[0], across * spacing[1])
        out.append(Geometry.from_steps((1, rows, columns), place, *steps, frame))
    return out


#: cm² of cut edge of a segment beyond which it is held back where the edge may follow the skin: some noses.
MOST_CUT_CM2 = 10.0


def cut_cm2(before: np.ndarray, after: np.ndarray, grids: Sequence[Geometry]) -> float:
    """Area of the edge along which a segment was cut: pixels that stayed beside pixels of it that went.

    Parameters
    ----------
    before, after : (frames, rows, columns) arrays
    grids : sequence of Geometry
        Of the frames.

    Returns
    -------
    float
        cm²; a frame counts as thick as its neighbours are apart.
    """
    gone, kept = (before != 0) & (after == 0), after != 0
    places = np.array([grid.origin for grid in grids])
    area = 0.0
    for axis in (1, 2):
        one: list[slice] = [slice(None)] * 3
        other: list[slice] = [slice(None)] * 3
        one[axis], other[axis] = slice(None, -1), slice(1, None)
        a, b = tuple(one), tuple(other)
        edges = ((gone[a] & kept[b]) | (kept[a] & gone[b])).sum(axis=(1, 2))
        for k in map(int, np.flatnonzero(edges)):
            apart = np.linalg.norm(places - places[k], axis=1)
            thick = float(apart[apart > 1e-3].min(initial=10.0))
            area += float(edges[k]) * grids[k].spacing[3 - axis] * thick / 100
    return area


def cleared_frames(dataset: Any, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Stored values of all frames before and after.

    Parameters
    ----------
    dataset : pydicom.Dataset
        With pixels.
    plan : Plan

    Returns
    -------
    before, after : (frames, rows, columns) arrays

    Raises
    ------
    RefusedError
        If a segment that follows the skin meets the region, or is cut along much of it, or a frame has no place.
    """
    if str(dataset.get("SegmentationType", "")) not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise RefusedError("its kind of segmentation is not known")
    grids = frame_grids(dataset)
    try:
        before = np.asarray(dataset.pixel_array).reshape(len(grids), int(dataset.Rows), int(dataset.Columns))
    except Exception as error:
        raise RefusedError(f"its frames cannot be decoded ({' '.join(str(error).split())[:120]})") from None
    after = before.copy()
    for frame, grid in zip(after, grids, strict=True):
        frame[np.asarray(plan.region(grid))[0]] = 0
    for item in dataset.get("SegmentSequence", None) or ():
        label = str(item.get("SegmentLabel", "") or "")
        codes = [
            str(c.get("CodeMeaning", "")) for c in item.get("SegmentedPropertyTypeCodeSequence", None) or ()
        ]
        if any(is_outline(name, "") or is_skin(name, "") for name in (label, *codes)):
            raise RefusedError(f"its segment {label!r} may follow the skin of the face")
    if not getattr(plan, "flat", False) and (area := cut_cm2(before, after, grids)) > MOST_CUT_CM2:
        raise RefusedError(
            f"its segments are cut along {area:.0f} cm² of the face, and the edge may draw the skin"
        )
    return before, after


def write_segmentation(
    source: str,
    plan: Plan,
    place: Callable[[str], Path],
    context: Context,
    *,
    on_skin: Callable[[Any, np.ndarray, list[Geometry]], list[str]] | None = None,
) -> tuple[Written, np.ndarray]:
    """Write a segmentation; gives also the frames that must be read back.

    Parameters
    ----------
    source, plan, place, context
        See `write_structures`.
    on_skin : callable, optional
        ``on_skin(dataset, frames, grids)`` -> labels of segments that are drawn along the skin: none may be.

    Raises
    ------
    RefusedError
        See `cleared_frames`; it is to be held back then.
    """
    whole = open_dataset(source, pixels=True)
    before, after = cleared_frames(whole, plan)
    labels = on_skin(whole, before, frame_grids(whole)) if on_skin is not None else []
    if labels:
        raise RefusedError(f"its segment {labels[0]!r} is drawn along the skin of the face")
    dataset, syntax, dropped = start(source, context)
    source_uid = str(dataset.SOPInstanceUID)
    context.remap(dataset)
    context.mark(dataset, image=False)
    syntax, note = target_syntax(syntax)
    if int(dataset.BitsAllocated) == 1:
        syntax = _put_bits(dataset, after, syntax)
    else:
        syntax, more = put_pixels(dataset, after, syntax)
        note = note or more
    path = place(source)
    digest = save(dataset, path, syntax, context)
    changed = int(np.count_nonzero(before != after))
    written = Written(
        source,
        str(path),
        "SEG",
        source_uid,
        str(dataset.SOPInstanceUID),
        file_hash(source),
        digest,
        changed,
        tuple(dropped),
        (note,) if note else (),
    )
    again = np.asarray(open_dataset(path, pixels=True).pixel_array).reshape(after.shape)
    if not np.array_equal(again, after):
        raise InputError(f"the segmentation {Path(source).name} did not read back as written.")
    return written, after


def _put_bits(dataset: Any, frames: np.ndarray, syntax: str) -> str:
    """Single bits, packed through frame ends (PS3.5 8.1.1); always uncompressed."""
    from pydicom.dataelem import DataElement
    from pydicom.pixels import pack_bits

    if syntax not in (IMPLICIT, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"):
        syntax = "1.2.840.10008.1.2.1"
    data = pack_bits(frames.ravel().astype(np.uint8), pad=True)
    dataset[0x7FE00010] = DataElement(0x7FE00010, "OW" if syntax == IMPLICIT else "OB", data)
    return syntax

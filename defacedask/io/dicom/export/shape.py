"""Does anything that hangs on the image still have the shape of the face, or lost more than the face."""

from __future__ import annotations

import dataclasses
import functools
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.boxes import cut_out
from defacedask.errors import DefacedaskError, RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.export.body_shape import OUTLINE, SKIN
from defacedask.io.dicom.export.clip import TOGETHER
from defacedask.io.dicom.export.image import Written
from defacedask.io.dicom.export.structures import SKIN_MARGIN_MM, role_of
from defacedask.io.dicom.rois import read_rois
from defacedask.io.dicom.structures import read_structures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from defacedask.defacers import Plan
    from defacedask.io.dicom.structures import Structure

__all__ = ["MOST_OF_SKIN", "check_structures", "follows_skin"]

#: mm of layer that there must be in front of a dose's surface, and mm behind the layer in which it is looked for.
LAYER_MM, GAP_MM = 3.0, 8.0
#: Part of the maximum below which a dose shows nothing; part to which it falls where it can still be seen.
LEAST_DOSE, STILL = 0.02, 0.7
#: Voxels of surface that say nothing; part of the surface that may stay, as of the face's skin (`LEAST_MOVED`).
FEW, MOST_OF_SKIN = 50, 0.10
#: Voxels within which a middle lies on a line: more than the decimals of a coordinate, and nothing to be seen.
ON_LINE = 1e-3


def check_structures(
    written: Written,
    plan: Plan,
    geometry: Geometry,
    additive: bool,
    *,
    frame: str = "",
    roles: Mapping[int, str] = MappingProxyType({}),
) -> dict[int, int]:
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
    roles : mapping
        See `write_structures`.

    Returns
    -------
    dict
        ROI number -> voxels of the image that the structure lost; without those that have no mask on the image.

    Raises
    ------
    DefacedaskError
    """
    try:
        before = {s.number: s for s in read_structures(written.source, geometry)}
        known = set(before)
    except RefusedError:  # none of them lies on the image
        before, known = {}, {roi.number for roi in read_rois(written.source)}
    try:
        grid = dataclasses.replace(geometry, frame_of_reference=frame) if frame else geometry
        after = {s.number: s for s in read_structures(written.path, grid)}
    except RefusedError:
        after = {}
    if set(after) - known:
        raise DefacedaskError(
            "the defaced structure set has structures that the original has not.", "Please report this."
        )
    boxes = {number: _around(old, after.get(number)) for number, old in before.items()}
    regions = _Regions(plan, geometry, list(boxes.values()))
    lost = {}
    for number, old in before.items():
        new = after.get(number)
        kept = ("colour", "interpreted_type", *(() if frame else ("original_name",)))
        if new is not None and any(getattr(new, name) != getattr(old, name) for name in kept):
            raise DefacedaskError(
                f"the structure {old.original_name} lost its name or colour.", "Please report this."
            )
        box = boxes[number]
        a = cut_out(old.mask, old.start, box)
        b = cut_out(new.mask, new.start, box) if new is not None else np.zeros_like(a)
        if np.array_equal(a, b) and old.refused:
            continue
        lost[number] = int(np.count_nonzero(np.greater(a, b)))
        name, kind = old.original_name, old.interpreted_type
        role = role_of(name, kind, roles.get(number, ""))
        outline = role == OUTLINE
        near = regions.near(box)
        if role == SKIN:
            if additive:
                continue  # whole contours go
            near = regions.grown(box, SKIN_MARGIN_MM + max(geometry.spacing))
        # of truth values greater is "and not", without an array for the "not": these are as large as the body
        beyond, grown = np.not_equal(a, b), np.greater(b, a)
        np.greater(beyond, near, out=beyond)
        if beyond.any() or (grown.any() and not outline):
            apart = _apart_from_edges(written, number, geometry, box, beyond | grown)
            beyond, grown = beyond & apart, grown & apart
        if beyond.any():
            raise DefacedaskError(
                f"the structure {name} changed outside the region ({int(beyond.sum())} voxels).",
                "Please report this.",
            )
        if not outline and grown.any():
            raise DefacedaskError(f"the structure {name} grew.", "Please report this.")
        del near, beyond, grown, a
        if outline:
            continue
        left = regions.deep(box)
        left &= b
        if left.any():
            raise DefacedaskError(
                f"the structure {name} still has {int(left.sum())} voxels in the region.",
                "Please report this.",
            )
    return lost


def _apart_from_edges(
    written: Written, number: int, geometry: Geometry, box: tuple[slice, ...], voxels: np.ndarray
) -> np.ndarray:
    """Which of some voxels do not lie on a line that is drawn in both files.

    Where a line is cut, its new end is written in decimals: a voxel whose middle lies on the line may fall to the
    other side of it, and says nothing.
    """
    import shapely

    files = [_lines(path, number, geometry) for path in (written.source, written.path)]
    out = voxels.copy()
    first = [part.start for part in box]
    for place in np.argwhere(voxels):
        plane, row, column = (place + first).tolist()
        middle = shapely.points(row, column)
        out[tuple(place)] = not all(
            plane in lines and shapely.distance(middle, lines[plane]).min() < ON_LINE for lines in files
        )
    return out


def _lines(path: str, number: int, geometry: Geometry) -> dict[int, list[Any]]:
    """Slice -> closed lines of a structure that are drawn nearest to it, in rows and columns."""
    import shapely

    out: dict[int, list[Any]] = {}
    for roi in read_rois(path):
        for contour in roi.contours if roi.number == number else ():
            at = geometry.to_index(contour)
            line = shapely.linestrings(at[[*range(len(at)), 0], 1:])
            out.setdefault(round(float(at[:, 0].mean())), []).append(line)
    return out


def _around(old: Structure, new: Structure | None) -> tuple[slice, ...]:
    """Box that holds both."""
    boxes = [old.box, *([new.box] if new is not None else [])]
    return tuple(
        slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) for axis in range(3)
    )


class _Regions:
    """The plan's region on the image, as far as boxes and what is grown into them need it; asked once."""

    def __init__(self, plan: Plan, geometry: Geometry, boxes: Sequence[tuple[slice, ...]]) -> None:
        self.plan, self.geometry = plan, geometry
        beyond = self._reach(SKIN_MARGIN_MM + max(geometry.spacing))
        self.known = tuple(
            slice(max(min(b[axis].start for b in boxes) - r, 0), min(max(b[axis].stop for b in boxes) + r, n))
            if boxes
            else slice(0, 0)
            for axis, (r, n) in enumerate(zip(beyond, geometry.shape, strict=True))
        )

    def _reach(self, mm: float) -> list[int]:
        """Voxels along each axis that hold so many mm."""
        return [int(np.ceil(mm / step)) + 1 for step in self.geometry.spacing]

    @functools.cached_property
    def whole(self) -> np.ndarray:
        """The region on the grid of the image; unset beyond what is ever asked for."""
        out = np.zeros(self.geometry.shape, bool)
        z, y, x = self.known
        # some slices at a time: a plan needs many times what it answers
        for first in range(z.start, z.stop, TOGETHER):
            last = min(first + TOGETHER, z.stop)
            part = self.geometry.block((first, y.start, x.start), (last, y.stop, x.stop))
            out[first:last, y, x] = np.asarray(self.plan.region(part))
        return out

    def near(self, box: tuple[slice, ...]) -> np.ndarray:
        """With a slice more on both sides: contours between slices see the region of their own plane."""
        mask, inner = self._with_neighbours(box)
        return _spread(mask)[inner]

    def deep(self, box: tuple[slice, ...]) -> np.ndarray:
        """With a slice less on both sides."""
        mask, inner = self._with_neighbours(box)
        out = mask.copy()
        out[1:] &= mask[:-1]
        out[:-1] &= mask[1:]
        return out[inner]

    def _with_neighbours(self, box: tuple[slice, ...]) -> tuple[np.ndarray, slice]:
        """The region in a box and the slices beside it, and where in that the box lies."""
        first = max(box[0].start - 1, 0)
        return self.whole[first : box[0].stop + 1, *box[1:]], slice(box[0].start - first, box[0].stop - first)

    def grown(self, box: tuple[slice, ...], mm: float) -> np.ndarray:
        """What lies within some mm of the region, in a box."""
        from defacedask.anatomy.distances import inner_distances

        # what is farther away than that from the box cannot reach into it
        wide = tuple(
            slice(max(s.start - r, 0), min(s.stop + r, n))
            for s, r, n in zip(box, self._reach(mm), self.geometry.shape, strict=True)
        )
        mask = self.whole[wide]
        inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True))
        if not mask.any():
            return mask[inner]
        return inner_distances(~mask, self.geometry.spacing)[inner] <= mm


def _spread(mask: np.ndarray) -> np.ndarray:
    """A mask and the slices before and after it."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    return out


def follows_skin(
    before: np.ndarray, after: np.ndarray, region: np.ndarray, spacing: Sequence[float]
) -> float:
    """How much of the surface that a dose had under an added layer can still be seen in it.

    Counted are the places where the dose fell by half or more on its way out, from one voxel to the next, with 3 mm
    of layer in front of them: how far the layer reaches is judged on the image. Looked for is a fall by 30 % or more
    on the same way, through the layer: no level is chosen, so that none can be missed.

    Parameters
    ----------
    before, after : (z, y, x) arrays
        Dose, in any unit, before and after defacing.
    region : bool array
        Where the layer is.
    spacing : (z, y, x)
        mm.

    Returns
    -------
    float
        Part of the places, 0 to 1; 0 if there are no more than `FEW` of them: no surface to speak of.
    """
    if not region.any():
        return 0.0
    margin = [int(np.ceil(GAP_MM / s)) + 3 for s in spacing]
    ends = [(int(i.min()), int(i.max()) + 1) for i in np.nonzero(region)]
    box = tuple(slice(max(a - m, 0), b + m) for (a, b), m in zip(ends, margin, strict=True))
    least = LEAST_DOSE * float(before.max(initial=0))
    there = left = 0
    for axis in range(3):
        for outward in (1, -1):
            old, new, layer = (np.moveaxis(a[box], axis, 0)[::outward] for a in (before, after, region))
            one, two = _falls(old, new, layer, least, spacing[axis])
            there, left = there + one, left + two
    return left / there if there > FEW else 0.0


def _falls(
    before: np.ndarray, after: np.ndarray, region: np.ndarray, least: float, step: float
) -> tuple[int, int]:
    """Places along the first axis where the dose fell with a layer in front, and where it still does."""
    thick = int(np.ceil(LAYER_MM / step))
    there = left = 0
    fell = np.zeros(before.shape, bool)
    fell[1:-1] = (before[1:-1] > least) & (before[2:] < 0.5 * before[1:-1])
    for gap in range(int(np.ceil(GAP_MM / step)) + 1):
        place = np.argwhere(fell)
        reach = gap + thick
        place = place[place[:, 0] + reach < len(before)]
        where = (place[:, 0] + np.arange(-1, reach + 1)[:, None], place[:, 1], place[:, 2])
        layer = region[where][2:]
        # the layer begins after the gap, and is thick enough
        meets = layer[gap:].all(axis=0) & ~layer[:gap].any(axis=0)
        dose = after[where][:, meets].astype(np.float64)
        there += int(meets.sum())
        left += int((dose[2:].min(axis=0) < STILL * dose[:2].max(axis=0)).sum())
        fell[tuple(place[meets].T)] = False
    return there, left

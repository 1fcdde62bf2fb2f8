"""RTSTRUCT: references moved, and no contour left that gives the face back.

Closed contours lose what lies in the plan's region (see `clip`), each by itself: holes that are contours of their
own stay holes. Those that overlap in part are clipped as the one area that they are (`defacedask.io.dicom.overlap`).
The body's outline, by name, type or shape (`body_shape`), takes the surface of the defaced image instead (between
slices that of the nearest). What follows the skin without being the outline (bolus, mask, shell, skin) loses a margin
around the region as well. A contour that does not meet the region keeps its bytes.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.structure_names import is_target_volume
from defacedask.geometry import Geometry
from defacedask.io.dicom.export.body_shape import OUTLINE, SKIN
from defacedask.io.dicom.export.clip import Plane, PlaneRegions, pieces, plane_of, traced, without_twins
from defacedask.io.dicom.export.encoding import target_syntax
from defacedask.io.dicom.export.image import Context, Written, save, start
from defacedask.io.dicom.export.lines import Line, put_line
from defacedask.io.dicom.overlap import as_polygon, clean, combined, only_areas
from defacedask.showing import counted
from defacedask.whole_files import file_hash

if TYPE_CHECKING:
    from defacedask.defacers import Plan

__all__ = ["Clipped", "clip_contours", "is_outline", "is_skin", "role_of", "write_structures"]

_OUTLINE = re.compile(
    r"(body|external|outline|contour|patient|skin ?(surface|contour|outline)?|surface|haut|aussen\w*|kontur)"
    r"[\s_-]*\d*",
    re.I,
)
_SKIN = re.compile(
    r"^(body|external)|bolus|mask|shell|thermoplast|skin|haut|rind\b|surface|immobili|\bwax", re.I
)
#: What follows the skin loses this much beside the region.
SKIN_MARGIN_MM = 10.0
#: Pieces of new surface smaller than this (mm²) are no part of a body's outline.
SMALLEST_MM2 = 100.0
_CONTOURS = 0x30060040

Surface = Callable[[int], np.ndarray | None]


def is_outline(name: str, kind: str) -> bool:
    """Whether a structure is the patient's outline: by its interpreted type, else by its name."""
    return (
        kind.upper() == "EXTERNAL"
        or (not kind and bool(_OUTLINE.fullmatch(name.strip())))
        or bool(re.fullmatch(r"(body|external|outline|skin)[\s_-]*\d*", name.strip(), re.I))
    )


def is_skin(name: str, kind: str) -> bool:
    """Whether a structure may follow the skin of the face without being the outline."""
    return kind.upper() in ("BOLUS", "FIXATION", "SUPPORT") or bool(_SKIN.search(name))


def role_of(name: str, kind: str, shape: str = "") -> str:
    """What a structure is to the skin: `OUTLINE`, `SKIN`, or "".

    Parameters
    ----------
    name, kind : str
        Name and interpreted type.
    shape : str
        What it is by its shape (`defacedask.io.dicom.export.body_shape`): heard where name and type say nothing.
    """
    if is_outline(name, kind):
        return OUTLINE
    return SKIN if is_skin(name, kind) else shape


@dataclasses.dataclass
class Clipped:
    """What happened to the contours of one structure."""

    name: str
    number: int
    changed: int = 0
    removed: int = 0
    left: int = 0
    target: bool = False

    @property
    def touched(self) -> bool:
        """Whether anything was taken of it."""
        return bool(self.changed or self.removed)

    def note(self) -> str:
        """One clause for the record."""
        return f"{self.name}: {counted(self.changed, 'contour')} clipped, {self.removed} removed, {self.left} left"


@dataclasses.dataclass(frozen=True)
class _Slot:
    """Place of a contour among those that stay."""

    plane: tuple
    number: int


def write_structures(
    source: str,
    plan: Plan,
    image: Geometry,
    surface: Surface,
    place: Callable[[str], Path],
    context: Context,
    *,
    additive: bool = False,
    roles: Mapping[int, str] = MappingProxyType({}),
    regions: PlaneRegions | None = None,
) -> tuple[Written, list[Clipped]]:
    """Write a structure set.

    Parameters
    ----------
    source : str
        File.
    plan : Plan
    image : Geometry
        Of the image the structures lie on.
    surface : callable
        ``surface(k)`` -> (row, column) bool: body of the defaced image in slice k, or None where not known.
    place, context
        See `write_images`.
    additive : bool
        The plan lays material on the face and takes none away: what follows the skin goes from every plane that
        meets the region, for it cannot be cut free of the face.
    roles : mapping
        ROI number -> what the structure is by its shape, whatever its name (`defacedask.io.dicom.export.body_shape`).
    regions : PlaneRegions, optional
        Of this plan on this image, where it was asked before.

    Returns
    -------
    Written, list of Clipped
    """
    dataset, syntax, dropped = start(source, context)
    source_uid = str(dataset.SOPInstanceUID)
    clipped = clip_contours(dataset, plan, image, surface, additive=additive, roles=roles, regions=regions)
    context.remap(dataset)
    context.mark(dataset, image=False)
    syntax, note = target_syntax(syntax)
    path = place(source)
    digest = save(dataset, path, syntax, context)
    notes = [note] if note else []
    notes += [one.note() for one in clipped if one.touched]
    written = Written(
        source,
        str(path),
        "RTSTRUCT",
        source_uid,
        str(dataset.SOPInstanceUID),
        file_hash(source),
        digest,
        0,
        tuple(dropped),
        tuple(notes),
    )
    return written, clipped


def clip_contours(
    dataset: Any,
    plan: Plan,
    image: Geometry,
    surface: Surface,
    *,
    additive: bool = False,
    roles: Mapping[int, str] = MappingProxyType({}),
    regions: PlaneRegions | None = None,
) -> list[Clipped]:
    """Clip all contours of a dataset in place (RTSTRUCT, or the isodoses of an RTDOSE).

    Parameters are those of `write_structures`.

    Returns
    -------
    list of Clipped
        One a structure.
    """
    names, kinds, frames = {}, {}, {}
    for item in dataset.get("StructureSetROISequence", None) or ():
        number = int(item.ROINumber)
        names[number] = str(item.get("ROIName", "") or "")
        frames[number] = str(item.get("ReferencedFrameOfReferenceUID", "") or "")
    for item in dataset.get("RTROIObservationsSequence", None) or ():
        kinds[int(item.get("ReferencedROINumber") or -1)] = str(item.get("RTROIInterpretedType", "") or "")
    regions = regions or PlaneRegions(plan, image)
    out = []
    for roi in dataset.get("ROIContourSequence", None) or ():
        number = int(roi.get("ReferencedROINumber") or -1)
        name, kind = names.get(number, ""), kinds.get(number, "")
        result = Clipped(name or f"ROI {number}", number, target=is_target_volume(name, kind))
        out.append(result)
        if _CONTOURS not in roi or not roi[_CONTOURS].value:
            continue
        frame = frames.get(number, "")
        if frame and image.frame_of_reference and frame != image.frame_of_reference:
            # where it lies against the face is not known here
            result.removed = len(roi[_CONTOURS].value)
            del roi[_CONTOURS]
            continue
        role = role_of(name, kind, roles.get(number, ""))
        _clip_roi(roi, role == OUTLINE, role == SKIN, result, regions, image, surface, additive)
        if result.changed or result.removed:
            for item in dataset.get("StructureSetROISequence", None) or ():
                if int(item.ROINumber) == number and "ROIVolume" in item:
                    del item.ROIVolume  # of the structure as it was
    return out


def _clip_roi(
    roi: Any,
    outline: bool,
    skin: bool,
    result: Clipped,
    regions: PlaneRegions,
    image: Geometry,
    surface: Surface,
    additive: bool,
) -> None:
    from pydicom.sequence import Sequence

    grow = SKIN_MARGIN_MM if skin else 0.0
    flat = bool(getattr(regions.plan, "flat", False))
    kept: list[Any] = []
    by_plane: dict[tuple, tuple[Plane, list[tuple[Any, Line]]]] = {}
    for contour in roi[_CONTOURS].value:
        line = Line.of(contour)
        shape = str(contour.get("ContourGeometricType", "") or "").upper()
        if line is None:
            result.removed += 1  # unreadable: cannot be cleared
            continue
        closed = shape in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR") and len(line.points) >= 3
        plane = plane_of(line.points, image) if closed else None
        if plane is None:
            if _any_inside(line.points, regions, image):
                result.removed += 1
            else:
                kept.append(contour)
            continue
        if plane.across and not flat and _meets(line, plane, regions, grow):
            # no shape was looked at on its plane, and the edge of the region runs along the skin
            result.removed += 1
            continue
        if additive and grow and _meets(line, plane, regions, grow):
            result.removed += 1
            continue
        group = by_plane.setdefault(plane.key, (plane, []))[1]
        kept.append(_Slot(plane.key, len(group)))
        group.append((contour, line))
    rest = {}
    for key, (plane, group) in by_plane.items():
        if outline and plane.nearest is not None:
            # one surface for all of them, in the place of the first
            new = _new_outline(group, plane, regions, surface, image, result)
            rest[key] = [new, *([] for _ in group[1:])]
        else:
            rest[key] = _clip_plane(group, plane, regions.polygon(plane, grow), result)
    final = []
    for one in kept:
        final += rest[one.plane][one.number] if isinstance(one, _Slot) else [one]
    result.left = len(final)
    if not (result.changed or result.removed):
        return
    if final:
        roi[_CONTOURS].value = Sequence(final)
    else:
        del roi[_CONTOURS]


def _meets(line: Line, plane: Plane, regions: PlaneRegions, grow: float) -> bool:
    """Whether the area of a closed contour meets the region, grown by ``grow`` mm."""
    area = as_polygon(plane.grid.to_index(line.points)[:, 1:])
    return bool(regions.polygon(plane, grow).intersects(area))


def _any_inside(points: np.ndarray, regions: PlaneRegions, image: Geometry) -> bool:
    """Whether a point, or a point on the way to the next, lies in the region."""
    if len(points) > 1:
        ends = np.concatenate([points[1:], points[:1]])
        points = np.concatenate([points + (ends - points) * t for t in (0.0, 0.25, 0.5, 0.75)])
    for point in points:
        grid = Geometry.from_spacing((1, 1, 1), (1, 1, 1), point, image.frame_of_reference)
        if bool(np.asarray(regions.plan.region(grid)).any()):
            return True
    return False


def _clip_plane(group: list[tuple[Any, Line]], plane: Plane, region: Any, result: Clipped) -> list[list[Any]]:
    """What is left of each contour of a plane."""
    import shapely

    areas: list[Any] = []
    parts: list[list[Any]] = []
    drawn = [as_polygon(plane.grid.to_index(line.points)[:, 1:]) for _, line in group]
    xor = [_is_xor(contour) for contour, _ in group]
    if not region.is_empty and not any(xor) and not clean(drawn):
        # what is left of them might be read otherwise than they were together: they are clipped as one
        return _clip_together(group, combined(drawn, xor), plane, region, result)
    for area in drawn:
        met = not region.is_empty and region.intersects(area)
        areas.append(area if met else None)
        rest = only_areas(area.difference(region)) if met else shapely.MultiPolygon()
        parts.append(list(shapely.get_parts(rest)))
    counts = [len(one) for one in parts]
    without_twins(parts)
    out = []
    for (contour, line), area, left, count in zip(group, areas, parts, counts, strict=True):
        rest = shapely.MultiPolygon(left)
        if area is None or (len(left) == count and abs(rest.area - area.area) <= 1e-6 * max(area.area, 1.0)):
            out.append([contour])
        else:
            out.append(_replaced([(contour, line)], rest, plane, result))
    return out


def _clip_together(
    group: list[tuple[Any, Line]], area: Any, plane: Plane, region: Any, result: Clipped
) -> list[list[Any]]:
    """What is left of contours that overlap in part, as the one area that they are, in the place of the first."""
    rest = only_areas(area.difference(region)) if region.intersects(area) else area
    if abs(rest.area - area.area) <= 1e-6 * max(area.area, 1.0):
        return [[contour] for contour, _ in group]
    return [_replaced(group, rest, plane, result), *([] for _ in group[1:])]


def _is_xor(contour: Any) -> bool:
    return str(contour.get("ContourGeometricType", "") or "").upper() == "CLOSEDPLANAR_XOR"


def _new_outline(
    group: list[tuple[Any, Line]],
    plane: Plane,
    regions: PlaneRegions,
    surface: Surface,
    image: Geometry,
    result: Clipped,
) -> list[Any]:
    """The outline without the region, and with the surface that the defaced image has there."""
    region = regions.polygon(plane)
    contours = [contour for contour, _ in group]
    if region.is_empty:
        return contours
    area: Any = combined(
        [as_polygon(plane.grid.to_index(line.points)[:, 1:]) for _, line in group],
        [_is_xor(contour) for contour in contours],
    )
    added = _surface_in(plane, regions, surface, image)
    if not region.intersects(area) and added.is_empty:
        return contours
    rest = only_areas(area.difference(region))
    if not added.is_empty:
        # closes the slit that rounding leaves between what stays and what is new
        eps = 1e-4
        rest = only_areas(rest.union(added).buffer(eps, join_style="mitre").buffer(-eps, join_style="mitre"))
    if rest.symmetric_difference(area).area <= 1e-6 * max(area.area, 1.0):
        return contours
    return _replaced(group, rest, plane, result)


def _surface_in(plane: Plane, regions: PlaneRegions, surface: Surface, image: Geometry) -> Any:
    """Body of the defaced image inside the region, in (row, column) of the plane."""
    import shapely

    body = surface(plane.nearest) if plane.nearest is not None else None
    if body is None:
        return shapely.MultiPolygon()
    first = np.rint(image.to_index(plane.grid.origin)).astype(int)[1:]
    whole = np.zeros(plane.grid.shape[1:], bool)
    whole[-first[0] : -first[0] + body.shape[0], -first[1] : -first[1] + body.shape[1]] = body
    pixel = plane.grid.spacing[1] * plane.grid.spacing[2]
    area = traced(whole & regions.mask(plane))
    return shapely.MultiPolygon([p for p in shapely.get_parts(area) if p.area * pixel >= SMALLEST_MM2])


def _replaced(group: list[tuple[Any, Line]], area: Any, plane: Plane, result: Clipped) -> list[Any]:
    """Items for an area, made from those of a group; vertices that stay keep their text."""
    texts: dict[tuple[float, float], tuple[bytes, bytes, bytes]] = {}
    for _, line in group:
        flat = plane.grid.to_index(line.points)[:, 1:]
        texts.update(zip(map(tuple, flat.tolist()), line.texts, strict=True))
    everywhere = [t for _, line in group for t in line.texts]
    common = tuple(
        next(iter(c)) if len(c := {t[axis] for t in everywhere}) == 1 else None for axis in range(3)
    )
    lines = pieces(area)
    if not lines:
        result.removed += len(group)
        return []
    result.changed += len(group)
    out = []
    for number, ring in enumerate(lines):
        item = copy.deepcopy(group[min(number, len(group) - 1)][0])
        if number >= len(group):
            for keyword in ("ContourNumber", "AttachedContours"):
                if keyword in item:
                    delattr(item, keyword)
        put_line(item, ring, plane, texts, common)
        out.append(item)
    return out

"""RTSTRUCT to masks: every structure on the voxels of the image it belongs to.

Contours of one plane are combined by exclusive or (holes, islands, keyholes; as ``plastimatch convert
--xor-contours``, whose masks ours equal voxel for voxel), but for those that overlap in part, which are united (see
`defacedask.io.dicom.overlap`). A slice takes the contour plane nearest to it, see
`defacedask.io.dicom.contours`. What cannot be used is said on the structure itself, and never replaced by a guess.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.anatomy.structure_names import standard_names
from defacedask.boxes import bounds
from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.contours import plane_spacing, rasterise, slices_from_planes
from defacedask.io.dicom.overlap import united_planes
from defacedask.io.dicom.rois import Roi, read_rois

__all__ = ["Structure", "read_structures"]

#: Points of one contour may leave its plane by this part of the slice spacing.
_FLATNESS = 0.1
#: Contour planes closer than this part of the slice spacing are one plane.
_SAME_PLANE = 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """One region of interest on an image's grid.

    Parameters
    ----------
    name : str
        Name of the study, or its own (`defacedask.anatomy.structure_names`); unique in its structure set.
    original_name : str
        As written in the RTSTRUCT.
    number : int
        ROI number.
    colour : tuple of int
        Display colour, RGB 0..255.
    interpreted_type : str
        RT ROI interpreted type (PTV, ORGAN, EXTERNAL, ...), or "".
    start : tuple of int
        Index (z, y, x) of the box's first voxel in the image.
    mask : numpy.ndarray
        (z, y, x) bool, the box cropped to the structure; (1, 1, 1) False if it has no voxel.
    warnings : tuple of str
        What was ignored or is unusual, one sentence each.
    refused : str
        Why the structure's contours could not be used at all, or "".
    """

    name: str
    original_name: str
    number: int
    colour: tuple[int, int, int]
    interpreted_type: str
    start: tuple[int, int, int]
    mask: np.ndarray
    warnings: tuple[str, ...] = ()
    refused: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the box (z, y, x)."""
        return self.mask.shape

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the mask lies: ``image[structure.box]`` has the mask's shape."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.mask.shape, strict=True))  # type: ignore[return-value]

    @property
    def voxels(self) -> int:
        """Number of voxels inside."""
        return int(np.count_nonzero(self.mask))

    @property
    def empty(self) -> bool:
        """Whether no voxel is inside."""
        return not self.mask.any()

    def full(self, shape: Sequence[int]) -> np.ndarray:
        """Mask on the whole image of ``shape`` (z, y, x)."""
        out = np.zeros(tuple(shape), dtype=bool)
        out[self.box] = self.mask
        return out


def read_structures(series: Any, geometry: Geometry) -> list[Structure]:
    """Read all regions of interest of a structure set as masks on an image's grid.

    Parameters
    ----------
    series : Series, path, or sequence of paths
        The RTSTRUCT; a series of several files gives the structures of all, in order.
    geometry : Geometry
        Of the image. Oblique and sheared grids are fine as long as the contours lie in its slices.

    Returns
    -------
    list of Structure
        In the order of the structure set. Empty ones are there too, with the reason in ``warnings`` or
        ``refused``.

    Raises
    ------
    InputError
        If a file is not a readable RTSTRUCT.
    RefusedError
        If there are closed contours and not one structure can be used: contours across the slices, or in
        another frame of reference.
    """
    found: list[Roi] = []
    for path in _files(series):
        found += read_rois(path)
    for roi in found:
        _place(roi, geometry)
    usual = plane_spacing([roi.planes for roi in found])
    boxes = [_fill(roi, geometry, usual) for roi in found]
    if any(roi.refused for roi in found) and all(roi.refused or not roi.closed for roi in found):
        first = next(roi for roi in found if roi.refused)
        raise RefusedError(
            f"no structure of {Path(first.path).name} lies on this image: {first.refused}",
            "Give the image the structures were drawn on.",
        )
    names = standard_names(
        [roi.name or f"ROI_{roi.number}" for roi in found], [not mask.any() for _, mask in boxes]
    )
    return [
        Structure(
            name, roi.name, roi.number, roi.colour, roi.kind, start, mask, tuple(roi.warnings), roi.refused
        )
        for name, roi, (start, mask) in zip(names, found, boxes, strict=True)
    ]


def _files(series: Any) -> list[str]:
    if isinstance(series, (str, os.PathLike)):
        return [os.fspath(series)]
    return [os.fspath(p) for p in getattr(series, "files", series)]


def _place(roi: Roi, geometry: Geometry) -> None:
    """Contours to polygons in index coordinates and the planes they lie in."""
    if not roi.contours or roi.refused:
        return
    if roi.frame and geometry.frame_of_reference and roi.frame != geometry.frame_of_reference:
        roi.refused = "its frame of reference is not the image's."
        return
    sizes = np.array([len(c) for c in roi.contours])
    index = geometry.to_index(np.concatenate(roi.contours))
    ends = np.cumsum(sizes)[:-1]
    starts = np.concatenate([[0], ends])
    k = index[:, 0]
    leaves = np.maximum.reduceat(k, starts) - np.minimum.reduceat(k, starts)
    if (leaves > 2 * _FLATNESS).any():
        across = int((leaves > 2 * _FLATNESS).sum())
        roi.refused = (
            f"{across} of its {len(sizes)} contours do not lie in the image's slices "
            f"(they run through up to {leaves.max():.1f} slices); "
            "only contours parallel to the slices can be used."
        )
        return
    height = np.add.reduceat(k, starts) / sizes
    order = np.argsort(height, kind="stable")
    new = np.concatenate([[True], np.diff(height[order]) > _SAME_PLANE])
    plane = np.cumsum(new) - 1
    roi.plane_of = np.empty(len(sizes), dtype=np.int64)
    roi.plane_of[order] = plane
    roi.planes = np.bincount(plane, weights=height[order]) / np.bincount(plane)
    roi.polygons = np.split(index[:, 1:], ends)


def _fill(roi: Roi, geometry: Geometry, usual: float) -> tuple[tuple[int, int, int], np.ndarray]:
    """Mask of one region, cropped to its voxels."""
    nothing = (0, 0, 0), np.zeros((1, 1, 1), dtype=bool)
    if roi.refused:
        roi.warnings.append(f"not used: {roi.refused}")
        return nothing
    if not roi.polygons:
        roi.warnings.append("it has no closed contour.")
        return nothing
    steps = geometry.affine[:3, :3]
    normal = np.cross(steps[:, 1], steps[:, 2])
    normal /= np.linalg.norm(normal)
    apart = abs(float(normal @ steps[:, 0]))
    # up: towards the patient's left, back or head, whichever the slice axis runs along
    up = bool(steps[np.argmax(np.abs(steps[:, 0])), 0] > 0)
    source = slices_from_planes(roi.planes, geometry.shape[0], apart, usual, up)
    slices = np.flatnonzero(source >= 0)
    used = np.unique(source[slices])
    if len(used) < len(roi.planes):
        inside = (roi.planes > -0.5) & (roi.planes < geometry.shape[0] - 0.5)
        outside, crowded = int((~inside).sum()), int(inside.sum()) - len(used)
        if outside > 0:
            roi.warnings.append(f"{outside} of its {len(roi.planes)} contour planes lie outside the image.")
        if crowded > 0:
            roi.warnings.append(f"{crowded} contour planes were left out: a slice takes only the nearest.")
    if len(slices) > len(used) > 0:
        roi.warnings.append(
            "contours lie farther apart than the slices: each slice takes the nearest contour."
        )
    if len(slices) and np.any(np.diff(slices) > 1):
        gaps = int((np.diff(slices) - 1).sum())
        roi.warnings.append(f"{gaps} slices between its contours are empty.")
    if len(slices) == 0:
        roi.warnings.append("it lies outside the image.")
        return nothing
    take = np.isin(roi.plane_of, used)
    renumber = np.searchsorted(used, roi.plane_of[take])
    polygons = [p for p, keep in zip(roi.polygons, take, strict=True) if keep]
    xor = [one for one, keep in zip(roi.xor, take, strict=True) if keep]
    planes, corner = _united(roi, polygons, renumber.tolist(), xor, geometry.shape[1:], len(used))
    if not planes.any():
        beyond = _beyond(polygons, geometry.shape[1:])
        roi.warnings.append(
            "it lies outside the image." if beyond else "it is too small to hold a voxel centre."
        )
        return nothing
    mask = np.zeros((int(slices[-1] - slices[0]) + 1, *planes.shape[1:]), dtype=bool)
    mask[slices - slices[0]] = planes[np.searchsorted(used, source[slices])]
    if _reaches_out(polygons, geometry.shape[1:]):
        roi.warnings.append("it reaches beyond the image; the part inside is used.")
    return _crop(mask, (int(slices[0]), *corner))


def _united(
    roi: Roi,
    polygons: list[np.ndarray],
    planes: list[int],
    xor: list[bool],
    shape: tuple[int, int],
    count: int,
) -> tuple[np.ndarray, tuple[int, int]]:
    """`rasterise`, with contours that overlap in part as one area."""
    groups = united_planes(polygons, planes, xor)
    if not groups:
        return rasterise(polygons, planes, shape, count)
    contours = sum(len(group) for some in groups.values() for group in some)
    roi.warnings.append(
        f"{contours} of its contours overlap in part, in {len(groups)} of {count} planes: they are united."
    )
    # each of them in a plane of its own, so that all edges follow one rule
    extra = count
    where: list[tuple[int, list[int]]] = []
    planes = list(planes)
    for plane, some in groups.items():
        for group in some:
            for k in group:
                planes[k] = extra
                extra += 1
            where.append((plane, [planes[k] for k in group]))
    filled, corner = rasterise(polygons, planes, shape, extra)
    out = filled[:count].copy()
    for plane, members in where:
        out[plane] ^= filled[members].any(axis=0)
    return out, corner


def _beyond(polygons: Sequence[np.ndarray], shape: Sequence[int]) -> bool:
    points = np.concatenate(polygons)
    high = np.array(shape) - 0.5
    return bool((points.max(axis=0) < -0.5).any() or (points.min(axis=0) > high).any())


def _reaches_out(polygons: Sequence[np.ndarray], shape: Sequence[int]) -> bool:
    points = np.concatenate(polygons)
    return bool((points < -1).any() or (points > np.array(shape)).any())


def _crop(mask: np.ndarray, start: tuple[int, int, int]) -> tuple[tuple[int, int, int], np.ndarray]:
    box = bounds(mask)
    assert box is not None
    z, y, x = (from_ + s.start for from_, s in zip(start, box, strict=True))
    return (z, y, x), np.ascontiguousarray(mask[box])

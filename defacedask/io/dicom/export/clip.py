"""Contours against a plan's region: polygon difference in the plane of each contour.

A contour is taken into the (row, column) coordinates of its plane. The region on that plane is traced half-way
between voxels, so that a voxel centre lies inside the traced region exactly if the plan may change it: masks made
from the clipped contours are the old masks without the region, voxel for voxel.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.boxes import bounds
from defacedask.geometry import Geometry
from defacedask.io.dicom.overlap import SPECK

if TYPE_CHECKING:
    from defacedask.defacers import Plan

__all__ = ["TOGETHER", "Plane", "PlaneRegions", "pieces", "plane_of", "traced", "usual_box", "without_twins"]

#: First part of the key of a plane that runs across the slices.
ACROSS = "across"
#: Contour planes this close to a slice (in slices) lie on it.
ON_SLICE = 1e-2
#: Points of a contour may leave its plane by this many mm.
FLAT_MM = 0.5
#: Pixels of a plane around the image; slices of which the region is asked together.
AROUND, TOGETHER = 2, 16


@dataclasses.dataclass(frozen=True)
class Plane:
    """A flat grid on which contours lie.

    Attributes
    ----------
    key : tuple
        The same for contours of one plane.
    grid : Geometry
        One slice; its rows and columns may begin outside the image.
    slice : int or None
        Index of the image's slice it coincides with.
    nearest : int or None
        Index of the image's slice nearest to a plane that is parallel to its slices and among them.
    """

    key: tuple
    grid: Geometry
    slice: int | None
    nearest: int | None = None

    @property
    def across(self) -> bool:
        """Whether it runs across the slices."""
        return self.key[0] == ACROSS


def usual_box(image: Geometry) -> tuple[int, int, int, int]:
    """First row, first column, and one beyond the last of each, of planes on an image: some pixels around it."""
    return (-AROUND, -AROUND, image.shape[1] + AROUND, image.shape[2] + AROUND)


def plane_of(points: np.ndarray, image: Geometry) -> Plane | None:
    """Plane of one contour, or None if its points lie in no plane.

    Parameters
    ----------
    points : (n, 3) array
        LPS mm.
    image : Geometry
        Of the image; contours parallel to its slices use its own rows and columns.
    """
    index = image.to_index(points)
    k = float(index[:, 0].mean())
    if np.ptp(index[:, 0]) * image.spacing[0] <= FLAT_MM:
        box = usual_box(image)
        low, high = index[:, 1:].min(axis=0), index[:, 1:].max(axis=0)
        first = tuple(min(b, int(np.floor(at)) - 2) for b, at in zip(box[:2], low, strict=True))
        last = tuple(max(b, int(np.ceil(at)) + 3) for b, at in zip(box[2:], high, strict=True))
        on = abs(k - round(k)) <= ON_SLICE
        if on:
            k = round(k)
            grid = image.block((k, *first), (k + 1, *last))
            there = k if 0 <= k < image.shape[0] else None
            return Plane((k, *first, *last), grid, there, there)
        affine = image.affine.copy()
        affine[:3, 3] = image.to_world((k, *first))
        grid = Geometry((1, last[0] - first[0], last[1] - first[1]), affine, image.frame_of_reference)
        near = round(k) if -0.5 < k < image.shape[0] - 0.5 else None
        return Plane((round(k, 3), *first, *last), grid, None, near)
    return _other_plane(points, image)


def _other_plane(points: np.ndarray, image: Geometry) -> Plane | None:
    """Millimetre grid on the plane of a contour that runs across the slices."""
    centre = points.mean(axis=0)
    _, _, axes = np.linalg.svd(points - centre, full_matrices=False)
    if len(points) < 3 or np.abs((points - centre) @ axes[2]).max() > FLAT_MM:
        return None
    u, v = (points - centre) @ axes[0], (points - centre) @ axes[1]
    shape = (1, int(np.ptp(v)) + 6, int(np.ptp(u)) + 6)
    origin = centre + axes[0] * (u.min() - 2) + axes[1] * (v.min() - 2)
    grid = Geometry.from_steps(shape, origin, axes[2], axes[1], axes[0], image.frame_of_reference)
    return Plane((ACROSS, *np.round(centre, 3), len(points)), grid, None)


def traced(mask: np.ndarray) -> Any:
    """Outline of a (row, column) mask half-way between pixels, as polygons in (row, column)."""
    import shapely
    from contourpy import FillType, contour_generator

    box = bounds(mask)
    if box is None:
        return shapely.MultiPolygon()
    # a pixel around what is set, where the array goes on: at its end the outline runs through pixel centres
    first = [max(s.start - 1, 0) for s in box]
    part = mask[tuple(slice(a, s.stop + 1) for a, s in zip(first, box, strict=True))]
    lines = contour_generator(z=part.astype(np.float64), fill_type=FillType.OuterOffset).filled(0.5, 2.0)
    polygons = []
    for points, offsets in zip(*lines, strict=True):
        rings = [points[a:b][:, ::-1] + first for a, b in itertools.pairwise(offsets)]
        polygon = shapely.Polygon(rings[0], rings[1:])
        polygons.append(polygon if polygon.is_valid else shapely.make_valid(polygon, method="linework"))
    return shapely.union_all(polygons)


class PlaneRegions:
    """The plan's region on planes, each asked once; for slices of the image, many at a time.

    Parameters
    ----------
    plan : Plan
    image : Geometry
        On which the contours lie.
    """

    def __init__(self, plan: Plan, image: Geometry) -> None:
        self.plan, self.image = plan, image
        self._masks: dict[tuple, np.ndarray] = {}
        self._polygons: dict[tuple, Any] = {}

    def mask(self, plane: Plane) -> np.ndarray:
        """(row, column) bool of the plane's grid."""
        if plane.key not in self._masks:
            if plane.slice is None:
                self._masks[plane.key] = np.asarray(self.plan.region(plane.grid))[0]
            else:
                self._ask_slices(plane.slice, plane.key[1:])
        return self._masks[plane.key]

    def _ask_slices(self, k: int, box: tuple[int, int, int, int]) -> None:
        """Ask for a slice and those around it: the plan answers for many almost as fast as for one."""
        first = k // TOGETHER * TOGETHER
        last = min(first + TOGETHER, self.image.shape[0])
        slab = self.image.block((first, *box[:2]), (last, *box[2:]))
        found = np.asarray(self.plan.region(slab))
        self._masks.update({(j, *box): found[j - first] for j in range(first, last)})

    def whole(self) -> np.ndarray:
        """(z, row, column) bool of the image's grid."""
        (nz, ny, nx), box = self.image.shape, usual_box(self.image)
        out = np.empty((nz, ny, nx), bool)
        for k in range(nz):
            plane = Plane((k, *box), self.image.block((k, *box[:2]), (k + 1, *box[2:])), k)
            out[k] = self.mask(plane)[-box[0] : -box[0] + ny, -box[1] : -box[1] + nx]
        return out

    def polygon(self, plane: Plane, grow_mm: float = 0.0) -> Any:
        """Region in (row, column) of the plane's grid, grown by ``grow_mm``."""
        import shapely

        key = (plane.key, grow_mm)
        if key not in self._polygons:
            if grow_mm:
                from scipy.ndimage import distance_transform_edt

                mask = self.mask(plane)
                near = mask
                if mask.any():
                    near = distance_transform_edt(~mask, sampling=plane.grid.spacing[1:]) <= grow_mm
                area = traced(near)
            else:
                area = traced(self.mask(plane))
            shapely.prepare(area)
            self._polygons[key] = area
        return self._polygons[key]


def pieces(area: Any) -> list[np.ndarray]:
    """Closed lines (n, 2) of an area, one a polygon; holes joined to their outer line by a keyhole."""
    import shapely

    out = []
    for polygon in shapely.get_parts(area):
        if polygon.geom_type == "MultiPolygon":
            out += pieces(polygon)
        elif polygon.geom_type == "Polygon" and polygon.area > SPECK:
            out.append(_keyhole(polygon))
    return out


def _keyhole(polygon: Any) -> np.ndarray:
    ring = np.asarray(polygon.exterior.coords)[:-1]
    holes = sorted((np.asarray(r.coords)[:-1] for r in polygon.interiors), key=lambda h: h[:, 0].min())
    for hole in holes:
        # nearest pair of vertices; parity makes the bridge vanish even if it crosses another
        distance = ((ring[:, None, :] - hole[None, :, :]) ** 2).sum(axis=2)
        i, j = np.unravel_index(int(distance.argmin()), distance.shape)
        ring = np.concatenate([ring[: i + 1], np.roll(hole, -j, axis=0), hole[j : j + 1], ring[i:]])
    return ring


def without_twins(parts: list[list[Any]]) -> None:
    """Take away pairs, in place: a piece of an area within its hole, and the same piece of the hole.

    By the even-odd rule they are nothing together, but twice the same line is read as one by some.

    Parameters
    ----------
    parts : list of lists of polygons
        Pieces of each contour of a plane.
    """
    for i, first in enumerate(parts):
        for second in parts[i + 1 :]:
            for one in list(first):
                twin = next((two for two in second if _same(one, two)), None)
                if twin is not None:
                    first.remove(one)
                    second.remove(twin)


def _same(one: Any, two: Any) -> bool:
    near = np.allclose(one.bounds, two.bounds, atol=1e-2)
    return bool(near and one.symmetric_difference(two).area <= SPECK)

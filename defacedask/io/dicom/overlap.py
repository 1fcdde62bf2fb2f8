"""Closed contours of one plane that overlap: holes where one lies in another, one area where they cross.

CLOSED_PLANAR says nothing of how several contours of a plane go together (PS3.3 C.8.8.6.3). One that lies wholly in
another is read as a hole, as planning systems write holes; two that overlap in part are meant as one area. Only
CLOSEDPLANAR_XOR says exclusive or, and then it is that, whatever overlaps.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["as_polygon", "clean", "combined", "crossing", "only_areas", "united_planes"]

#: Pieces smaller than this many pixels are rounding.
SPECK = 1e-3
#: Overlaps, and parts beyond another's edge, thinner than this many pixels are rounding.
THIN = 0.05
#: A hole may reach beyond the contour it lies in by this part of its area, if it is this part smaller.
BEYOND, SMALLER = 0.02, 0.8


def as_polygon(points: np.ndarray) -> Any:
    """Area inside a closed line by the even-odd rule; keyholes become holes."""
    import shapely

    polygon = shapely.Polygon(points)
    return polygon if polygon.is_valid else only_areas(shapely.make_valid(polygon, method="linework"))


def only_areas(geometry: Any) -> Any:
    """Polygons of a geometry as one MultiPolygon."""
    import shapely

    parts = [p for p in shapely.get_parts(geometry) if p.geom_type in ("Polygon", "MultiPolygon")]
    flat = [q for p in parts for q in shapely.get_parts(p) if q.area > SPECK]
    return shapely.MultiPolygon(flat)


def crossing(areas: Sequence[Any]) -> list[list[int]]:
    """Which areas of a plane belong together because they overlap in part, or are one drawn twice.

    Parameters
    ----------
    areas : sequence of shapely areas
        Of one plane, in pixels.

    Returns
    -------
    list of list of int
        Groups of two or more, indices ascending; what is in no group is a hole, an island, or stands alone.
    """
    parent = list(range(len(areas)))

    def root(k: int) -> int:
        while parent[k] != k:
            k = parent[k]
        return k

    for i, j in itertools.combinations(range(len(areas)), 2):
        if root(i) != root(j) and _cross(areas[i], areas[j]):
            parent[max(root(i), root(j))] = min(root(i), root(j))
    groups: dict[int, list[int]] = {}
    for k in range(len(areas)):
        groups.setdefault(root(k), []).append(k)
    return [group for _, group in sorted(groups.items()) if len(group) > 1]


def _cross(one: Any, other: Any) -> bool:
    a, b = one.bounds, other.bounds
    if not a or not b or a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]:
        return False
    small, large = (one, other) if one.area <= other.area else (other, one)
    both = small.intersection(large).area
    rim = THIN * small.length
    if both <= min(rim, 0.5 * small.area):
        return False  # neighbours that touch
    beyond, around = small.area - both, large.area - both
    if beyond <= rim:
        return bool(around <= rim)  # a hole, or the same contour twice
    return not (beyond <= BEYOND * small.area and small.area < SMALLER * large.area)


def clean(areas: Sequence[Any]) -> bool:
    """Whether no two areas have edges that cross: each pair is apart, or one lies wholly in the other."""
    for one, other in itertools.combinations(areas, 2):
        a, b = one.bounds, other.bounds
        if not a or not b or a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]:
            continue
        both = one.intersection(other).area
        if both > SPECK and min(one.area, other.area) - both > SPECK:
            return False
    return True


def combined(areas: Sequence[Any], xor: Sequence[bool]) -> Any:
    """Area of all contours of a plane together.

    Parameters
    ----------
    areas : sequence of shapely areas
    xor : sequence of bool
        Which of them are CLOSEDPLANAR_XOR.

    Returns
    -------
    shapely area
    """
    import shapely

    groups = [] if any(xor) else crossing(areas)
    grouped = {k for group in groups for k in group}
    parts = [areas[k] for k in range(len(areas)) if k not in grouped]
    parts += [shapely.union_all([areas[k] for k in group]) for group in groups]
    total: Any = shapely.MultiPolygon()
    for part in parts:
        total = total.symmetric_difference(part)
    return total


def united_planes(
    polygons: Sequence[np.ndarray], planes: Sequence[int], xor: Sequence[bool]
) -> dict[int, list[list[int]]]:
    """Plane -> groups of its polygons that overlap in part.

    Parameters
    ----------
    polygons : sequence of (n, 2) arrays
        Vertices (row, column) of the closed lines.
    planes : sequence of int
    xor : sequence of bool
        CLOSEDPLANAR_XOR: such planes have no groups.
    """
    members: dict[int, list[int]] = {}
    for k, plane in enumerate(planes):
        members.setdefault(int(plane), []).append(k)
    out = {}
    for plane, own in members.items():
        if len(own) < 2 or any(xor[k] for k in own) or not _touching([polygons[k] for k in own]):
            continue
        groups = crossing([as_polygon(polygons[k]) for k in own])
        if groups:
            out[plane] = [[own[k] for k in group] for group in groups]
    return out


def _touching(polygons: Sequence[np.ndarray]) -> bool:
    """Whether any two boxes overlap: cheap, and most planes end here."""
    low = np.array([p.min(axis=0) for p in polygons])
    high = np.array([p.max(axis=0) for p in polygons])
    meet = ((low[:, None] < high[None]) & (low[None] < high[:, None])).all(axis=2)
    return bool(meet.sum() > len(polygons))

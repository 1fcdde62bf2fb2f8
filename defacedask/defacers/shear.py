"""The geometry of a shear: the lower hull of a profile, the edge a plane is laid along, and half-spaces."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from defacedask.geometry import Geometry

__all__ = ["beyond_planes", "first_edge", "front_edge", "half_space", "lower_chain", "order_of", "outline"]


def outline(profile: np.ndarray) -> np.ndarray:
    """Pixels whose four neighbours are not all like themselves; outside the picture there is nothing.

    Parameters
    ----------
    profile : 2D bool array

    Returns
    -------
    bool array, one pixel larger on every side
    """
    padded = np.pad(np.asarray(profile, dtype=bool), 2).astype(np.int8)
    centre = padded[1:-1, 1:-1]
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return around != 4 * centre


def lower_chain(profile: np.ndarray) -> np.ndarray:
    """Lower convex hull of a profile's outline, from the anterior end (Andrew's monotone chain).

    Parameters
    ----------
    profile : (P, S) bool array
        Sagittal profile; axis 0 towards posterior, axis 1 towards superior.

    Returns
    -------
    (n, 2) float array
        Corners as (P, S) indices of ``profile`` (the outline reaches to -1).

    Raises
    ------
    RefusedError
        If the profile is empty.
    """
    edge = outline(profile)
    columns = np.flatnonzero(edge.any(axis=1))
    if len(columns) < 2:
        raise RefusedError("the brain has no sagittal profile to lay a plane along.")
    lowest = edge[columns].argmax(axis=1)
    points = np.column_stack([columns, lowest]).astype(np.float64) - 1.0
    chain: list[np.ndarray] = []
    for point in points:
        while len(chain) > 1:
            a, b = chain[-1] - chain[-2], point - chain[-2]
            if a[0] * b[1] - a[1] * b[0] > 0:
                break
            chain.pop()
        chain.append(point)
    return np.array(chain)


def first_edge(chain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Published rule: a point on the hull's first edge from the anterior end, and the edge's direction.

    Returns
    -------
    at, along : (2,) arrays
        (P, S); ``along`` has unit length and points to posterior.
    """
    step = chain[1] - chain[0]
    return chain[0], step / np.linalg.norm(step)


def front_edge(chain: np.ndarray, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Rule for any voxel size: the line that touches the hull, parallel to the chord over its first ``span``.

    The first edge of a finely sampled hull is a few voxels of the frontal pole's tip; its angle (66 to 85 degrees
    on 1 mm profiles of the real heads) changes with the voxel size, and the plane then runs in front of eyes and
    mouth. The chord over some centimetres is what a profile of coarse voxels gives, whatever the voxels are.

    Parameters
    ----------
    chain : (n, 2) array
        See `lower_chain`, in mm.
    span : float
        mm along the hull.

    Returns
    -------
    at, along : (2,) arrays
        See `first_edge`.
    """
    lengths = np.linalg.norm(np.diff(chain, axis=0), axis=1)
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    far = np.array([np.interp(span, ends, chain[:, k]) for k in range(2)])
    along = (far - chain[0]) / np.linalg.norm(far - chain[0])
    away = np.array([along[1], -along[0]])
    return chain[int(np.argmax(chain @ away))], along


def half_space(normal: Sequence[float], offset: float, geometry: Geometry, xp: Any = np) -> Any:
    """Where ``normal . position > offset``.

    The terms are summed in the order of `order_of`, so that an axis-aligned block costs one comparison.

    Parameters
    ----------
    normal : (3,) sequence
        World LPS.
    offset : float
        mm.
    geometry : Geometry
    xp : module

    Returns
    -------
    bool array of ``geometry.shape``
    """
    terms = _terms(normal, geometry, xp)
    last = terms.pop()
    return xp.broadcast_to(last > _rest(offset, terms, xp), geometry.shape)


def beyond_planes(
    planes: Sequence[Sequence[float]], within: Sequence[Sequence[float]], geometry: Geometry, xp: Any = np
) -> Any:
    """Where a place lies beyond any of some planes, and beyond all of some others.

    On a grid along the axes of the world a plane meets each row of voxels once: that place is sought, and no voxel is
    asked on which side it lies. The comparisons are those of `half_space`, so that the answer is the same.

    Parameters
    ----------
    planes, within : sequences of (4,)
        Normal (world LPS) and offset, mm; beyond is ``normal . position > offset``.
    geometry : Geometry
    xp : module

    Returns
    -------
    bool array of ``geometry.shape``
    """
    # on the host: there is one number a row, and the device would be waited for at each plane
    found = [_row_ends(plane, geometry) for plane in (*planes, *within)]
    rows = [row for row in found if row is not None]
    first, last = rows[: len(planes)], rows[len(planes) :]
    if len(rows) < len(found) or len({row[0] for row in rows}) > 1 or len({row[1] for row in first}) > 1:
        return _beyond_each(planes, within, geometry, xp)
    axis, rising, _ = rows[0]
    # voxels from ``low`` on, and before ``high``
    low: Any = functools.reduce(np.minimum, (end for *_, end in first)) if rising else None
    high: Any = None if rising else functools.reduce(np.maximum, (end for *_, end in first))
    for _, up, end in last:
        if up:
            low = end if low is None else np.maximum(low, end)
        else:
            high = end if high is None else np.minimum(high, end)
    low, high = (end if end is None else xp.asarray(end) for end in (low, high))
    along = [1, 1, 1]
    along[axis] = geometry.shape[axis]
    # two bytes are compared in half the time of four
    kind = xp.int16 if geometry.shape[axis] < 2**15 else xp.int32
    low, high = (end if end is None else end.astype(kind) for end in (low, high))
    index = xp.arange(geometry.shape[axis], dtype=kind).reshape(along)
    if low is None:
        return xp.broadcast_to(index < high, geometry.shape)
    out = index >= low
    return xp.broadcast_to(out if high is None else out & (index < high), geometry.shape)


def _beyond_each(planes: Sequence[Any], within: Sequence[Any], geometry: Geometry, xp: Any) -> Any:
    """`beyond_planes`, voxel by voxel."""
    sides = [half_space(plane[:3], plane[3], geometry, xp) for plane in planes]
    out = functools.reduce(xp.logical_or, sides)
    for plane in within:
        out = out & half_space(plane[:3], plane[3], geometry, xp)
    return out


def _row_ends(plane: Sequence[float], geometry: Geometry) -> tuple[int, bool, np.ndarray] | None:
    """Axis that rows run along, whether beyond the plane means later in the row, and where it begins or ends.

    None if the grid does not lie along the axes of the world.
    """
    terms = _terms(plane[:3], geometry, np)
    last = terms.pop()
    axis = int(np.argmax(last.shape))
    alone = last.size == last.shape[axis] == geometry.shape[axis]
    if not alone or any(term.shape[axis] > 1 for term in terms):
        return None
    line = last.ravel()
    rest = np.atleast_3d(_rest(plane[3], terms, np))
    rising = bool(line[-1] >= line[0])
    place = np.searchsorted(line if rising else line[::-1], rest.ravel(), side="right").reshape(rest.shape)
    return axis, rising, (place if rising else len(line) - place).astype(np.int32)


def order_of(normal: Sequence[float], geometry: Geometry) -> list[int]:
    """In which order the terms of ``normal . position`` are summed: which coordinates (0 is x), the last one alone.

    First those that several axes of the array move; then z, x and y, as all planes of a face have a part of y. The
    block's shape plays no part: a voxel on the plane lies on one and the same side of it in every block.

    Parameters
    ----------
    normal : (3,) sequence
    geometry : Geometry
    """
    moved = np.count_nonzero(geometry.affine[:3, :3], axis=1).tolist()
    return sorted((k for k in (2, 0, 1) if normal[k] != 0.0), key=lambda k: -moved[k])


def _terms(normal: Sequence[float], geometry: Geometry, xp: Any) -> list[Any]:
    """Parts of ``normal . position``, in the order of `order_of`."""
    positions = geometry.positions(xp, np.float64)
    return [float(normal[k]) * positions[k] for k in order_of(normal, geometry)]


def _rest(offset: float, terms: Sequence[Any], xp: Any) -> Any:
    rest = xp.asarray(float(offset), dtype=np.float64)
    for term in terms:
        rest = rest - term
    return rest

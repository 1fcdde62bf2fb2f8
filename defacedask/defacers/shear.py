"""The geometry of a shear: the lower hull of a profile, the edge a plane is laid along, and half-spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from defacedask.geometry import Geometry

__all__ = ["first_edge", "front_edge", "half_space", "lower_chain", "outline"]


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

    The terms are summed on the smallest arrays first, so that an axis-aligned block costs one comparison.

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
    terms = [
        float(n) * p for n, p in zip(normal, geometry.positions(xp, np.float64), strict=True) if n != 0.0
    ]
    terms.sort(key=lambda t: t.size)
    last = terms.pop()
    rest = xp.asarray(float(offset), dtype=np.float64)
    for term in terms:
        rest = rest - term
    return xp.broadcast_to(last > rest, geometry.shape)

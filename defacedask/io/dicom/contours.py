"""Closed contours to voxels: which voxel centres lie inside polygons, by the even-odd rule.

All contours of all planes are turned into scan-line crossings at once; the parity of the crossings to the
left of a voxel centre says whether it is inside. Because parity adds up, holes, islands and keyhole contours
need no special case: the two passes of a keyhole's bridge give the same crossing twice, which cancels.

A voxel centre exactly on an edge belongs to the side of growing index (lower rows and columns are inside,
upper ones are not): the half-open rule of plastimatch's ``rasterize_slice``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["plane_spacing", "rasterise", "slices_from_planes"]

#: Vertices are rounded to this part of a voxel, so that one meant to lie on a voxel centre does so whatever
#: the last bits of the coordinate arithmetic say.
SNAP = 1e6
#: Contour planes farther apart than 10 mm (and rounding) are never joined.
WIDEST_GAP = 10.01


def rasterise(
    polygons: Sequence[np.ndarray], planes: Sequence[int], shape: tuple[int, int], count: int | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Fill polygons by the even-odd rule, plane by plane.

    Parameters
    ----------
    polygons : sequence of (n, 2) arrays
        Vertices as continuous (row, column) indices, voxel centres at integers; closed implicitly.
    planes : sequence of int
        Which plane each polygon lies in, 0-based; polygons of one plane are combined by exclusive or.
    shape : (rows, columns)
        Of the image: what lies outside is cut off.
    count : int, optional
        Number of planes; by default one more than the largest.

    Returns
    -------
    mask : (count, rows, columns) bool array
        The part of the image that the polygons reach.
    corner : (row, column)
        Image index of the mask's first row and column. With nothing inside the image the mask has no rows.
    """
    count = (max(planes) + 1 if len(planes) else 0) if count is None else count
    nothing = np.zeros((count, 0, 0), dtype=bool), (0, 0)
    if not len(polygons):
        return nothing
    sizes = np.array([len(p) for p in polygons])
    vertices = np.round(np.concatenate([np.asarray(p, dtype=np.float64) for p in polygons]) * SNAP) / SNAP
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    following = np.arange(1, len(vertices) + 1)
    following[first + sizes - 1] = first
    low = np.maximum(np.ceil(vertices.min(axis=0)), 0).astype(np.int64)
    high = np.minimum(np.floor(vertices.max(axis=0)), np.array(shape) - 1).astype(np.int64)
    if (high < low).any():
        return nothing

    # Every edge runs from its lower to its upper row, so that an edge and its way back give equal crossings.
    r0, c0 = vertices.T
    r1, c1 = vertices[following].T
    flip = r0 > r1
    r0, r1, c0, c1 = (
        np.where(flip, r1, r0),
        np.where(flip, r0, r1),
        np.where(flip, c1, c0),
        np.where(flip, c0, c1),
    )
    begin = np.maximum(np.ceil(r0), low[0])
    end = np.minimum(np.ceil(r1), high[0] + 1)
    keep = end > begin
    r0, r1, c0, c1, begin, end = (a[keep] for a in (r0, r1, c0, c1, begin, end))
    plane = np.repeat(np.asarray(planes, dtype=np.int64), sizes)[keep]
    lines = (end - begin).astype(np.int64)
    edge = np.repeat(np.arange(len(lines)), lines)
    row = begin[edge] + (np.arange(len(edge)) - np.repeat(np.cumsum(lines) - lines, lines))
    column = c0[edge] + (row - r0[edge]) * ((c1 - c0) / (r1 - r0))[edge]

    rows, columns = (high - low + 1).tolist()
    # the same forgiveness for a crossing that should fall on a voxel centre
    column = np.maximum(np.ceil(column - 1e-9).astype(np.int64) - low[1], 0)
    inside = column < columns
    flat = (plane[edge] * rows + row.astype(np.int64) - low[0])[inside] * columns + column[inside]
    places, times = np.unique(flat, return_counts=True)
    mask = np.zeros(count * rows * columns, dtype=np.uint8)
    mask[places[times % 2 == 1]] = 1
    mask = mask.reshape(count, rows, columns)
    np.bitwise_xor.accumulate(mask, axis=2, out=mask)
    return mask.view(bool), (int(low[0]), int(low[1]))


def plane_spacing(positions: Sequence[np.ndarray]) -> float:
    """Usual distance between neighbouring contour planes: the median over all structures (nan if unknown)."""
    gaps = [np.diff(np.sort(p)) for p in positions if len(p) > 1]
    return float(np.median(np.concatenate(gaps))) if gaps else float("nan")


def slices_from_planes(
    planes: np.ndarray, slices: int, spacing: float, usual: float, up: bool = True
) -> np.ndarray:
    """Which contour plane each image slice takes.

    A slice takes the nearest plane within half a slice spacing, as plastimatch and dcmrtstruct2nii do. Where
    the planes lie farther apart than the slices (a structure drawn on thicker slices than the image's), a
    plane stands for half the way to its neighbours instead, so that no slice in between stays empty. The
    structure's own spacing is used if it has at least four planes at a regular distance, else the ``usual``
    one of the structure set. Where several planes fall on one slice the nearest is used: two planes are
    never combined.

    Parameters
    ----------
    planes : (n,) array
        Positions of the contour planes as continuous slice indices, ascending.
    slices : int
        Number of image slices.
    spacing : float
        Between image slices, in mm.
    usual : float
        Distance of planes in the structure set, in slices; nan if not known.
    up : bool
        Whether a plane exactly halfway between two slices belongs to the one with the greater index.

    Returns
    -------
    (slices,) int array
        Index into ``planes``, -1 for none.
    """
    gaps = np.diff(planes)
    own = float(np.sort(gaps)[(len(gaps) - 1) // 2]) if len(gaps) else float("nan")
    regular = len(gaps) >= 3 and np.mean(np.abs(gaps - own) <= 0.1 * own) >= 0.75
    distance = own if regular else usual
    if not np.isfinite(distance) or distance * spacing > WIDEST_GAP:
        distance = 1.0
    half = max(distance, 1.0) / 2
    index = np.arange(slices, dtype=np.float64)
    after = np.clip(np.searchsorted(planes, index), 0, len(planes) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(planes[before] - index) < np.abs(planes[after] - index) - 1e-6, before, after)
    # ties: equally near planes
    tie = np.abs(np.abs(planes[before] - index) - np.abs(planes[after] - index)) <= 1e-6
    nearest = np.where(tie, before if up else after, nearest)
    away = (index - planes[nearest]) * (1 if up else -1)
    covered = (away > -half + 1e-6) & (away <= half + 1e-6)
    return np.where(covered, nearest, -1)

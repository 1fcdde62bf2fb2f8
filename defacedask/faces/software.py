"""Draw a triangle surface with NumPy alone: no OpenGL library, no display, any thread, the same bytes anywhere.

A skin surface is a mesh of triangles of a few pixels each, so the loop runs over the pixels of a triangle's
bounding box and each step treats all triangles at once.
"""

from __future__ import annotations

import numpy as np

__all__ = ["rasterise"]

#: Triangles whose bounding box is larger than this (pixels) are split in four first.
_LARGEST = 12


def rasterise(
    points: np.ndarray,
    faces: np.ndarray,
    values: np.ndarray,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw triangles into a z-buffer, interpolating one value a vertex.

    Parameters
    ----------
    points : (n, 3) array
        Column and row in pixels (pixel centres at whole numbers, row 0 on top) and nearness (any unit, larger is
        nearer to the camera).
    faces : (m, 3) integer array
        Vertices of each triangle, anticlockwise as seen by the camera; others are hidden.
    values : (n,) array
        What is interpolated: brightness, or depth.
    size : int
        Rows and columns.

    Returns
    -------
    values : (size, size) float32 array
        NaN where nothing was drawn.
    nearness : (size, size) float32 array
        -inf where nothing was drawn.
    """
    columns, rows, near = (np.ascontiguousarray(points[:, k], dtype=np.float64) for k in range(3))
    corners = [np.ascontiguousarray(faces[:, k]) for k in range(3)]
    triangles = np.array([part[corner] for corner in corners for part in (columns, rows)]).reshape(3, 2, -1)
    kept = _visible(triangles, size)
    corners = [corner[kept] for corner in corners]
    more = np.array([part[corner] for corner in corners for part in (near, values)]).reshape(3, 2, -1)
    triangles = np.concatenate([triangles[:, :, kept], more], axis=1)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while triangles.shape[2]:
        large = _extent(triangles) > _LARGEST
        if not large.any():
            found += _fragments(triangles, size)
            break
        found += _fragments(triangles[:, :, ~large], size)
        triangles = _quarters(triangles[:, :, large])
        triangles = triangles[:, :, _visible(triangles, size)]
    drawn = np.full(size * size, np.nan, np.float32)
    depth = np.full(size * size, -np.inf, np.float32)
    if found:
        where, z, value = (np.concatenate(part) for part in zip(*found, strict=True))
        np.maximum.at(depth, where, z)
        nearest = z == depth[where]
        # the last one written stays: ties go by the order of the triangles
        drawn[where[nearest]] = value[nearest]
    return drawn.reshape(size, size), depth.reshape(size, size)


# Triangles are kept as an array (corner, quantity, triangle); the quantities are column, row, nearness, value.


def _area(t: np.ndarray) -> np.ndarray:
    """Twice the signed area in square pixels; positive is anticlockwise to an eye with rows running down."""
    (ax, ay), (bx, by), (cx, cy) = t[0, :2], t[1, :2], t[2, :2]
    return (by - ay) * (cx - ax) - (bx - ax) * (cy - ay)


def _bounds(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest column and row, (2, triangles) each."""
    low = np.minimum(np.minimum(t[0, :2], t[1, :2]), t[2, :2])
    high = np.maximum(np.maximum(t[0, :2], t[1, :2]), t[2, :2])
    return low, high


def _extent(t: np.ndarray) -> np.ndarray:
    low, high = _bounds(t)
    size = high - low
    return np.maximum(size[0], size[1])


def _visible(t: np.ndarray, size: int) -> np.ndarray:
    """Indices of triangles that face the camera, meet the picture and may cover a pixel centre."""
    low, high = _bounds(t)
    keep = (_area(t) > 1e-12) & (high[0] >= 0) & (high[1] >= 0) & (low[0] <= size - 1) & (low[1] <= size - 1)
    keep &= (np.floor(high[0]) >= low[0]) & (np.floor(high[1]) >= low[1])
    return np.flatnonzero(keep)


def _quarters(t: np.ndarray) -> np.ndarray:
    a, b, c = t
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([np.stack(part) for part in parts], axis=2)


def _fragments(t: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pixels that small triangles cover: (pixel number, nearness, value) of each."""
    if not t.shape[2]:
        return []
    low, high = _bounds(t)
    x0, y0 = np.ceil(low)
    wide, tall = (np.floor(high) - np.ceil(low)).astype(np.int64)
    (ax, ay, az, av), (bx, by, bz, bv), (cx, cy, cz, cv) = t
    area = _area(t)
    # The weights of corners b and c are linear in the pixel. On a shared edge both triangles draw.
    b_dx, b_dy = (ay - cy) / area, (cx - ax) / area
    c_dx, c_dy = (by - ay) / area, (ax - bx) / area
    b0 = b_dx * (x0 - ax) + b_dy * (y0 - ay)
    c0 = c_dx * (x0 - ax) + c_dy * (y0 - ay)
    z_b, z_c, v_b, v_c = bz - az, cz - az, bv - av, cv - av
    found = []
    for dy in range(int(tall.max()) + 1):
        high_enough = np.flatnonzero(tall >= dy)
        for dx in range(int(wide[high_enough].max()) + 1):
            k = high_enough[wide[high_enough] >= dx]
            wb = b0[k] + b_dx[k] * dx + b_dy[k] * dy
            wc = c0[k] + c_dx[k] * dx + c_dy[k] * dy
            x, y = x0[k] + dx, y0[k] + dy
            inside = (wb >= -1e-9) & (wc >= -1e-9) & (wb + wc <= 1 + 1e-9)
            inside &= (x >= 0) & (x < size) & (y >= 0) & (y < size)
            k, wb, wc = k[inside], wb[inside], wc[inside]
            pixel = (y[inside] * size + x[inside]).astype(np.int64)
            z = az[k] + wb * z_b[k] + wc * z_c[k]
            value = av[k] + wb * v_b[k] + wc * v_c[k]
            found.append((pixel, z.astype(np.float32), value.astype(np.float32)))
    return found

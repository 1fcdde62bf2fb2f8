"""The surface of a head in its own frame: depth maps, vertex, chin."""

from __future__ import annotations

import dataclasses

import numpy as np

from defacedask.geometry import Geometry

__all__ = ["DepthMap", "anterior_depth", "lateral_depth"]


@dataclasses.dataclass(frozen=True)
class DepthMap:
    """Where the body begins, seen along one axis of the head's frame.

    Attributes
    ----------
    depth : (rows, columns) float32 array
        mm along the axis in the head's frame; NaN where the ray meets no body. Anterior map: P coordinate of the
        most anterior body voxel at (S, L). Lateral maps: L coordinate of the outermost body voxel at (S, P).
    rows, columns : 1D arrays
        Coordinates in mm of the map's rows (S) and columns (L or P), in the head's frame.
    """

    depth: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def anterior_depth(body: np.ndarray, grid: Geometry) -> DepthMap:
    """Most anterior body voxel over (S, L).

    Parameters
    ----------
    body : (z, y, x) bool array
        On an upright grid of the head's frame (axes S, P, L).
    grid : Geometry
        That grid, in head-frame mm.
    """
    s, p, x = _axes(grid)
    first = body.argmax(axis=1)
    depth = np.where(body.any(axis=1), p[first], np.nan).astype(np.float32)
    return DepthMap(depth, s, x)


def lateral_depth(body: np.ndarray, grid: Geometry, *, left: bool) -> DepthMap:
    """Outermost body voxel over (S, P), on the left or the right side (see `anterior_depth`)."""
    s, p, x = _axes(grid)
    turned = body[:, :, ::-1] if left else body
    first = turned.argmax(axis=2)
    along = x[::-1] if left else x
    depth = np.where(body.any(axis=2), along[first], np.nan).astype(np.float32)
    return DepthMap(depth, s, p)


def _axes(grid: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = grid.positions(dtype=np.float64)
    return z.ravel(), y.ravel(), x.ravel()

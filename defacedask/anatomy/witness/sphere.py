"""Directions over the sphere, rotations over all of them, and how well a pattern fits what is seen from a point."""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["DIRECTIONS", "angle", "correlation", "near", "nearest", "rotations", "spread"]


def spread(count: int) -> np.ndarray:
    """(count, 3) unit vectors, evenly spread over the sphere (a Fibonacci spiral)."""
    k = np.arange(count) + 0.5
    z = 1.0 - 2.0 * k / count
    turn = np.pi * (1.0 + 5.0**0.5) * k
    r = np.sqrt(1.0 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=-1)


#: Directions in which a head is looked at from its middle: 3.7 degrees apart.
DIRECTIONS = spread(3000)
_CELLS = 48


@functools.cache
def _table() -> np.ndarray:
    """Nearest of `DIRECTIONS` for each cell of a cube around the origin."""
    from scipy.spatial import cKDTree

    at = (np.arange(_CELLS) + 0.5) / _CELLS * 2.0 - 1.0
    cells = np.stack(np.meshgrid(at, at, at, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-9)
    return cKDTree(DIRECTIONS).query(cells / length)[1].astype(np.int16)


def nearest(directions: np.ndarray) -> np.ndarray:
    """Index into `DIRECTIONS` for (..., 3) directions of any length."""
    longest = np.abs(directions).max(axis=-1, keepdims=True)
    cell = np.minimum(((directions / longest + 1.0) * (0.5 * _CELLS)).astype(np.int32), _CELLS - 1)
    return _table()[(cell[..., 0] * _CELLS + cell[..., 1]) * _CELLS + cell[..., 2]]


@functools.cache
def rotations(step: float) -> np.ndarray:
    """(n, 3, 3) rotations over all orientations, about ``step`` degrees apart."""
    third = spread(int(4.0 * np.pi / np.radians(step) ** 2))
    turns = np.radians(np.arange(0.0, 359.9, step))[:, None]
    apart = np.where(np.abs(third[:, :1]) < 0.9, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    x = np.cross(third, apart)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.cross(third, x)
    z = np.broadcast_to(third[:, None], (len(third), len(turns), 3))
    one = np.cos(turns) * x[:, None] + np.sin(turns) * y[:, None]
    return np.stack([one, np.cross(z, one), z], axis=-1).reshape(-1, 3, 3)


@functools.cache
def near(step: float) -> np.ndarray:
    """(27, 3, 3) rotations by ``step`` degrees about and between the axes, and none."""
    from scipy.spatial.transform import Rotation

    cube = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return Rotation.from_rotvec(cube * np.radians(step)).as_matrix()


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between unit vectors (..., 3)."""
    return np.degrees(np.arccos(np.clip((a * b).sum(axis=-1), -1.0, 1.0)))


def correlation(seen: np.ndarray, pattern: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Correlation of what is seen with a pattern, less where a part is out of view.

    Parameters
    ----------
    seen : (n, k) float32 array
        What is seen in the pattern's k directions under n rotations; NaN out of the field of view.
    pattern, weight : (k,) float32 arrays

    Returns
    -------
    (n,) array
        -1 to 1: the weighted correlation over what is in view, times the root of the weight in view.
    """
    there = np.isfinite(seen)
    w = weight * there
    m = np.where(there, seen, np.float32(0))
    total = w.sum(axis=1) + 1e-9
    wm = w * m
    mean, expected = wm.sum(axis=1) / total, (w @ pattern) / total
    both = (wm @ pattern) / total - mean * expected
    spread_m = np.maximum((wm * m).sum(axis=1) / total - mean**2, 1e-8)
    spread_p = np.maximum((w @ pattern**2) / total - expected**2, 1e-8)
    return both / np.sqrt(spread_m * spread_p) * np.sqrt(total / weight.sum())

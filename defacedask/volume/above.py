"""Which voxels lie above a real value, asked of the stored numbers themselves."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

__all__ = ["above"]


def above(stored: np.ndarray, slope: np.ndarray, intercept: np.ndarray, level: float) -> np.ndarray:
    """Where ``stored * slope + intercept > level``, as the type of the rescale has it.

    Whole numbers are compared with the smallest that lies above: real values, four or eight bytes a voxel, are not
    made.

    Parameters
    ----------
    stored : (z, y, x) array
    slope, intercept : (z,) float32 or float64 arrays
        Their type is that in which real values would be made.
    level : float

    Returns
    -------
    (z, y, x) bool array
    """
    slope, intercept = np.asarray(slope), np.asarray(intercept)
    kind = stored.dtype
    if kind.kind not in "iu" or not (slope > 0).all() or not np.isfinite(intercept).all():
        values = stored.astype(slope.dtype) * slope[:, None, None] + intercept[:, None, None]
        return np.asarray(values > level)
    real = slope.dtype.str
    least = [_least(kind, real, *pair, float(level)) for pair in zip(slope, intercept, strict=True)]
    if len(set(least)) == 1:
        return _from(stored, least[0])
    return np.stack([_from(part, one) for part, one in zip(stored, least, strict=True)])


def _from(stored: np.ndarray, least: int) -> np.ndarray:
    if least > np.iinfo(stored.dtype).max:
        return np.zeros(stored.shape, bool)
    return np.asarray(stored >= stored.dtype.type(least))


@functools.lru_cache(maxsize=4096)
def _least(kind: Any, real: str, slope: Any, intercept: Any, level: float) -> int:
    """Smallest stored number above a level; one more than the greatest of its type where none is.

    Rounding keeps the order of numbers, so that there is one border.
    """
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max) + 1
    while low < high:
        middle = (low + high) // 2
        value = np.array([middle], kind).astype(real) * slope + intercept
        if bool((value > level)[0]):
            high = middle
        else:
            low = middle + 1
    return low

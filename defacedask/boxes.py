"""Boxes around what is set in a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from defacedask.backend import to_numpy

__all__ = ["bounds", "cut_out"]


def bounds(mask: Any, xp: Any = np) -> tuple[slice, ...] | None:
    """Smallest box around what is set; None if nothing is.

    Parameters
    ----------
    mask : bool array
        Of any number of axes, of the namespace ``xp``.
    xp : module
    """
    if xp is not np:
        return _bounds_there(mask, xp)
    box: list[slice] = []
    for axis in range(mask.ndim):
        # axes already bounded are cut first: most masks are a small part of their array
        part = mask[tuple(box)]
        there = xp.nonzero(part.any(axis=tuple(k for k in range(mask.ndim) if k != axis)))[0]
        if there.size == 0:
            return None
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


def _bounds_there(mask: Any, xp: Any) -> tuple[slice, ...] | None:
    """`bounds` on a device: the host waits for it once."""
    axes = range(mask.ndim)
    there = to_numpy(xp.concatenate([mask.any(axis=tuple(k for k in axes if k != axis)) for axis in axes]))
    ends = [np.flatnonzero(part) for part in np.split(there, np.cumsum(mask.shape)[:-1])]
    if not all(end.size for end in ends):
        return None
    return tuple(slice(int(end[0]), int(end[-1]) + 1) for end in ends)


def cut_out(mask: np.ndarray, start: Sequence[int], box: Sequence[slice]) -> np.ndarray:
    """What of a mask lies in a box.

    Parameters
    ----------
    mask : bool array
        Of any number of axes.
    start : sequence of int
        Index of its first element in the array that the box is of.
    box : sequence of slice
        May hold more than the mask, a part of it, or none.

    Returns
    -------
    bool array
        Of the box's shape.
    """
    out = np.zeros([s.stop - s.start for s in box], bool)
    low = [max(s.start, a) for s, a in zip(box, start, strict=True)]
    high = [min(s.stop, a + n) for s, a, n in zip(box, start, mask.shape, strict=True)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        into = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, box, strict=True))
        out[into] = mask[tuple(slice(a - f, b - f) for a, b, f in zip(low, high, start, strict=True))]
    return out

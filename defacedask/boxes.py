"""Boxes around what is set in a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["bounds"]


def bounds(mask: Any, xp: Any = np) -> tuple[slice, ...] | None:
    """Smallest box around what is set; None if nothing is.

    Parameters
    ----------
    mask : bool array
        Of any number of axes, of the namespace ``xp``.
    xp : module
    """
    box: list[slice] = []
    for axis in range(mask.ndim):
        # axes already bounded are cut first: most masks are a small part of their array
        part = mask[tuple(box)]
        there = xp.nonzero(part.any(axis=tuple(k for k in range(mask.ndim) if k != axis)))[0]
        if there.size == 0:
            return None
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)

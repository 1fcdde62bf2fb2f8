"""A dose whose planes are not all equally far apart, on the even grid that holds every one of them.

Planning systems drop planes outside of the target, so that planes lie 2.5 mm apart in its middle and 5 mm beside it.
On a grid of 2.5 mm each of these planes is a plane, and the others are filled between their neighbours: a plan acts
by position alone, so what it does to a plane is the same with and without them. Planes that were filled in are never
written.
"""

from __future__ import annotations

import itertools

import numpy as np

__all__ = ["FILLED", "common_step", "filled", "planes_of_file"]

#: Number of the frame that a plane has where no frame lies there.
FILLED = -1
#: The least distance is parted into at most so many steps, and the grid has at most so many times the planes.
PARTS, TIMES = 8, 8
#: A plane lies on the grid if it is no farther off than this part of a step, or than 0.01 mm.
NEAR, NEAR_MM = 0.01, 0.01


def common_step(places: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Even step of which all distances are multiples.

    Parameters
    ----------
    places : (n,) array
        Of the planes along their normal, mm, ascending, no two at one place.

    Returns
    -------
    step, index : float, (n,) int array
        mm, and which plane of the even grid each one is; the widest step that does.
    None
        If there is none that is worth it.
    """
    away = np.asarray(places, dtype=np.float64) - places[0]
    least = float(np.diff(away).min())
    for parts in range(1, PARTS + 1):
        index = np.rint(away / (least / parts)).astype(int)
        if index[-1] + 1 > TIMES * len(away):
            return None
        step = float(away @ index) / float(index @ index)
        if np.abs(away - index * step).max() <= max(NEAR * step, NEAR_MM):
            return step, index
    return None


def filled(stored: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Planes on the even grid, those that are not there linear between their neighbours.

    Parameters
    ----------
    stored : (n, rows, columns) array
        Integers of one scaling, ascending.
    index : (n,) int array
        Which plane of the grid each one is, from 0.
    """
    out = np.empty((int(index[-1]) + 1, *stored.shape[1:]), stored.dtype)
    for k, (first, last) in enumerate(itertools.pairwise(index.tolist())):
        for plane in range(first, last):
            part = (plane - first) / (last - first)
            out[plane] = np.rint((1 - part) * stored[k] + part * stored[k + 1]) if part else stored[k]
    out[-1] = stored[-1]
    return out


def planes_of_file(frames: np.ndarray) -> np.ndarray:
    """Planes of a grid that a file has, in the order of its frames.

    Parameters
    ----------
    frames : sequence of int
        Frame of the file of each plane of the grid, `FILLED` where it has none.
    """
    frames = np.asarray(frames)
    there = np.flatnonzero(frames != FILLED)
    return there[np.argsort(frames[there])]

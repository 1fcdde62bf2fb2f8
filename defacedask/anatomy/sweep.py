"""A coarse look at every orientation of the sphere: where a head might be, and how it might be turned.

What the header says of up and front is not believed: patients lie prone under a supine label, and voxels are turned
against their header. Rotations all over the sphere are tried about each place that may be the middle of the brain;
the best of them, no two of which are neighbours, climb to the next top by small steps. All of this takes some
thousand looks at 3,000 points, well below a second.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from defacedask.anatomy.metric import Metric
from defacedask.anatomy.turns import different, motion, rotation

__all__ = ["Place", "Top", "sweep"]

#: mm along the head's own axis: what the crown's absence does to the rough centre.
LIFTS = (-25.0, 0.0, 25.0, 50.0)
#: How many of them climb in all, how many of each place at least, and how many tops are told.
CLIMBERS, LEAST, TOPS = 30, 15, 8
#: How much smaller than the average a head may be, as a factor of its size.
SIZES = (0.9, 1.4)
#: Degrees, mm and percent of the steps.
STEPS = (12.0, 12.0, 6.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """Where the middle of the brain may be, and the turns of the head for which it may.

    Attributes
    ----------
    centre : (3,) array
        World LPS mm.
    metric : Metric
        Of the points around it.
    turns : (n, 3, 3) array
        Rotations of the patient's world into the template's.
    """

    centre: np.ndarray
    metric: Metric
    turns: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Top:
    """A pose that is better than its neighbours.

    Attributes
    ----------
    score : float
        Of the place's metric.
    matrix : (4, 4) array
        World LPS mm -> the template's.
    place : Place
        Where it was found.
    """

    score: float
    matrix: np.ndarray
    place: Place


def sweep(places: Sequence[Place], template_centre: np.ndarray) -> list[Top]:
    """Best poses over all orientations.

    Parameters
    ----------
    places : sequence of Place
    template_centre : (3,) array
        Centre of the template's brain, template LPS mm.

    Returns
    -------
    list of Top
        At most 8, best first, 25 degrees or 25 mm apart.
    """
    lifts = [template_centre + np.array([0.0, 0.0, lift]) for lift in LIFTS]
    starts: list[Top] = []
    for place in places:
        tried = []
        for turn, to in itertools.product(place.turns, lifts):
            matrix = motion(turn, place.centre, to)
            tried.append(Top(place.metric(matrix), matrix, place))
        # each place has climbers of its own: its metric is of its own points, and no match for another's
        starts += _apart(tried, max(CLIMBERS // len(places), LEAST), 18.0, 25.0, template_centre)
    return _apart([_climbed(start, template_centre) for start in starts], TOPS, 25.0, 25.0, template_centre)


def _apart(tops: Sequence[Top], count: int, degrees: float, mm: float, at: np.ndarray) -> list[Top]:
    """Best ``count`` poses, best first, no two of which are neighbours."""
    order = sorted(tops, key=lambda top: -top.score)
    poses = np.array([top.matrix for top in order])
    chosen: list[Top] = []
    free = np.ones(len(order), dtype=bool)
    while len(chosen) < count and free.any():
        k = int(free.argmax())
        chosen.append(order[k])
        free &= different(poses[k], poses, degrees, mm, at)
    return chosen


def _climbed(top: Top, at: np.ndarray) -> Top:
    """Up by small turns, shifts and growth about the template's centre, as long as that helps."""
    score, matrix = top.score, top.matrix
    for size in STEPS:
        for step in _steps(size, at):
            found = step @ matrix
            if not SIZES[0] <= np.cbrt(np.linalg.det(found[:3, :3])) <= SIZES[1]:
                continue
            value = top.place.metric(found)
            if value > score:
                score, matrix = value, found
    return Top(score, matrix, top.place)


def _steps(size: float, at: np.ndarray) -> list[np.ndarray]:
    """Turns by ``size`` degrees, shifts by ``size`` mm and growth by ``size`` percent, both ways, about a point."""
    # a child's head is a third smaller than the average, which no step after this could make up for
    grown = 1.0 + size / 100.0
    out = [motion(np.eye(3) * grown, at, at), motion(np.eye(3) / grown, at, at)]
    for axis in range(3):
        for way in (-size, size):
            angles, shift = np.zeros(3), np.zeros(3)
            angles[axis] = shift[axis] = way
            out += [motion(rotation(*angles), at, at), motion(np.eye(3), at, at + shift)]
    return out

"""What a head looks like from the middle of its skull: the two cues, as tables in the head's own frame.

The frame is that of an upright head (L, P, S); elevation 0 is level with the middle of the skull, azimuth 0 straight
ahead. The skin's distances are those of an adult average head, rounded; only their proportions count. The air lies in
the nose and its maxillary sinuses, and from there down along the throat: seen on CTs and T1s of all kinds.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np

from defacedask.anatomy.witness.solid import Solid
from defacedask.anatomy.witness.sphere import DIRECTIONS, angle, spread

__all__ = ["AHEAD", "AIR", "NOSE", "Cue", "air_seen", "cues", "skin_seen", "toward"]

#: mm from the middle of the skull to the skin: rows of elevation 90, 75, ... -90, columns of azimuth 0, 15, ... 180.
SKIN = (
    (88, 88, 88, 88, 88, 88, 88, 88, 88, 88, 88, 88, 88),
    (87, 87, 87, 87, 87, 87, 87, 87, 88, 88, 89, 89, 89),
    (90, 89, 88, 86, 85, 85, 85, 87, 88, 89, 90, 91, 90),
    (95, 94, 91, 87, 84, 83, 85, 86, 88, 89, 90, 90, 90),
    (102, 99, 94, 88, 84, 82, 83, 85, 86, 88, 88, 88, 88),
    (106, 104, 97, 89, 83, 80, 79, 80, 83, 85, 86, 87, 87),
    (108, 109, 101, 91, 84, 79, 77, 77, 80, 83, 85, 87, 87),
    (115, 104, 104, 97, 88, 79, 82, 79, 81, 84, 85, 87, 87),
    (141, 119, 120, 110, 98, 85, 83, 86, 85, 88, 89, 89, 89),
    (153, 142, 132, 125, 113, 97, 98, 93, 96, 99, 99, 100, 100),
    (159, 156, 150, 143, 135, 127, 124, 124, 125, 126, 127, 127, 126),
    (150, 150, 150, 150, 150, 150, 150, 150, 150, 150, 150, 150, 150),
    (150, 150, 150, 150, 150, 150, 150, 150, 150, 150, 150, 150, 150),
)
#: Elevation, azimuth, amount and width (degrees) of the air: sinuses with the nose between, then the throat.
AIR = (
    (-30.0, 14.0, 1.0, 10.0),
    (-30.0, -14.0, 1.0, 10.0),
    (-40.0, 0.0, 0.6, 9.0),
    (-55.0, 0.0, 0.6, 9.0),
    (-72.0, 0.0, 0.6, 10.0),
)
#: Where the head looks, in its own frame.
AHEAD = np.array([0.0, -1.0, 0.0])
#: Elevation of the tip of the nose.
NOSE = -25.0
#: Distances beyond this are neck, and say no more than that.
FARTHEST = 150.0
#: mm from the middle: where skin is looked for, and where air counts.
SKIN_FROM, SKIN_TO, SKIN_STEP = 40.0, 180.0, 2.0
AIR_FROM, AIR_TO, AIR_STEP = 14.0, 131.0, 3.0
#: Steps of the skin's that begin a part which is read together: most rays end in the first three (to 134 mm).
SKIN_PARTS = (0, 24, 36, 48)
#: mm of air in one direction that no head has: lungs.
MOST_AIR = 75.0


@dataclasses.dataclass(frozen=True, eq=False)
class Cue:
    """One pattern: values and weights in some directions of the head's frame."""

    name: str
    directions: np.ndarray
    pattern: np.ndarray
    weight: np.ndarray


def toward(elevation: float, azimuth: float = 0.0) -> np.ndarray:
    """Unit vector of the head's frame (azimuth positive to the head's left)."""
    e, a = np.radians([elevation, azimuth])
    return np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])


@functools.cache
def cues() -> tuple[Cue, Cue]:
    """The air inside the head and the skin around it."""
    from scipy.interpolate import RegularGridInterpolator

    at = spread(400)
    air = np.zeros(len(at))
    for elevation, azimuth, amount, width in AIR:
        air += amount * np.exp(-0.5 * (angle(at, toward(elevation, azimuth)) / width) ** 2)
    elevation = np.degrees(np.arcsin(at[:, 2]))
    azimuth = np.degrees(np.arctan2(np.abs(at[:, 0]), -at[:, 1]))
    table = np.array(SKIN, dtype=np.float64)[::-1]
    distance = RegularGridInterpolator((np.arange(-90, 91, 15), np.arange(0, 181, 15)), table)
    skin = distance(np.stack([elevation, azimuth], axis=-1))
    # how the neck is bent differs from head to head: its middle is neck in all of them, its rim is not
    neck = angle(at, np.array([0.0, 0.35, -0.94]) / np.hypot(0.35, 0.94))
    skin = np.where(neck < 25.0, FARTHEST, skin)
    weight = np.where((neck >= 25.0) & (neck < 45.0), 0.0, 1.0)
    return (
        Cue("air", at, air.astype(np.float32), np.ones(len(at), np.float32)),
        Cue("skin", at, np.log(np.minimum(skin, FARTHEST)).astype(np.float32), weight.astype(np.float32)),
    )


def air_seen(solid: Solid, centre: np.ndarray) -> np.ndarray:
    """How much air lies inside the head in each of `DIRECTIONS` from a point: root of mm, float32."""
    steps = np.arange(AIR_FROM, AIR_TO, AIR_STEP)
    amount = _read(solid.air, _along(solid, centre, steps), 1).sum(axis=1) * AIR_STEP
    return np.sqrt(np.where(amount > MOST_AIR, 0.0, amount)).astype(np.float32)


def skin_seen(solid: Solid, smooth: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Distance of the skin in each of `DIRECTIONS` from a point, mm; NaN where the field of view ends before.

    Parameters
    ----------
    solid : Solid
    smooth : (z, y, x) float32 array
        The body, blurred: 0.5 at the skin.
    centre : (3,) array
        World LPS mm.
    """
    steps = np.arange(SKIN_FROM, SKIN_TO + 1.0, SKIN_STEP)
    start, along = _rays(solid, centre)
    body = np.ones((len(along), len(steps)), np.float32)
    view = np.ones(body.shape, bool)
    # what lies behind the first air plays no part: rays that have met it are read no farther
    rays = np.arange(len(along))
    for first, last in itertools.pairwise((*SKIN_PARTS, len(steps))):
        if not len(rays):
            break
        places = start[:, None, None] + along[rays].T[:, :, None] * steps[first:last]
        body[rays, first:last] = found = _read(smooth, places, 1)
        view[rays, first:last] = seen = _read(solid.view.view(np.uint8), places, 0) > 0
        rays = rays[~((found < 0.5) & seen).any(axis=1)]
    air = (body < 0.5) & view
    rows, last = np.arange(len(body)), len(steps) - 1
    met, lost = air.any(axis=1), (~view).any(axis=1)
    at = np.where(met, air.argmax(axis=1), last)
    before, after = body[rows, np.maximum(at - 1, 0)], body[rows, at]
    part = np.clip((before - 0.5) / np.maximum(before - after, 1e-6), 0.0, 1.0)
    distance = np.where(at > 0, steps[np.maximum(at - 1, 0)] + SKIN_STEP * part, steps[0])
    distance = np.where(met, distance, SKIN_TO)
    ends = np.where(lost, (~view).argmax(axis=1), last + 1)
    hidden = ends < at + (~met)
    neck = steps[np.minimum(ends, last)] > FARTHEST
    return np.where(hidden, np.where(neck, SKIN_TO, np.nan), distance).astype(np.float32)


def _along(solid: Solid, centre: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Places along `DIRECTIONS` from a point: index z, y, x on the solid's grid, (3, directions, steps)."""
    start, along = _rays(solid, centre)
    return start[:, None, None] + along.T[:, :, None] * steps


def _rays(solid: Solid, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A point, and index steps a mm along `DIRECTIONS`, on the solid's grid."""
    back = np.linalg.inv(solid.grid.affine)
    return back[:3, :3] @ centre + back[:3, 3], DIRECTIONS @ back[:3, :3].T


def _read(values: np.ndarray, places: np.ndarray, order: int) -> np.ndarray:
    """Values at some places, 0 beyond the grid: (directions, steps)."""
    from scipy.ndimage import map_coordinates

    found: np.ndarray = map_coordinates(values, places, order=order, mode="constant", cval=0, prefilter=False)
    return found

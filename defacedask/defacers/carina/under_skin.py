"""How deep below the old skin a layer's tissue goes on: a secret depth, never a constant one.

A layer that ends at the skin shows the skin where it ends, and one that ends a constant depth below shows it as well.
So the tissue goes on behind the skin by a depth that rises and falls over some centimetres, as the secret key has
it. Depths are meant across the skin, to the nearest air outside: a nose's sides are replaced as deep as its bridge.
Where the field of view cuts the head there is no skin.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.defacers.carina.layer import STEP, Sheet
from defacedask.defacers.noise import lattice_uniform

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.geometry import Geometry

__all__ = ["SPREAD", "skin_distance", "with_depths"]

#: mm between the least and the largest depth behind the skin to which soft tissue is drawn anew.
SPREAD = 6.0
#: Part of the secret depth to which everything but bone is replaced: the rest of the way only soft tissue is.
EVERYTHING = 0.35
#: mm over which the secret depth changes.
CELLS = 22.0


def skin_distance(head: Head) -> np.ndarray:
    """Distance of the body's voxels from the air around it, mm on `Head.upright`; 0 beside it.

    What is out of view is no air.
    """
    from scipy.ndimage import distance_transform_edt

    from defacedask.anatomy.grid import resample

    seen = resample(
        np.ones(head.geometry.shape, np.uint8),
        head.geometry,
        head.upright,
        matrix=np.linalg.inv(head.pose),
        nearest=True,
    )
    air = ~head.upright_body & (seen > 0)
    if not air.any():
        return np.full(air.shape, np.inf)
    # from the border between voxels
    away = distance_transform_edt(~air, sampling=head.upright.spacing) - 0.5 * head.upright.spacing[0]
    # a ray beside the head meets none of it, however far from the air in view it runs on
    return np.where(head.upright_body, np.maximum(away, 0.0), 0.0)


def with_depths(sheet: Sheet, away: np.ndarray, upright: Geometry, key: bytes, least: float) -> Sheet:
    """A sheet that knows how deep it goes on behind the skin.

    Parameters
    ----------
    sheet : Sheet
    away : (S, P, L) array
        See `skin_distance`.
    upright : Geometry
        Its grid.
    key : bytes
        Secret.
    least : float
        mm behind the skin to which it goes everywhere: the skin's partial volume lies there.
    """
    x, y, _ = upright.positions(dtype=np.float64)
    if sheet.axis == 1:
        lines, heights = np.moveaxis(away, 1, 2), -y.ravel()
    elif sheet.sign < 0:
        lines, heights = away, -x.ravel()
    else:
        lines, heights = away[:, :, ::-1], x.ravel()[::-1]
    skin = sheet.skin.astype(np.float64) * STEP
    radii = np.linspace(least, least + SPREAD, 4)
    lowered = np.stack([_lowered(skin, lines, heights, radius) for radius in radii])
    depth = _secret(sheet, key)
    floor, seam = (_between(lowered, share) for share in (depth, EVERYTHING * depth))
    limit = np.iinfo(np.int16)
    stored = [np.clip(np.rint(m / STEP), limit.min, limit.max).astype(np.int16) for m in (seam, floor)]
    return dataclasses.replace(sheet, seam=stored[0], floor=stored[1])


def _lowered(skin: np.ndarray, lines: np.ndarray, heights: np.ndarray, radius: float) -> np.ndarray:
    """Heights at which rays from outside first lie farther than ``radius`` from the air."""
    over = lines > radius
    first = over.argmax(axis=2)
    before = np.maximum(first - 1, 0)
    one, two = (np.take_along_axis(lines, k[..., None], axis=2)[..., 0] for k in (before, first))
    part = np.clip((radius - one) / np.where(two > one, two - one, 1.0), 0.0, 1.0)
    found = heights[before] + part * (heights[first] - heights[before])
    # no ray is that far from the air sooner than so far behind the skin; where nothing is so thick, just there
    return np.where(over.any(axis=2) & (first > 0), np.minimum(found, skin - radius), skin - radius)


def _secret(sheet: Sheet, key: bytes) -> np.ndarray:
    """Smooth numbers from 0 to 1, all about equally often."""
    from scipy.ndimage import zoom

    coarse = CELLS / sheet.spacing
    count = [int(np.ceil(n / coarse)) + 3 for n in sheet.skin.shape]
    random = lattice_uniform(key, (0, 0, 0), (1, *count), stream=f"depth {sheet.axis} {sheet.sign}")[0]
    rows, columns = sheet.skin.shape
    field = zoom(random.astype(np.float64), coarse, order=3)[:rows, :columns]
    return np.clip(0.5 + 1.5 * (field - 0.5), 0.0, 1.0)


def _between(stack: np.ndarray, share: np.ndarray) -> np.ndarray:
    at = share * (len(stack) - 1)
    low = np.minimum(at.astype(int), len(stack) - 2)
    part = at - low
    rows, columns = np.indices(share.shape)
    return stack[low, rows, columns] * (1 - part) + stack[low + 1, rows, columns] * part

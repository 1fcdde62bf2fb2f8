"""Rays into a face from all around its front, and the smoothest surface under the skin that some evidence speaks for.

An attacker who looks for the old skin below a layer knows that it is one surface: each ray towards the head's long
axis crosses it once, at about the depth at which its neighbours do. What speaks for a depth on one ray is told by the
attempt; `Rays.follow` finds the surface (semi-global matching, Hirschmueller 2008: shortest paths along four
directions, summed).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.face_box import BOX
from defacedask.attacks.target import Target, span_of
from defacedask.geometry import Geometry
from defacedask.sampling import apply_affine

__all__ = ["ALONG", "DEEPEST", "Rays", "finer"]

#: Part of the head's frame that is looked into: S in mm, and degrees to both sides of the front.
HEIGHTS, ANGLE = (-150.0, 35.0), 80.0
#: mm from the head's long axis at which rays begin and at which they end.
FARTHEST, NEAREST = 150.0, 20.0
#: mm between rays (in height, and 90 mm from the axis), and between samples along one.
ACROSS, ALONG = 1.5, 0.5
#: mm below the outer skin within which the old one is looked for.
DEEPEST = 32.0
_TURN = np.deg2rad(ANGLE) / round(np.deg2rad(ANGLE) * 90.0 / ACROSS)


@dataclasses.dataclass(frozen=True, eq=False)
class Rays:
    """Values along rays into the face.

    Attributes
    ----------
    values : (rows, columns, samples) float32 array
        From the outer skin inward, every `ALONG` mm.
    front : (rows, columns) float array
        mm on the ray to the outer skin, from `FARTHEST`; NaN where a ray meets none.
    """

    values: np.ndarray
    front: np.ndarray

    @classmethod
    def of(cls, target: Target) -> Rays:
        """Shoot them at a target."""
        from scipy.ndimage import map_coordinates

        from defacedask.modality import air_of

        values, geometry = target.finest
        heights = np.arange(*HEIGHTS, ACROSS)
        half = round(np.deg2rad(ANGLE) / _TURN)
        turns = np.arange(-half, half + 1) * _TURN
        far = FARTHEST - np.arange(0.0, FARTHEST - NEAREST, ALONG)
        x = np.sin(turns)[:, None] * far
        y = -np.cos(turns)[:, None] * far
        to_index = np.linalg.inv(target.pose @ geometry.affine)
        air = air_of(target.modality)
        lines = np.empty((len(heights), *x.shape), np.float32)
        level = np.stack([row[0] * x + row[1] * y + row[3] for row in to_index[:3]])
        for k, height in enumerate(heights):  # row by row: positions take much more room than values
            index = level + (to_index[:3, 2] * height)[:, None, None]
            map_coordinates(values, index, order=1, mode="constant", cval=air, output=lines[k])
        front = _first(lines, target.level)
        count = int(DEEPEST / ALONG) + 1
        start = np.where(np.isnan(front), 0.0, front)
        at = np.clip(start[..., None] + np.arange(count), 0, lines.shape[2] - 1.001)
        whole = at.astype(int)
        part = (at - whole).astype(np.float32)
        here, next_ = (np.take_along_axis(lines, whole + k, axis=2) for k in (0, 1))
        return cls(here + part * (next_ - here), front * ALONG)

    @property
    def depths(self) -> np.ndarray:
        """Depth of each sample below the outer skin, mm."""
        return np.arange(self.values.shape[2]) * ALONG

    def follow(self, cost: np.ndarray, bend: float = 0.25, jump: float = 2.0) -> np.ndarray:
        """Surface of least cost.

        Parameters
        ----------
        cost : (rows, columns, samples) array
            About -1 where a ray's evidence is good, 0 where it says nothing.
        bend : float
            Cost of a step of one sample between neighbours.
        jump : float
            Cost of any larger step.

        Returns
        -------
        (rows, columns) array
            mm on the ray, as `front`; NaN where a ray meets nothing.
        """
        there = ~np.isnan(self.front)
        cost = np.where(there[..., None], cost, 0.0).astype(np.float32)
        total = np.zeros_like(cost)
        for axis in (0, 1):
            lines = np.moveaxis(cost, axis, 0)
            for way in (1, -1):
                total_lines = np.moveaxis(total, axis, 0)[::way]
                total_lines += _path(lines[::way], bend, jump)
        best = total.argmin(axis=2)
        return np.where(there, self.front + best * ALONG, np.nan)

    def as_attempt(self, target: Target, skin: np.ndarray, attack: str, variant: str) -> Attempt:
        """The target with everything in front of a surface (as `follow` gives it) taken off."""
        from scipy.ndimage import distance_transform_edt, map_coordinates

        from defacedask.faces.surface import crop_to_box

        values, geometry = finer(np.asarray(target.values, np.float32), target.geometry)
        if np.isnan(skin).all():
            return Attempt(attack, variant, values, target.level, geometry)
        _, nearest = distance_transform_edt(np.isnan(skin), return_indices=True)
        image = values.copy()
        # beyond the rays nothing is taken off
        part, box, _ = crop_to_box(image, geometry, None, target.pose, BOX)
        known = skin[tuple(nearest)]
        step = float(np.cbrt(geometry.voxel_volume))
        for first in range(0, len(part), 16):  # positions take much more room than values
            last = min(first + 16, len(part))
            slab = box.block((first, 0, 0), (last, *box.shape[1:]))
            x, y, z = np.broadcast_arrays(*apply_affine(target.pose, *slab.positions(dtype=np.float64)))
            turn = np.arctan2(x, -y)
            index = np.stack([(z - HEIGHTS[0]) / ACROSS, turn / _TURN + (skin.shape[1] - 1) / 2])
            place = map_coordinates(known, index, order=1, mode="constant", cval=np.nan)
            below = FARTHEST - np.hypot(x, y) - place
            ramp = target.level + span_of(target) * np.clip(below / step, -1.0, 1.0)
            # a view of the image
            here = part[first:last]
            np.minimum(here, ramp.astype(np.float32), out=here, where=~np.isnan(place))
        return Attempt(attack, variant, image, target.level, geometry)


def finer(values: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, Geometry]:
    """On voxels of at most 3 mm: a surface between coarse ones would be lost."""
    from defacedask.anatomy.grid import resample

    by = [max(1, round(s / 2.0)) if s > 3.0 else 1 for s in geometry.spacing]
    if max(by) == 1:
        return values, geometry
    affine = geometry.affine.copy()
    affine[:3, :3] = affine[:3, :3] / np.array(by)
    nz, ny, nx = ((n - 1) * k + 1 for n, k in zip(geometry.shape, by, strict=True))
    grid = Geometry((nz, ny, nx), affine, geometry.frame_of_reference)
    return resample(values, geometry, grid, outside=float(values.min())), grid


def _first(lines: np.ndarray, level: float) -> Any:
    """Sample at which each ray enters the body for at least 2 mm, between two samples; NaN: never."""
    from scipy.ndimage import minimum_filter1d

    count = int(2.0 / ALONG)
    solid = (lines >= level).view(np.uint8)
    lasting = minimum_filter1d(solid, count, axis=2, origin=-(count // 2), mode="nearest") > 0
    first = lasting.argmax(axis=2)
    before = np.maximum(first - 1, 0)
    one, two = (np.take_along_axis(lines, at[..., None], axis=2)[..., 0] for at in (before, first))
    part = np.clip((level - one) / np.where(two == one, 1.0, two - one), 0.0, 1.0)
    return np.where(lasting.any(axis=2), before + np.where(first > 0, part, 0.0), np.nan)


def _path(lines: np.ndarray, bend: float, jump: float) -> Any:
    """Cost of the best path from the first line to every sample of each line."""
    out = np.empty_like(lines)
    out[0] = lines[0]
    for k in range(1, len(lines)):
        least = out[k - 1].min(axis=1, keepdims=True)
        reach = np.minimum(out[k - 1] - least, jump)
        for by in (1, 2, 4):
            reach[:, by:] = np.minimum(reach[:, by:], reach[:, :-by] + bend * by)
            reach[:, :-by] = np.minimum(reach[:, :-by], reach[:, by:] + bend * by)
        out[k] = lines[k] + reach
    return out

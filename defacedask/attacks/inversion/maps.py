"""Radial depth maps: how far from the head's long axis the outermost skin lies, and the outermost bone.

Rays run inwards from all sides, at right angles to the long axis of the average head, in whose place the affine lays
every patient: one ray meets about the same part of every head.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["ANGLES", "BONE", "FARTHEST", "HEIGHTS", "SHAPE", "DepthMaps", "face_rays", "ray_scale"]

#: Rows (S in the average's space, mm) and columns (degrees about the long axis; 0 is the front, L positive) of a map.
HEIGHTS = np.arange(-155.0, 72.5, 2.5)
ANGLES = np.arange(-180.0, 180.0, 2.0)
SHAPE = (len(HEIGHTS), len(ANGLES))
#: mm from the axis at which rays begin, and between samples along one.
FARTHEST, ALONG = 150.0, 1.0
#: HU from which on a CT shows bone.
BONE = 250.0


@dataclasses.dataclass(frozen=True, eq=False)
class DepthMaps:
    """What one image shows along the rays.

    Attributes
    ----------
    skin : (rows, columns) float32 array
        mm of the average's space from the axis to the outermost skin; NaN where a ray meets none.
    bone : (rows, columns) float32 array
        The same for bone; all NaN where the modality does not show it.
    """

    skin: np.ndarray
    bone: np.ndarray

    @classmethod
    def of(cls, target: Target) -> DepthMaps:
        """Shoot the rays at an image.

        Parameters
        ----------
        target : Target
            With ``to_template``; what is not body reads as air.
        """
        from scipy.ndimage import map_coordinates

        from defacedask.modality import air_of

        matrix = target.matrix
        to_index = np.linalg.inv(matrix @ target.geometry.affine)
        values = np.asarray(target.values, np.float32)
        air = air_of(target.modality)
        far = np.arange(FARTHEST, 0.0, -ALONG)
        turns = np.deg2rad(ANGLES)[:, None]
        x, y = np.sin(turns) * far, -np.cos(turns) * far
        flat = np.stack([row[0] * x + row[1] * y + row[3] for row in to_index[:3]])
        skin, bone = (np.full(SHAPE, np.nan, np.float32) for _ in range(2))
        line = np.empty(x.shape, np.float32)
        for k, height in enumerate(HEIGHTS):  # row by row: positions take much more room than values
            index = flat + (to_index[:3, 2] * height)[:, None, None]
            map_coordinates(values, index, order=1, mode="constant", cval=air, output=line)
            skin[k] = FARTHEST - ALONG * first_lasting(line, target.level)
            if target.modality == "CT":
                bone[k] = FARTHEST - ALONG * first_lasting(line, BONE)
        return cls(skin, bone)

    def packed(self) -> dict[str, str]:
        """As text that a record can hold, in steps of 1/16 mm or finer."""
        return {name: _text(getattr(self, name)) for name in ("skin", "bone")}

    @classmethod
    def unpacked(cls, kept: Mapping[str, str]) -> DepthMaps:
        """What `packed` gave."""
        return cls(*(_array(kept[name]) for name in ("skin", "bone")))


def first_lasting(lines: np.ndarray, level: float, count: int = 2) -> np.ndarray:
    """Sample at which each line (last axis) comes to a level for at least ``count`` samples; NaN: never."""
    above = lines >= level
    lasting = above.copy()
    for k in range(1, count):
        lasting[..., :-k] &= above[..., k:]
        lasting[..., -k:] = False
    first = lasting.argmax(axis=-1)
    before = np.maximum(first - 1, 0)
    one, two = (np.take_along_axis(lines, at[..., None], axis=-1)[..., 0] for at in (before, first))
    part = np.clip((level - one) / np.where(two == one, 1.0, two - one), 0.0, 1.0)
    return np.where(lasting.any(axis=-1), before + np.where(first > 0, part, 0.0), np.nan)


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.asarray(array, "<f2").tobytes()).decode("ascii")


def _array(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f2").reshape(SHAPE).astype(np.float32)


@functools.cache
def face_rays() -> np.ndarray:
    """Rays that meet the average head's skin from brow to chin, (rows, columns) bool."""
    from scipy.ndimage import maximum_filter

    from defacedask.anatomy.template import load_template
    from defacedask.attacks.target import Target
    from defacedask.volume import real_values

    template = load_template("average_ct")
    grid = template.geometry
    # the head as an image: its skin lies where this is 100
    solid = 100.0 - np.asarray(real_values(template.skin).values, np.float32)
    skin = DepthMaps.of(Target(solid, grid, "MR", 100.0, np.eye(4))).skin
    turns = np.deg2rad(ANGLES)
    points = np.stack(
        np.broadcast_arrays(np.sin(turns) * skin, -np.cos(turns) * skin, HEIGHTS[:, None]), axis=-1
    )
    at = np.rint(np.nan_to_num(grid.to_index(points.reshape(-1, 3)))).astype(int)
    inside = ((at >= 0) & (at < np.array(grid.shape))).all(axis=1) & ~np.isnan(skin).ravel()
    face = maximum_filter(template.mask("face").view(np.uint8), 5).view(bool)
    return (inside & face[tuple(np.where(inside[:, None], at, 0).T)]).reshape(SHAPE)


def ray_scale(to_template: np.ndarray) -> np.ndarray:
    """Length in the patient, mm, of one mm along each ray in the average's space, (columns,).

    Parameters
    ----------
    to_template : (4, 4) array
        World LPS mm to the average's space.
    """
    turns = np.deg2rad(ANGLES)
    along = np.stack([np.sin(turns), -np.cos(turns), np.zeros(len(turns))])
    return np.asarray(np.linalg.norm(np.linalg.inv(np.asarray(to_template)[:3, :3]) @ along, axis=0))

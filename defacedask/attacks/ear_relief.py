"""Who is it, by the ears: the relief of each ear, seen from the side, laid on everybody's.

The ear's relief is how far the skin stands out along rays from the side, where the registered head has its ear, less
its own smooth course: neither how wide a head is nor how it was registered says who it is.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from defacedask.attacks.inversion.maps import first_lasting
from defacedask.faces.outer_skin import part_around

if TYPE_CHECKING:
    from defacedask.geometry import Geometry

__all__ = ["SIDES", "EarGallery", "ear_map", "ear_part", "packed", "relief", "unpacked"]

SIDES = ("left", "right")
#: mm between rays, between samples along one, and from the middle of the head where rays begin and end.
STEP, ALONG, FARTHEST, NEAREST = 1.5, 1.0, 125.0, 40.0
#: mm by which two reliefs may be moved against each other, and of skin around the average's ear that is compared.
SHIFT, AROUND = 6.0, 3.0
#: Standard deviation (mm) of the course that is taken off; mm that the relief has at most.
SMOOTH, MOST = 6.0, 10.0


def ear_map(
    values: np.ndarray, geometry: Geometry, to_template: np.ndarray, side: str, *, level: float, air: float
) -> np.ndarray:
    """Distance of the outermost skin from the middle of the head around one ear, (rows, columns) float32.

    Parameters
    ----------
    values : (z, y, x) array
        Real values.
    geometry : Geometry
    to_template : (4, 4) array
        World LPS mm to the average's space.
    side : str
        ``left`` or ``right``, the patient's.
    level, air : float
        Of the skin, and of what lies outside of the image.

    Returns
    -------
    array
        mm of the average's space, rows upwards and columns to the back; NaN where a ray meets no skin.
    """
    from scipy.ndimage import map_coordinates

    index = _index(geometry, to_template, side)
    line = map_coordinates(np.asarray(values, np.float32), index, order=1, mode="constant", cval=air)
    return (FARTHEST - ALONG * first_lasting(line, level)).astype(np.float32)


def ear_part(geometry: Geometry, to_template: np.ndarray, side: str) -> tuple[slice, ...]:
    """The block of an image that `ear_map` reads; empty where the ear lies outside."""
    found = part_around(list(_index(geometry, to_template, side)), geometry.shape)
    return found or (slice(0, 1),) * 3


def _index(geometry: Geometry, to_template: np.ndarray, side: str) -> np.ndarray:
    """Voxels, along z, y and x, that the rays pass: (3, rows, columns, samples)."""
    height, back = _window(side)
    out = np.arange(FARTHEST, NEAREST, -ALONG)
    z, y, x = np.meshgrid(height, back, out if side == "left" else -out, indexing="ij")
    to_index = np.linalg.inv(np.asarray(to_template) @ geometry.affine)
    return np.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in to_index[:3]])


@functools.cache
def _window(side: str) -> tuple[np.ndarray, np.ndarray]:
    """Heights, and places from front to back, of the rays around the average's ear, mm."""
    from defacedask.anatomy.template import load_template

    template = load_template("average_ct")
    ear = template.geometry.to_world(np.argwhere(template.mask(f"ear_{side}")))[:, 1:3]
    wide = AROUND + SHIFT
    (y0, z0), (y1, z1) = ear.min(axis=0) - wide, ear.max(axis=0) + wide
    return np.arange(z0, z1, STEP), np.arange(y0, y1, STEP)


def packed(skin: np.ndarray) -> str:
    """A map as text that a record can hold, in steps of 1/16 mm or finer."""
    return base64.b64encode(np.asarray(skin, "<f2").tobytes()).decode("ascii")


def unpacked(text: str, side: str) -> np.ndarray:
    """What `packed` gave."""
    shape = tuple(len(axis) for axis in _window(side))
    return np.frombuffer(base64.b64decode(text), "<f2").reshape(shape).astype(np.float32)


def relief(skin: np.ndarray) -> np.ndarray:
    """A map less its smooth course, mm, of at most `MOST`; 0 where there is no skin."""
    from scipy.ndimage import gaussian_filter

    there = ~np.isnan(skin)
    sigma = SMOOTH / STEP
    weight = gaussian_filter(there.astype(np.float32), sigma)
    course = gaussian_filter(np.where(there, skin, 0.0), sigma) / np.maximum(weight, 1e-3)
    return np.where(there, np.clip(np.nan_to_num(skin) - course, -MOST, MOST), 0.0).astype(np.float32)


class EarGallery:
    """Ears of some images, to lay others on.

    Parameters
    ----------
    images : sequence of mapping
        Side -> map (`ear_map`) of each image; a side that was not measured is left out.
    """

    def __init__(self, images: Sequence[Mapping[str, np.ndarray]]) -> None:
        self.images = len(images)
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for side in SIDES:
            rows = np.array([k for k, one in enumerate(images) if side in one], int)
            if len(rows):
                cores = np.stack([_core(relief(images[k][side])).ravel() for k in rows])
                self._known[side] = rows, _unit(cores)

    def likeness(self, probe: Mapping[str, np.ndarray]) -> np.ndarray:
        """Correlation of the reliefs in the place where they agree best, mean of the sides both have, (images,).

        0 for an ear that is gone; NaN where the two have no side in common.
        """
        total, count = np.zeros(self.images), np.zeros(self.images)
        most = round(SHIFT / STEP)
        for side, skin in probe.items():
            if side not in self._known:
                continue
            rows, cores = self._known[side]
            mine = relief(skin)
            moved = [
                _core(mine, down, along).ravel()
                for down in range(-most, most + 1)
                for along in range(-most, most + 1)
            ]
            total[rows] += (cores @ _unit(np.stack(moved)).T).max(axis=1)
            count[rows] += 1
        with np.errstate(invalid="ignore"):
            return total / count


def _core(skin: np.ndarray, down: int = 0, along: int = 0) -> np.ndarray:
    """All but the margin that room to move takes."""
    n = round(SHIFT / STEP)
    rows, columns = skin.shape
    return skin[n + down : rows - n + down, n + along : columns - n + along]


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))

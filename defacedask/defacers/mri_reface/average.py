"""The average head on one coarse grid in its own space (LPS mm): its skin, the ways out of it, its face and ears."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from defacedask.anatomy.template import load_template
from defacedask.geometry import Geometry
from defacedask.volume import real_values

__all__ = [
    "EDGE",
    "FIT_GRID",
    "HALF_GRID",
    "Average",
    "Cells",
    "all_along",
    "average_shape",
    "ease",
    "signed_distance",
]

#: Coarse grid in the average's space: 3 mm, array axes S, P, L.
FIT_GRID = Geometry.from_spacing((80, 88, 76), (3.0, 3.0, 3.0), (-112.5, -190.0, -190.0))
#: Every other point of it.
HALF_GRID = Geometry.from_spacing((40, 44, 38), (6.0, 6.0, 6.0), FIT_GRID.origin)
#: mm from a skin of the voxels that stand for it.
EDGE = 0.6 * FIT_GRID.spacing[0]
#: mm around the average's ears within which the patient's may lie.
EAR = 9.0


@dataclasses.dataclass(frozen=True, eq=False)
class Average:
    """The average head on `FIT_GRID`.

    Attributes
    ----------
    skin : float32 array
        Signed distance to the skin, mm, negative inside.
    outward : (3, z, y, x) float32 array
        Smooth unit vectors (x, y, z) pointing out of the head.
    rim : float32 array
        mm along the skin from face and ears; 0 within.
    off_face : float32 array
        mm along the skin from the face alone.
    ears : bool array
    foot : (3, z, y, x) float32 array
        Where the way inwards along ``outward`` meets the smooth head, index (z, y, x): one place for all points above
        and below a piece of skin.
    """

    skin: np.ndarray
    outward: np.ndarray
    rim: np.ndarray
    off_face: np.ndarray
    ears: np.ndarray
    foot: np.ndarray
    rise: np.ndarray
    at_ears: np.ndarray


@functools.cache
def average_shape() -> Average:
    """Shape of the built-in average head; computed once a process."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

    template = load_template("average_ct")
    fine = template.geometry

    def put(array: np.ndarray, order: int = 1) -> np.ndarray:
        x, y, z = np.broadcast_arrays(*FIT_GRID.positions(dtype=np.float64))
        index = fine.to_index(np.stack([x, y, z], axis=-1).reshape(-1, 3)).T
        out = map_coordinates(array, index, order=order, mode="nearest", prefilter=False)
        return out.reshape(FIT_GRID.shape)

    near = put(real_values(template.skin).values.astype(np.float32))
    step = FIT_GRID.spacing[0]
    far = distance_transform_edt(near > 0) - distance_transform_edt(near <= 0)
    far = (far - 0.5 * np.sign(far)) * step
    limit = 0.8 * float(np.abs(near).max())
    skin = np.where(np.abs(near) < limit, near, far).astype(np.float32)
    # so smooth that the nose and the ears are moved, not swollen
    smooth = gaussian_filter(far, 24.0 / step)
    slope = np.stack(np.gradient(smooth, step)[::-1])
    outward = (slope / np.maximum(np.linalg.norm(slope, axis=0), 1e-3)).astype(np.float32)

    face, ears = put(template.mask("face"), 0), put(template.mask("ears"), 0)
    x, y, z = FIT_GRID.positions()
    between = (y > -70) & (y < 0) & (np.abs(x) > 45) & (z > -112) & (z < -12) & (np.abs(skin) < 12)
    inner = face | ears | between
    foot, rise = _feet(gaussian_filter(far, 6.0 / step), outward, step)
    ears = ears & (skin > -9)
    wide = (distance_transform_edt(~ears) * step).astype(np.float32)
    at_ears = map_coordinates(wide, foot, order=1, mode="nearest", prefilter=False) < EAR
    return Average(
        skin,
        outward,
        _along_skin(inner, skin, step),
        _along_skin(face, skin, step),
        ears,
        foot,
        rise,
        at_ears,
    )


def _feet(height: np.ndarray, outward: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Follow the way outwards, and back, from each voxel to where a height is 0: index (z, y, x), and mm to there."""
    from scipy.ndimage import map_coordinates

    def read(field: np.ndarray) -> np.ndarray:
        return map_coordinates(field, at, order=1, mode="nearest", prefilter=False)

    slope = np.stack(np.gradient(height, step))
    way = np.ascontiguousarray(outward[::-1])
    left = (height / np.maximum((slope * way).sum(axis=0), 0.5)).astype(np.float32)
    at = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in height.shape), indexing="ij"))
    rise = np.zeros(height.shape, np.float32)
    for _ in range(6):
        # short steps, so that the way bends
        move = np.clip(read(left), -10, 10)
        at = at - np.stack([read(w) for w in way]) * (move / np.float32(step))
        rise += move
    return at, rise


def _along_skin(mask: np.ndarray, skin: np.ndarray, step: float) -> np.ndarray:
    """Distance to a mask from each voxel's foot on the skin, so that it does not grow towards the front."""
    from scipy.ndimage import distance_transform_edt, map_coordinates

    away = (distance_transform_edt(~mask) * step).astype(np.float32)
    slope = np.stack(np.gradient(skin, step))
    slope /= np.maximum(np.linalg.norm(slope, axis=0), 0.3)
    at = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in skin.shape), indexing="ij"))
    depth = skin.copy()
    for _ in range(2):
        at = at - slope * depth / step
        depth = map_coordinates(skin, at, order=1, mode="nearest", prefilter=False)
        slope = np.stack([map_coordinates(s, at, order=1, mode="nearest", prefilter=False) for s in slope])
    return map_coordinates(away, at, order=1, mode="nearest", prefilter=False)


def ease(t: Any) -> Any:
    """Smooth step: 0 below 0, 1 above 1."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)


@dataclasses.dataclass(frozen=True, eq=False)
class Cells:
    """Some voxels of `FIT_GRID`, each above a place of the smooth head to which an offset belongs.

    Attributes
    ----------
    where : bool array
        Which, on `FIT_GRID`.
    """

    where: np.ndarray

    @functools.cached_property
    def at(self) -> np.ndarray:
        """(n, 3) index on `FIT_GRID`."""
        return np.argwhere(self.where)

    @functools.cached_property
    def foot(self) -> np.ndarray:
        """(3, n) index on `HALF_GRID`."""
        return average_shape().foot[:, self.where] / 2

    @functools.cached_property
    def outward(self) -> np.ndarray:
        """(n, 3) index steps (z, y, x) a mm."""
        step = FIT_GRID.spacing[0]
        return np.stack([average_shape().outward[k][self.where] for k in (2, 1, 0)], axis=-1) / step

    @functools.cached_property
    def nearest(self) -> np.ndarray:
        """(n,) flat index of the foot's voxel of `HALF_GRID`."""
        last = np.array(HALF_GRID.shape)[:, None] - 1
        return np.ravel_multi_index(
            tuple(np.clip(np.rint(self.foot), 0, last).astype(int)), tuple(HALF_GRID.shape)
        )

    def offset(self, field: np.ndarray) -> np.ndarray:
        """A field on `HALF_GRID` at the feet, mm."""
        from scipy.ndimage import map_coordinates

        return map_coordinates(field, self.foot, order=1, mode="nearest", prefilter=False)

    def above(self, offset: np.ndarray) -> np.ndarray:
        """Height of the voxels over the average's skin that is moved outwards by an offset (n,), mm."""
        from scipy.ndimage import map_coordinates

        moved = self.at - self.outward * offset[:, None]
        return map_coordinates(average_shape().skin, moved.T, order=1, mode="nearest", prefilter=False)

    def binned(self, weights: np.ndarray) -> np.ndarray:
        """Sum of the voxels' weights at each foot, on `HALF_GRID`."""
        count = int(np.prod(HALF_GRID.shape))
        return np.bincount(self.nearest, weights=weights, minlength=count).reshape(HALF_GRID.shape)


def all_along(field: np.ndarray) -> np.ndarray:
    """A field on `HALF_GRID` with one value all along each way outwards, that of its foot.

    An offset that grew with the height would stretch ears and lips to slabs.
    """
    from scipy.ndimage import map_coordinates

    foot = average_shape().foot[:, ::2, ::2, ::2] / 2
    return map_coordinates(field, foot, order=1, mode="nearest", prefilter=False)


def signed_distance(part: np.ndarray) -> np.ndarray:
    """Signed distance to what fills each voxel of `FIT_GRID` to a part (0 to 1), mm, negative inside; float32."""
    from scipy.ndimage import distance_transform_edt

    step = FIT_GRID.spacing[0]
    inside = part > 0.5
    away = distance_transform_edt(~inside) - distance_transform_edt(inside)
    away = (away - 0.5 * np.sign(away)) * step
    # within the voxels of the edge the filled fraction tells where in the voxel it runs
    edge = (part > 0.02) & (part < 0.98)
    return np.where(edge, (0.5 - part) * step, away).astype(np.float32)

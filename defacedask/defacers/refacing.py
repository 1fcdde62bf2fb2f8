"""Lay the average face over a head: how far, and which part of the head it takes the place of.

Everything happens on one coarse grid in the average head's own space (LPS mm). The average is moved along its own
smooth outward direction by an offset that varies slowly (no finer than `GRAIN`), so that it keeps its own features
and takes over no more than the size of the patient's face. The offset is chosen so that

- over the face the patient's skin lies at least `CLEARANCE` below the new one (no part of the old surface survives,
  and none of the new one coincides with it),
- towards the rim (hairline, behind the ears, neck) the new skin runs out into the old one.

The ears are swapped where the average has them: an offset that covered any ear would be a lump.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.head.template import load_template
from defacedask.volume import real_values

if TYPE_CHECKING:
    from defacedask.head import Head

__all__ = [
    "FIT_GRID",
    "HALF_GRID",
    "Average",
    "Fit",
    "average_shape",
    "fit_average",
    "moved_average",
    "require_cover",
]

#: Coarse grid in the average's space: 3 mm, array axes S, P, L.
FIT_GRID = Geometry.from_spacing((80, 88, 76), (3.0, 3.0, 3.0), (-112.5, -190.0, -190.0))
#: Every other point of it.
HALF_GRID = Geometry.from_spacing((40, 44, 38), (6.0, 6.0, 6.0), FIT_GRID.origin)
#: mm between old and new skin over the face, in the patient.
CLEARANCE = 4.0
#: mm, standard deviation of the finest change of the offset, and of the first, rough one.
GRAIN, ROUGH = 16.0, 30.0
#: mm over which the new skin runs out into the old.
RIM = 28.0
#: Weight of skin that lies deeper than it must, against skin that does not lie deep enough.
SLACK = 0.04
#: mm of old tissue below the old skin that are replaced with it.
DEPTH = 8.0
#: mm of a step of the stored offset and gap.
OFFSET_STEP, GAP_STEP = 0.02, 0.25
#: mm in front of the new skin within which everything is cleared.
FRONT = 50.0


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
    """

    skin: np.ndarray
    outward: np.ndarray
    rim: np.ndarray
    off_face: np.ndarray
    ears: np.ndarray


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
    return Average(
        skin, outward, _along_skin(inner, skin, step), _along_skin(face, skin, step), ears & (skin > -9)
    )


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


def from_half(stored: np.ndarray, unit: float) -> np.ndarray:
    """What is stored for every other point of `FIT_GRID`, in steps of ``unit``, on all of it (float32)."""
    from scipy.ndimage import map_coordinates

    index = np.meshgrid(*(np.arange(n) / 2 for n in FIT_GRID.shape), indexing="ij")
    values = stored.astype(np.float32) * np.float32(unit)
    return map_coordinates(values, np.stack(index), order=1, mode="nearest", prefilter=False)


def moved_average(offset: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay the average out from what is stored of a fit.

    Parameters
    ----------
    offset, gap : arrays
        See `Fit`.

    Returns
    -------
    shift : (3, z, y, x) float32 array
        What lies at ``p`` is the average's ``p - shift(p)``, mm.
    new : float32 array
        mm above the new skin, negative inside.
    inside : float32 array
        mm within the part that is replaced, negative outside of it; the brain not yet considered.
    """
    from scipy.ndimage import map_coordinates

    shape = average_shape()
    shift = from_half(offset, OFFSET_STEP) * shape.outward
    index = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in FIT_GRID.shape), indexing="ij"))
    at = index - shift[::-1] / np.float32(FIT_GRID.spacing[0])
    new = map_coordinates(shape.skin, at, order=1, mode="nearest", prefilter=False)
    inside = np.minimum.reduce([RIM - shape.rim, new + from_half(gap, GAP_STEP) + DEPTH, FRONT - new])
    return shift, new, inside.astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """The average face in its place.

    Attributes
    ----------
    offset : (z, y, x) int16 array
        By how much the average's skin is moved outwards, in steps of 0.02 mm of its space; every other point of
        `FIT_GRID`.
    gap : (z, y, x) int8 array
        How deep below the new skin the old one lies, in steps of 0.25 mm; every other point of `FIT_GRID`.
    old : float32 array
        mm above the patient's skin on `FIT_GRID`, negative inside.
    seen : bool array
        Where on `FIT_GRID` the patient's image has voxels.
    covered : float
        Fraction of the patient's facial skin that lies at least 3 mm (in the patient) below the new one.
    """

    offset: np.ndarray
    gap: np.ndarray
    old: np.ndarray
    seen: np.ndarray
    covered: float


def _old_skin(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the patient's skin and where it is known, on `FIT_GRID`."""
    from scipy.ndimage import distance_transform_edt

    from defacedask.head.grid import resample
    from defacedask.head.morphology import close, components

    solid = close(head.body & (head.values > head.level), 1)
    air = components(np.ascontiguousarray(np.pad(~solid, 1, constant_values=True)))
    solid = (air != air[0, 0, 0])[1:-1, 1:-1, 1:-1]
    back = np.linalg.inv(head.to_template)
    part = resample(solid.astype(np.float32), head.grid, FIT_GRID, matrix=back, outside=0.0)
    x, y, z = np.broadcast_arrays(*FIT_GRID.positions(dtype=np.float64))
    world = np.stack([x, y, z], axis=-1) @ back[:3, :3].T + back[:3, 3]
    index = head.geometry.to_index(world)
    within = (index > -0.5) & (index < np.array(head.geometry.shape) - 0.5)
    seen = np.asarray(within.all(axis=-1))
    step = FIT_GRID.spacing[0]
    inside = part > 0.5
    away = distance_transform_edt(~inside) - distance_transform_edt(inside)
    away = (away - 0.5 * np.sign(away)) * step
    # within the voxels of the edge the filled fraction tells where in the voxel it runs
    edge = (part > 0.02) & (part < 0.98)
    return np.where(edge, (0.5 - part) * step, away).astype(np.float32), seen


def fit_average(head: Head) -> Fit:
    """Choose the offset of the average face for one head.

    Raises
    ------
    RefusedError
        If too little of the face is in view to lay another one over it.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter

    shape = average_shape()
    step = FIT_GRID.spacing[0]
    old, seen = _old_skin(head)
    stretch = np.linalg.svd(head.to_template[:3, :3], compute_uv=False)
    clearance = CLEARANCE * float(stretch[0])

    rim = ease(1 - shape.rim / RIM)
    # the patient's skin: edge voxels seen from outside, near enough to the average's to be the same part of the head
    skin = (
        (np.abs(old) < 0.6 * step) & seen & (np.abs(shape.skin) < 30) & (shape.rim < RIM + 12) & ~shape.ears
    )
    at = np.argwhere(skin)
    on_face = shape.off_face[skin] < 3.0
    if on_face.sum() * step**2 < 12000:  # mm², about a third of a face
        raise RefusedError(
            "too little of the face lies in the field of view to lay the average face over it.",
            "Another defacer may cut what is in view.",
        )
    one_sided = ease(1 - shape.off_face[skin] / 14.0)
    target = clearance * rim[skin]
    outward = np.stack([shape.outward[k][skin] for k in (2, 1, 0)], axis=-1) / step  # index (z, y, x) a mm

    # the offset is so smooth that half the grid's points hold it: sums and filters run on those
    half = tuple(n // 2 for n in FIT_GRID.shape)
    cell = np.ravel_multi_index(tuple(np.minimum((at + 1) // 2, np.array(half) - 1).T), half)
    between = at.T / 2

    def above(offset: np.ndarray) -> np.ndarray:
        """Height of the patient's skin over the moved average's, mm."""
        moved = at - outward * offset[:, None]
        return map_coordinates(shape.skin, moved.T, order=1, mode="nearest", prefilter=False)

    def spread(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
        total, base = np.zeros(half), np.full(half, 1e-6)
        for s, share in ((sigma, 1.0), (2.5 * sigma, 0.02)):
            for out, what in ((total, values * weight), (base, weight)):
                binned = np.bincount(cell, weights=what, minlength=total.size).reshape(half)
                out += share * gaussian_filter(binned, s / (2 * step), mode="constant", truncate=3.0)
        return total / base

    field = np.zeros(half)
    every = np.ones(len(at))
    for k in range(18):
        offset = map_coordinates(field, between, order=1, mode="nearest", prefilter=False)
        short = above(offset) + target
        if k < 3:
            field += spread(np.clip(short, -30, 30), every, ROUGH)
        else:
            # asymmetric least squares: over the face the new skin is an envelope, at the rim a fit
            weight = np.where(short > 0, 1.0, SLACK * one_sided + (1 - one_sided))
            field += 1.3 * spread(short, weight, GRAIN)
    stored = np.rint(np.clip(field, -35, 35) / OFFSET_STEP).astype(np.int16)
    offset = from_half(stored, OFFSET_STEP)
    height = above(offset[skin])
    covered = float((height[on_face] <= -3.0 * stretch[0]).mean())
    # how deep below the new skin the old one lies, at most, round about
    gap = np.zeros(FIT_GRID.shape, np.float32)
    gap[skin] = np.maximum(-height, 0)
    gap = gaussian_filter(maximum_filter(gap, size=7), 2.0)[::2, ::2, ::2]
    deep = np.rint(np.clip(gap, 0, 31) / GAP_STEP).astype(np.int8)
    return Fit(stored, deep, old, seen, covered)


def require_cover(fit: Fit, least: float = 0.9) -> None:
    """Refuse a fit that leaves the old skin near the new one.

    Raises
    ------
    RefusedError
    """
    if fit.covered < least:
        raise RefusedError(
            f"the average face clears only {100 * fit.covered:.0f} % of this face (gate {100 * least:.0f} %).",
            "Another defacer removes the face instead.",
        )

"""Lay the average face over a head: how far, and which part of the head it takes the place of.

Everything happens on one coarse grid in the average head's own space (LPS mm). The average is moved along its own
smooth outward direction by an offset that varies slowly over the skin (no finer than `GRAIN`) and not with the height
above it: it keeps its own features and takes over no more than the size of the patient's face. An offset that grew
with the height would stretch ears to slabs and lips to a snout. The offset is chosen so that

- over the face the patient's skin lies at least `CLEARANCE` below the new one (no part of the old surface survives,
  and none of the new one coincides with it),
- towards the rim (hairline, behind the ears, neck) the new skin runs out into the old one,
- what stands out from the head beside the face (markers, hair, ghosts, tubes) is not covered, which would grow a
  knob over it, but cut off: all in front of the new skin becomes air.

The ears are swapped where the average has them: an offset that covered any ear would be a lump. They move with the
skin round about, and are laid flatter where the image ends before they do.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.defacers.mri_reface.average import (
    EDGE,
    FIT_GRID,
    HALF_GRID,
    Cells,
    all_along,
    average_shape,
    ease,
    signed_distance,
)
from defacedask.errors import RefusedError
from defacedask.showing import beside

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head

__all__ = [
    "Fit",
    "ears_in_view",
    "fit_average",
    "from_half",
    "moved_average",
    "old_skin",
    "require_cover",
]

#: mm between old and new skin over the face, in the patient: and more a mm of the image's coarsest step, up to 6 mm,
#: since both skins are drawn only that well.
CLEARANCE, COARSER = 5.0, 0.25
#: mm, standard deviation of the finest change of the offset, and of the first, rough one.
GRAIN, ROUGH = 16.0, 30.0
#: mm, by how much the offset may differ from the rough one.
FINER = 15.0
#: mm over which the new skin runs out into the old.
RIM = 28.0
#: Weight of skin that lies deeper than it must, against skin that does not lie deep enough.
SLACK = 0.04
#: mm of old tissue below the old skin that are replaced with it.
DEPTH = 8.0
#: mm below the smooth head where ears begin.
ROOT = 9.0
#: Part of their height that ears keep at least where the image ends.
LOWEST = 0.3
#: mm, half the thickness of what is no part of the head itself: it is cut off and not covered.
THIN = 9.0
#: mm above the rough fit from which on skin beside the face begins to count less; at twice as much it does not.
OUTLIER = 7.0
#: mm below the rough fit from which on what has no skin (an open skull, a cut image) begins to count less.
HOLLOW = 12.0
#: mm of a step of the stored offset and gap.
OFFSET_STEP, GAP_STEP = 0.02, 0.25
#: mm in front of the new skin within which everything is cleared.
FRONT = 50.0
#: mm² of the smallest face that another is laid over, about a third of one.
LEAST_FACE = 12000.0


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
        Fraction of the patient's facial skin that lies at least 3 mm (in the patient) below the new one, or is cut
        off at least 3 mm above it.
    """

    offset: np.ndarray
    gap: np.ndarray
    old: np.ndarray
    seen: np.ndarray
    covered: float


def old_skin(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the patient's skin and where it is known, on `FIT_GRID`."""
    from defacedask.anatomy.grid import resample
    from defacedask.anatomy.morphology import close, components

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
    return signed_distance(part), seen


def _proud(old: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Height over the head without all that is thinner than 18 mm (ears, hair, markers, ghosts, tubes), mm."""
    from scipy.ndimage import distance_transform_edt

    step = FIT_GRID.spacing[0]
    # beyond the field of view the head may go on
    core = distance_transform_edt((old <= 0) | ~seen) * step > THIN
    return distance_transform_edt(~core) * step - THIN


def ears_in_view(head: Head, field: np.ndarray) -> np.ndarray:
    """Lay the ears flatter where the image ends before they do: cut off they would be slabs.

    Parameters
    ----------
    field : (z, y, x) array
        Offset, mm, at every other point of `FIT_GRID`.
    """
    from scipy.ndimage import gaussian_filter

    shape = average_shape()
    part = (slice(None, None, 2),) * 3
    rise, foot, ear = shape.rise[part] + ROOT, shape.foot[(slice(None), *part)], shape.at_ears[part]
    tall = float(np.percentile(shape.rise[shape.ears & (shape.skin <= 0)], 99)) + ROOT
    out = np.moveaxis(np.asarray(shape.outward[(slice(None), *part)]), 0, -1)[ear]
    base = FIT_GRID.to_world(foot[:, ear].T)
    back = np.linalg.inv(head.to_template)
    size, margin = np.array(head.geometry.shape), 1.0 / np.array(head.geometry.spacing)
    room = np.full(len(base), 0.0)
    steps = np.arange(1.0, tall + 1)
    inside = np.ones(len(base), bool)
    for t in steps:
        point = base + out * (field[ear] + t - ROOT)[:, None]
        index = head.geometry.to_index(point @ back[:3, :3].T + back[:3, 3])
        inside &= ((index > margin - 0.5) & (index < size - 0.5 - margin)).all(axis=1)
        room[inside] = t
    share = np.ones(field.shape)
    share[ear] = np.clip(room / steps[-1], LOWEST, 1.0)
    if share.min() == 1:
        return field
    share = gaussian_filter(share, 1.0)
    return field - np.maximum(rise - field, 0) * (1 / share - 1)


def fit_average(head: Head) -> Fit:
    """Choose the offset of the average face for one head.

    Raises
    ------
    RefusedError
        If too little of the face is in view to lay another one over it.
    """
    from scipy.ndimage import gaussian_filter, maximum_filter

    shape = average_shape()
    step = FIT_GRID.spacing[0]
    old, seen = old_skin(head)
    stretch = np.linalg.svd(head.to_template[:3, :3], compute_uv=False)
    coarse = min(max(head.geometry.spacing), 6.0)
    clearance = (CLEARANCE + COARSER * coarse) * float(stretch[0])

    rim = ease(1 - shape.rim / RIM)
    # the patient's skin: edge voxels seen from outside, near enough to the average's to be the same part of the head
    edge = (np.abs(old) < EDGE) & seen & (np.abs(shape.skin) < 30) & (shape.rim < RIM + 12)
    beside = np.broadcast_to(np.abs(FIT_GRID.positions()[0]) > 40, edge.shape) | (shape.off_face > 3)
    skin = edge & ~shape.at_ears & ~(beside & (_proud(old, seen) > 3.0))
    cells = Cells(skin)
    beside = beside[skin]
    on_face = shape.off_face[skin] < 3.0
    if on_face.sum() * step**2 < LEAST_FACE:
        raise RefusedError(
            "too little of the face lies in the field of view to lay the average face over it.",
            "Another defacer may cut what is in view.",
        )
    one_sided = ease(1 - shape.off_face[skin] / 14.0)
    target = clearance * rim[skin]

    # skin that turns away from the way outwards does not come nearer along it
    facing = np.stack(np.gradient(gaussian_filter(np.clip(old, -9, 9), 1.5), step))
    facing = facing[:, skin] / np.maximum(np.linalg.norm(facing[:, skin], axis=0), 1e-3)
    facing = np.clip((facing.T * cells.outward).sum(axis=1) * step, 0, 1) ** 2

    def spread(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
        total, base = np.zeros(HALF_GRID.shape), np.full(HALF_GRID.shape, 1e-6)
        for s, share in ((sigma, 1.0), (2.5 * sigma, 0.02)):
            for out, what in ((total, values * weight), (base, weight)):
                out += share * gaussian_filter(
                    cells.binned(what), s / (2 * step), mode="constant", truncate=3.0
                )
        return total / base

    def sure(short: np.ndarray) -> np.ndarray:
        """Weight of skin: what stands out beside the face is cut off, not covered; what lies deep is no skin."""
        return (1 - ease(short / OUTLIER - 1) * beside) * (1 - ease(-short / HOLLOW - 1))

    # the offset is so smooth that half the grid's points hold it: sums and filters run on those
    field = rough = np.zeros(HALF_GRID.shape)
    for k in range(18):
        short = cells.above(cells.offset(field)) + target
        if k < 3:
            field = field + spread(np.clip(short, -30, 30), facing * (sure(short) if k else 1.0), ROUGH)
            rough = field
            if k == 2:
                facing = facing * sure(cells.above(cells.offset(field)) + target)
        else:
            # asymmetric least squares: over the face the new skin is an envelope, at the rim a fit
            weight = np.where(short > 0, 1.0, SLACK * one_sided + (1 - one_sided))
            field = field + 1.3 * spread(np.clip(short, -15, 15), weight * facing, GRAIN)
            field = np.clip(field, rough - FINER, rough + FINER)
    field = ears_in_view(head, all_along(field))
    stored = np.rint(np.clip(field, -35, 35) / OFFSET_STEP).astype(np.int16)
    offset = from_half(stored, OFFSET_STEP)
    height = cells.above(offset[skin])
    covered = float((np.abs(height[on_face]) >= 3.0 * stretch[0]).mean())
    # how deep below the new skin the old one lies, at most, round about
    gap = np.zeros(FIT_GRID.shape, np.float32)
    gap[edge] = np.maximum(-Cells(edge).above(offset[edge]), 0)
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
            f"the average face clears only {beside(100 * fit.covered, 100 * least, '.0f')} % of this face "
            f"(gate {100 * least:.0f} %).",
            "Another defacer removes the face instead.",
        )

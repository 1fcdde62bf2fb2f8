"""Lay a face that is nobody's over a head: where its skin runs, and how deep the old face is overwritten.

The new skin is the average's, moved outwards by an offset that is the sum of three parts (all in the average's space):

- a smooth secret field, drawn from the key of run and person: the same for one person in every session and modality,
  and of no use to anybody else;
- one number, the lift: as much as lets most of the old facial skin lie below the new one. It is all that the new skin
  knows of the patient's facial skin, besides the affine that places the average's head;
- at the rim (hairline, behind the ears, neck), where the head goes on as it was, the way from there to the patient's
  skin; over the face it has no weight.

What has to be kept (bone on CT, protected structures) pushes the new skin outwards where it would stand out. The
depth to which the old tissue is overwritten follows the new skin, coarsely, and never the old one at a constant depth,
since a constant depth is the face again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.defacers.noise import lattice_normals
from defacedask.defacers.refacing import (
    COARSER,
    DEPTH,
    FIT_GRID,
    GAP_STEP,
    HALF_GRID,
    OFFSET_STEP,
    RIM,
    Fit,
    average_shape,
    ears_in_view,
    ease,
    from_half,
    old_skin,
)
from defacedask.errors import RefusedError
from defacedask.sampling import apply_affine

if TYPE_CHECKING:
    from defacedask.defacers.protect import Protected
    from defacedask.head import Head

__all__ = ["Surrogate", "bone_distance", "fit_surrogate"]

#: Scales (mm, standard deviation of a Gaussian) of the secret field, and the standard deviation of each part, mm.
SECRET = ((18.0, 1.0), (32.0, 1.4), (60.0, 1.6))
#: The secret field ends at so many of its standard deviations.
MOST = 2.2
#: Part of the old facial skin that is to lie below the new one, and by how many mm in the patient, besides what a coarse
#: image asks for.
COVERED, CLEAR = 0.94, 3.0
#: mm below the average's skin from which on what has a surface is an airway.
HOLLOW = -12.0
#: mm, least and most lift.
LIFT = (-5.0, 18.0)
#: mm in the patient by which the new skin runs over what is kept.
OVER_KEPT = 4.0
#: mm of old tissue below the old skin that are overwritten, at least, where nothing is kept.
OVERWRITTEN = 10.0
#: mm, standard deviation of the rim's way to the patient's skin, and of a push.
RUN_OUT, PUSH = 20.0, 14.0
#: mm, the same where the image ends.
FLATTER = 9.0
#: mm of the new face that may be cut off there.
SLAB = 3.0
#: HU, and mL of the smallest piece, that count as bone.
BONE, PIECE = 200.0, 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate:
    """A new face in its place.

    Attributes
    ----------
    fit : Fit
        Offset and gap as `refacing.moved_average` takes them.
    lift : float
        mm, see above.
    """

    fit: Fit
    lift: float


def secret_field(key: bytes) -> np.ndarray:
    """Smooth random offset on `HALF_GRID`, mm, a function of the key alone."""
    from scipy.ndimage import gaussian_filter

    total = np.zeros(HALF_GRID.shape)
    for scale, amount in SECRET:
        sigma = scale / HALF_GRID.spacing[0]
        pad = int(np.ceil(3 * sigma))
        stop = [n + pad for n in HALF_GRID.shape]
        white = lattice_normals(key, [-pad] * 3, stop, stream=f"surrogate {scale:g}")
        smooth = gaussian_filter(white.astype(np.float64), sigma, mode="wrap")
        # what a Gaussian leaves of the standard deviation of white noise in three dimensions
        left = (2.0 * np.sqrt(np.pi) * sigma) ** -1.5
        inner = (slice(pad, -pad),) * 3
        total += amount * smooth[inner] / left
    limit = MOST * float(np.sqrt(sum(amount**2 for _, amount in SECRET)))
    return limit * np.tanh(total / limit)


def bone_distance(head: Head) -> np.ndarray:
    """Signed distance to the bone of a CT on `FIT_GRID`, mm of the average's space, negative inside."""
    from scipy.ndimage import distance_transform_edt

    from defacedask.head.grid import resample
    from defacedask.head.morphology import components

    labels = components((head.values > BONE) & head.body)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    large = sizes * head.grid.voxel_volume / 1000 >= PIECE
    bone = large[labels]
    back = np.linalg.inv(head.to_template)
    part = resample(bone.astype(np.float32), head.grid, FIT_GRID, matrix=back, outside=0.0)
    step = FIT_GRID.spacing[0]
    inside = part > 0.5
    if not inside.any():
        return np.full(FIT_GRID.shape, 31.0, np.float32)
    away = distance_transform_edt(~inside) - distance_transform_edt(inside)
    away = (away - 0.5 * np.sign(away)) * step
    edge = (part > 0.02) & (part < 0.98)
    return np.where(edge, (0.5 - part) * step, away).astype(np.float32)


def fit_surrogate(
    head: Head, key: bytes, protected: Sequence[Protected], bone: np.ndarray | None
) -> Surrogate:
    """Choose the offset of the new face.

    Parameters
    ----------
    head : Head
    key : bytes
        Secret of run and person.
    protected : sequence of Protected
        What the new skin has to enclose.
    bone : (z, y, x) array, optional
        See `bone_distance`.

    Raises
    ------
    RefusedError
        If too little of the face is in view to lay another one over it.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter

    shape = average_shape()
    step = FIT_GRID.spacing[0]
    old, seen = old_skin(head)
    stretch = np.linalg.svd(head.to_template[:3, :3], compute_uv=False)
    half = HALF_GRID.shape

    edge = (np.abs(old) < 0.6 * step) & seen & (np.abs(shape.skin) < 30) & ~shape.at_ears
    # no airways, and nothing below the chin, where the head hardly ever fits the average's
    chin = FIT_GRID.positions()[2] > head.atlas.landmarks["menton"][2] - 3.0
    face = edge & (shape.off_face < 3.0) & (shape.rim < 1.0) & (shape.skin > HOLLOW) & chin
    if face.sum() * step**2 < 12000:  # mm², about a third of a face
        raise RefusedError(
            "too little of the face lies in the field of view to lay another one over it.",
            "Another defacer may cut what is in view.",
        )

    def height(offset: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Of what lies at the voxels ``where`` over the moved average's skin, mm."""
        out = np.stack([shape.outward[k][where] for k in (2, 1, 0)], axis=-1) / step
        moved = np.argwhere(where) - out * _at(offset, shape.foot[:, where])[:, None]
        return map_coordinates(shape.skin, moved.T, order=1, mode="nearest", prefilter=False)

    def spread(values: np.ndarray, weight: np.ndarray, where: np.ndarray, sigma: float) -> Any:
        nearest = np.clip(np.rint(shape.foot[:, where] / 2), 0, np.array(half)[:, None] - 1).astype(int)
        cell = np.ravel_multi_index(tuple(nearest), half)
        total, base = (
            gaussian_filter(
                np.bincount(cell, weights=w, minlength=int(np.prod(half))).reshape(half),
                sigma / (2 * step),
                mode="constant",
            )
            for w in (values * weight, weight)
        )
        return total, base

    # over the face: the secret and the lift
    secret = secret_field(key)
    clear = (CLEAR + COARSER * min(max(head.geometry.spacing), 6.0)) * float(stretch[0])
    lift = float(np.clip(np.quantile(height(secret, face), COVERED) + clear, *LIFT))
    # at the rim the head goes on as it was: there the new skin runs out into the old
    rim = edge & (shape.rim > 0) & (shape.rim < RIM + 15)
    short = np.clip(height(np.zeros(half), rim), -25, 25)
    total, base = spread(short, ease(shape.rim[rim] / RIM), rim, RUN_OUT)
    toward = total / np.maximum(base, 1e-6)
    skin = np.abs(shape.skin) < 0.6 * step
    total, base_of = spread(ease(np.clip(shape.rim[skin], 0, RIM) / RIM), np.ones(int(skin.sum())), skin, 5.0)
    share = total / np.maximum(base_of, 1e-6)
    sure = base / (base + 0.05 * float(base.max()))
    share = share * sure
    for _ in range(3):
        field = (1 - share) * (secret + lift) + share * toward
        missing = float(np.quantile(height(field, face), COVERED)) + clear
        lift = float(np.clip(lift + missing, *LIFT))
    field = (1 - share) * (secret + lift) + share * toward

    # what is kept pushes outwards
    kept = np.zeros(FIT_GRID.shape, bool)
    if bone is not None:
        kept |= (bone < 0) & (bone > -4)
    back = np.linalg.inv(head.to_template)
    places = apply_affine(back, *FIT_GRID.positions(dtype=np.float64))
    for one in protected:
        kept |= np.asarray(one._distance(places, np) < 0).reshape(FIT_GRID.shape)
    kept &= (shape.rim < RIM) & (shape.skin > -12) & (shape.skin < 25)
    pushed = np.zeros(half)
    for _ in range(12 if kept.any() else 0):
        over = np.maximum(height(field + pushed, kept) + OVER_KEPT * float(stretch[0]), 0)
        if over.max() < 0.3:
            break
        total, base = spread(over, (over > 0).astype(float), kept, PUSH)
        pushed += 1.2 * total / (base + 0.02 * max(float(base.max()), 1e-6))
    field = field + np.clip(pushed, 0, 15)
    # where the image ends before the new skin does, it is laid flatter: cut off it would be a slab
    near = skin & (shape.rim < RIM)
    room = _room(head, near) + SLAB
    for _ in range(6):
        over = np.maximum(_at(field, shape.foot[:, near]) - room, 0)
        if over.max() < 0.3:
            break
        total, base = spread(over, (over > 0).astype(float), near, FLATTER)
        field = field - 1.2 * total / (base + 0.02 * max(float(base.max()), 1e-6))

    field = map_coordinates(field, shape.foot[:, ::2, ::2, ::2] / 2, order=1, mode="nearest", prefilter=False)
    field = ears_in_view(head, field)
    stored = np.rint(np.clip(field, -35, 35) / OFFSET_STEP).astype(np.int16)
    offset = from_half(stored, OFFSET_STEP)[::2, ::2, ::2]
    above = height(offset, face)
    covered = float((np.abs(above) >= 3.0 * stretch[0]).mean())
    # how deep the old skin lies, at most, far round about
    gap = np.zeros(FIT_GRID.shape, np.float32)
    near = edge & (shape.rim < RIM)
    gap[near] = np.maximum(-height(offset, near), 0)
    gap = gaussian_filter(maximum_filter(gap[::2, ::2, ::2], size=7), 2.5)
    deep = np.clip(gap + OVERWRITTEN * float(stretch[0]) - DEPTH, 0, 31)
    return Surrogate(
        Fit(stored, np.rint(deep / GAP_STEP).astype(np.int8), old, seen, covered),
        lift / float(stretch[0]),
    )


def _room(head: Head, skin: np.ndarray) -> np.ndarray:
    """How far outwards the average's skin may be moved and still lie a voxel within the image, mm; -15 to 40."""
    at = FIT_GRID.to_world(np.argwhere(skin))
    outward = np.stack([part[skin] for part in average_shape().outward], axis=-1)
    back = np.linalg.inv(head.to_template)
    size = np.array(head.geometry.shape)
    room = np.full(len(at), -15.0)
    inside = np.ones(len(at), bool)
    for far in np.arange(-15.0, 41.0):
        index = head.geometry.to_index((at + far * outward) @ back[:3, :3].T + back[:3, 3])
        # what lies far outside is no matter: the image does not reach that part of the head
        inside &= ((index >= 0.5) & (index <= size - 1.5)).all(axis=1)
        room[inside] = far
    return np.where(room > -15.0, room, 40.0)


def _at(field: np.ndarray, foot: np.ndarray) -> np.ndarray:
    """Values of a field on `HALF_GRID` at feet (index on `FIT_GRID`)."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(field, foot / 2, order=1, mode="nearest", prefilter=False)

"""Lay a face that is nobody's over a head: where its skin runs, and how deep the old face is overwritten.

The new skin is the average's, moved outwards by an offset of three parts (all in the average's space):

- a smooth secret field, drawn from the key of run and person: the same for one person in every session and modality,
  and of no use to anybody else;
- one number, the lift: as much as lets most of the old facial skin lie below the new one. It is all that the new skin
  knows of the patient's facial skin, besides the affine that places the average's head;
- at the rim (hairline, behind the ears, neck), where the head goes on as it was, the way from there to the patient's
  skin; over the face it has no weight.

What has to be kept (bone on CT, protected structures) pushes the new skin outwards where it would stand out. The
depth to which the old tissue is overwritten follows the new skin, coarsely, and never the old one at a constant
depth, since a constant depth is the face again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
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
from defacedask.defacers.mri_reface.refacing import (
    COARSER,
    DEPTH,
    GAP_STEP,
    LEAST_FACE,
    OFFSET_STEP,
    RIM,
    Fit,
    ears_in_view,
    from_half,
    old_skin,
)
from defacedask.defacers.noise import lattice_normals
from defacedask.errors import RefusedError
from defacedask.sampling import apply_affine

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.defacers.protect import Protected

__all__ = ["NewFace", "bone_distance", "fit_surrogate"]

#: Scales (mm, standard deviation of a Gaussian) of the secret field, and the standard deviation of each part, mm.
SECRET = ((18.0, 1.0), (32.0, 1.4), (60.0, 1.6))
#: The secret field ends at so many of its standard deviations.
MOST = 2.2
#: Part of the old facial skin that is to lie below the new one, and by how many mm in the patient, besides what a
#: coarse image asks for.
COVERED, CLEAR = 0.955, 3.5
#: mm below the average's skin from which on what has a surface is an airway.
HOLLOW = -12.0
#: mm, least and most lift.
LIFT = (-5.0, 26.0)
#: mm in the patient by which the new skin runs over what is kept.
OVER_KEPT = 4.0
#: mm, standard deviation of the rim's way to the patient's skin, and of a push.
RUN_OUT, PUSH = 20.0, 14.0
#: mm, the same where the image ends.
FLATTER = 9.0
#: mm of the new face that may be cut off there.
SLAB = 4.0
#: HU, and mL of the smallest piece, that count as bone.
BONE, PIECE = 200.0, 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class NewFace:
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
    from defacedask.anatomy.grid import resample
    from defacedask.anatomy.morphology import components

    labels = components((head.values > BONE) & head.body)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    large = sizes * head.grid.voxel_volume / 1000 >= PIECE
    bone = large[labels]
    back = np.linalg.inv(head.to_template)
    part = resample(bone.astype(np.float32), head.grid, FIT_GRID, matrix=back, outside=0.0)
    return signed_distance(part) if (part > 0.5).any() else np.full(FIT_GRID.shape, 31.0, np.float32)


def fit_surrogate(
    head: Head, key: bytes, protected: Sequence[Protected], bone: np.ndarray | None, overwritten: float
) -> NewFace:
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
    overwritten : float
        mm of old tissue below the old skin that are overwritten, at least, where nothing is kept.

    Raises
    ------
    RefusedError
        If too little of the face is in view to lay another one over it.
    """
    shape = average_shape()
    old, seen = old_skin(head)
    stretch = float(np.linalg.svd(head.to_template[:3, :3], compute_uv=False)[0])
    edge = (np.abs(old) < EDGE) & seen & (np.abs(shape.skin) < 30) & ~shape.at_ears
    # no airways, and nothing below the chin, where the head hardly ever fits the average's
    chin = FIT_GRID.positions()[2] > head.atlas.landmarks["menton"][2] - 3.0
    face = edge & (shape.off_face < 3.0) & (shape.rim < 1.0) & (shape.skin > HOLLOW) & chin
    if face.sum() * FIT_GRID.spacing[0] ** 2 < LEAST_FACE:
        raise RefusedError(
            "too little of the face lies in the field of view to lay another one over it.",
            "Another defacer may cut what is in view.",
        )
    clear = (CLEAR + COARSER * min(max(head.geometry.spacing), 6.0)) * stretch
    rim = edge & (shape.rim > 0) & (shape.rim < RIM + 15)
    field, lift = _over_the_face(secret_field(key), Cells(face), Cells(rim), clear)
    field = field + _over_kept(field, _kept(head, protected, bone), OVER_KEPT * stretch)
    field = field - _beyond_view(field, head, Cells(face), clear)
    field = ears_in_view(head, all_along(field))
    stored = np.rint(np.clip(field, -35, 35) / OFFSET_STEP).astype(np.int16)
    field = from_half(stored, OFFSET_STEP)[::2, ::2, ::2]
    covered = float((np.abs(_height(Cells(face), field)) >= 3.0 * stretch).mean())
    gap = _depth(field, edge & (shape.rim < RIM), overwritten * stretch)
    return NewFace(Fit(stored, gap, old, seen, covered), lift / stretch)


def _height(cells: Cells, field: np.ndarray) -> np.ndarray:
    """Of cells over the average's skin that is moved by a field, mm."""
    return cells.above(cells.offset(field))


def _spread(
    cells: Cells, values: np.ndarray, weight: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sum, and weight, of values of the cells on `HALF_GRID`, smoothed by ``sigma`` mm."""
    from scipy.ndimage import gaussian_filter

    total, base = (
        gaussian_filter(cells.binned(w), sigma / HALF_GRID.spacing[0], mode="constant")
        for w in (values * weight, weight)
    )
    return total, base


def _over_the_face(secret: np.ndarray, face: Cells, rim: Cells, clear: float) -> tuple[np.ndarray, float]:
    """Offset of secret and lift over the face, run out to the patient's skin at the rim; and the lift, mm."""
    shape = average_shape()
    none = np.zeros(HALF_GRID.shape)
    # at the rim the head goes on as it was
    total, base = _spread(
        rim, np.clip(_height(rim, none), -25, 25), ease(shape.rim[rim.where] / RIM), RUN_OUT
    )
    toward, sure = total / np.maximum(base, 1e-6), base / (base + 0.05 * float(base.max()))
    skin = Cells(np.abs(shape.skin) < EDGE)
    total, base = _spread(skin, ease(shape.rim[skin.where] / RIM), np.ones(int(skin.where.sum())), 5.0)
    share = total / np.maximum(base, 1e-6) * sure

    def offset(lift: float) -> np.ndarray:
        return (1 - share) * (secret + lift) + share * toward

    lift = 0.0
    for _ in range(4):
        # what the rim takes from the face the lift has to give
        missing = float(np.quantile(_height(face, offset(lift)), COVERED)) + clear
        lift = float(np.clip(lift + missing, *LIFT))
    return offset(lift), lift


def _kept(head: Head, protected: Sequence[Protected], bone: np.ndarray | None) -> np.ndarray:
    """What the new skin has to enclose, near it."""
    shape = average_shape()
    kept = np.zeros(FIT_GRID.shape, bool)
    if bone is not None:
        kept |= (bone < 0) & (bone > -4)
    places = apply_affine(np.linalg.inv(head.to_template), *FIT_GRID.positions(dtype=np.float64))
    for one in protected:
        kept |= np.asarray(one._distance(places, np) < 0).reshape(FIT_GRID.shape)
    return kept & (shape.rim < RIM) & (shape.skin > HOLLOW) & (shape.skin < 25)


def _over_kept(field: np.ndarray, kept: np.ndarray, over: float) -> np.ndarray:
    """What has to be added for the new skin to run ``over`` mm outside of what is kept, at most 15 mm."""
    if not kept.any():
        return np.zeros_like(field)
    cells = Cells(kept)
    return np.clip(_smooth_cover(lambda more: _height(cells, field + more) + over, cells, PUSH, 12), 0, 15)


def _beyond_view(field: np.ndarray, head: Head, face: Cells, clear: float) -> np.ndarray:
    """What has to be taken off where the image ends before the new skin: cut off it would be a slab.

    Less is taken off where the new skin would come near the old: a slab hides a nose, a flat nose on top of it would
    not.
    """
    shape = average_shape()
    cells = Cells((np.abs(shape.skin) < EDGE) & (shape.rim < RIM))
    total, base = _spread(face, _height(face, np.zeros(HALF_GRID.shape)), np.ones(int(face.where.sum())), 6.0)
    known = base > 1e-3 * float(base.max())
    old = cells.offset(np.where(known, total / np.maximum(base, 1e-9), -40.0))
    room = np.maximum(_room(head, cells) + SLAB, old + clear + 2.0)
    return _smooth_cover(lambda less: cells.offset(field - less) - room, cells, FLATTER, 6)


def _smooth_cover(
    short: Callable[[np.ndarray], np.ndarray], cells: Cells, sigma: float, rounds: int
) -> np.ndarray:
    """A smooth field that is at least as large as is missing, from what is still missing of one, mm."""
    out = np.zeros(HALF_GRID.shape)
    for _ in range(rounds):
        missing = np.maximum(short(out), 0)
        if missing.max(initial=0.0) < 0.3:
            break
        total, base = _spread(cells, missing, (missing > 0).astype(float), sigma)
        out += 1.2 * total / (base + 0.02 * max(float(base.max()), 1e-6))
    return out


def _room(head: Head, cells: Cells) -> np.ndarray:
    """How far outwards the average's skin may be moved and still lie a voxel within the image, mm; -15 to 40."""
    back = np.linalg.inv(head.to_template)
    size = np.array(head.geometry.shape)
    room = np.full(len(cells.at), -15.0)
    inside = np.ones(len(cells.at), bool)
    for far in np.arange(-15.0, 41.0):
        moved = FIT_GRID.to_world(cells.at + far * cells.outward)
        index = head.geometry.to_index(moved @ back[:3, :3].T + back[:3, 3])
        inside &= ((index >= 0.5) & (index <= size - 1.5)).all(axis=1)
        room[inside] = far
    # what lies far outside is no matter: the image does not reach that part of the head
    return np.where(room > -15.0, room, 40.0)


def _depth(field: np.ndarray, skin: np.ndarray, overwritten: float) -> np.ndarray:
    """How deep below the new skin is overwritten, as `refacing.Fit.gap`: by the deepest old skin far round about."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    deep = np.zeros(FIT_GRID.shape)
    deep[skin] = np.maximum(-_height(Cells(skin), field), 0)
    deep = gaussian_filter(maximum_filter(deep[::2, ::2, ::2], size=7), 2.5)
    deep += overwritten - DEPTH
    return np.rint(np.clip(deep, 0, 31) / GAP_STEP).astype(np.int8)

"""Sharpen a face that was blurred: measure how soft its skin is beside the rest of the head, and deconvolve.

A blur keeps where everything is. The step from air to tissue says how broad it was: on the face it is softer than at
the sides of the same head. Richardson (1972) and Lucy (1974) then undo a Gaussian of that width.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.names import DEBLURRED
from defacedask.sampling import apply_affine

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["blur_of", "blurred_face", "deblurred"]

#: mm in the head's frame: the face lies in front of the first, and what is compared with it behind the second.
FACE, BEHIND = -60.0, -25.0
#: mm of blur from which on a face counts as blurred, and how much softer than the rest it must be.
LEAST, SOFTER = 2.0, 1.5
#: Parts of the measured width that are undone: it may be a tenth too wide, and a kernel too wide digs hollows.
PARTS = (1.0, 0.9)
#: Iterations of each attempt.
ROUNDS = (10, 40)
#: Voxels of skin without which nothing is told of a part.
ENOUGH = 200


def deblurred(target: Target) -> list[Attempt]:
    """Undo the blur of a face.

    Returns
    -------
    list of Attempt
        Empty where the face is as sharp as the rest of the head.
    """
    from defacedask.attacks.face_rays import BOX
    from defacedask.faces.surface import crop_to_box
    from defacedask.modality import air_of

    width = blur_of(target)
    if not width:
        return []
    air = np.float32(air_of(target.modality))
    whole = np.asarray(target.values, np.float32)
    part, grid, _ = crop_to_box(whole, target.geometry, None, target.pose, BOX)
    seen = np.maximum(part - air, 0.0)
    face = _along(target.pose, grid) < (FACE + BEHIND) / 2
    out = []
    for mm in (width * share for share in PARTS):
        for rounds, sharp in _sharpened(seen, [mm / s for s in grid.spacing]):
            image = whole.copy()
            # a view of the image
            view, _, _ = crop_to_box(image, target.geometry, None, target.pose, BOX)
            view[...] = np.where(face, sharp + air, part)
            out.append(Attempt(DEBLURRED, f"{mm:.1f} mm, {rounds} rounds", image, target.level))
    return out


def blur_of(target: Target) -> float:
    """Standard deviation, mm, of the blur that the face has beside the rest of the head; 0 for none."""
    from scipy.ndimage import maximum_filter

    from defacedask.attacks.solid_body import tissue_above
    from defacedask.modality import air_of

    values = np.asarray(target.values, np.float32)
    air = float(air_of(target.modality))
    tissue = max(tissue_above(values, target.level), target.level)
    unit = np.clip((values - air) / max(tissue - air, 1e-6), 0.0, 1.0)
    slopes = np.gradient(unit, *target.geometry.spacing)
    steep = np.sqrt(sum(part * part for part in slopes))
    steep = maximum_filter(steep, [2 * round(4.0 / s) + 1 for s in target.geometry.spacing])
    body = values >= target.level
    skin = body & (maximum_filter(~body, 3) > 0)
    forward = np.broadcast_to(_along(target.pose, target.geometry), skin.shape)
    up = np.broadcast_to(_along(target.pose, target.geometry, 2), skin.shape)
    # no neck: a chin's shadow and the shoulders have edges of their own
    parts = [skin & side & (up > -120.0) for side in (forward < FACE, forward > BEHIND)]
    if min(int(part.sum()) for part in parts) < ENOUGH:
        return 0.0
    # the steepest place of a step after a Gaussian of this width
    face, rest = (1.0 / (float(np.median(steep[part])) * np.sqrt(2.0 * np.pi)) for part in parts)
    width = float(np.sqrt(max(face**2 - rest**2, 0.0)))
    return width if face >= SOFTER * rest and width >= LEAST else 0.0


def blurred_face(original: Target, mm: float = 5.0) -> Target:
    """An original whose face a weak defacer blurred: the positive control."""
    from scipy.ndimage import gaussian_filter

    from defacedask.faces.surface import regrid

    values, geometry = original.finest
    soft = gaussian_filter(values, [mm / s for s in geometry.spacing], mode="nearest")
    new = np.where(_along(original.pose, geometry) < (FACE + BEHIND) / 2, soft, values)
    coarse, grid = regrid(new, geometry, 2.0, interpolate=False)
    return dataclasses.replace(original, values=coarse, geometry=grid, fine=(new, geometry))


def _sharpened(seen: np.ndarray, size: list[float]) -> list[tuple[int, np.ndarray]]:
    """What a Gaussian of ``size`` voxels made an image of, after each of `ROUNDS`."""
    from scipy.ndimage import gaussian_filter

    least = np.float32(1e-3 * float(seen.max(initial=1.0)))
    sharp, out = seen + least, []
    for done in range(1, max(ROUNDS) + 1):
        again = gaussian_filter(sharp, size, mode="nearest")
        sharp = sharp * gaussian_filter((seen + least) / np.maximum(again, least), size, mode="nearest")
        if done in ROUNDS:
            out.append((done, sharp - least))
    return out


def _along(pose: np.ndarray, geometry: Any, axis: int = 1) -> Any:
    """Place of each voxel along an axis of the head's frame, mm."""
    return apply_affine(pose, *geometry.positions(dtype=np.float64))[axis]

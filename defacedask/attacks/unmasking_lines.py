"""Two ways to the old skin that need no training: the published mask's inner end, and the thin line under a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.face_rays import ALONG, Rays
from defacedask.attacks.names import UNMASKED
from defacedask.attacks.solid_body import tissue_above
from defacedask.attacks.target import Target, span_of

__all__ = ["mask_attempts", "seam_attempt"]

#: mm in front of the mask's inner end at which the skin may lie: a rule that is the same everywhere can be guessed.
OFFSETS = (0.0, 1.5, 3.0, 5.0)
#: mm on both sides of a line with which it is compared.
BESIDE = 2.5
#: mm below the outer skin from which on a line is looked for: above lies the partial volume of that skin.
SHALLOWEST = 2.0
#: How much a line is discounted by one that lies before it.
FIRST = 0.9
#: Part of the step from air to tissue by which a line must be darker to count half.
CLEAR = 0.1
#: Part of the same step above tissue up to which values count as they are.
BRIGHTEST = 1.0


def mask_attempts(target: Target, offsets: Sequence[float] = OFFSETS) -> list[Attempt]:
    """Take the inner end of what is published as changed for the skin, or a constant distance in front of it.

    Returns
    -------
    list of Attempt
        Empty where no mask is published with the image.
    """
    from defacedask.anatomy.distances import distance_to
    from defacedask.anatomy.grid import resample

    if target.mask is None:
        return []
    values, geometry = target.finest
    kept = (values >= target.level) & ~np.asarray(target.mask, bool)
    step = float(np.cbrt(geometry.voxel_volume))
    away = distance_to(kept, geometry.spacing) - np.float32(step / 2)
    span = span_of(target)
    out = []
    for offset in offsets:
        ramp = (target.level - span * np.clip((away - offset) / step, -1.0, 1.0)).astype(
            np.float32, copy=False
        )
        image = np.where(target.mask, np.minimum(values, ramp), values)
        if target.fine is not None:
            # beyond the face's box nothing was taken off
            image = resample(image, geometry, target.geometry, outside=np.nan)
            image = np.where(np.isnan(image), target.values, image)
        out.append(Attempt(UNMASKED, f"mask {offset:g} mm", image, target.level))
    return out


def seam_attempt(target: Target, rays: Rays | None = None) -> list[Attempt]:
    """Follow the thin dark line that the old skin's partial volume leaves below a layer.

    A sample counts by how much darker it is than both what lies `BESIDE` mm in front of and behind it; the surface
    of most such evidence is taken for the skin.
    """
    from scipy.ndimage import maximum_filter1d, median_filter, uniform_filter

    rays = target.once(Rays.of) if rays is None else rays
    if np.isnan(rays.front).all():
        return []
    # on MR tissue is many times as far above air as the skin's level is
    tissue = max(tissue_above(rays.values[~np.isnan(rays.front)], target.level), target.level)
    span = tissue - (target.level - span_of(target))
    values = np.minimum(rays.values, np.float32(tissue + BRIGHTEST * span))
    # a line lasts across rays, noise does not
    smooth = uniform_filter(values, (3, 3, 2))
    step = float(np.cbrt(target.finest[1].voxel_volume))
    by = round(max(BESIDE, 1.1 * step) / ALONG)
    # the brightest on each side, from so far on to twice as far
    reach = maximum_filter1d(smooth, by + 1, axis=2, mode="nearest")
    sides = np.full((2, *smooth.shape), -np.inf, np.float32)
    off = by + by // 2
    sides[0][..., off:] = reach[..., :-off]
    sides[1][..., :-off] = reach[..., off:]
    dark = np.clip(sides.min(axis=0) - smooth, 0.0, None)
    dark[..., rays.depths < SHALLOWEST] = 0.0
    # a line is a line: one that is five times as dark is not five times as likely
    dark = dark / (dark + CLEAR * span)
    # bone and sinuses have darker lines, but farther in
    earlier = np.zeros_like(dark)
    earlier[..., by:] = np.maximum.accumulate(dark, axis=2)[..., :-by]
    dark = np.clip(dark - FIRST * earlier, 0.0, None)
    there = dark[~np.isnan(rays.front)]
    scale = float(np.quantile(there, 0.97)) if there.size else 0.0
    if not scale > 0:
        return []
    skin = rays.follow(-np.clip(dark / scale, 0.0, 1.5))
    # evidence is about as broad as the line: its darkest place is the skin
    wide = uniform_filter(values, (5, 5, 1))
    near = np.abs(np.arange(values.shape[2]) * ALONG + (rays.front - skin)[..., None]) <= by * ALONG
    best = np.where(near, wide, np.inf).argmin(axis=2)
    exact = np.where(np.isnan(skin), skin, rays.front + best * ALONG)
    return [rays.as_attempt(target, median_filter(exact, 5), UNMASKED, "seam")]

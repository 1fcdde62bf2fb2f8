"""Ghosts of the face in what reads as air."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.names import DENOISED
from defacedask.attacks.target import Target

__all__ = ["denoised_air"]


def denoised_air(target: Target, sigmas_mm: Sequence[float] = (2.0, 4.0)) -> list[Attempt]:
    """Look for ghosts of the face in what reads as air: blur it until its noise is small, and look just above.

    Incomplete removal leaves partial-volume rims on CT, and wrap, ringing and interpolation ghosts on MR.
    """
    from scipy.ndimage import gaussian_filter

    values = np.asarray(target.values, np.float32)
    air = values < target.level
    if not air.any():
        return []
    # tissue would bleed into the air: it is clipped to the level first
    clipped = np.minimum(values, np.float32(target.level))
    out = []
    for sigma in sigmas_mm:
        smooth = gaussian_filter(clipped, [sigma / s for s in target.geometry.spacing])
        sample = smooth[air][:: max(1, int(air.sum()) // 200_000)]
        middle = float(np.median(sample))
        noise = 1.4826 * float(np.median(np.abs(sample - middle)))
        level = middle + max(4.0 * noise, 0.02 * (target.level - middle))
        if level < target.level:
            out.append(Attempt(DENOISED, f"{sigma:g} mm", smooth, level))
    return out

"""How far a voxel is from a mask: distances, and whether it lies within some mm.

All are exact. `within` asks for no distances: few neighbours lie so near, and a shift of bytes is faster than any
distance transform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["distance_to", "distances_at", "inner_distances", "within"]


def distance_to(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance of every voxel to the nearest voxel of a mask.

    Parameters
    ----------
    mask : (z, y, x) bool array
    spacing : three float
        mm between voxels.

    Returns
    -------
    (z, y, x) float32 array
        mm between voxel centres, 0 in the mask; infinity everywhere if the mask is empty.
    """
    import SimpleITK as sitk

    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    image.SetSpacing([float(s) for s in spacing[::-1]])
    # Maurer 2003: exact and linear in the voxels; less time and memory than scipy's, which finds the nearest voxel
    found = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    out = sitk.GetArrayFromImage(found)
    return np.maximum(out, 0.0, out=out)


def inner_distances(mask: np.ndarray, spacing: Sequence[float], dtype: Any = np.float64) -> np.ndarray:
    """Distance of every voxel of a mask to the nearest voxel outside of it.

    The same bits as ``scipy.ndimage.distance_transform_edt``, a slice at a time: SciPy makes several volumes of three
    numbers a voxel for what is one.

    Parameters
    ----------
    mask : (z, y, x) bool array
        Not set everywhere.
    spacing : three float
        mm between voxels.
    dtype : dtype
        Of the answer.

    Returns
    -------
    (z, y, x) array
        mm between voxel centres, 0 outside of the mask.
    """
    nearest = _nearest(mask, spacing)
    here = np.ogrid[tuple(slice(n) for n in mask.shape)]
    out = np.empty(mask.shape, dtype)
    for k in range(len(mask)):
        out[k] = _between(nearest[:, k], [here[0][k, 0, 0], here[1][0], here[2][0]], spacing)
    return out


def distances_at(mask: np.ndarray, points: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance of some voxels to the nearest voxel of a mask, with the bits of `inner_distances` of what it is not.

    Parameters
    ----------
    mask : (z, y, x) bool array
        Not empty.
    points : (z, y, x) bool array
    spacing : three float
        mm between voxels.

    Returns
    -------
    (n,) float64 array
        mm, in the order of ``points``.
    """
    at = np.nonzero(points)
    return _between([part[at] for part in _nearest(~mask, spacing)], at, spacing)


def _nearest(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Indices of the nearest voxel that is not set, (3, z, y, x) int32."""
    from scipy.ndimage import distance_transform_edt

    found: np.ndarray = distance_transform_edt(
        mask, sampling=spacing, return_distances=False, return_indices=True
    )
    return found


def _between(there: Sequence[Any] | np.ndarray, here: Sequence[Any], spacing: Sequence[float]) -> np.ndarray:
    """Mm between indices, summed in SciPy's order."""
    total: Any = 0.0
    for axis in range(3):
        step = (there[axis] - here[axis]) * float(spacing[axis])
        step *= step
        total = step if axis == 0 else np.add(total, step, out=total)
    return np.asarray(np.sqrt(total))


def within(mask: np.ndarray, spacing: tuple[float, ...], mm: float) -> np.ndarray:
    """Voxels whose centre lies at most so far from that of a voxel of a mask.

    Parameters
    ----------
    mask : (z, y, x) bool array
    spacing : three float
        mm between voxels.
    mm : float

    Returns
    -------
    (z, y, x) bool array
        The mask is part of it.
    """
    dz, dy, dx = spacing
    reach = mm * (1.0 + 1e-6)
    far = [min(int(reach / s), n - 1) for s, n in zip(spacing, mask.shape, strict=True)]
    # along the rows first: how much a row is widened depends on how far off it lies
    rows = [mask]
    for k in range(1, far[2] + 1):
        wide = rows[-1].copy()
        wide[..., k:] |= mask[..., :-k]
        wide[..., :-k] |= mask[..., k:]
        rows.append(wide)
    out = np.zeros_like(mask)
    for k in range(-far[0], far[0] + 1):
        for j in range(-far[1], far[1] + 1):
            left = reach**2 - (k * dz) ** 2 - (j * dy) ** 2
            if left >= 0:
                wide = rows[min(int(math.sqrt(left) / dx), far[2])]
                out[_shifted(k, j)] |= wide[_shifted(-k, -j)]
    return out


def _shifted(*steps: int) -> tuple[slice, ...]:
    return tuple(slice(max(step, 0), min(step, 0) or None) for step in steps)

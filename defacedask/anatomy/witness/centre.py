"""Where the middle of the skull may be, by the skin alone: where most of it curves around one point."""

from __future__ import annotations

import numpy as np

from defacedask.anatomy.morphology import erode
from defacedask.anatomy.witness.solid import SPACING, Solid

__all__ = ["centres"]

#: Radii a skull may have, mm: from a small child's to a large man's.
RADII = (60.0, 65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 100.0)
#: mm by which the votes are blurred, and by which two candidates are apart.
BLUR, APART = 8.0, 45.0
#: A candidate with fewer votes than this part of the best is none.
WORTH = 0.3


def centres(solid: Solid, smooth: np.ndarray, most: int = 4) -> list[tuple[np.ndarray, float]]:
    """Candidates, most votes first (a Hough transform for spheres).

    Parameters
    ----------
    solid : Solid
    smooth : (z, y, x) float32 array
        The body, blurred.
    most : int

    Returns
    -------
    list of ((3,) array, float)
        World LPS mm, and votes relative to the first.
    """
    from scipy.ndimage import gaussian_filter

    edge = solid.body & ~erode(np.pad(solid.body, 1), 1)[1:-1, 1:-1, 1:-1]
    edge &= erode(np.pad(solid.view, 1), 2)[1:-1, 1:-1, 1:-1]  # the field of view's edge is no skin
    at = np.argwhere(edge)
    if not len(at):
        return []
    slope = np.stack([part[edge] for part in np.gradient(gaussian_filter(smooth, 2.0))], axis=-1)
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
    pad = 10
    shape = np.array(smooth.shape) + 2 * pad
    votes = np.zeros(int(shape.prod()), np.float32)
    for radius in RADII:
        cell = np.rint(at + slope * (radius / SPACING)).astype(int) + pad
        inside = ((cell >= 0) & (cell < shape)).all(axis=1)
        flat = np.ravel_multi_index(tuple(cell[inside].T), tuple(shape))
        votes += np.bincount(flat, minlength=len(votes)).astype(np.float32)
    field = gaussian_filter(votes.reshape(shape), BLUR / SPACING)
    out: list[tuple[np.ndarray, float]] = []
    first, reach = 0.0, round(APART / SPACING)
    for _ in range(most):
        best = np.unravel_index(int(field.argmax()), field.shape)
        height = float(field[best])
        first = first or height
        if height <= 0 or height < WORTH * first:
            break
        out.append((solid.grid.to_world(np.array(best, dtype=float) - pad), height / first))
        field[tuple(slice(max(0, k - reach), k + reach + 1) for k in best)] = 0.0
    return out

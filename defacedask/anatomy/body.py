"""What belongs to the patient: one solid mask, without couch, headrest, mask frames and tubes."""

from __future__ import annotations

import numpy as np

from defacedask.anatomy.morphology import close, components, dilate, erode, fill_slices, largest

__all__ = ["body_mask", "material_level"]

#: HU above which CT is material; between air and fat (-100), above foam.
CT_LEVEL = -300.0


def material_level(values: np.ndarray, modality: str) -> float:
    """Value that parts the patient from air.

    CT: -300 HU. MR: Otsu's threshold on the square root of the values (air and noise against tissue), which
    keeps dark tissue and the shaded side of a biased coil on the tissue's side. PT: 6 % of the 99.5th
    percentile of what is above zero, low enough for skin.

    Parameters
    ----------
    values : array
        Real values of the whole acquisition.
    modality : str

    Returns
    -------
    float
        In the units of ``values``.
    """
    if modality == "CT":
        return CT_LEVEL
    sample = values.ravel()[:: max(1, values.size // 2_000_000)]
    top = float(np.percentile(sample, 99.5))
    if top <= 0:
        return 0.0
    if modality == "PT":
        positive = sample[sample > 0]
        return 0.06 * float(np.percentile(positive, 99.5)) if positive.size else 0.0
    root = np.sqrt(np.clip(sample, 0, top))
    counts, edges = np.histogram(root, bins=256)
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    mean_below = np.cumsum(counts * middle) / np.maximum(below, 1)
    total = float((counts * middle).sum())
    mean_above = (total - np.cumsum(counts * middle)) / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2
    # The plateau between two well-parted modes has one value: take its middle, not its first bin.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(middle[int(best.mean())] ** 2) * 0.6


def body_mask(values: np.ndarray, level: float, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Body and everything else that is material.

    Parameters
    ----------
    values : (z, y, x) float array
        On the working grid.
    level : float
        See `material_level`.
    spacing : float
        mm.

    Returns
    -------
    body : bool array
        Largest part that is thicker than about 10 mm, with what sticks out of it and stays within 16 mm of it (nose,
        lips, ears); closed by 6 mm and filled slice by slice. What reaches farther (couch, headrest, mask frame,
        tubes) is left out but for its first 6 mm.
    other : bool array
        Material that is not body.
    """
    solid = values > level
    thin, close_by, far = (max(1, round(mm / spacing)) for mm in (4.0, 6.0, 16.0))
    core = largest(erode(solid, thin))
    if not core.any():
        return np.zeros_like(solid), solid
    trunk = dilate(core, thin + 1) & solid
    rest = solid & ~trunk
    # what is not trunk is little: only its own voxels are looked at
    at = np.flatnonzero(rest)
    labels = components(rest).ravel()[at]
    count = int(labels.max(initial=0)) + 1
    sizes = np.bincount(labels, minlength=count)
    touching = np.bincount(labels[dilate(trunk, 1).ravel()[at]], minlength=count) > 0
    away = np.bincount(labels[~dilate(trunk, far).ravel()[at]], minlength=count)
    stays = touching & (away < 0.25 * sizes)
    joined = trunk.copy()
    joined.ravel()[at[stays[labels]]] = True
    begins = np.zeros_like(rest)
    begins.ravel()[at[(touching & ~stays)[labels]]] = True
    if begins.any():
        for _ in range(close_by):
            joined |= dilate(joined, 1) & begins
    body = fill_slices(close(joined, close_by))
    return body, solid & ~body

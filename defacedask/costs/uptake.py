"""Uptake of structures in PET: mean, maximum and peak, before and after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from defacedask.geometry import Geometry

__all__ = ["compare_uptake", "uptake"]

#: Radius of a ball of 1 mL, mm.
PEAK_MM = 6.2035


def uptake(values: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """Mean, maximum and peak of one structure.

    Parameters
    ----------
    values : (z, y, x) array
        Of the PET, with a margin around the structure where there is one.
    mask : (z, y, x) bool array
    spacing : three float
        mm.

    Returns
    -------
    dict
        ``mean``, ``max``, and ``peak``: the largest mean of a ball of 1 mL about a voxel of the structure, of what of
        the ball lies in the image (PERCIST: Wahl et al., J Nucl Med 50 Suppl 1:122S, 2009). NaN without a voxel.
    """
    if not mask.any():
        return dict.fromkeys(("mean", "max", "peak"), float("nan"))
    from scipy.ndimage import convolve

    values = np.asarray(values, np.float64)
    reach = [int(PEAK_MM / s) for s in spacing]
    steps = np.meshgrid(
        *(np.arange(-r, r + 1) * s for r, s in zip(reach, spacing, strict=True)), indexing="ij"
    )
    ball = (sum(step**2 for step in steps) <= PEAK_MM**2).astype(np.float64)
    there = convolve(np.ones(values.shape), ball, mode="constant")
    means = convolve(values, ball, mode="constant") / there
    inside = values[mask]
    return {"mean": float(inside.mean()), "max": float(inside.max()), "peak": float(means[mask].max())}


def compare_uptake(
    before: np.ndarray, after: np.ndarray, geometry: Geometry, structures: Iterable[Any], grid: Geometry
) -> list[dict[str, Any]]:
    """Uptake of each structure in a PET before and after.

    Parameters
    ----------
    before, after : (z, y, x) arrays
        Real values of the PET.
    geometry : Geometry
        Theirs.
    structures : iterable of Structure
    grid : Geometry
        That the structures lie on, in the same frame of reference; a voxel of the PET belongs to a structure if its
        centre lies in a voxel of it.

    Returns
    -------
    list of dict
        structure, measure (``uptake_mean``, ``_max``, ``_peak``), original, defaced; structures outside the PET have
        none.
    """
    from defacedask.anatomy.grid import resample

    rows: list[dict[str, Any]] = []
    for part in structures:
        own = np.asarray(part.mask, dtype=bool)
        if not own.size or not own.any():
            continue
        block = grid.block(part.start, [a + n for a, n in zip(part.start, own.shape, strict=True)])
        place = geometry.to_index(block.corners)
        margin = PEAK_MM / np.array(geometry.spacing) + 1
        low = np.clip(np.floor(place.min(axis=0) - margin), 0, geometry.shape).astype(int).tolist()
        high = np.clip(np.ceil(place.max(axis=0) + margin) + 1, 0, geometry.shape).astype(int).tolist()
        if any(a >= b for a, b in zip(low, high, strict=True)):
            continue
        mask = resample(own.astype(np.uint8), block, geometry.block(low, high), nearest=True) > 0
        if not mask.any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        was, now = (uptake(values[box], mask, geometry.spacing) for values in (before, after))
        rows += [
            {"structure": part.name, "measure": f"uptake_{name}", "original": was[name], "defaced": now[name]}
            for name in was
        ]
    return rows

"""Positive controls of un-masking: weak layers, planted on an original, that each attempt must see through.

A layer is laid on the skin of the original itself, of a thickness that varies smoothly, by nothing of any defacer's.
Each kind has the one weakness that an attempt lives on. An attempt that does not find the skin below its own kind
proves nothing about any other layer of that image.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.evaluation.attacks import span_of

if TYPE_CHECKING:
    from defacedask.evaluation.attacks import Target
    from defacedask.geometry import Geometry

__all__ = ["KINDS", "LEAST_FOUND", "planted"]

#: What each attempt must see through: a published mask that ends at the skin, a dark seam, a layer of one value.
KINDS = {
    "mask": "a published mask that ends at the skin",
    "seam": "a layer that leaves the skin's partial volume as a dark line",
    "classifier": "a layer of one value",
}
#: Share of the face's skin that an attempt must find within 2 mm for its control to hold.
LEAST_FOUND = 0.8
#: Thickness of the planted layer, mm.
THICKNESS = (3.0, 11.0)


def planted(original: Target, kind: str, seed: int = 1) -> Target:
    """An original with a weak layer on it.

    Parameters
    ----------
    original : Target
    kind : str
        See `KINDS`.
    seed : int
        Of the thickness.
    """
    from scipy.ndimage import binary_closing, distance_transform_edt, zoom

    from defacedask.defacers.base import air_of
    from defacedask.evaluation.solid_body import solid_body
    from defacedask.evaluation.surface import regrid
    from defacedask.evaluation.unmasking import outside_air

    values, geometry = original.finest
    spacing = geometry.spacing
    body = solid_body(values, spacing, original.level)
    # nostrils and the mouth are closed: a layer lies on the face and not in it
    sizes = [2 * round(3.0 / s) + 1 for s in spacing]
    around = tuple((n, n) for n in sizes)
    wide = binary_closing(np.pad(body, around), np.ones(sizes))
    wide = wide[tuple(slice(a, -a) for a, _ in around)] | body
    body = ~outside_air(~wide)
    away = distance_transform_edt(~body, sampling=spacing)
    rng = np.random.default_rng(seed)
    cells = [max(3, int(n * s / 35.0)) for n, s in zip(geometry.shape, spacing, strict=True)]
    rise = zoom(rng.random(cells), [n / c for n, c in zip(geometry.shape, cells, strict=True)], order=1)
    # all thicknesses alike often: a constant peel must not do
    rise = np.clip(0.5 + 2.0 * (rise - 0.5), 0.0, 1.0)
    thick = THICKNESS[0] + (THICKNESS[1] - THICKNESS[0]) * rise
    # no layer so thin that the voxels do not show it
    layer = ~body & (away <= thick + (1.5 if kind == "seam" else 0.5) * max(spacing))
    air, span = air_of(original.modality), span_of(original)
    shell = body & (values >= original.level)
    shell &= distance_transform_edt(body, sampling=spacing) <= 8.0
    tissue = float(np.median(values[shell])) if shell.any() else original.level + span
    tissue = max(tissue, original.level + 0.3 * span)
    # how much of a voxel is body: the layer fills the rest of it, as it would in a scanner
    part = np.clip((values - air) / (tissue - air), 0.0, 1.0)
    rim = body & (distance_transform_edt(body, sampling=spacing) <= 1.01 * max(spacing))
    new = values.copy()
    added = tissue if kind != "classifier" else tissue + 0.5 * span
    filled = layer | (rim & (part < 1.0))
    new[filled] += ((1.0 - part) * (added - air))[filled]
    if kind == "seam":
        new += (0.03 * span * rng.standard_normal(new.shape) * layer).astype(np.float32)
        # darkest exactly where the skin lies, also between coarse voxels
        line = _line(body, values, geometry, original.level) * (layer | rim)
        floor = original.level + 0.1 * (tissue - original.level)
        new = (new - line * np.maximum(new - floor, 0.0)).astype(np.float32)
    coarse, _ = regrid(new, geometry, 2.0, interpolate=False)
    mask = layer if kind == "mask" else None
    return dataclasses.replace(original, values=coarse, fine=(new, geometry), mask=mask)


def _line(body: np.ndarray, values: np.ndarray, geometry: Geometry, level: float) -> np.ndarray:
    """1 on the skin, falling off within a voxel."""
    from scipy.ndimage import distance_transform_edt

    from defacedask.evaluation.face_rays import finer

    closed = np.where(body, np.maximum(values, level), values)
    fine, grid = finer(closed.astype(np.float32), geometry)
    inside = fine >= level
    away = distance_transform_edt(~inside, sampling=grid.spacing)
    away -= distance_transform_edt(inside, sampling=grid.spacing)
    steps = tuple(
        slice(None, None, max(1, (a - 1) // max(1, b - 1)))
        for a, b in zip(grid.shape, geometry.shape, strict=True)
    )
    width = 0.8 * max(float(np.cbrt(geometry.voxel_volume)), 1.5)
    return np.exp(-0.5 * (away[steps] / width) ** 2)

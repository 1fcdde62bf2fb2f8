"""Positive controls of un-masking: weak layers, planted on an original, that each attempt must see through.

A layer is laid on the skin of the original itself, of a thickness that varies smoothly, by nothing of any defacer's.
Each kind has the one weakness that an attempt lives on. An attempt that does not find the skin below its own kind
proves nothing about any other layer of that image.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.attacks.face_rays import finer
from defacedask.attacks.outside import outside_air
from defacedask.attacks.solid_body import solid_body
from defacedask.attacks.target import Target, span_of
from defacedask.modality import air_of

if TYPE_CHECKING:
    from defacedask.geometry import Geometry

__all__ = ["KINDS", "LEAST_FOUND", "Ground", "planted"]

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


@dataclasses.dataclass(frozen=True, eq=False)
class Ground:
    """What every kind of layer is laid on: the body of an original, found once.

    Attributes
    ----------
    original : Target
    body : (z, y, x) bool array
        With nostrils and mouth closed, in the voxels of `Target.finest`.
    away : (z, y, x) float32 array
        mm from it.
    tissue : float
        Middle value of its shell.
    part : (z, y, x) float32 array
        How much of a voxel is body, 0..1.
    rim : (z, y, x) bool array
        Body voxels beside what is not.
    """

    original: Target
    body: np.ndarray
    away: np.ndarray
    tissue: float
    part: np.ndarray
    rim: np.ndarray
    _proud: dict[int, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, original: Target) -> Ground:
        """Find it."""
        from scipy.ndimage import maximum_filter, minimum_filter

        from defacedask.anatomy.distances import distance_to, within

        values, geometry = original.finest
        spacing = geometry.spacing
        body = solid_body(values, spacing, original.level)
        # nostrils and the mouth are closed: a layer lies on the face and not in it
        sizes = [2 * round(3.0 / s) + 1 for s in spacing]
        around = tuple((n, n) for n in sizes)
        wide = np.pad(body, around).view(np.uint8)
        for box in (maximum_filter, minimum_filter):
            wide = box(wide, sizes, mode="constant")
        body = ~outside_air(~(wide[tuple(slice(n, -n) for n in sizes)].view(bool) | body))
        air, span = air_of(original.modality), span_of(original)
        shell = body & (values >= original.level) & within(~body, spacing, 8.0)
        tissue = float(np.median(values[shell])) if shell.any() else original.level + span
        tissue = max(tissue, original.level + 0.3 * span)
        # the layer fills the rest of a voxel, as it would in a scanner
        part = np.clip((values - np.float32(air)) / np.float32(tissue - air), 0.0, 1.0)
        rim = body & within(~body, spacing, 1.01 * max(spacing))
        return cls(original, body, distance_to(body, spacing), tissue, part, rim)

    def proud(self, seed: int) -> np.ndarray:
        """How far (mm) each voxel lies before a surface of varying distance from the body; kept for the last seed."""
        if seed not in self._proud:
            from scipy.ndimage import zoom

            geometry = self.original.finest[1]
            rng = np.random.default_rng(seed)
            cells = [max(3, int(n * s / 35.0)) for n, s in zip(geometry.shape, geometry.spacing, strict=True)]
            by = [n / c for n, c in zip(geometry.shape, cells, strict=True)]
            rise = zoom(rng.random(cells).astype(np.float32), by, order=1)
            # all thicknesses alike often: a constant peel must not do
            rise = np.clip(0.5 + 2.0 * (rise - 0.5), 0.0, 1.0)
            self._proud.clear()
            self._proud[seed] = self.away - (THICKNESS[0] + (THICKNESS[1] - THICKNESS[0]) * rise)
        return self._proud[seed]


def planted(original: Target, kind: str, seed: int = 1, ground: Ground | None = None) -> Target:
    """An original with a weak layer on it.

    Parameters
    ----------
    original : Target
    kind : str
        See `KINDS`.
    seed : int
        Of the thickness.
    ground : Ground, optional
        Of the original, if it is known.
    """
    from defacedask.faces.surface import regrid

    ground = ground or Ground.of(original)
    values, geometry = original.finest
    spacing = geometry.spacing
    # no layer so thin that the voxels do not show it
    layer = ~ground.body & (ground.proud(seed) <= (1.5 if kind == "seam" else 0.5) * max(spacing))
    span = span_of(original)
    new = values.copy()
    added = ground.tissue if kind != "classifier" else ground.tissue + 0.5 * span
    filled = layer | (ground.rim & (ground.part < 1.0))
    new[filled] += (1.0 - ground.part[filled]) * np.float32(added - air_of(original.modality))
    if kind == "seam":
        rng = np.random.default_rng(seed)
        new[layer] += np.float32(0.03 * span) * rng.standard_normal(int(layer.sum()), dtype=np.float32)
        # darkest exactly where the skin lies, also between coarse voxels
        line = _line(ground.body, values, geometry, original.level) * (layer | ground.rim)
        floor = np.float32(original.level + 0.1 * (ground.tissue - original.level))
        new -= line * np.maximum(new - floor, 0.0)
    coarse, grid = regrid(new, geometry, 2.0, interpolate=False)
    mask = layer if kind == "mask" else None
    return dataclasses.replace(original, values=coarse, geometry=grid, fine=(new, geometry), mask=mask)


def _line(body: np.ndarray, values: np.ndarray, geometry: Geometry, level: float) -> np.ndarray:
    """1 on the skin, falling off within a voxel; float32."""
    from defacedask.anatomy.distances import distance_to

    closed = np.where(body, np.maximum(values, level), values)
    fine, grid = finer(closed.astype(np.float32), geometry)
    inside = fine >= level
    away = distance_to(inside, grid.spacing) - distance_to(~inside, grid.spacing)
    steps = tuple(
        slice(None, None, max(1, (a - 1) // max(1, b - 1)))
        for a, b in zip(grid.shape, geometry.shape, strict=True)
    )
    width = 0.8 * max(float(np.cbrt(geometry.voxel_volume)), 1.5)
    return np.exp(np.float32(-0.5) * (away[steps] / np.float32(width)) ** 2)

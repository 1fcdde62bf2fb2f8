"""Carina: a layer of matched tissue laid in front of face and ears; no voxel of the body changes.

Source: the study's description of CuratAI's deidentifier (body segmentation, face detection, then a mask with
the face's intensities, interpolated by depth, on top of the images); the construction is ours. Three sheets in
the head's frame (front, left, right; see `layer`) from brow to chin and ear to ear. The layer's values are drawn
from the subcutaneous shell of the same image: its histogram, its grain and its noise, so that no threshold tells
it from skin. The original face is still inside: un-masking it is one of the attacks to be tried. A dose grid, which
ends at the skin and so shows the face, is carried on through the layer (`dose_layer`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import Defacer, Plan
from defacedask.defacers.boxes import Box
from defacedask.defacers.dose_layer import carried_on, with_dose
from defacedask.defacers.hull import FACE_AND_EARS
from defacedask.defacers.layer import STEP, Sheet, make_sheet, ramp
from defacedask.defacers.noise import NoiseField
from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.sampling import apply_affine
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.defacers.protect import Protected
    from defacedask.head import Head

__all__ = ["Carina", "CarinaPlan"]

#: mm behind the skin map in which voxels that read as air are filled too, so that no gap stays at the skin.
OVERLAP = 3.0
#: mm below the skin that the layer's values are drawn from.
SHELL = (1.5, 6.0)
#: Values of the shell kept in the plan: quantiles.
QUANTILES = 33
#: Grain of the layer, mm (standard deviation of the smoothing that made it), as of fat lobules and muscle.
GRAIN = 2.5


@dataclasses.dataclass(frozen=True, eq=False)
class CarinaPlan(Plan):
    """Sheets of added material and what they are made of.

    Attributes
    ----------
    pose : (4, 4) array
        Rigid map from world LPS mm to the head's frame.
    sheets : tuple of Sheet
    modality : str
        Of the image whose intensities the plan carries.
    level : float
        Real value that parts body from air there; body is left alone. NaN: everything in front of the skin map.
    quantiles : tuple of float
        Of the subcutaneous shell's values, in the image's units; empty: unknown, see `tuned`.
    noise : float
        Standard deviation of the image's noise, in its units.
    lattice : (4, 4) array
        Grid on which the noise is drawn: the image's own.
    grain : (z, y, x)
        Width of the noise's grain in steps of that grid.
    key : bytes
        Secret.
    added_ml : float
        Volume of the layer, mL.
    """

    defacer: ClassVar[str] = "carina"
    secret: ClassVar[tuple[str, ...]] = ("key",)
    hull_boxes: ClassVar[tuple[Box, ...]] = FACE_AND_EARS

    pose: np.ndarray
    sheets: tuple[Sheet, ...]
    modality: str
    level: float
    quantiles: tuple[float, ...]
    noise: float
    lattice: np.ndarray
    grain: tuple[float, float, float]
    key: bytes
    added_ml: float

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        """In front of the skin map and behind the envelope of any sheet (see `Plan.wanted`)."""
        region = xp.zeros(geometry.shape, dtype=bool)
        for sheet in self.sheets:
            box = self._box(sheet, geometry)
            if box is None:
                continue
            near = geometry.block([s.start for s in box], [s.stop for s in box])
            inside = region[box]
            for tile in sheet.tiles(near, self.pose, OVERLAP, xp):
                part = near.block([s.start for s in tile], [s.stop for s in tile])
                head = apply_affine(self.pose, *part.positions(xp, np.float64))
                below, above = sheet.depth(head, xp)
                inside[tile] |= (below > 0) & (above > -OVERLAP)
        return region

    def placed(self, volume: xr.DataArray) -> CarinaPlan:
        """In a dose the layer reaches back to where that ends (see `Plan.placed`)."""
        return self.tuned(volume) if volume.attrs["modality"] == "RTDOSE" else self

    def _box(self, sheet: Sheet, geometry: Geometry) -> tuple[slice, ...] | None:
        low, high = sheet.box
        ends = np.stack([low, high])
        corners = ends[[[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], [0, 1, 2]]
        back = np.linalg.inv(self.pose)
        index = geometry.to_index(corners @ back[:3, :3].T + back[:3, 3])
        first = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
        last = np.minimum(np.ceil(index.max(axis=0)) + 1, geometry.shape).astype(int)
        if (first >= last).any():
            return None
        return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))

    def fill(self, values: Any, region: Any, geometry: Geometry, modality: str, xp: Any = np) -> Any:
        """Tissue where there was air, body as it was; a dose carried on from under the skin (see `Plan.fill`)."""
        if modality == "RTDOSE" and any(sheet.dose.size for sheet in self.sheets):
            return carried_on(values, region, geometry, self.sheets, self.pose, OVERLAP, xp)
        if modality != self.modality or not self.quantiles:
            return values
        at = xp.nonzero(region)
        positions = tuple(xp.broadcast_to(p, geometry.shape)[at] for p in geometry.positions(xp, np.float64))
        cube = np.diag([GRAIN, GRAIN, GRAIN, 1.0])[:, [2, 1, 0, 3]]
        texture = NoiseField(self.key, cube, (1.0, 1.0, 1.0), "texture").at(positions, xp)
        # a normal number's probability picks the quantile: the layer has the shell's own histogram
        levels = xp.linspace(0, 1, len(self.quantiles))
        new = xp.interp(_probability(texture, xp), levels, xp.asarray(self.quantiles))
        if self.noise > 0:
            new = new + self.noise * NoiseField(self.key, self.lattice, self.grain, "noise").at(positions, xp)
        old = values[at]
        out = values.copy()
        # NaN is above nothing: without a level everything in the region is air
        out[at] = xp.where(old >= self.level, old, new.astype(np.float32))
        return out

    def tuned(self, volume: xr.DataArray) -> CarinaPlan:
        """For another modality: values of the shell just below the skin map in that image."""
        modality = volume.attrs["modality"]
        if modality == "RTDOSE":
            sheets = with_dose(self.sheets, self.pose, volume, OVERLAP)
            return dataclasses.replace(self, sheets=sheets)
        if modality == self.modality:
            return self
        geometry = geometry_of(volume)
        points = self._shell_points()
        index = np.rint(geometry.to_index(points)).astype(int)
        inside = ((index >= 0) & (index < geometry.shape)).all(axis=1)
        if inside.sum() < 100:
            return self
        found = real_values(volume).values[tuple(index[inside].T)]
        return dataclasses.replace(
            self,
            modality=modality,
            level=float("nan"),
            quantiles=_quantiles(found),
            noise=0.0,
            lattice=geometry.affine,
        )

    def _shell_points(self) -> np.ndarray:
        """World positions under the skin of the sheets (n, 3)."""
        out = []
        for sheet in self.sheets:
            rows, columns = np.nonzero(sheet.envelope - sheet.skin > 2.0 / STEP)
            for depth in np.arange(SHELL[0], SHELL[1], 1.5):
                out.append(sheet.places(rows, columns, sheet.skin[rows, columns] * STEP - depth))
        back = np.linalg.inv(self.pose)
        return np.concatenate(out) @ back[:3, :3].T + back[:3, 3] if out else np.zeros((0, 3))


def _probability(normal: Any, xp: Any) -> Any:
    """Probability that a normal number is smaller, by a logistic approximation (error below 0.001)."""
    return 1.0 / (1.0 + xp.exp(-1.5976 * normal - 0.070566 * normal**3))


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in np.quantile(values, np.linspace(0.02, 0.98, QUANTILES)))


@dataclasses.dataclass(frozen=True)
class Carina(Defacer):
    """A layer of matched tissue in front of face and ears; no voxel of the body changes.

    Parameters
    ----------
    clearance_mm : float
        Least thickness of the layer, where a voxel is not more than 1 mm less; else a voxel and 3 mm.
    spread_mm : float
        Radius over which the highest skin is taken.
    smooth_mm : float
        Smoothing of the layer's surface.
    bumps_mm : float
        Height of the secret bumps on it.
    rim_mm : float
        Over which the layer runs out into the skin.
    """

    name: ClassVar[str] = "carina"
    reversible: ClassVar[bool] = True

    clearance_mm: float = 4.0
    spread_mm: float = 18.0
    smooth_mm: float = 12.0
    bumps_mm: float = 8.0
    rim_mm: float = 15.0

    def propose(self, head: Head, *, key: bytes, protected: tuple[Protected, ...]) -> CarinaPlan:
        """See `Defacer.propose`."""
        at = self._landmarks(head)
        sheets = tuple(self._sheets(head, at, key))
        plan = CarinaPlan(
            pose=np.asarray(head.pose),
            sheets=sheets,
            modality=head.modality,
            level=float(head.level),
            quantiles=(),
            noise=0.0,
            lattice=head.geometry.affine,
            grain=(0.0, 0.0, 0.0),
            key=key,
            added_ml=0.0,
            protected=protected,
        )
        index = np.rint(head.grid.to_index(plan._shell_points())).astype(int)
        inside = ((index >= 0) & (index < head.grid.shape)).all(axis=1)
        found = head.values[tuple(index[inside].T)]
        found = found[found > head.level]
        if len(found) < 200:
            raise RefusedError("there is too little skin in front of this head to match a layer to.")
        noise, grain = _noise_of(head)
        added = plan.region(head.grid) & (head.values < head.level)
        return dataclasses.replace(
            plan,
            quantiles=_quantiles(found),
            noise=noise,
            grain=grain,
            added_ml=float(added.sum() * head.grid.voxel_volume / 1000),
        )

    def _landmarks(self, head: Head) -> dict[str, np.ndarray]:
        names = ("brow_left", "brow_right", "menton", "tragion_left", "tragion_right")
        return {name: (head.pose @ np.append(head.landmark(name), 1.0))[:3] for name in names}

    def _sheets(self, head: Head, at: dict[str, np.ndarray], key: bytes) -> list[Sheet]:
        common: dict[str, Any] = {
            "key": key,
            "smooth_mm": self.smooth_mm,
            "bumps_mm": self.bumps_mm,
        }
        top = max(at["brow_left"][2], at["brow_right"][2]) + 15 + self.rim_mm
        bottom = at["menton"][2] - 15 - self.rim_mm
        right, left = at["tragion_right"], at["tragion_left"]
        ears = (right[1] + left[1]) / 2
        # a layer thinner than a voxel would move the skin by less than it is thick
        turned = np.abs(np.asarray(head.pose)[:3, :3] @ np.asarray(head.geometry.affine)[:3, :3])
        clearance = np.maximum(self.clearance_mm, 3.0 + turned.max(axis=1))
        front = head.depth
        weight = (
            ramp(front.rows, bottom, top, self.rim_mm)[:, None]
            * ramp(front.columns, right[0] - 5, left[0] + 5, self.rim_mm)[None]
        )
        sheets = [
            make_sheet(
                front,
                weight,
                axis=1,
                sign=-1,
                floor=-(ears - 5.0),
                spread_mm=self.spread_mm,
                clearance_mm=float(clearance[1]),
                **common,
            )
        ]
        for side, sign, ear in zip(head.lateral, (-1, 1), (right, left), strict=True):
            weight = (
                ramp(side.rows, ear[2] - 60, ear[2] + 55, self.rim_mm)[:, None]
                * ramp(side.columns, ear[1] - 100, ear[1] + 50, self.rim_mm)[None]
            )
            # behind the jaw and above the shoulder there is no body to lay anything on
            weight = np.where(np.isnan(side.depth), 0.0, weight)
            sheets.append(
                make_sheet(
                    side,
                    weight,
                    axis=0,
                    sign=sign,
                    floor=0.0,
                    spread_mm=0.7 * self.spread_mm,
                    clearance_mm=float(clearance[0]),
                    **common,
                )
            )
        return sheets


def _noise_of(head: Head) -> tuple[float, tuple[float, float, float]]:
    """Standard deviation and grain of the noise inside the brain, from differences of neighbours."""
    from scipy.ndimage import binary_erosion

    from defacedask.defacers.noise import sigma_from_correlation

    inner = np.argwhere(binary_erosion(head.brain, iterations=4))
    if len(inner) < 50:
        return 0.0, (0.0, 0.0, 0.0)
    index = np.rint(head.geometry.to_index(head.grid.to_world(inner))).astype(int)
    keep = ((index >= 2) & (index < np.array(head.geometry.shape) - 2)).all(axis=1)
    index = np.unique(index[keep], axis=0)
    if len(index) < 50:
        return 0.0, (0.0, 0.0, 0.0)
    low, high = index.min(axis=0) - 2, index.max(axis=0) + 3
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    values = real_values(head.volume[box]).values
    at = tuple((index - low).T)
    centre = values[at]
    steps = []
    for axis in range(3):
        sides = []
        for by in (-1, 1):
            moved = list(at)
            moved[axis] = moved[axis] + by
            sides.append(values[tuple(moved)])
        # second difference: slow changes of the tissue fall out
        steps.append(centre - (sides[0] + sides[1]) / 2)
    deviations = [1.4826 * float(np.median(np.abs(s - np.median(s)))) for s in steps]
    # white noise of variance v has a second difference of variance 1.5 v; less of it means grain
    noise = max(deviations) / np.sqrt(1.5)
    grain = tuple(
        sigma_from_correlation(max(0.0, 1.0 - (d / max(max(deviations), 1e-9)) ** 2) * 0.75)
        for d in deviations
    )
    return float(noise), grain  # type: ignore[return-value]

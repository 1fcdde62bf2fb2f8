"""Carina: a layer of tissue laid in front of face and ears, grown together with what lies below.

Source: the study's description of CuratAI's deidentifier (body segmentation, face detection, then a mask with
the face's intensities, interpolated by depth, on top of the images); the construction is ours. Three sheets in
the head's frame (front, left, right; see `layer`) from brow to chin and ear to ear.

*No voxel of the body changes* and *the layer cannot be told from the body* exclude each other: the skin's partial
volume would stay as a thin line below the layer, and the layer would end where the skin was. We chose the second. The
layer's tissue goes on behind the old skin, by a secret depth that differs from place to place (`under_skin`): down to
`CarinaPlan.deepest_mm` below the skin soft tissue is drawn anew, and nothing deeper changes, no bone on CT and no
protected structure. What is drawn has the strata, histogram, brightness and grain of the image's own tissue as a
function of depth (`strata`). A nose's cartilage, its airways and the eyes behind the lids are still inside: the
original can be sought below, which is one of the attacks to be tried. A dose grid, which ends at the skin and so
shows the face, is carried on through the layer (`dose_layer`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import Defacer, Plan
from defacedask.defacers.boxes import Box
from defacedask.defacers.carina import sheet_kernels
from defacedask.defacers.carina.dose_layer import carried_on, with_dose
from defacedask.defacers.carina.layer import Sheet, make_sheet, ramp
from defacedask.defacers.carina.strata import Strata, measured
from defacedask.defacers.carina.under_skin import SPREAD, skin_distance, with_depths
from defacedask.defacers.hull import FACE_AND_EARS
from defacedask.defacers.options import within
from defacedask.defacers.tiling import in_parts, places_of, put
from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.kernels import fuses
from defacedask.sampling import apply_affine
from defacedask.volume import real_values

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head
    from defacedask.defacers.protect import Protected

__all__ = ["Carina", "CarinaPlan"]

#: mm behind the skin map that the layer covers in a dose.
OVERLAP = 3.0
#: mm behind the skin map where its partial volume ends: what the map's own voxels of 2 mm may be off, and half of one
#: of the image's.
SEAM, SEAM_VOXELS = 2.0, 0.5


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
    strata : Strata or None
        What tissue is drawn from; None: unknown, see `tuned`.
    edge : float
        mm in front of the envelope in which its partial volume with the air is drawn.
    deepest_mm : float
        Below the skin map: nothing deeper changes.
    key : bytes
        Secret.
    added_ml : float
        Volume of the layer, mL.
    replaced_ml : float
        Volume of the body's own soft tissue that is drawn anew, mL.
    """

    defacer: ClassVar[str] = "carina"
    secret: ClassVar[tuple[str, ...]] = ("key",)
    hull_boxes: ClassVar[tuple[Box, ...]] = FACE_AND_EARS

    pose: np.ndarray
    sheets: tuple[Sheet, ...]
    modality: str
    strata: Strata | None
    edge: float
    deepest_mm: float
    key: bytes
    added_ml: float
    replaced_ml: float

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        """In front of the secret depth and behind the envelope of any sheet (see `Plan.wanted`)."""
        region = xp.zeros(geometry.shape, dtype=bool)
        for sheet in self.sheets:
            box = self._box(sheet, geometry)
            if box is None:
                continue
            near = geometry.block([s.start for s in box], [s.stop for s in box])
            inside = region[box]
            drawn = sheet.floor.size > 0
            if fuses(xp):
                sheet_kernels.mark(sheet, inside, near, self.pose, self.edge, OVERLAP, xp)
                continue
            behind, before = (0.0, self.edge) if drawn else (OVERLAP, 0.0)
            for tile, look in sheet.voxels(near, self.pose, behind, before, xp):
                part = near.block([s.start for s in tile], [s.stop for s in tile])
                head = places_of(part, look, self.pose, xp)
                at = sheet.between(head, xp)
                below, above = sheet.depth(head, at)
                if drawn:
                    found = (below > -self.edge) & (sheet.over("floor", head, at) > 0)
                else:
                    found = (below > 0) & (above > -OVERLAP)
                put(inside, tile, look[found], True)
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
        if modality != self.modality or self.strata is None:
            return values
        at = xp.nonzero(region)
        positions = geometry.positions_at(at, xp)
        scores = self.strata.scores(positions, self.key, xp, geometry)
        scores = xp.broadcast_to(scores, at[0].shape)  # a texture of no variance is one number
        given = *apply_affine(self.pose, *positions), scores, values[at]

        def tissue(*some: Any) -> tuple[Any]:
            return (self._tissue(some[:3], some[3], some[4], modality, xp),)

        out = values.copy()
        (out[at],) = in_parts(tissue, *given) if xp is np else tissue(*given)
        return out

    def _tissue(self, head: tuple[Any, ...], scores: Any, old: Any, modality: str, xp: Any) -> Any:
        """Real values of places that had ``old`` ones."""
        assert self.strata is not None
        deep, seam, above, tone, weight = self._deepest(head, xp)
        new = self.strata.draw(scores, deep, tone / weight, xp).astype(xp.float32)
        low, high = self.strata.soft
        bone = (old > high) & (above <= 0) if modality == "CT" else xp.zeros(old.shape, dtype=bool)
        soft = (old >= low) & (old <= high)
        drawn = xp.where((above > 0) | (seam > 0), ~bone, soft)
        return xp.where(deep < 0, xp.maximum(old, new), xp.where(drawn, new, old))

    def _deepest(self, head: tuple[Any, ...], xp: Any) -> tuple[Any, Any, Any, Any, Any]:
        """How places lie in the sheets together.

        Returns
        -------
        deep, seam, above : float64 arrays
            mm below the outer surface, over the seam, and over the old skin: in the sheet where that is most.
        tone, weight : float64 arrays
            Brightness times weight, and weight, summed over the sheets.
        """
        if fuses(xp):
            it = sheet_kernels.Deepest(head, self.edge, xp)
            for sheet in self.sheets:
                it.add(sheet)
            return it.deep, it.seam, it.above, it.tone, it.weight
        deep, seam, above = (xp.full(head[0].shape, -1000.0) for _ in range(3))
        tone, weight = xp.zeros(head[0].shape), xp.full(head[0].shape, float(np.float32(1e-3)))
        for sheet in self.sheets:
            maps = sheet.between(head, xp)
            below, over = sheet.depth(head, maps)
            here = xp.nonzero((below > -self.edge) & (sheet.over("floor", head, maps) > 0))[0]
            if here.size == 0:
                continue
            inside: tuple[Any, Any, Any] = tuple(h[here] for h in head)
            maps = sheet.between(inside, xp)
            # across the surface: along the axis a steep cheek is deep at once
            below = below[here] * sheet.sampled("upright", maps)
            deep[here] = xp.maximum(deep[here], below)
            seam[here] = xp.maximum(seam[here], sheet.over("seam", inside, maps))
            above[here] = xp.maximum(above[here], over[here])
            # from one sheet to the next without a step: each counts by how far inside it a place is
            share = xp.clip(below + 1.0, 0.05, 20.0)
            tone[here] = tone[here] + share * sheet.sampled("tone", maps) / 64
            weight[here] = weight[here] + share
        return deep, seam, above, tone, weight

    def tuned(self, volume: xr.DataArray) -> CarinaPlan:
        """For another modality: its own tissue below the skin map."""
        modality = volume.attrs["modality"]
        if modality == "RTDOSE":
            sheets = with_dose(self.sheets, self.pose, volume, OVERLAP)
            return dataclasses.replace(self, sheets=sheets)
        if modality == self.modality:
            return self
        found = measured(volume, self.sheets, self.pose, level=float("nan"))
        if found is None:
            return self
        strata, sheets = found
        return dataclasses.replace(self, modality=modality, strata=strata, sheets=sheets)


@dataclasses.dataclass(frozen=True)
class Carina(Defacer):
    """A layer of tissue on face and ears, grown together with the skin: soft tissue just below is drawn anew too.

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

    def __post_init__(self) -> None:
        within(self, clearance_mm=(0, 30), spread_mm=(1, 60), smooth_mm=(1, 60), bumps_mm=(0, 30))
        within(self, rim_mm=(1, 60))

    def propose(self, head: Head, *, key: bytes, protected: tuple[Protected, ...]) -> CarinaPlan:
        """See `Defacer.propose`."""
        at = self._landmarks(head)
        # the thickest that a voxel is along any way: of that the skin's partial volume is made
        least = SEAM + SEAM_VOXELS * max(head.geometry.spacing)
        away = skin_distance(head)
        bare = self._sheets(head, at, key)
        sheets = tuple(with_depths(sheet, away, head.upright, key, least) for sheet in bare)
        noise, grain = _noise_of(head)
        found = measured(
            head.volume, sheets, np.asarray(head.pose), level=float(head.level), noise=noise, grain=grain
        )
        if found is None:
            raise RefusedError("there is too little skin in front of this head to match a layer to.")
        strata, sheets = found
        plan = CarinaPlan(
            pose=np.asarray(head.pose),
            sheets=sheets,
            modality=head.modality,
            strata=strata,
            edge=0.75 * float(np.cbrt(head.geometry.voxel_volume)),
            deepest_mm=least + SPREAD,
            key=key,
            added_ml=0.0,
            replaced_ml=0.0,
            protected=protected,
        )
        region = plan.region(head.grid)
        air = head.values < head.level
        low, high = strata.soft
        soft = (head.values >= max(low, head.level)) & (head.values <= high)
        millilitre = head.grid.voxel_volume / 1000
        return dataclasses.replace(
            plan,
            added_ml=float((region & air).sum() * millilitre),
            replaced_ml=float((region & soft).sum() * millilitre),
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

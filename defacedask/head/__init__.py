"""Everything a defacer may ask about one head, each thing computed at most once and with a quality figure."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.defacers.base import air_of
from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.head.quality import Figure
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.head.atlas import Atlas
    from defacedask.head.registration import Registration
    from defacedask.head.surface import DepthMap
    from defacedask.head.template import Template

__all__ = ["Figure", "Head"]

#: mm of the working grid.
SPACING = 2.0


class Head:
    """One head, looked at.

    Nothing is computed before it is asked for, and nothing twice.

    Parameters
    ----------
    volume : xarray.DataArray
        CT, MR or PT; see `defacedask.volume.make_volume`. Lazy volumes are read slab by slab.
    template : Template, optional
        Average head to register to (see `defacedask.head.template`); default the built-in one.

    Raises
    ------
    InputError
        For a modality of which no air value is known.
    """

    def __init__(self, volume: xr.DataArray, *, template: Template | None = None) -> None:
        self.volume = volume
        self.geometry: Geometry = geometry_of(volume)
        self.modality: str = volume.attrs["modality"]
        self.air = air_of(self.modality)
        self._template = template

    # --- the working grid

    @cached_property
    def atlas(self) -> Atlas:
        """What is needed of the average head."""
        from defacedask.head.atlas import atlas_of

        return atlas_of(self._template)

    @cached_property
    def _working(self) -> tuple[np.ndarray, Geometry, float]:
        from defacedask.head.body import material_level
        from defacedask.head.grid import cropped_values, reduced

        fine, grid = reduced(self.volume, SPACING)
        level = material_level(fine, self.modality)
        values, working = cropped_values(fine, grid, spacing=SPACING, level=level, air=self.air)
        return values, working, level

    @property
    def values(self) -> np.ndarray:
        """(z, y, x) float32 real values on `grid` (HU, arbitrary, SUV or Bq/mL)."""
        return self._working[0]

    @property
    def grid(self) -> Geometry:
        """Working grid: 2 mm, array axes S, P, L, cropped to what is not air; patient LPS mm."""
        return self._working[1]

    @property
    def level(self) -> float:
        """Value that parts the patient from air, in real units."""
        return self._working[2]

    # --- the body

    @cached_property
    def _body(self) -> tuple[np.ndarray, np.ndarray]:
        from defacedask.head.body import body_mask

        return body_mask(self.values, self.level, SPACING)

    @property
    def body(self) -> np.ndarray:
        """Bool on `grid`: the patient, closed and filled; no couch, headrest, mask frame or tube."""
        return self._body[0]

    @property
    def other(self) -> np.ndarray:
        """Bool on `grid`: material that is not the patient."""
        return self._body[1]

    @cached_property
    def drop(self) -> np.ndarray:
        """Bool on the **acquisition's** grid: material that is not the patient (for renderers).

        What is above `level` and farther than 4 mm from the body.
        """
        from defacedask.head.grid import resample, slabs
        from defacedask.head.morphology import dilate

        near = dilate(np.pad(self.body, 2), 2)
        grid = self.grid
        padded = grid.block((-2, -2, -2), tuple(n + 2 for n in grid.shape))
        out = ~resample(near, padded, self.geometry, nearest=True)
        for rows, values in slabs(self.volume, 32):
            out[rows] &= values > self.level
        return out

    # --- where it is

    @cached_property
    def _rough(self) -> tuple[np.ndarray, np.ndarray | None, float]:
        """Rough centre of the brain (mm), enclosure map (CT) and mL of brain seen without a template."""
        from defacedask.head.brain import rough_brain, rough_centre

        if self.modality == "CT":
            rough, seen = rough_brain(self.values, self.body)
            if rough.any():
                centre = self.grid.to_world(np.argwhere(rough).mean(axis=0) * 2 + 0.5)
                return centre, seen, float(rough.sum() * (2 * SPACING) ** 3 / 1000)
            return rough_centre(self.body, self.grid), seen, 0.0
        return rough_centre(self.body, self.grid), None, float("nan")

    @property
    def enclosed_ml(self) -> float:
        """CT: mL of soft tissue that bone encloses on nearly all sides; NaN on other modalities."""
        return self._rough[2]

    @cached_property
    def registration(self) -> Registration:
        """The template's place in the patient."""
        from defacedask.head.morphology import dilate
        from defacedask.head.registration import register

        if self.modality == "CT":
            limits = (-200.0, 200.0)
        else:
            limits = (0.0, float(np.percentile(self.values[self.body], 99.5)) if self.body.any() else 1.0)
        atlas = self.atlas
        return register(
            self.values,
            self.grid,
            dilate(self.body, 3),
            self._rough[0],
            atlas.levels(self.modality),
            atlas.grid,
            atlas.centre,
            limits=limits,
        )

    @property
    def to_template(self) -> np.ndarray:
        """(4, 4) affine: patient LPS mm -> the template's LPS mm."""
        return self.registration.affine

    @property
    def pose(self) -> np.ndarray:
        """(4, 4) rigid: patient LPS mm -> the head's frame (L, P, S of the upright head; the template's origin)."""
        return self.registration.rigid

    def landmark(self, name: str) -> np.ndarray:
        """The template's landmark in the patient, LPS mm (as exact as the affine: some mm)."""
        return (np.linalg.inv(self.to_template) @ np.append(self.atlas.landmarks[name], 1.0))[:3]

    # --- the brain

    @cached_property
    def brain_by_template(self) -> np.ndarray:
        """Bool on `grid`: the template's brain through `to_template`, where the patient has body."""
        from defacedask.head.grid import resample

        atlas = self.atlas
        warped = resample(atlas.brain, atlas.grid, self.grid, matrix=self.to_template, nearest=True)
        return warped & self.body

    @cached_property
    def brain_by_value(self) -> np.ndarray:
        """Bool on `grid`: CT only, by Hounsfield units and enclosure, without the template; else empty."""
        from defacedask.head.brain import brain_from_ct

        if self.modality != "CT" or self._rough[1] is None:
            return np.zeros(self.grid.shape, dtype=bool)
        return brain_from_ct(self.values, self.body, self._rough[1])

    @cached_property
    def brain(self) -> np.ndarray:
        """Bool on `grid`: soft tissue of the brain near the template's, by the modality's own values."""
        from defacedask.head.brain import refined_brain

        return refined_brain(
            self.values, self.body, self.brain_by_template, self.brain_by_value, self.modality
        )

    @cached_property
    def outline_agreement(self) -> float:
        """Dice overlap of body and average head, from the crown to the mouth, in the field of view.

        Outside the average head's sides and above its crown the body's surplus counts too.
        """
        from defacedask.head.grid import resample

        atlas, spacing = self.atlas, 4.0
        low, high = atlas.grid.corners.min(axis=0), atlas.grid.corners.max(axis=0) + 20.0
        low = np.array([low[0] - 20.0, low[1] - 20.0, atlas.landmarks["stomion"][2]])
        shape = np.ceil((high - low) / spacing).astype(int)[::-1]
        coarse = Geometry.from_spacing(shape.tolist(), (spacing,) * 3, low)
        back = np.linalg.inv(self.to_template)
        body = resample(self.body, self.grid, coarse, matrix=back, nearest=True)
        average = resample(atlas.body, atlas.grid, coarse, nearest=True)
        x, y, z = np.broadcast_arrays(*coarse.positions(dtype=np.float64))
        world = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1) @ back[:3, :3].T + back[:3, 3]
        index = self.geometry.to_index(world)
        seen = (
            ((index >= -0.5) & (index <= np.array(self.geometry.shape) - 0.5))
            .all(axis=1)
            .reshape(coarse.shape)
        )
        both = 2.0 * float((body & average & seen).sum())
        return both / max(float((body & seen).sum() + (average & seen).sum()), 1.0)

    # --- the surface, in the head's frame

    @cached_property
    def upright(self) -> Geometry:
        """Grid of the head's frame (axes S, P, L of the upright head, 2 mm) around the head."""
        corners = self.atlas.grid.corners
        low = corners.min(axis=0) - np.array([10.0, 25.0, 20.0])
        high = corners.max(axis=0) + np.array([10.0, 25.0, 15.0])
        shape = np.ceil((high - low) / SPACING).astype(int)[::-1]
        return Geometry.from_spacing(shape.tolist(), (SPACING,) * 3, low + SPACING / 2)

    def to_upright(self, values: np.ndarray, *, outside: float = 0.0, nearest: bool = True) -> np.ndarray:
        """What lies on `grid`, on `upright` (rigid, no stretch)."""
        from defacedask.head.grid import resample

        back = np.linalg.inv(self.pose)
        return resample(values, self.grid, self.upright, matrix=back, outside=outside, nearest=nearest)

    @cached_property
    def upright_body(self) -> np.ndarray:
        """`body` on `upright`."""
        return self.to_upright(self.body)

    @cached_property
    def depth(self) -> DepthMap:
        """Anterior depth map: P (mm, head's frame) of the most anterior body voxel over (S, L)."""
        from defacedask.head.surface import anterior_depth

        return anterior_depth(self.upright_body, self.upright)

    @cached_property
    def lateral(self) -> tuple[DepthMap, DepthMap]:
        """Right and left depth maps: L (mm, head's frame) of the outermost body voxel over (S, P)."""
        from defacedask.head.surface import lateral_depth

        return (
            lateral_depth(self.upright_body, self.upright, left=False),
            lateral_depth(self.upright_body, self.upright, left=True),
        )

    @cached_property
    def vertex(self) -> np.ndarray:
        """Topmost point of the body along the head's own axis, patient LPS mm (of what is in view)."""
        points = np.argwhere(self.upright_body)
        top = self.upright.to_world(points[np.argmax(points[:, 0])] if len(points) else (0, 0, 0))
        return (np.linalg.inv(self.pose) @ np.append(top, 1.0))[:3]

    @cached_property
    def chin(self) -> np.ndarray:
        """Lowest point of the chin's front (menton), patient LPS mm: the template's, through the affine."""
        return self.landmark("menton")

    @cached_property
    def face_skin(self) -> np.ndarray:
        """Bool on `grid`: the outermost body voxels of the face, from brow to chin (the template's region)."""
        from defacedask.head.grid import resample
        from defacedask.head.morphology import erode

        atlas = self.atlas
        region = resample(atlas.face, atlas.grid, self.grid, matrix=self.to_template, nearest=True)
        # beyond the grid there is air on the sides that were cropped, so the border is skin as well
        return region & self.body & ~erode(np.pad(self.body, 1), 1)[1:-1, 1:-1, 1:-1]

    # --- may it be trusted

    @cached_property
    def quality(self) -> dict[str, Figure]:
        """Figures with gates, cheapest first; stops at the first that makes the rest meaningless."""
        from defacedask.head.quality import figures

        return {figure.name: figure for figure in figures(self)}

    @property
    def ok(self) -> bool:
        """Whether every figure passes its gate."""
        return all(figure.ok for figure in self.quality.values())

    def require(self) -> None:
        """Refuse the case unless every figure passes.

        Raises
        ------
        RefusedError
            Naming the first figure that fails, with its value and gate.
        """
        for figure in self.quality.values():
            if not figure.ok:
                raise RefusedError(figure.sentence)

    def facts(self) -> dict[str, Any]:
        """JSON-able record: matrices, quality."""
        return {
            "pose": self.pose.tolist(),
            "to_template": self.to_template.tolist(),
            "quality": {name: figure.to_dict() for name, figure in self.quality.items()},
        }

"""Everything a defacer may ask about one head, each thing computed at most once and with a quality figure."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.quality import Figure, figures
from defacedask.errors import RefusedError
from defacedask.geometry import Geometry
from defacedask.modality import air_of
from defacedask.volume import checked

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.atlas import Atlas
    from defacedask.anatomy.place import Look
    from defacedask.anatomy.registration import Registration
    from defacedask.anatomy.surface import DepthMap
    from defacedask.anatomy.template import Template

__all__ = ["TURNED", "Figure", "Head"]

#: mm of the working grid, and of the one on which the head is looked for.
SPACING, COARSE = 2.0, 4.0
#: mm; no scanner's field of view is longer.
LONGEST = 5000.0
#: Degrees between header and head from which on the working grid follows the head, and that is said.
TURNED = 60.0


class Head:
    """One head, looked at.

    Nothing is computed before it is asked for, and nothing twice.

    Parameters
    ----------
    volume : xarray.DataArray
        CT, MR or PT; see `defacedask.volume.make_volume`. Lazy volumes are read slab by slab.
    template : Template, optional
        Average head to register to (see `defacedask.anatomy.template`); default the built-in one.
    registration : Registration, optional
        Where the head lies, if that is known already; by default it is looked for.

    Raises
    ------
    InputError
        For what is no volume, and for a modality of which no air value is known.
    """

    def __init__(
        self,
        volume: xr.DataArray,
        *,
        template: Template | None = None,
        registration: Registration | None = None,
    ) -> None:
        self.volume = volume
        self.geometry: Geometry = checked(volume)
        self.modality: str = volume.attrs["modality"]
        self.air = air_of(self.modality)
        self._template = template
        self._known = registration

    # --- the working grid

    @cached_property
    def atlas(self) -> Atlas:
        """What is needed of the average head."""
        from defacedask.anatomy.atlas import atlas_of

        return atlas_of(self._template)

    @cached_property
    def _fine(self) -> tuple[np.ndarray, Geometry]:
        from defacedask.anatomy.grid import reduced

        sides = np.array(self.geometry.shape) * self.geometry.spacing
        if sides.max() > LONGEST:
            raise RefusedError(
                f"no head was found: the image is {sides.max() / 1000:.3g} m long, so its positions are in "
                "another unit than millimetres."
            )
        return reduced(self.volume, SPACING)

    @cached_property
    def _placed(self) -> tuple[Look, tuple[np.ndarray, np.ndarray | None, float], Registration]:
        """The image on its working grid, the rough brain in it, and the template's place."""
        from defacedask.anatomy.place import Look, centre_of, find_head, look_closer
        from defacedask.anatomy.registration import NOWHERE

        fine, geometry = self._fine
        how: dict[str, Any] = {"level": self.level, "air": self.air}
        del self.__dict__["_fine"]
        if self._known:
            turn = _turn(self._known.rigid)
            look = Look.of(fine, geometry, self.modality, spacing=SPACING, turn=turn, **how)
            return look, centre_of(look), self._known
        starts = find_head(Look.of(fine, geometry, self.modality, spacing=COARSE, **how), self.atlas)
        turn = _turn(starts[0]) if starts else None
        while True:
            look = Look.of(fine, geometry, self.modality, spacing=SPACING, turn=turn, **how)
            rough = centre_of(look)
            if not starts:
                return look, rough, NOWHERE
            found = look_closer(look, rough[0], starts, self.atlas)
            better = _turn(found.rigid, turn)
            if better is turn or len(starts) == 1:
                return look, rough, found
            # the second look saw another pose: once more, on a grid on which that one is upright
            starts, turn = [found.rigid, found.rival][: len(starts) - 1], better

    @property
    def values(self) -> np.ndarray:
        """(z, y, x) float32 real values on `grid` (HU, arbitrary, SUV or Bq/mL)."""
        return self._placed[0].values

    @property
    def grid(self) -> Geometry:
        """Working grid: 2 mm, cropped to what is not air; patient LPS mm.

        Array axes S, P, L of the header; of the head itself where it is turned by more than 60 degrees against that.
        """
        return self._placed[0].grid

    @cached_property
    def level(self) -> float:
        """Value that parts the patient from air, in real units."""
        from defacedask.anatomy.body import CT_LEVEL, material_level

        return CT_LEVEL if self.modality == "CT" else material_level(self._fine[0], self.modality)

    # --- the body

    @property
    def body(self) -> np.ndarray:
        """Bool on `grid`: the patient, closed and filled; no couch, headrest, mask frame or tube."""
        return self._placed[0].body

    @property
    def other(self) -> np.ndarray:
        """Bool on `grid`: material that is not the patient."""
        return self._placed[0].other

    @cached_property
    def drop(self) -> np.ndarray:
        """Bool on the **acquisition's** grid: material that is not the patient (for renderers).

        What is above `level` and farther than 4 mm from the body.
        """
        from defacedask.anatomy.grid import above_level, resample
        from defacedask.anatomy.morphology import dilate

        near = dilate(np.pad(self.body, 2), 2)
        grid = self.grid
        padded = grid.block((-2, -2, -2), tuple(n + 2 for n in grid.shape))
        out = ~resample(near, padded, self.geometry, nearest=True)
        for rows, material in above_level(self.volume, 32, self.level):
            out[rows] &= material
        return out

    # --- where it is

    @property
    def enclosed_ml(self) -> float:
        """CT: mL of soft tissue that bone encloses on nearly all sides; NaN on other modalities."""
        return self._placed[1][2]

    @property
    def registration(self) -> Registration:
        """The template's place in the patient."""
        return self._known or self._placed[2]

    @property
    def to_template(self) -> np.ndarray:
        """(4, 4) affine: patient LPS mm -> the template's LPS mm."""
        return self.registration.affine

    @property
    def pose(self) -> np.ndarray:
        """(4, 4) rigid: patient LPS mm -> the head's frame (L, P, S of the upright head; the template's origin)."""
        return self.registration.rigid

    @property
    def against_header(self) -> float:
        """Degrees between the head's axes and those that the header calls L, P, S."""
        from defacedask.anatomy.turns import angle_between

        return float(angle_between(self.pose[:3, :3], np.eye(3)))

    def landmark(self, name: str) -> np.ndarray:
        """The template's landmark in the patient, LPS mm (as exact as the affine: some mm)."""
        return (np.linalg.inv(self.to_template) @ np.append(self.atlas.landmarks[name], 1.0))[:3]

    # --- the brain

    @cached_property
    def brain_by_template(self) -> np.ndarray:
        """Bool on `grid`: the template's brain through `to_template`, where the patient has body."""
        from defacedask.anatomy.grid import resample

        atlas = self.atlas
        warped = resample(atlas.brain, atlas.grid, self.grid, matrix=self.to_template, nearest=True)
        return warped & self.body

    @cached_property
    def brain_by_value(self) -> np.ndarray:
        """Bool on `grid`: CT only, by Hounsfield units and enclosure, without the template; else empty."""
        from defacedask.anatomy.brain import brain_from_ct

        seen = self._placed[1][1]
        if self.modality != "CT" or seen is None:
            return np.zeros(self.grid.shape, dtype=bool)
        return brain_from_ct(self.values, self.body, seen)

    @cached_property
    def brain(self) -> np.ndarray:
        """Bool on `grid`: soft tissue of the brain near the template's, by the modality's own values."""
        from defacedask.anatomy.brain import refined_brain

        return refined_brain(
            self.values, self.body, self.brain_by_template, self.brain_by_value, self.modality
        )

    @cached_property
    def outline_agreement(self) -> float:
        """Dice overlap of body and average head, from the crown to the mouth, in the field of view.

        Outside the average head's sides and above its crown the body's surplus counts too.
        """
        from defacedask.anatomy.grid import resample

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
        from defacedask.anatomy.grid import resample

        back = np.linalg.inv(self.pose)
        return resample(values, self.grid, self.upright, matrix=back, outside=outside, nearest=nearest)

    @cached_property
    def upright_body(self) -> np.ndarray:
        """`body` on `upright`."""
        return self.to_upright(self.body)

    @cached_property
    def depth(self) -> DepthMap:
        """Anterior depth map: P (mm, head's frame) of the most anterior body voxel over (S, L)."""
        from defacedask.anatomy.surface import anterior_depth

        return anterior_depth(self.upright_body, self.upright)

    @cached_property
    def lateral(self) -> tuple[DepthMap, DepthMap]:
        """Right and left depth maps: L (mm, head's frame) of the outermost body voxel over (S, P)."""
        from defacedask.anatomy.surface import lateral_depth

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
        from defacedask.anatomy.grid import resample
        from defacedask.anatomy.morphology import erode

        atlas = self.atlas
        region = resample(atlas.face, atlas.grid, self.grid, matrix=self.to_template, nearest=True)
        # beyond the grid there is air on the sides that were cropped, so the border is skin as well
        return region & self.body & ~erode(np.pad(self.body, 1), 1)[1:-1, 1:-1, 1:-1]

    # --- may it be trusted

    @cached_property
    def quality(self) -> dict[str, Figure]:
        """Figures with gates, cheapest first; stops at the first that makes the rest meaningless."""
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
            Naming the first figure that fails, with its value and gate; and what is likely wrong with a CT whose
            values cannot be Hounsfield units.
        """
        for figure in self.quality.values():
            if not figure.ok:
                raise RefusedError(figure.sentence, self._likely_fault())

    def _likely_fault(self) -> str:
        """Why a head may not be seen in values that are not what they are said to be."""
        from defacedask.anatomy.hounsfield import likely_fault

        if self.modality != "CT":
            return ""
        intercept = np.unique(self.volume.coords["intercept"].values)
        return likely_fault(self._fine[0], float(intercept[0]) if len(intercept) == 1 else None)

    def facts(self) -> dict[str, Any]:
        """JSON-able record: matrices, quality."""
        return {
            "pose": self.pose.tolist(),
            "to_template": self.to_template.tolist(),
            "quality": {name: figure.to_dict() for name, figure in self.quality.items()},
        }


def _turn(pose: np.ndarray, now: np.ndarray | None = None) -> np.ndarray | None:
    """Rotation that makes a head upright; what it is ``now`` (None: the header's axes) where that will do."""
    from defacedask.anatomy.turns import angle_between, nearest_rigid

    turn = nearest_rigid(np.asarray(pose), np.zeros(3))[:3, :3]
    return turn if float(angle_between(turn, np.eye(3) if now is None else now)) > TURNED else now

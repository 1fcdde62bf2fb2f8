"""The plan of `mri_reface`: where in a patient the average's face goes, and which values it has there."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from defacedask.anatomy.template import load_template
from defacedask.backend import namespace
from defacedask.defacers.base import Plan, air_of
from defacedask.defacers.boxes import Box
from defacedask.defacers.elementary import exp2
from defacedask.defacers.fields import Stack
from defacedask.defacers.hull import FACE_AND_EARS
from defacedask.defacers.mri_reface.average import FIT_GRID, HALF_GRID
from defacedask.defacers.mri_reface.face_kernel import Face
from defacedask.defacers.mri_reface.intensity import UNKNOWN, Palette
from defacedask.defacers.mri_reface.palette import (
    DOSE_FROM,
    DOSE_OVER,
    body_distance,
    head_palette,
    same_image,
    volume_palette,
)
from defacedask.defacers.mri_reface.refacing import GAP_STEP, from_half, moved_average
from defacedask.defacers.noise import NoiseField
from defacedask.defacers.tiling import Tiling, places_of, put
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.kernels import fuses
from defacedask.sampling import apply_affine
from defacedask.volume import real_values, to_stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr

    from defacedask.anatomy.head import Head
    from defacedask.defacers.mri_reface.refacing import Fit
    from defacedask.defacers.protect import Protected

__all__ = ["FEATHER", "STEP", "MriRefacePlan", "in_steps"]

#: mm over which new and old values mix.
FEATHER = 3.5
#: Steps of the stored fields, mm; and mm that fit in them.
STEP, REACH = 0.25, 31.5
#: Octaves of a step of the stored gain.
GAIN_STEP = 1 / 48
#: mm from the body beyond which MR air is cleaned.
AIR_FROM = 8.0
#: mm above the new skin beyond which all is air.
NEAR = 6.0
#: mm below the new skin from which on all above the old skin is solid, and its least value in each average.
CRUST = 2.0
SOLID = {"average_ct": -20.0, "average_t1": 120.0}
#: mm around the coarse bone within which the bone's own voxels, in HU from `BONE` on, stay, where they do.
AROUND = 3.5
#: HU from which the patient had bone, and the most that tissue laid elsewhere has, but for its noise.
BONE, SOFT = 150.0, 80.0
#: Which knot of a CT's palette is lean tissue (see `intensity.ct_map`).
LEAN = 3


@functools.cache
def _average(name: str, blur: float) -> Stack:
    """Values of the average, blurred by ``blur`` mm to the resolution of a coarse image."""
    from scipy.ndimage import gaussian_filter

    template = load_template(name)
    values = real_values(template.image).values.astype(np.float32)
    if blur > 0:
        values = gaussian_filter(values, [blur / s for s in template.geometry.spacing])
    return Stack(values[None], template.geometry)


@dataclasses.dataclass(frozen=True, eq=False)
class MriRefacePlan(Plan):
    """The average face in one patient's place and values.

    Attributes
    ----------
    to_template : (4, 4) array
        World LPS mm -> the average's LPS mm.
    template : str
        Name of the average head.
    template_sha256 : str
        Of its CT and T1 forms, joined by a slash.
    offset, gap : (z, y, x) int16 and int8 arrays
        How far the average is moved outwards, and how deep below it the old skin lies; see `refacing.Fit`.
    brain_margin_mm : float
        Distance to the brain at which the replaced part begins.
    palette : Palette
        Values of the image the plan was made on, or of the one it is being applied to.
    body : (z, y, x) int8 array
        mm outside the patient's body in steps of 0.25 mm, on ``body_grid``; empty but for MR.
    body_grid : Geometry
        World LPS mm.
    key : bytes
        Secret.
    covered : float
        Fraction of the patient's facial skin in view at least 3 mm below the new skin, or cut off as far above it.
    """

    defacer: ClassVar[str] = "mri_reface"
    secret: ClassVar[tuple[str, ...]] = ("key",)
    hull_boxes: ClassVar[tuple[Box, ...]] = FACE_AND_EARS
    #: No bone is painted anywhere.
    _capped: ClassVar[bool] = False

    to_template: np.ndarray
    template: str
    template_sha256: str
    offset: np.ndarray
    gap: np.ndarray
    brain_margin_mm: float
    palette: Palette
    body: np.ndarray
    body_grid: Geometry
    key: bytes
    covered: float

    @classmethod
    def of(
        cls,
        head: Head,
        fit: Fit,
        brain_margin_mm: float,
        key: bytes,
        protected: tuple[Protected, ...],
        **more: Any,
    ) -> Self:
        """Plan from a face that was laid over a head; ``more``: fields of a subclass."""
        plan = cls(
            to_template=np.asarray(head.to_template),
            template="average",
            template_sha256=_sha256(),
            offset=fit.offset,
            gap=fit.gap,
            brain_margin_mm=float(brain_margin_mm),
            palette=UNKNOWN,
            body=np.zeros((0, 0, 0), np.int8),
            body_grid=head.grid,
            key=key,
            covered=fit.covered,
            protected=protected,
            **more,
        )
        plan = dataclasses.replace(plan, palette=head_palette(head, fit, plan.laid[2]))
        if head.modality == "MR":
            body, grid = body_distance(head)
            plan = dataclasses.replace(plan, body=in_steps(body), body_grid=grid)
        return plan

    def summary(self) -> dict[str, Any]:
        """See `Plan.summary`, with what the values were matched to."""
        return {**super().summary(), "palette": self.palette.summary()}

    # --- where

    @functools.cached_property
    def laid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shift, mm above the new skin, and mm within the replaced part, on `average.FIT_GRID`."""
        shift, new, inside = moved_average(self.offset, self.gap)
        back = np.linalg.inv(self.to_template)
        for away in self._away_from_kept(apply_affine(back, *FIT_GRID.positions(dtype=np.float64))):
            inside = np.minimum(inside, away)
        for side in (inside, inside.swapaxes(0, 1), inside.swapaxes(0, 2)):
            side[[0, -1]] = -4.0  # beyond the grid nothing is replaced
        return shift, new, inside.astype(np.float32)

    def _away_from_kept(self, places: tuple[Any, Any, Any]) -> Iterator[np.ndarray]:
        """Distances, mm, within which the new values reach their share, from what the replaced part leaves out.

        Parameters
        ----------
        places : tuple of arrays
            World LPS mm of the points of `average.FIT_GRID`.
        """
        for one in self.protected:
            if one.name == "Brain":
                yield one._distance(places, np) - np.float32(self.brain_margin_mm)

    @functools.cached_property
    def _where(self) -> Stack:
        """Two channels: mm within the replaced part, mm above the new skin."""
        _, new, inside = self.laid
        return Stack(np.stack([inside, new]), FIT_GRID)

    @functools.cached_property
    def _from(self) -> Stack:
        """Four channels: shift, mm (x, y, z), and mm above the old skin, where it lies deepest round about."""
        shift, new, _ = self.laid
        return Stack(np.concatenate([shift, (new + from_half(self.gap, GAP_STEP))[None]]), FIT_GRID)

    @functools.cached_property
    def _field(self) -> Stack:
        """The palette's own field: gain or dose."""
        return Stack(self.palette.field[None], HALF_GRID)

    @functools.cached_property
    def _deep(self) -> Stack:
        """Distance from where the dose ends, mm."""
        return Stack(self.palette.deep[None].astype(np.float32) * np.float32(GAP_STEP), HALF_GRID)

    @functools.cached_property
    def _away(self) -> Stack:
        """Distance outside the patient's body, mm."""
        return Stack(self.body[None].astype(np.float32) * np.float32(STEP), self.body_grid)

    @property
    def _kept_bone(self) -> Stack | None:
        """Distance from bone whose own voxels stay, mm of the average's space, of a CT; None: none stay."""
        return None

    @functools.cached_property
    def _replaced(self) -> Tiling:
        return Tiling(self.laid[2], FIT_GRID)

    @functools.cached_property
    def _air(self) -> Tiling:
        return Tiling(self.body.astype(np.float32) * np.float32(STEP), self.body_grid)

    def _tiles(self, geometry: Geometry, xp: Any) -> Iterator[tuple[tuple[slice, ...], Geometry]]:
        """Parts of a block that may change, for fused kernels."""
        for box in self._replaced.tiles(geometry, self.to_template, 0.0, xp):
            yield box, geometry.block([s.start for s in box], [s.stop for s in box])

    def _inside(self, geometry: Geometry, xp: Any) -> Iterator[tuple[Any, ...]]:
        """Voxels of a block that are replaced, tile by tile.

        Yields
        ------
        box, part : slices, Geometry
            Of the tile.
        at : (n,) int array
            Indices in the flat tile.
        places : three (n,) arrays
            Where they lie in the average's space.
        where : (2, n) array
            Values of `_where`.
        """
        for box, look in self._replaced.voxels(geometry, self.to_template, 0.0, xp):
            part = geometry.block([s.start for s in box], [s.stop for s in box])
            head = places_of(part, look, self.to_template, xp)
            where = self._where.at(head, xp)
            inside = xp.nonzero(where[0] > 0)[0]
            if inside.size:
                places = tuple(h.take(inside) for h in head)
                yield box, part, look.take(inside), places, where.T.take(inside, axis=0).T

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        """See `Plan.wanted`; on MR it includes the air around the body, of which only ghosts are replaced."""
        out = xp.zeros(geometry.shape, dtype=bool)
        if self._cleans:
            for box, part in self._air_tiles(geometry, xp):
                out[box] = self._away.above(AIR_FROM, part, np.eye(4), xp)
        if fuses(xp):
            for box, part in self._tiles(geometry, xp):
                here = out[box]
                here |= self._where.above(0.0, part, self.to_template, xp)
        else:
            for box, _, at, *_ in self._inside(geometry, xp):
                put(out, box, at, True)
        return out

    @property
    def _cleans(self) -> bool:
        return self.body.size > 0 and bool(np.isfinite(self.palette.clean_above))

    def _air_tiles(self, geometry: Geometry, xp: Any) -> Iterator[tuple[tuple[slice, ...], Geometry]]:
        """Parts of a block that may hold air well outside the body."""
        for box in self._air.tiles(geometry, np.eye(4), AIR_FROM, xp):
            yield box, geometry.block([s.start for s in box], [s.stop for s in box])

    # --- what

    def _checked(self, name: str, geometry: Geometry) -> Stack:
        """Average's values for a grid.

        Raises
        ------
        InputError
            If the average head is not the one the plan was made with.
        """
        if self.template_sha256 != _sha256():
            raise InputError(
                "the plan was made with another average head than the one installed.",
                "Make the plan again, or install the version it was made with.",
            )
        coarse = float(np.mean(geometry.spacing))
        return _average(name, round(0.3 * max(0.0, coarse - 1.6), 2))

    def change_block(self, stored: Any, geometry: Geometry, slope: Any, intercept: Any, modality: str) -> Any:
        """See `Plan.change_block`; works on the replaced part of the block alone."""
        xp = namespace(stored)
        out = stored.copy()
        there = xp.asarray(slope, dtype=np.float32), xp.asarray(intercept, dtype=np.float32)
        if self._cleans and modality == self.palette.modality:
            self._clean(out, geometry, there[0], there[1], xp)
        if fuses(xp):
            for box, part in self._tiles(geometry, xp):
                rows = (slope[box[0]], intercept[box[0]])
                self._face(geometry, modality).paint(stored[box], out[box], part, *rows, modality, xp)
            return out
        for box, part, at, places, where in self._inside(geometry, xp):
            share = xp.clip(where[0] * xp.float32(1 / FEATHER), 0, 1)
            share = share * share * (3 - 2 * share)
            s, i = (xp.broadcast_to(r[box[0]], part.shape).ravel().take(at) for r in there)
            old = stored[box].ravel().take(at).astype(np.float32) * s + i
            new = self._values(part, at, places, where[1], old, geometry, modality, xp)
            new = self._settled(new, old, where[1], places, modality, xp)
            put(out, box, at, to_stored(old + share * (new - old), s, i, stored.dtype, xp))
        return out

    def _face(self, geometry: Geometry, modality: str) -> Face:
        """What a device paints by one kernel; `_values` and `_settled` say what that is."""
        palette = self.palette
        same = palette.modality == modality
        stacks = (
            self._where,
            self._from,
            self._checked(palette.template, geometry) if same else None,
            self._field if same and modality in ("MR", "RTDOSE") else None,
            self._deep if same and modality == "RTDOSE" else None,
            self._kept_bone if modality == "CT" else None,
        )
        numbers = {
            "to_share": 1 / FEATHER,
            "empty": -1000.0 if palette.template == "average_ct" else 0.0,
            "near": NEAR,
            "crust": CRUST,
            "least": SOLID[palette.template],
            "bone": BONE,
            "lean": self._lean if same and modality == "CT" else 0.0,
            "capped": self._capped,
            "gain_step": GAIN_STEP,
            "dose_from": DOSE_FROM,
            "dose_over": DOSE_OVER,
            "around": AROUND,
        }
        return Face(self.to_template, self.key, palette, stacks, numbers)

    def fill(self, values: Any, region: Any, geometry: Geometry, modality: str, xp: Any = np) -> Any:
        """See `Plan.fill`: the new values without the feather (`change_block` has it)."""
        at = xp.nonzero(region.ravel())[0]
        index = xp.unravel_index(at, region.shape)
        places = apply_affine(self.to_template, *geometry.positions_at(index, xp))
        above = self._where.at(places, xp)[1]
        old = values.ravel().take(at)
        new = self._values(geometry, at, places, above, old, geometry, modality, xp)
        out = values.copy()
        out[index] = self._settled(new, old, above, places, modality, xp)
        return out

    def _settled(
        self, new: Any, old: Any, above: Any, places: tuple[Any, ...], modality: str, xp: Any
    ) -> Any:
        """What stays of the old values; ``places`` lie in the average's space."""
        if modality == "CT" and self._kept_bone is not None:
            near = self._kept_bone.at(places, xp)[0] < xp.float32(AROUND)
            return xp.where(near & (old > xp.float32(BONE)), old, new)
        if modality != "RTDOSE" or self.palette.modality != modality:
            return new
        # far below both skins the dose shows neither, and is what a physicist wants to keep
        deep = self._deep.at(places, xp)[0]
        keep = xp.clip((xp.minimum(deep, -above) - DOSE_FROM) / xp.float32(DOSE_OVER), 0, 1)
        return xp.where(keep < 1, new + keep * (old - new), old)

    def _values(
        self,
        part: Geometry,
        at: Any,
        places: tuple[Any, ...],
        above: Any,
        old: Any,
        geometry: Geometry,
        modality: str,
        xp: Any,
    ) -> Any:
        """New real values, float32, at the voxels ``at`` of a flat part.

        ``places`` are theirs in the average's space, and ``above`` their mm above the new skin.
        """
        palette = self.palette
        if palette.modality != modality:
            return xp.full(above.shape, air_of(modality), dtype=xp.float32)
        if modality == "RTDOSE":
            # hollows inside the head have dose, so the skin decides and not the tissue
            body = xp.clip(xp.float32(0.5) - above / xp.float32(2.0), 0, 1)
            return body * self._field.at(places, xp)[0] * xp.float32(palette.step)
        painted = self._painted(places, above, geometry, xp)
        grain = self._noise("noise").at_voxels(part, at, xp)
        if modality == "CT":
            return self._ct(painted, old, grain, xp)
        if modality == "MR":
            octaves = self._field.at(places, xp)[0] * xp.float32(GAIN_STEP)
            gain = exp2(octaves.astype(xp.float64), xp).astype(xp.float32)
            return self._mr(painted, gain, grain, self._noise("second channel").at_voxels(part, at, xp), xp)
        body = xp.clip((painted + 1000) / 1000, 0, 1)
        low = palette.knots[-1][1]
        noise = palette.noise.air + (palette.noise.tissue - palette.noise.air) * body
        return xp.maximum(palette.air + (low - palette.air) * body + noise * grain, 0).astype(xp.float32)

    def _painted(self, places: tuple[Any, ...], above: Any, geometry: Geometry, xp: Any) -> Any:
        """Average's values, float32, where they are laid; see `_values`."""
        template = self.palette.template
        painted = xp.full(above.shape, -1000.0 if template == "average_ct" else 0.0, dtype=xp.float32)
        near = xp.nonzero(above < NEAR)[0]
        if near.size:
            average = self._checked(template, geometry)
            here: tuple[Any, ...] = tuple(p.take(near) for p in places)
            *shift, height = self._from.at(here, xp)
            value = average.at(tuple(h - s for h, s in zip(here, shift, strict=True)), xp)[0]
            painted[near] = _fleshed(value, above.take(near), height, SOLID[template], xp)
        return painted

    def _noise(self, stream: str) -> NoiseField:
        noise = self.palette.noise
        return NoiseField(self.key, noise.lattice, noise.sigma, stream)

    def _ct(self, painted: Any, old: Any, grain: Any, xp: Any) -> Any:
        noise = self.palette.noise
        body = xp.clip((painted + 1000) / 900, 0, 1)
        amplitude = noise.air + (noise.tissue - noise.air) * body
        return (self._mean(painted, old, xp) + amplitude * grain).astype(xp.float32)

    def _mean(self, painted: Any, old: Any, xp: Any) -> Any:
        """CT without its noise; no bone where the patient had none: the average's skull need not fit in this head.

        Were the noise cut off there, too, a sixth of the new tissue would have one and the same value.
        """
        mean = self.palette.paint(painted, xp)
        capped = xp.minimum(mean, xp.float32(self._lean))
        return capped if self._capped else xp.where(old < xp.float32(BONE), capped, mean)

    @property
    def _lean(self) -> float:
        return min(self.palette.knots[LEAN][1], SOFT)

    def _mr(self, painted: Any, gain: Any, first: Any, second: Any, xp: Any) -> Any:
        palette = self.palette
        body = xp.clip(painted / 100, 0, 1)
        mean = palette.paint(painted, xp) * gain * body
        amplitude = palette.noise.air + (palette.noise.tissue - palette.noise.air) * body
        real, other = mean + amplitude * first, amplitude * second
        return xp.sqrt(real * real + other * other).astype(xp.float32)

    def _clean(self, out: Any, geometry: Geometry, slope: Any, intercept: Any, xp: Any) -> None:
        """Replace ghosts and wrap in the air around the body, in place."""
        fields = [self._noise(stream) for stream in ("noise", "second channel")]
        for box, part in self._air_tiles(geometry, xp):
            values = out[box].astype(np.float32) * slope[box[0]] + intercept[box[0]]
            bright = values > xp.float32(self.palette.clean_above)
            at = xp.nonzero(bright)
            if at[0].size == 0:
                continue
            places = part.positions_at(at, xp)
            go = xp.nonzero(self._away.at(places, xp)[0] > AIR_FROM)[0]
            if go.size == 0:
                continue
            one, two = (field.at(tuple(p[go] for p in places), xp, within=part) for field in fields)
            at = tuple(a[go] for a in at)
            s, i = (r[box[0]].ravel().take(at[0]) for r in (slope, intercept))
            new = xp.float32(self.palette.noise.air) * xp.sqrt(one * one + two * two)
            out[box][at] = to_stored(new, s, i, out.dtype, xp)

    def tuned(self, volume: xr.DataArray) -> MriRefacePlan:
        """With the values of this volume, if it is not the one the plan was made on."""
        if same_image(self.palette, volume):
            return self
        tuned = dataclasses.replace(
            self, palette=volume_palette(volume, self.to_template, self.laid, self.protected)
        )
        # the values alone are others: where they go has been laid out
        known = {name: self.__dict__[name] for name in _LAID if name in self.__dict__}
        tuned.__dict__.update(known)
        return tuned


#: What is laid out from the fields of a plan that a palette does not change.
_LAID = ("laid", "_where", "_from", "_replaced", "_air", "_away")


def in_steps(mm: np.ndarray) -> np.ndarray:
    """Distances in steps of `STEP` mm, as they are stored."""
    return np.rint(np.clip(mm, -REACH, REACH) / STEP).astype(np.int8)


def _fleshed(value: Any, above: Any, height: Any, least: float, xp: Any) -> Any:
    """No hollow and no dark bone of the average between the old skin and the new: it would pass for a skin there."""
    layer = xp.clip((-above - xp.float32(CRUST)) / xp.float32(2.0), 0, 1) * xp.clip(
        height / xp.float32(2.0) + xp.float32(1.0), 0, 1
    )
    return value + layer * xp.maximum(xp.float32(least) - value, 0)


@functools.cache
def _sha256() -> str:
    return "/".join(load_template(name).sha256 for name in ("average_ct", "average_t1"))

"""mri_reface: the average face and ears take the place of the patient's, in the image's own values.

Source: the published description of mri_reface (Schwarz et al. 2021, 2022: affine, then nonlinear fit of an average
head; intensities of the average normalised to the image; face and ears swapped; ghosts and wrap in air replaced;
noise matched; brain kept clear) and AFNI's open recipe for gain and blur. The construction is ours; nothing of the
authors' program or template is used.

What is done at a voxel follows from its place ``p`` in the average's space alone:

- ``inside(p)``, mm within the part that is replaced, gives the share of the new value: 0 at the edge, 1 from 3.5 mm
  on. The brain, grown by 6 mm, lies outside.
- ``p - shift(p)`` is where in the average the new value comes from; the shift is smooth (see `refacing`) and lays the
  new skin at least 4 mm in front of the patient's over the face. In front of it all is air: masks, tubes and
  glasses go too, and so does what of the patient's ears and nose reaches farther out than the average's.
- Values: CT is painted from the average's synthesised CT, its fat and muscle moved to the patient's; MR from the
  average T1, through a histogram match (for other contrasts a match by place) and a smooth local gain; PET gets a low
  uptake in the new tissue, the quarter of the patient's own body with the least; each with noise of the image's own
  amplitude and grain (on MR as magnitudes).
- Dose is carried on smoothly from the kept tissue into the new tissue, and is 0 in air: its edge then draws the
  average face. It is an extrapolation, within 8 mm of the old skin, and nothing to plan with.
- On MR, air more than 8 mm from the body that is brighter than ten times the robust mean of air (ghosts, wrap) is
  replaced by air.

Images other than the one the plan was made on are measured once, as a whole, when the plan is applied (`tuned`).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.backend import namespace, ndimage_of
from defacedask.defacers.base import Defacer, Plan, air_of
from defacedask.defacers.boxes import index_box
from defacedask.defacers.intensity import UNKNOWN, Palette
from defacedask.defacers.noise import NoiseField
from defacedask.defacers.protect import unprotected
from defacedask.defacers.refacing import FIT_GRID, moved_average
from defacedask.errors import ConfigError, InputError
from defacedask.geometry import Geometry
from defacedask.head.template import load_template
from defacedask.sampling import apply_affine
from defacedask.volume import real_values, to_stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from defacedask.defacers.protect import Protected
    from defacedask.head import Head

__all__ = ["MriReface", "MriRefacePlan"]

#: mm over which new and old values mix.
FEATHER = 3.5
#: Steps of the stored fields, mm; and mm that fit in them.
STEP, REACH = 0.25, 31.5
#: Octaves of a step of the stored gain.
GAIN_STEP = 1 / 48
#: mm from the body beyond which MR air is cleaned.
AIR_FROM = 8.0
#: Voxels worked on at a time.
AT_ONCE = 1_500_000


@functools.cache
def _average(name: str, blur: float) -> tuple[np.ndarray, Geometry]:
    """Values of the average (float32), blurred by ``blur`` mm to the resolution of a coarse image."""
    from scipy.ndimage import gaussian_filter

    template = load_template(name)
    values = real_values(template.image).values.astype(np.float32)
    if blur > 0:
        values = gaussian_filter(values, [blur / s for s in template.geometry.spacing])
    return values, template.geometry


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
        Fraction of the patient's facial skin in view at least 3 mm below the new skin.
    protected : tuple of Protected
    """

    defacer: ClassVar[str] = "mri_reface"
    secret: ClassVar[tuple[str, ...]] = ("key",)

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
    protected: tuple[Protected, ...] = ()

    def summary(self) -> dict[str, Any]:
        """See `Plan.summary`, with what the values were matched to."""
        return {**super().summary(), "palette": self.palette.summary()}

    # --- where

    @functools.cached_property
    def laid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shift, mm above the new skin, and mm within the replaced part, on `refacing.FIT_GRID`."""
        shift, new, inside = moved_average(self.offset, self.gap)
        back = np.linalg.inv(self.to_template)
        places = apply_affine(back, *FIT_GRID.positions(dtype=np.float64))
        for one in self.protected:
            if one.name == "Brain":
                away = one._distance(places, np)
                inside = np.minimum(inside, away - np.float32(self.brain_margin_mm))
        return shift, new, inside.astype(np.float32)

    def _index(self, positions: tuple[Any, Any, Any], xp: Any) -> Any:
        """Indices into the coarse fields, (3, ...) float64."""
        at = apply_affine(np.asarray(self.to_template), *positions)
        origin, spacing = FIT_GRID.origin, FIT_GRID.spacing
        index = [(at[2 - k] - origin[2 - k]) / spacing[k] for k in range(3)]
        return xp.stack(xp.broadcast_arrays(*index))

    def _field(self, field: np.ndarray, index: Any, outside: float, xp: Any) -> Any:
        sample = ndimage_of(xp).map_coordinates
        values = xp.asarray(field).astype(xp.float32)
        return sample(values, index, order=1, mode="constant", cval=outside, prefilter=False)

    def _half(self, field: np.ndarray, index: Any, xp: Any) -> Any:
        """Like `_field`, of what is stored for every other point."""
        sample = ndimage_of(xp).map_coordinates
        values = xp.asarray(field).astype(xp.float32)
        return sample(values, (index - 0.5) / 2, order=1, mode="nearest", prefilter=False)

    @functools.cached_property
    def _extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners, in the average's space, of what may be replaced."""
        some = np.argwhere(self.laid[2] > 0)
        if len(some) == 0:
            return np.full(3, 1.0), np.full(3, -1.0)
        ends = FIT_GRID.to_world(np.stack([some.min(axis=0) - 1, some.max(axis=0) + 1]))
        return ends.min(axis=0), ends.max(axis=0)

    def _slabs(self, geometry: Geometry) -> list[tuple[slice, ...]]:
        """Boxes of a grid to be worked on, one after the other."""
        low, high = self._extent
        box = index_box(geometry, np.asarray(self.to_template), low, high)
        if box is None:
            return []
        area = (box[1].stop - box[1].start) * (box[2].stop - box[2].start)
        rows = max(1, AT_ONCE // area)
        return [
            (slice(k, min(k + rows, box[0].stop)), box[1], box[2])
            for k in range(box[0].start, box[0].stop, rows)
        ]

    def _part(self, geometry: Geometry, box: tuple[slice, ...]) -> Geometry:
        return geometry.block([s.start for s in box], [s.stop for s in box])

    def region(self, geometry: Geometry, xp: Any = np) -> Any:
        """See `Plan.region`; on MR it includes the air around the body, of which only ghosts are replaced."""
        out = xp.zeros(geometry.shape, dtype=bool)
        for box in self._slabs(geometry):
            part = self._part(geometry, box)
            index = self._index(part.positions(xp, np.float64), xp)
            inside = self._field(self.laid[2], index, -1.0, xp)
            out[box] = xp.broadcast_to(inside > 0, part.shape)
        if self._cleans:
            out |= self._far(geometry.positions(xp, np.float64), geometry.shape, xp)
        return unprotected(out, self.protected, geometry, xp)

    @property
    def _cleans(self) -> bool:
        return self.body.size > 0 and bool(np.isfinite(self.palette.clean_above))

    def _far(self, positions: tuple[Any, Any, Any], shape: tuple[int, ...], xp: Any) -> Any:
        """Places well outside the body."""
        origin, spacing = self.body_grid.origin, self.body_grid.spacing
        index = [(positions[2 - k] - origin[2 - k]) / spacing[k] for k in range(3)]
        index = xp.stack([xp.broadcast_to(i, shape) for i in index])
        return self._field(self.body, index, REACH / STEP, xp) > AIR_FROM / STEP

    def new_body(self, geometry: Geometry, xp: Any = np) -> Any:
        """Where, in the replaced part, the average's body lies (for contours that follow the skin).

        Returns
        -------
        bool array of ``geometry.shape``
        """
        out = xp.zeros(geometry.shape, dtype=bool)
        for box in self._slabs(geometry):
            part = self._part(geometry, box)
            index = self._index(part.positions(xp, np.float64), xp)
            inside = self._field(self.laid[2], index, -1.0, xp) > 0
            out[box] = inside & (self._field(self.laid[1], index, REACH, xp) <= 0)
        return out

    # --- what

    def _checked(self, name: str, geometry: Geometry) -> tuple[np.ndarray, Geometry]:
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

    def deface_block(self, stored: Any, geometry: Geometry, slope: Any, intercept: Any, modality: str) -> Any:
        """See `Plan.deface_block`; works on the replaced part of the block alone."""
        xp = namespace(stored)
        out = stored.copy()
        slope = xp.asarray(slope, dtype=np.float32)
        intercept = xp.asarray(intercept, dtype=np.float32)
        if self._cleans and modality == self.palette.modality:
            self._clean(out, geometry, slope, intercept, xp)
        for box in self._slabs(geometry):
            part = self._part(geometry, box)
            places = part.positions(xp, np.float64)
            index = self._index(places, xp)
            inside = self._field(self.laid[2], index, -1.0, xp)
            region = unprotected(xp.broadcast_to(inside > 0, part.shape), self.protected, part, xp)
            at = xp.nonzero(region)
            if at[0].size == 0:
                continue
            flat = tuple(xp.broadcast_to(p, part.shape)[at] for p in places)
            share = inside[at] * xp.float32(1 / FEATHER)
            share = xp.clip(share, 0, 1)
            share = share * share * (3 - 2 * share)
            new = self._values(flat, index[:, at[0], at[1], at[2]], geometry, modality, xp)
            rows = (at[0] + box[0].start, at[1] + box[1].start, at[2] + box[2].start)
            s = xp.broadcast_to(slope, stored.shape)[rows]
            i = xp.broadcast_to(intercept, stored.shape)[rows]
            old = stored[rows].astype(np.float32) * s + i
            out[rows] = to_stored(old + share * (new - old), s, i, stored.dtype, xp)
        return out

    def fill(self, values: Any, region: Any, geometry: Geometry, modality: str, xp: Any = np) -> Any:
        """See `Plan.fill`: the new values without the feather (`deface_block` has it)."""
        at = xp.nonzero(region)
        places = tuple(xp.broadcast_to(p, geometry.shape)[at] for p in geometry.positions(xp, np.float64))
        out = values.copy()
        out[at] = self._values(places, self._index(places, xp), geometry, modality, xp)
        return out

    def _values(
        self, places: tuple[Any, Any, Any], index: Any, geometry: Geometry, modality: str, xp: Any
    ) -> Any:
        """New real values at flat positions, float32."""
        palette = self.palette
        known = palette.modality == modality
        above = self._field(self.laid[1], index, REACH, xp)
        near = xp.nonzero(above < 8.0)[0]
        name = palette.template if known else "average_ct"
        average, grid = self._checked(name, geometry)
        air = -1000.0 if name == "average_ct" else 0.0
        painted = xp.full(above.shape, xp.float32(air), dtype=xp.float32)
        if near.size:
            at = apply_affine(np.asarray(self.to_template), *(p[near] for p in places))
            source = []
            for k in range(3):
                moved = self._field(self.laid[0][k], index[:, near], 0.0, xp)
                axis = 2 - k
                source.append((at[k] - moved - grid.origin[k]) / grid.spacing[axis])
            sample = ndimage_of(xp).map_coordinates
            painted[near] = sample(
                xp.asarray(average), xp.stack(source[::-1]), order=1, mode="nearest", prefilter=False
            )
        if not known:
            return xp.full(above.shape, xp.float32(air_of(modality)), dtype=xp.float32)
        if modality == "CT":
            return self._ct(painted, places, xp)
        if modality == "MR":
            return self._mr(painted, places, index, xp)
        body = xp.clip((painted + 1000) / 1000, 0, 1)
        if modality == "RTDOSE":
            return body * self._half(palette.field, index, xp) * xp.float32(palette.step)
        low = palette.knots[-1][1]
        grain = NoiseField(self.key, palette.noise.lattice, palette.noise.sigma, "noise").at(places, xp)
        noise = palette.noise.air + (palette.noise.tissue - palette.noise.air) * body
        return xp.maximum(palette.air + (low - palette.air) * body + noise * grain, 0).astype(xp.float32)

    def _ct(self, painted: Any, places: tuple[Any, Any, Any], xp: Any) -> Any:
        noise = self.palette.noise
        body = xp.clip((painted + 1000) / 900, 0, 1)
        grain = NoiseField(self.key, noise.lattice, noise.sigma, "noise").at(places, xp)
        amplitude = noise.air + (noise.tissue - noise.air) * body
        return (self.palette.paint(painted, xp) + amplitude * grain).astype(xp.float32)

    def _mr(self, painted: Any, places: tuple[Any, Any, Any], index: Any, xp: Any) -> Any:
        palette = self.palette
        gain = xp.exp2(self._half(palette.field, index, xp) * xp.float32(GAIN_STEP))
        body = xp.clip(painted / 100, 0, 1)
        mean = palette.paint(painted, xp) * gain * body
        first, second = (
            NoiseField(self.key, palette.noise.lattice, palette.noise.sigma, s).at(places, xp)
            for s in ("noise", "second channel")
        )
        amplitude = palette.noise.air + (palette.noise.tissue - palette.noise.air) * body
        real, other = mean + amplitude * first, amplitude * second
        return xp.sqrt(real * real + other * other).astype(xp.float32)

    def _clean(self, out: Any, geometry: Geometry, slope: Any, intercept: Any, xp: Any) -> None:
        """Replace ghosts and wrap in the air around the body, in place."""
        for first in range(0, geometry.shape[0], 16):
            rows = slice(first, min(first + 16, geometry.shape[0]))
            values = out[rows].astype(np.float32) * slope[rows] + intercept[rows]
            bright = xp.nonzero(values > xp.float32(self.palette.clean_above))
            if bright[0].size == 0:
                continue
            part = geometry.block((rows.start, 0, 0), (rows.stop, *geometry.shape[1:]))
            keep = unprotected(xp.ones(part.shape, dtype=bool), self.protected, part, xp)
            places = tuple(xp.broadcast_to(p, part.shape)[bright] for p in part.positions(xp, np.float64))
            go = xp.nonzero(self._far(places, bright[0].shape, xp) & keep[bright])[0]
            places = tuple(p[go] for p in places)
            noise = self.palette.noise
            pair = [
                NoiseField(self.key, noise.lattice, noise.sigma, s).at(places, xp)
                for s in ("noise", "second channel")
            ]
            new = xp.float32(noise.air) * xp.sqrt(pair[0] * pair[0] + pair[1] * pair[1])
            at = tuple(b[go] for b in bright)
            s = xp.broadcast_to(slope[rows], part.shape)[at]
            i = xp.broadcast_to(intercept[rows], part.shape)[at]
            out[(at[0] + rows.start, at[1], at[2])] = to_stored(new, s, i, out.dtype, xp)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields alone: what is laid out from them is made again where it is needed."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def tuned(self, volume: xr.DataArray) -> MriRefacePlan:
        """With the values of this volume, if it is not the one the plan was made on."""
        from defacedask.defacers.palette import same_image, volume_palette

        if same_image(self.palette, volume):
            return self
        return dataclasses.replace(self, palette=volume_palette(self, volume))


@functools.cache
def _sha256() -> str:
    return "/".join(load_template(name).sha256 for name in ("average_ct", "average_t1"))


@dataclasses.dataclass(frozen=True)
class MriReface(Defacer):
    """The average face and ears take the place of the patient's, in the image's own values.

    Parameters
    ----------
    brain_margin_mm : float
        No voxel within this distance of the brain changes; 5 to 11 mm.
    """

    name: ClassVar[str] = "mri_reface"

    brain_margin_mm: float = 6.0

    def __post_init__(self) -> None:
        if not 5.0 <= self.brain_margin_mm <= 11.0:
            raise ConfigError(f"brain_margin_mm is {self.brain_margin_mm:g}.", "Choose from 5 to 11 mm.")

    def plan(self, head: Head, *, key: bytes = b"", protected: Sequence[Protected] = ()) -> MriRefacePlan:
        """See `Defacer.plan`.

        Raises
        ------
        RefusedError
            If too little of the face is in view, or the average cannot be laid clear of it.
        """
        from defacedask.defacers.palette import body_distance, head_palette
        from defacedask.defacers.protect import brain_of
        from defacedask.defacers.refacing import fit_average, require_cover

        fit = fit_average(head)
        require_cover(fit)
        plan = MriRefacePlan(
            to_template=np.asarray(head.to_template),
            template="average",
            template_sha256=_sha256(),
            offset=fit.offset,
            gap=fit.gap,
            brain_margin_mm=float(self.brain_margin_mm),
            palette=UNKNOWN,
            body=np.zeros((0, 0, 0), np.int8),
            body_grid=head.grid,
            key=key,
            covered=fit.covered,
            protected=(brain_of(head, self.brain_margin_mm), *protected),
        )
        plan = dataclasses.replace(plan, palette=head_palette(head, fit, plan.laid[2]))
        if head.modality == "MR":
            body, grid = body_distance(head)
            plan = dataclasses.replace(plan, body=_steps(body), body_grid=grid)
        return plan


def _steps(mm: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(mm, -REACH, REACH) / STEP).astype(np.int8)

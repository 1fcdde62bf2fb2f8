"""Measure an image for `mri_reface`: what the average's values become in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from defacedask.anatomy.template import load_template
from defacedask.defacers.mri_reface.average import FIT_GRID, average_shape
from defacedask.defacers.mri_reface.intensity import (
    Noise,
    Palette,
    ct_map,
    measure_noise,
    quantile_map,
    robust_air,
    smooth_fill,
)
from defacedask.defacers.mri_reface.refacing import GAP_STEP, Fit, moved_average
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

    from defacedask.anatomy.head import Head
    from defacedask.defacers.protect import Protected

__all__ = ["body_distance", "head_palette", "same_image", "volume_palette"]

#: Octaves of a step of the stored gain (see `mri_reface`).
GAIN_STEP = 1 / 48


#: mm from where a dose ends (and below the new skin) from which on the patient's own begins to count; and mm more
#: until it alone counts.
DOSE_FROM, DOSE_OVER = 8.0, 6.0
#: A dose ends where it is less than this part of the highest within 6 mm, or than 1 % of the maximum.
END, LOW = 0.3, 0.01


def _from_end(dose: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Distance from where a dose ends, mm, on the coarse grid; where its grid ends, it does not.

    The patient's skin is not in the plan: the dose has its own, and must not show it.
    """
    from scipy.ndimage import distance_transform_edt, maximum_filter

    there = dose > np.maximum(END * maximum_filter(dose, size=5), LOW * float(dose.max(initial=0.0)))
    inner = there | ~seen
    if inner.all() or not there.any():
        # without an end there is none to measure from; without a dose there is nothing to keep
        return np.full(dose.shape, 31.0 if there.any() else 0.0, np.float32)
    # half a voxel: the end lies between two
    away = distance_transform_edt(inner, sampling=FIT_GRID.spacing)
    return np.maximum(away - 0.5 * FIT_GRID.spacing[0], 0).astype(np.float32)


def same_image(palette: Palette, volume: xr.DataArray) -> bool:
    """Whether the palette was measured on this image: same modality, same grid."""
    return palette.modality == volume.attrs["modality"] and np.array_equal(
        palette.noise.lattice, geometry_of(volume).affine
    )


def _grid_world(to_template: np.ndarray) -> np.ndarray:
    """World LPS mm of the coarse grid's points, (n, 3)."""
    x, y, z = np.broadcast_arrays(*FIT_GRID.positions(dtype=np.float64))
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1)
    back = np.linalg.inv(to_template)
    return points @ back[:3, :3].T + back[:3, 3]


def _average_at(name: str, shift: np.ndarray) -> np.ndarray:
    """Average's values on the coarse grid, moved by ``shift`` (3, z, y, x) mm."""
    from scipy.ndimage import map_coordinates

    template = load_template(name)
    x, y, z = np.broadcast_arrays(*FIT_GRID.positions(dtype=np.float64))
    points = np.stack([x - shift[0], y - shift[1], z - shift[2]], axis=-1)
    index = np.moveaxis(template.geometry.to_index(points), -1, 0)
    values = real_values(template.image).values
    return map_coordinates(values, index, order=1, mode="nearest", prefilter=False)


def head_palette(head: Head, fit: Fit, inside: np.ndarray) -> Palette:
    """Palette of the image a head was read from."""
    from defacedask.anatomy.grid import resample

    back = np.linalg.inv(head.to_template)
    values = resample(head.values, head.grid, FIT_GRID, matrix=back, outside=head.air)
    brain = resample(head.brain.astype(np.float32), head.grid, FIT_GRID, matrix=back) > 0.1
    shift, new, _ = moved_average(fit.offset, fit.gap)
    return _palette(
        head.volume,
        head.modality,
        values,
        fit.seen,
        fit.old,
        brain,
        inside,
        shift,
        new,
        head.to_template,
    )


def volume_palette(
    volume: xr.DataArray,
    to_template: np.ndarray,
    laid: tuple[np.ndarray, np.ndarray, np.ndarray],
    protected: Iterable[Protected],
) -> Palette:
    """Palette of another image in the frame of reference of a plan, whose fields these are; one pass over it."""
    from defacedask.anatomy.grid import reduced, resample

    fine, grid = reduced(volume, 2.0)
    back = np.linalg.inv(to_template)
    values = resample(fine, grid, FIT_GRID, matrix=back, outside=0.0)
    world = _grid_world(to_template)
    index = grid.to_index(world)
    within = (index > -0.5) & (index < np.array(grid.shape) - 0.5)
    seen = np.asarray(within.all(axis=-1)).reshape(FIT_GRID.shape)
    # the patient's own skin is not in the plan: below the replaced part all is patient
    shift, new, inside = laid
    deep = np.asarray((inside <= 0) & ((new < -6) | (average_shape().skin < -14)))
    old = np.where(deep, -10.0, 10.0).astype(np.float32)
    brain = np.zeros(FIT_GRID.shape, bool)
    for one in protected:
        if one.name == "Brain":
            x, y, z = world.T
            brain |= (one._distance((x, y, z), np) < 1).reshape(FIT_GRID.shape)
    modality = volume.attrs["modality"]
    return _palette(volume, modality, values, seen, old, brain, inside, shift, new, to_template)


def _palette(
    volume: xr.DataArray,
    modality: str,
    values: np.ndarray,
    seen: np.ndarray,
    old: np.ndarray,
    brain: np.ndarray,
    inside: np.ndarray,
    shift: np.ndarray,
    new: np.ndarray,
    to_template: np.ndarray,
) -> Palette:
    """All maps are on the coarse grid."""
    empty = np.zeros((0, 0, 0), np.int8)
    tissue = (old < -3) & seen & ~brain
    near = tissue & (inside > -25) & (inside < 60)
    air = values[(old > 8) & (new > 8) & seen]
    affine = np.asarray(geometry_of(volume).affine)
    if modality == "RTDOSE":
        from scipy.ndimage import minimum_filter

        # well below the old skin the dose is the patient's; from there it is carried on
        deep = _from_end(values, seen)
        kept = ((old < -3) | ((deep > DOSE_FROM) & (new < -DOSE_FROM))) & seen
        dose = smooth_fill(values, kept, (1.5, 4.0, 10.0)) if kept.any() else np.zeros_like(values)
        dose = dose[::2, ::2, ::2]
        step = max(float(dose.max()), 1e-6) / 60000
        stored = np.rint(np.maximum(dose, 0) / step).astype(np.uint16)
        # rather too little than too much between the points that are stored
        least = minimum_filter(deep, size=3)[::2, ::2, ::2]
        return Palette(
            modality,
            "average_ct",
            (),
            Noise(0.0, 0.0, affine, (0.0, 0.0, 0.0)),
            stored,
            step,
            0.0,
            float("inf"),
            np.rint(least.clip(0, 31) / GAP_STEP).astype(np.int8),
        )
    inner = brain & (old < -6) & seen
    inner = inner if inner.sum() > 300 else (old < -9) & seen
    noise = _noise(volume, to_template, inner, (old > 6) & (new > 6) & seen)
    if modality == "CT":
        knots = ct_map(values[near], air)
        return Palette(modality, "average_ct", knots, noise, empty, 0.0, knots[0][1], float("inf"))
    mean = max(robust_air(air), 0.0)
    if modality == "PT":
        body = values[tissue & (values > 0)]
        low = float(np.quantile(body, 0.25)) if body.size else 0.0
        # uptake that differs between organs is no noise
        noise = Noise(min(noise.tissue, 0.3 * low), min(noise.air, 0.5 * mean), affine, noise.sigma)
        return Palette(
            modality, "average_ct", ((0.0, mean), (1.0, low)), noise, empty, 0.0, mean, float("inf")
        )
    # magnitudes of two channels of noise have a mean of 1.25 standard deviations
    channel = mean / 1.2533
    # a channel's noise is the same in tissue; coils combined may make it more, but anatomy is no noise
    tissue_noise = min(noise.tissue, 2 * channel) if channel > 0 else noise.tissue
    noise = Noise(tissue_noise, channel, affine, noise.sigma)
    average = _average_at("average_t1", shift)
    bright = near & (values > 2 * mean) & (average > 30)
    knots = (
        (0.0, 0.0),
        (330.0, float(np.median(values[near])) if near.any() else 0.0),
    )
    field = np.zeros(tuple(n // 2 for n in FIT_GRID.shape), np.int8)
    clean = float("inf")
    if bright.sum() > 500:
        knots = quantile_map(average[bright], values[bright], 0.0)
        unit = Palette(modality, "average_t1", knots, noise, empty, 0.0, mean, 0.0)
        ratio = values / np.maximum(unit.paint(average), 1e-6)
        gain = np.log2(np.clip(ratio, 0.4, 2.5))
        sure = bright & (np.abs(gain) < 1.2)
        smooth = smooth_fill(gain, sure, (20.0 / 3, 50.0 / 3))
        field = np.rint(np.clip(smooth[::2, ::2, ::2], -1.5, 1.5) / GAIN_STEP).astype(np.int8)
        clean = max(10 * mean, 0.05 * float(np.median(values[bright])))
    return Palette(modality, "average_t1", knots, noise, field, 0.0, mean, clean)


def _noise(volume: xr.DataArray, to_template: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> Noise:
    """Noise in tissue and in air, each in the box that holds most of it."""
    from scipy.ndimage import uniform_filter

    from defacedask.sampling import sample_field

    found = []
    back = np.linalg.inv(to_template)
    for mask in (inner, outer):
        field = mask.astype(np.float32)
        if not mask.any():
            found.append((0.0, (0.0, 0.0, 0.0)))
            continue
        crowd = uniform_filter(field, 11, mode="constant")
        middle = FIT_GRID.to_world(np.unravel_index(int(crowd.argmax()), crowd.shape))
        centre = (back @ np.append(middle, 1.0))[:3]

        def where(points: np.ndarray, field: np.ndarray = field) -> np.ndarray:
            at = points @ to_template[:3, :3].T + to_template[:3, 3]
            return sample_field(field, FIT_GRID, (at[:, 0], at[:, 1], at[:, 2])) > 0.9

        found.append(measure_noise(volume, centre, where))
    (tissue, grain), (air, _) = found
    return Noise(tissue, air, np.asarray(geometry_of(volume).affine), grain)


def body_distance(head: Head) -> tuple[np.ndarray, Geometry]:
    """Distance outside the patient's body, mm, on a coarse grid in world LPS mm."""
    from scipy.ndimage import distance_transform_edt

    away = distance_transform_edt(~np.pad(head.body, 8))
    step = 3
    grid = head.grid.block([-8] * 3, [n + 8 for n in head.grid.shape])
    coarse = grid.block((0, 0, 0), grid.shape, (step,) * 3)
    plain = Geometry(coarse.shape, coarse.affine, head.grid.frame_of_reference)
    return (away * head.grid.spacing[0])[::step, ::step, ::step].astype(np.float32), plain

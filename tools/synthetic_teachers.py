"""Virtual patients that teach what synthetic voxels look like: many scanners, and what an average head has lost.

The average head is smooth. Real tissue has lobules and streaks, scanners have kernels, slices, masks and blanked air;
each is drawn anew for every teacher, so that none of it tells a fill from a patient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from defacedask.anatomy.distances import distance_to
from defacedask.anatomy.head import Head
from defacedask.anatomy.registration import Registration
from defacedask.anatomy.template import load_template
from defacedask.attacks.planted import Ground
from defacedask.attacks.synthetic.planted import WEAK, weakly_defaced
from defacedask.attacks.target import Target, span_of, target_of
from defacedask.defacers import get_defacer
from defacedask.faces.surface import regrid, skin_level
from defacedask.geometry import Geometry
from defacedask.phantom.images import couch_values, sources
from defacedask.phantom.protocol import scan_grid
from defacedask.phantom.shape import Pose, Shape, subject_rng
from defacedask.phantom.warp import Warp
from defacedask.volume import geometry_of, make_volume, real_values

__all__ = ["DEFACERS", "SEED", "ct_teacher", "known_head", "texture", "versions"]

#: Whose fill is learnt, one a teacher in turn; and the seed of the patients.
DEFACERS, SEED = ("mri_reface", "carina", "surrogate"), 77
#: Fills of other kinds that each teacher has.
VARIED = 3


def ct_teacher(number: int, fat: bool = False) -> Head:
    """CT of one virtual patient, whose place is known.

    Parameters
    ----------
    number : int
    fat : bool
        Most of them have skin and a layer of fat below it.
    """
    shape, pose = Shape.draw(SEED, number), Pose.draw(SEED, number, 1)
    rng = subject_rng(SEED, "CT", "teacher", number)
    grid = _grid(number, pose, rng)
    values = _ct(Warp(shape, pose, grid, load_template("average_t1").geometry), rng, fat)
    return known_head(make_volume(values, grid, modality="CT", units="HU"), shape, pose)


def known_head(volume: xr.DataArray, shape: Shape, pose: Pose) -> Head:
    """Head of a virtual patient, whose place is not searched for."""
    sized = np.diag([*(1 / shape.scale), 1.0])
    sized[:3, 3] = np.array(shape.ORIGIN) * (1 - 1 / shape.scale)
    rigid = pose.matrix
    known = Registration(rigid, sized @ rigid, np.nan, np.nan, True, rigid)
    return Head(volume, registration=known)


def versions(number: int, head: Head) -> Iterator[tuple[str, Target, Target]]:
    """Name, original and version of one teacher: as it is, weakly and variously filled, and defaced."""
    volume = head.volume
    modality = str(volume.attrs["modality"])
    level = float(skin_level(modality, real_values(volume).load().values))

    def target(one: Any) -> Target:
        values = real_values(one).load().values
        about = {"modality": modality, "pose": head.pose, "to_template": head.to_template, "drop": head.drop}
        return target_of(values, geometry_of(volume), level=level, **about)

    original = target(volume)
    yield "original", original, original
    ground = Ground.of(original)
    for kind in WEAK:
        yield kind, original, weakly_defaced(original, kind, 100 + number, ground)
    for k in range(VARIED):
        yield f"varied {k}", original, _filled(original, 1000 * number + k + 5, ground)
    name = DEFACERS[number % 3]
    plan = get_defacer(name).plan(head, key=b"synthetic teacher %d" % number)
    yield name, original, target(plan.apply(volume))


def _grid(number: int, pose: Pose, rng: np.random.Generator) -> Geometry:
    """Half of the teachers have the coarse voxels of treatment planning's reduced CTs; some lack the crown."""
    view = scan_grid("CT", "normal", SEED, number, 1, pose, "")
    kind = number % 4
    pixel = rng.uniform(*((3.6, 5.2) if kind < 2 else (2.0, 3.4) if kind == 2 else (1.0, 1.6)))
    spacing = (float(rng.choice([2.5, 3.0])) if kind < 2 else rng.uniform(1.5, 3.0), pixel, pixel)
    height = view.shape[0] * view.spacing[0]
    if rng.random() < 0.25:
        height -= rng.uniform(20, 70)
    plane = [int(n * s / t) for n, s, t in zip(view.shape[1:], view.spacing[1:], spacing[1:], strict=True)]
    return Geometry.from_spacing(
        [int(height / spacing[0]), *plane], [round(s, 3) for s in spacing], view.origin
    )


def _ct(warp: Warp, rng: np.random.Generator, fat: bool) -> np.ndarray:
    grid = warp.grid
    hu, skin = warp.pull(sources()["ct"], sources()["skin"], outside=(-1000.0, 12.0))
    if fat and rng.random() < 0.7:
        _fat_below_skin(hu, skin, grid, rng)
    if rng.random() < 0.4:
        # a thermoplastic mask, with holes
        gap, thick = rng.uniform(0.5, 3.5), rng.uniform(1.5, 3.0)
        shell = (skin > gap) & (skin < gap + thick) & (texture(rng, grid) < 1.0)
        hu[shell] = np.maximum(hu[shell], rng.uniform(-500, 0))
    hu = np.maximum(hu, couch_values(grid, skin))
    soft = np.clip(1 - np.abs(hu + 20) / 220, 0, 1)
    hu += np.float32(rng.uniform(5, 45)) * soft * texture(rng, grid)
    blur = [rng.uniform(0, 0.6) * grid.spacing[0], rng.uniform(0.3, 0.6) * grid.spacing[1]]
    widths = (blur[0] / grid.spacing[0], blur[1] / grid.spacing[1], blur[1] / grid.spacing[2])
    hu = gaussian_filter(hu, widths)
    amount = np.exp(rng.uniform(np.log(3), np.log(32)))
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    wide = rng.uniform(0, 1.0)
    noise = _unit(gaussian_filter(noise, (rng.choice([0, 0.3, 0.5]), wide, wide)))
    if rng.random() < 0.3:
        # a sharp kernel
        noise = _unit(noise - rng.uniform(0.3, 0.9) * gaussian_filter(noise, (0, 1.0, 1.0)))
    hu += np.float32(amount) * noise * np.where(hu < -600, np.float32(0.6), np.float32(1))
    if rng.random() < 0.6:
        hu[(skin > 6) & (hu < -500)] = -1024
    return np.rint(np.clip(hu, -1024 if rng.random() < 0.7 else -1000, 3071)).astype(np.int16)


def _fat_below_skin(hu: np.ndarray, skin: np.ndarray, grid: Geometry, rng: np.random.Generator) -> None:
    """Skin, and fat of varying thickness below it: a layer of one level, which is no fill."""
    waves = _unit(
        gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), [15 / s for s in grid.spacing])
    )
    thick = np.float32(rng.uniform(1, 10)) * np.clip(1 + 0.4 * waves, 0, 2)
    above = rng.uniform(1.0, 2.5)
    soft = (hu > -250) & (hu < 150)
    hu[soft & (skin < -above) & (skin > -above - thick)] = rng.uniform(-115, -85)
    hu[soft & (skin >= -above) & (skin < 0)] = rng.uniform(0, 60)


def texture(rng: np.random.Generator, grid: Geometry) -> np.ndarray:
    """Lobules and streaks: unit variance, in bands of 1 to 5 mm."""
    out = np.zeros(grid.shape, np.float32)
    for mm in (1.2, 2.5, 5.0):
        if mm < 0.35 * min(grid.spacing):
            continue
        field = gaussian_filter(
            rng.standard_normal(grid.shape, dtype=np.float32), [mm / s for s in grid.spacing]
        )
        out += np.float32(rng.uniform(0.3, 1.0)) * _unit(field)
    return _unit(out)


def _unit(field: np.ndarray) -> Any:
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def _filled(original: Target, seed: int, ground: Ground) -> Target:
    """A fill of any thickness, level, noise and spectrum, sharp or soft at the air."""
    rng = np.random.default_rng(seed)
    values, geometry = original.finest
    depth = distance_to(~ground.body, geometry.spacing)
    filled = (ground.proud(seed) <= rng.uniform(-2, 4)) & (depth <= rng.uniform(3, 11))
    level = ground.tissue + np.float32(rng.uniform(-0.12, 0.12) * span_of(original))
    even = ground.body & (depth > 24.0)
    steps = np.diff(values, axis=2)[even[:, :, 1:] & even[:, :, :-1]]
    amount = float(np.median(np.abs(steps))) / 0.954 if steps.size else 0.05 * ground.tissue
    noise = rng.standard_normal(values.shape, dtype=np.float32)
    kind = rng.integers(4)
    wide = [0, rng.uniform(0.3, 1.2), 0, rng.uniform(0.3, 0.8)][kind]
    if wide:
        noise = gaussian_filter(noise, wide)
        noise /= noise.std()
    if kind == 2:
        amount *= rng.uniform(0, 0.3)
    amount *= float(np.exp(rng.uniform(np.log(0.4), np.log(1.8))))
    fill = level + np.float32(amount) * noise
    if kind == 3:
        high = np.float32(rng.uniform(0.02, 0.06) * span_of(original))
        waves = rng.standard_normal(values.shape, dtype=np.float32)
        waves = gaussian_filter(waves, [8 / s for s in geometry.spacing])
        fill += high * (waves / waves.std())
    new = values.copy()
    if rng.random() < 0.5:
        part = gaussian_filter(filled.astype(np.float32), rng.uniform(0.3, 0.6))
        beyond = ~ground.body & (part > 0.02)
        new[beyond] += part[beyond] * (fill[beyond] - new[beyond])
        filled = filled & ground.body
    new[filled] = fill[filled]
    coarse, grid = regrid(new, geometry, 2.0, interpolate=False)
    return dataclasses.replace(original, values=coarse, geometry=grid, fine=(new, geometry))

"""The patient as one solid on a small grid along the image's own axes, so that no orientation is preferred."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.anatomy.body import body_mask, material_level
from defacedask.anatomy.grid import reduced, resample
from defacedask.anatomy.morphology import close, components, dilate, erode
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.sampling import apply_affine
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SPACING", "Solid", "far_out", "outer_air", "own_grid", "solid_of"]

#: mm of the witness's grid.
SPACING = 3.0
#: mm across which nostrils, mouth and ear canals are closed.
OPENING = 9.0
#: mm below the skin where air counts as air inside the head.
DEEP = 9.0
#: mL, and mm of thickness, that a part beside the patient must have to be looked at for a second head: a couch, a
#: headrest and a hand are less.
ML_OF_HEAD, THICK = 1000.0, 40.0
#: mL of the front of a head alone: no middle of a skull is found for one, so it is only said that it is there.
ML_OF_FACE = 300.0
#: How much of such a part is material, at least: noise above the level hangs together, too, and is full of holes.
DENSE = 0.5
#: mm from the middle of the skull within which a head ends, and mm below that middle above which this is so: 48 heads
#: reach 129 mm there.
REACH, BELOW = 140.0, 20.0


@dataclasses.dataclass(frozen=True, eq=False)
class Solid:
    """The patient in one image.

    Attributes
    ----------
    grid : Geometry
        `SPACING` mm, axes along those of the image.
    body : (z, y, x) bool array
        The patient, with the air inside.
    air : (z, y, x) float32 array
        How much of a voxel deep in the body is air (CT) or without signal (MR, PET): 0 to 1.
    view : (z, y, x) bool array
        Inside the field of view.
    level : float
        Real value that parts the patient from air.
    modality : str
    beside : tuple of Solid
        The same of what is as large as a head and does not hang together with the patient.
    loose : (z, y, x) bool array, optional
        What does not hang together with the patient and is as large as a face; None if there is nothing.
    """

    grid: Geometry
    body: np.ndarray
    air: np.ndarray
    view: np.ndarray
    level: float
    modality: str
    beside: tuple[Solid, ...] = ()
    loose: np.ndarray | None = None


def own_grid(grid: Geometry, spacing: float) -> Geometry:
    """Grid of equal spacing along the axes of another, over its whole box (sheared axes are made square).

    Parameters
    ----------
    grid : Geometry
    spacing : float
        mm.
    """
    u, _, vt = np.linalg.svd(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
    axes = u @ vt
    ends = grid.corners @ axes
    low, high = ends.min(axis=0), ends.max(axis=0)
    shape = np.maximum(np.ceil((high - low) / spacing - 0.01), 1).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = axes @ ((low + high) / 2 - (shape - 1) / 2 * spacing)
    return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine, grid.frame_of_reference)


def solid_of(volume: xr.DataArray) -> Solid:
    """Find the patient in an image.

    Parameters
    ----------
    volume : xarray.DataArray
        See `defacedask.volume.make_volume`; lazy volumes are read slab by slab.

    Raises
    ------
    InputError
        If the image is too large for a head and a body, or its values are no numbers.
    """
    from defacedask.modality import air_of

    modality = volume.attrs["modality"]
    fine, source = reduced(volume, SPACING)
    if not np.isfinite(fine).all():
        raise InputError("the volume holds values that are not finite numbers.")
    level, nothing = material_level(fine, modality), air_of(modality)
    grid = own_grid(geometry_of(volume), SPACING)
    values = resample(fine, source, grid, outside=nothing)
    view = resample(np.ones(fine.shape, bool), source, grid, nearest=True)
    solid, other = body_mask(values, level, SPACING)
    if modality == "CT":
        empty = np.clip((-150.0 - values) / 600.0, 0.0, 1.0)
    else:
        empty = np.clip((level - values) / max(0.5 * level, 1e-6), 0.0, 1.0)

    def made(part: np.ndarray) -> Solid:
        body = ~outer_air(part) & view
        deep = erode(np.pad(body, 1), round(DEEP / SPACING))[1:-1, 1:-1, 1:-1]
        return Solid(grid, body, np.where(deep, empty, 0.0).astype(np.float32), view, level, modality)

    parts = _parts(other)
    heads = tuple(made(part) for part, ml in parts if ml >= ML_OF_HEAD and _is_thick(part))
    return dataclasses.replace(made(solid), beside=heads, loose=as_large_as_a_face(parts))


def _parts(other: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Large parts of what is not the patient, and mL of each."""
    if np.count_nonzero(other) * SPACING**3 / 1000 < ML_OF_FACE:
        return []
    parts = components(np.ascontiguousarray(other))
    sizes = np.bincount(parts.ravel()) * SPACING**3 / 1000
    sizes[0] = 0.0
    return [(parts == k, float(sizes[k])) for k in np.flatnonzero(sizes >= ML_OF_FACE)]


def as_large_as_a_face(parts: list[tuple[np.ndarray, float]]) -> np.ndarray | None:
    """All parts in which the front of a head would fit, filled; None if there is none.

    Parameters
    ----------
    parts : list of ((z, y, x) bool array, float)
        On a grid of `SPACING` mm, and mL of each.
    """
    large = [
        whole for part, _ in parts if part.sum() > DENSE * (whole := _filled(part)).sum() and _is_thick(whole)
    ]
    return np.logical_or.reduce(large) if large else None


def far_out(solid: Solid, centre: np.ndarray, axes: np.ndarray) -> np.ndarray | None:
    """What hangs together with the head, reaches further than a head does, and is as large as a face.

    Parameters
    ----------
    solid : Solid
    centre : (3,) array
        Middle of the skull, world LPS mm.
    axes : (3, 3) array
        Columns: left, posterior, superior of the head, world LPS.

    Returns
    -------
    (z, y, x) bool array or None
        None if there is nothing.
    """
    to_head = np.eye(4)
    to_head[:3, :3], to_head[:3, 3] = axes.T, -axes.T @ centre
    x, y, z = apply_affine(to_head, *solid.grid.positions())
    beyond = (x * x + y * y + z * z > REACH**2) & (z > -BELOW)
    return as_large_as_a_face(_parts(solid.body & beyond))


def _filled(part: np.ndarray) -> np.ndarray:
    """A part without what is hollow or dark in it: nose, sinuses, bone on MR."""
    from scipy.ndimage import binary_fill_holes

    return np.asarray(binary_fill_holes(close(part, round(OPENING / SPACING))))


def _is_thick(part: np.ndarray) -> bool:
    """Whether a head or a face would fit."""
    by = round(THICK / 2 / SPACING)
    return bool(erode(np.pad(part, 1), by).any())


def outer_air(solid: np.ndarray) -> np.ndarray:
    """Air outside the patient; what lies behind nostrils, mouth and ear canals is inside.

    The field of view cuts throat and lungs, so that their air reaches the border: there, only air that no body
    surrounds within the border's plane is outside.

    Parameters
    ----------
    solid : (z, y, x) bool array
        Material of the patient, on a grid of `SPACING` mm.
    """
    from scipy.ndimage import binary_fill_holes

    by = round(OPENING / SPACING)
    wide = close(solid, by)
    seeds = np.zeros_like(solid)
    for axis in range(3):
        for end in (0, -1):
            plane = (slice(None),) * axis + (end,)
            seeds[plane] |= ~binary_fill_holes(wide[plane])
    parts = components(np.ascontiguousarray(~wide))
    reached = np.unique(parts[seeds])
    outside = np.isin(parts, reached[reached > 0])
    return outside | (dilate(outside, by) & ~solid)

"""Dose in an added layer: the dose just under the skin, carried on outward to the layer's surface.

A dose grid ends at the skin, so that it renders the face. Each sheet learns, once, the dose a little under its skin
map (Gy, smoothed along the sheet) and lays that value along its axis through the whole layer, so that every isodose
surface passes on to the layer's outer surface. It must not fall off on the way: a surface inside the layer would be
as far from the skin everywhere and have its shape. Behind the skin every dose of the body stays, and in front of it
one that is higher already. What is written into the layer was never planned, calculated or delivered; the exported
files say so.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.defacers.carina.layer import STEP, Sheet
from defacedask.sampling import apply_affine
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.geometry import Geometry

__all__ = ["carried_on", "with_dose"]

#: mm, standard deviation of the smoothing along the sheet.
SMOOTH = 6.0
#: mm over which the largest value is taken: under an ear's edge there is air again.
REACH = 3.0
#: mm behind the skin map in which the dose's end is looked for: under a mask or a beard it ends deeper than that map.
DEEPEST = 15.0
#: A dose ends where it is less than this part of that one and a half voxels deeper, if that is 2 % of the maximum.
END, LOW = 0.3, 0.02


def with_dose(sheets: tuple[Sheet, ...], pose: np.ndarray, volume: xr.DataArray, overlap: float) -> Any:
    """Sheets over the dose's own surface, that know the dose under it.

    Parameters
    ----------
    sheets : tuple of Sheet
    pose : (4, 4) array
        World LPS mm -> the head's frame.
    volume : xarray.DataArray
        The dose, uncut.
    overlap : float
        mm behind the skin map that the layer covers. The dose is read so much deeper that no voxel outside the
        skin is interpolated into it.

    Returns
    -------
    tuple of Sheet
        Their skin map is where the dose ends, where that is deeper; their envelope is the same.
    """
    dose, geometry = real_values(volume).values, geometry_of(volume)
    return tuple(_over(sheet, pose, dose, geometry, overlap) for sheet in sheets)


def _over(sheet: Sheet, pose: np.ndarray, dose: np.ndarray, geometry: Geometry, overlap: float) -> Sheet:
    from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter

    steps = np.asarray(geometry.affine)[:3, :3]
    voxel = float(np.abs((pose[:3, :3] @ steps)[sheet.axis]).max())
    back = np.linalg.inv(pose)
    rows, columns = np.indices(sheet.skin.shape)
    sigma = SMOOTH / sheet.spacing
    inward = sheet.inward

    def at(gap: Any, depth: Any) -> np.ndarray:
        """Dose ``gap`` mm behind the skin map and ``depth`` mm on along the normal; -1 where the grid has ended."""
        points = sheet.places(rows, columns, sheet.skin * STEP - gap) + depth * inward
        index = np.moveaxis(geometry.to_index(points @ back[:3, :3].T + back[:3, 3]), -1, 0)
        return map_coordinates(dose, index, order=1, mode="constant", cval=-1.0)

    gap = np.zeros(sheet.skin.shape)
    least = LOW * float(dose.max(initial=0.0))
    for depth in np.arange(0.0, DEEPEST + 0.5, 1.0):
        deeper = at(depth + 1.5 * voxel, 0.0)
        gap[(deeper > least) & (at(depth, 0.0) < END * deeper)] = depth
    gap = maximum_filter(gap, 3)
    gap = np.maximum(gap, gaussian_filter(gap, sigma))
    found = np.maximum(at(gap, overlap + voxel), at(gap, overlap + voxel + REACH))
    known = (found >= 0).astype(float)
    weight = gaussian_filter(known, sigma, mode="constant")
    total = gaussian_filter(found * known, sigma, mode="constant")
    under = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), 0.0).astype(np.float32)
    # without a layer there is nothing to carry on
    covered = sheet.envelope > sheet.skin
    back_by = np.where(covered, np.rint(gap / STEP), 0).astype(np.int16)
    # what is drawn anew below the image's skin is the image's affair
    none = np.zeros((0, 0), np.int16)
    return dataclasses.replace(
        sheet, skin=sheet.skin - back_by, dose=under, gap=back_by, least=least, seam=none, floor=none
    )


def carried_on(
    values: Any,
    region: Any,
    geometry: Geometry,
    sheets: tuple[Sheet, ...],
    pose: np.ndarray,
    overlap: float,
    xp: Any = np,
) -> Any:
    """Dose with the layer's in it.

    Parameters
    ----------
    values : float32 array
        Dose of a block, Gy.
    region : bool array
        Where the layer is.
    geometry : Geometry
        Of the block.
    sheets : tuple of Sheet
        See `with_dose`.
    pose, overlap
        See `with_dose`.
    xp : module

    Returns
    -------
    float32 array
        Nowhere less than ``values``.
    """
    at = xp.nonzero(region)
    head = apply_affine(pose, *geometry.positions_at(at, xp))
    total = xp.zeros(at[0].shape)
    weight = xp.full(at[0].shape, 1e-9)
    front = xp.zeros(at[0].shape, dtype=bool)
    least = max(sheet.least for sheet in sheets)
    for sheet in sheets:
        maps = sheet.between(head, xp)
        below, above = sheet.depth(head, maps)
        # from one sheet to the next without a step: each counts by how far inside it a place is
        share = xp.clip(xp.minimum(below, above + overlap), 0.0, None)
        under, gap = sheet.sampled("dose", maps), sheet.sampled("gap", maps)
        front |= (below > 0) & (above > gap * STEP)
        total += share * under
        weight += share
    out, old = values.copy(), values[at]
    more = xp.maximum(old, (total / weight).astype(np.float32))
    out[at] = xp.where(front | (old < least), more, old)
    return out

"""How much of the skin moved where the witness says the face is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.distances import distances_at
from defacedask.anatomy.grid import resample
from defacedask.anatomy.morphology import box_of, close, components, dilate
from defacedask.anatomy.witness.cues import toward
from defacedask.anatomy.witness.solid import OPENING, Solid, own_grid
from defacedask.anatomy.witness.sphere import angle
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.witness.seeing import Sighting

__all__ = ["face_skin", "moved_skin"]

#: mm of the grid that skins are compared on, and half the size of its box.
FINE, HALF = 1.5, 85.0
#: Middle and radius, in degrees seen from the middle of the skull, of what counts as face: from the root of the nose
#: to the mouth, and to the cheeks. Smaller than a face, so that a witness who is some degrees off still looks at one.
MIDDLE, RADIUS = -27.0, 19.0
#: Nearer to the middle of the skull than this part of the way to the tip of the nose is no face: sinuses that an open
#: nose lets in (measured: their walls lie at 0.45 to 0.6, brow and cheeks at 0.75 and more).
INSIDE = 0.62


def moved_skin(
    original: xr.DataArray, defaced: xr.DataArray, solid: Solid, seen: Sighting, least_mm: float
) -> tuple[int, float]:
    """Compare the skin of the face before and after, on the image itself.

    Parameters
    ----------
    original, defaced : xarray.DataArray
        On one grid.
    solid : Solid
        The patient in the original.
    seen : Sighting
        Where the face is; of this image, or of another one of the same frame of reference.
    least_mm : float
        What counts as moved.

    Returns
    -------
    points : int
        Voxels of the original's facial skin in view, of `FINE` mm.
    moved : float
        Fraction of them with no skin of the defaced image within ``least_mm``; NaN without points.
    """
    box, points, now = _skins(original, defaced, solid, seen)
    points[points] = _face(box, seen, points)
    count = int(points.sum())
    if count == 0:
        return 0, float("nan")
    return count, _share_moved(points, now, box, least_mm)


def face_skin(original: xr.DataArray, solid: Solid, seen: Sighting) -> np.ndarray:
    """Where the skin of the face lies that `moved_skin` compares: (n, 3) world LPS mm."""
    box, points, _ = _skins(original, original, solid, seen)
    points[points] = _face(box, seen, points)
    return box.to_world(np.argwhere(points))


def _share_moved(points: np.ndarray, now: np.ndarray, box: Geometry, least_mm: float) -> float:
    """Fraction of some voxels with no skin within so many mm; what lies farther away is not looked at."""
    margin = int(np.ceil(least_mm / min(box.spacing))) + 1
    part = box_of(points, margin)
    points, now = points[part], now[part]
    if not now.any():
        return 1.0
    return float((distances_at(now, points, box.spacing) >= least_mm - 1e-6).mean())


def _skins(
    original: xr.DataArray, defaced: xr.DataArray, solid: Solid, seen: Sighting
) -> tuple[Geometry, np.ndarray, np.ndarray]:
    """Box around the face, skin of the original in view, and skin of the defaced image."""
    box = _box(solid.grid, seen)
    near = resample(dilate(solid.body, 1), solid.grid, box, nearest=True)
    known = resample(~dilate(solid.body, 2) & solid.view, solid.grid, box, nearest=True)
    before, view = _on_box(original, box, solid)
    after, _ = _on_box(defaced, box, solid)
    # what is no patient and was not touched (couch, headrest, mask) is no skin, in either
    aside = (before > solid.level) & ~near & (np.abs(after - before) <= 1e-3 * max(1.0, abs(solid.level)))
    was = _skin((before > solid.level) & near, view, known)
    now = _skin((after > solid.level) & ~aside, view, known)
    return box, was & view & ~dilate(~view, 2), now


def _box(grid: Geometry, seen: Sighting) -> Geometry:
    axes = own_grid(grid, FINE).affine[:3, :3]
    size = 2 * round(HALF / FINE) + 1
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = seen.place - 15.0 * seen.facing - axes @ np.full(3, (size - 1) / 2)
    return Geometry((size, size, size), affine, grid.frame_of_reference)


def _on_box(volume: xr.DataArray, box: Geometry, solid: Solid) -> tuple[np.ndarray, np.ndarray]:
    """Real values, and where there are any; reads no more of the volume than the box."""
    grid = geometry_of(volume)
    index = grid.to_index(box.corners)
    start = np.clip(np.floor(index.min(axis=0)) - 1, 0, np.array(grid.shape) - 1).astype(int)
    stop = np.clip(np.ceil(index.max(axis=0)) + 2, start + 1, grid.shape).astype(int)
    part = volume[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))]
    values: Any = real_values(part).load().values
    block = grid.block(start.tolist(), stop.tolist())
    source = Geometry(block.shape, block.affine, block.frame_of_reference)
    below = min(float(values.min()), solid.level - 1.0)
    view = resample(np.ones(source.shape, bool), source, box, nearest=True)
    return resample(values.astype(np.float32), source, box, outside=below), view


def _skin(body: np.ndarray, view: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Voxels of the body at the air around the patient; nostrils and mouth count for a few mm only."""
    by = round(OPENING / FINE)
    parts = components(np.ascontiguousarray(view & ~close(body, by)))
    reached = np.unique(parts[known])
    air = np.isin(parts, reached[reached > 0])
    return dilate(dilate(air, by) & view & ~body, 1) & body


def _face(box: Geometry, seen: Sighting, points: np.ndarray) -> np.ndarray:
    """Which of some voxels lie in the face, in their order."""
    x, y, z = (at[points] for at in np.broadcast_arrays(*box.positions(dtype=np.float64)))
    away = np.stack([x, y, z], axis=-1) - seen.centre
    far = np.linalg.norm(away, axis=-1)
    least = INSIDE * float(np.linalg.norm(seen.place - seen.centre))
    looks = away / np.maximum(far, 1e-6)[..., None]
    return (angle(looks, seen.axes @ toward(MIDDLE)) < RADIUS) & (far > least)

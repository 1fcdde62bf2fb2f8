"""The working grid of a head: 2 mm, axes along the head's, cropped to what is not air; and the values on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of
from defacedask.volume.above import above

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["above_level", "cropped_values", "reduced", "resample"]


def above_level(volume: xr.DataArray, depth: int, level: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Where real values are above a level, some slices at a time: a lazy volume is never in memory as a whole.

    Yields
    ------
    rows : slice
        Along axis 0.
    above : (depth or less, y, x) bool array
    """
    slope, intercept = (part[:, 0, 0] for part in _rescale(volume))
    for rows, data in _stored_slabs(volume, depth):
        yield rows, above(data, slope[rows], intercept[rows], level)


def _rescale(volume: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept of each slice, (z, 1, 1) float32."""
    slope, intercept = (
        np.asarray(volume.coords[name].values, dtype=np.float32)[:, None, None]
        for name in ("slope", "intercept")
    )
    return slope, intercept


def _stored_slabs(volume: xr.DataArray, depth: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Stored values, some slices at a time; each chunk of a lazy volume is read once."""
    held: np.ndarray | None = None
    first = 0
    for data in _chunks(volume, depth):
        held = data if held is None or not len(held) else np.concatenate([held, data])
        while len(held) >= depth:
            yield slice(first, first + depth), held[:depth]
            held, first = held[depth:], first + depth
    if held is not None and len(held):
        yield slice(first, first + len(held)), held


def _chunks(volume: xr.DataArray, depth: int) -> Iterator[np.ndarray]:
    """Stored values in NumPy arrays along z, chunk by chunk where there are any."""
    whole = volume.data
    lazy = hasattr(whole, "compute")
    several = whole.chunks[0] if lazy else [depth] * (-(-len(whole) // depth))
    first = 0
    for count in several:
        data = whole[first : first + count]
        if lazy:
            # within a worker's task: no second scheduler, and one order of sums
            data = data.compute(scheduler="synchronous")
        yield data.get() if hasattr(data, "get") else data
        first += count


def reduced(volume: xr.DataArray, spacing: float) -> tuple[np.ndarray, Geometry]:
    """Real values of a volume, averaged over whole voxels where those are finer than ``spacing``.

    Read slab by slab, so that a lazy volume is never in memory as a whole. The average is the anti-aliasing
    filter of the working grid.

    Parameters
    ----------
    volume : xarray.DataArray
        See `defacedask.volume.make_volume`.
    spacing : float
        mm that the averaged voxels must not exceed.

    Returns
    -------
    values : (z, y, x) float32 array
        HU, SUV, Bq/mL or arbitrary units.
    geometry : Geometry
        Of the averaged voxels.
    """
    geometry = geometry_of(volume)
    by = [
        max(1, min(n, int(spacing / s + 0.05))) for n, s in zip(geometry.shape, geometry.spacing, strict=True)
    ]
    shape = tuple(n // k for n, k in zip(geometry.shape, by, strict=True))
    out = np.empty(shape, dtype=np.float32)
    slope, intercept = _rescale(volume)
    in_slice = by[1] * by[2]
    for rows, slab in _stored_slabs(volume, max(1, 32 // by[0]) * by[0]):
        first = rows.start // by[0]
        count = len(slab) // by[0]
        if count == 0:
            continue
        inner = _summed(_summed(slab[: count * by[0]], by[1], 1), by[2], 2).astype(np.float32)
        some = slice(rows.start, rows.start + count * by[0])
        inner = inner * (slope[some] / np.float32(in_slice)) + intercept[some]
        out[first : first + count] = _summed(inner, by[0], 0) / np.float32(by[0]) if by[0] > 1 else inner
    affine = geometry.affine.copy()
    affine[:3, :3] *= by
    affine[:3, 3] = geometry.to_world((np.array(by) - 1) / 2)
    if not np.isfinite(out).all():
        raise InputError("the volume holds values that are not finite numbers.")
    return out, Geometry(shape, affine, geometry.frame_of_reference)  # type: ignore[arg-type]


def _summed(values: np.ndarray, by: int, axis: int) -> np.ndarray:
    """Sums of so many neighbours along an axis, exact for whole numbers; what is left at the end is left out."""
    if by == 1:
        return values
    whole = values.shape[axis] // by * by
    parts = [
        values[tuple(slice(k, whole, by) if a == axis else slice(None) for a in range(3))] for k in range(by)
    ]
    wide: Any = np.float32
    if values.dtype.kind in "iub":
        wide = np.int32 if values.dtype.itemsize < 4 else np.int64
    total = parts[0].astype(wide)
    for part in parts[1:]:
        np.add(total, part, out=total)
    return total


def resample(
    values: np.ndarray,
    source: Geometry,
    target: Geometry,
    *,
    matrix: np.ndarray | None = None,
    outside: float = 0.0,
    nearest: bool = False,
) -> np.ndarray:
    """Values on another grid.

    Parameters
    ----------
    values : (z, y, x) array
        On ``source``.
    source, target : Geometry
        Grids; may be oblique or sheared.
    matrix : (4, 4) array, optional
        Maps world mm of the target to world mm of the source. Default: the same world.
    outside : float
        Value beyond the source's voxels.
    nearest : bool
        Nearest neighbour (for masks and labels) instead of linear.

    Returns
    -------
    array
        Of ``target.shape``: float32, or the type of ``values`` where ``nearest``.
    """
    import SimpleITK as sitk

    # In index space of both grids, so that any affine grid, tilted ones too, is a plain case.
    to_source = np.linalg.inv(source.affine) @ (np.eye(4) if matrix is None else matrix) @ target.affine
    if nearest and (found := _nearest_by_axis(values, to_source, target.shape, outside)) is not None:
        return found
    flip = np.eye(4)[[2, 1, 0, 3]]
    index = flip @ to_source @ flip
    image = sitk.GetImageFromArray(
        np.ascontiguousarray(values.view(np.uint8) if values.dtype == bool else values)
    )
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(index[:3, :3].ravel().tolist())
    transform.SetTranslation(index[:3, 3].tolist())
    out = sitk.Resample(
        image,
        target.shape[::-1],
        transform,
        sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear,
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        tuple(np.eye(3).ravel()),
        outside,
        image.GetPixelID() if nearest else sitk.sitkFloat32,
    )
    array = sitk.GetArrayFromImage(out)
    return array.view(bool) if values.dtype == bool and nearest else array


#: Index steps that rounding may put into a place, and by which one must lie off the middle between two voxels.
_EXACT, _CLEAR = 1e-9, 1e-6


def _nearest_by_axis(
    values: np.ndarray, to_source: np.ndarray, shape: tuple[int, ...], outside: float
) -> np.ndarray | None:
    """Nearest neighbours where each axis of the target lies along one of the source: three rows of indices say all.

    The answer is ITK's. None where the axes do not, or where a place lies so near the middle between two voxels that
    rounding might decide.
    """
    turn = to_source[:3, :3]
    along = np.abs(turn).argmax(axis=1)
    rest = turn.copy()
    rest[np.arange(3), along] = 0.0
    if sorted(along.tolist()) != [0, 1, 2] or (np.abs(rest) @ np.array(shape) > _EXACT).any():
        return None
    out = np.transpose(values, np.argsort(along))
    lost = []
    for axis in range(3):
        # the axis of the source that this one of the target runs along
        there = int(np.flatnonzero(along == axis)[0])
        place = to_source[there, axis] * np.arange(shape[axis]) + to_source[there, 3]
        if (np.abs(place + 0.5 - np.rint(place + 0.5)) < _CLEAR).any():
            return None
        last = values.shape[there] - 1
        lost.append((place < -0.5) | (place > last + 0.5))
        out = out.take(np.clip(np.floor(place + 0.5).astype(np.intp), 0, last), axis=axis)
    for axis, where in enumerate(lost):
        if where.any():
            out[(slice(None),) * axis + (where,)] = outside
    return out


def cropped_values(
    fine: np.ndarray,
    geometry: Geometry,
    *,
    spacing: float,
    level: float,
    air: float,
    turn: np.ndarray | None = None,
) -> tuple[np.ndarray, Geometry]:
    """Values on the working grid: axes along LPS, or turned against it, cropped to what is not air.

    Parameters
    ----------
    fine : (z, y, x) float32 array
        See `reduced`.
    geometry : Geometry
        Of ``fine``.
    spacing : float
        mm of the working grid.
    level : float
        Values above it are material; the grid is cropped to them with 16 mm around.
    air : float
        Value outside the acquisition's field of view.
    turn : (3, 3) array, optional
        Rotation of world LPS that makes the head upright: the array axes are S, P, L of what it turns to. Default:
        none, the header's own.

    Returns
    -------
    values : (z, y, x) float32 array
        Array axes superior, posterior, left.
    grid : Geometry
        Of ``values``.
    """
    upright = np.eye(4)
    if turn is not None:
        upright[:3, :3] = turn
    source = Geometry(geometry.shape, upright @ geometry.affine, geometry.frame_of_reference)
    whole = source.aligned(spacing)
    solid = fine > level
    if not solid.any():
        first, last = np.zeros(3, dtype=int), np.array(whole.shape)
    else:
        # a lone bright voxel must not widen the grid: a thousandth of the material may fall outside
        counts = [np.count_nonzero(solid, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        ends = np.array([_percentiles(count, (0.05, 99.95)) for count in counts])
        corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
        index = whole.to_index(source.to_world(corners))
        pad = 16.0 / spacing
        first = np.maximum(np.floor(index.min(axis=0) - pad), 0).astype(int)
        last = np.minimum(np.ceil(index.max(axis=0) + pad) + 1, whole.shape).astype(int)
    block = whole.block(first.tolist(), last.tolist())
    grid = Geometry(block.shape, upright.T @ block.affine, block.frame_of_reference)
    return resample(fine, geometry, grid, outside=air), grid


def _percentiles(counts: np.ndarray, at: tuple[float, ...]) -> list[float]:
    """Percentiles of positions, each of which is there ``counts`` times; as `numpy.percentile` has them."""
    upto = np.cumsum(counts)
    out = []
    for percent in at:
        place = percent / 100.0 * float(upto[-1] - 1)
        low, high = np.searchsorted(upto, [np.floor(place), np.ceil(place)], side="right")
        out.append(float(low + (high - low) * (place - np.floor(place))))
    return out

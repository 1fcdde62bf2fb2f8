"""Coordinates in mm along the axes of a grid, and the way back from them to the grid.

The coordinate along an array axis is a length in mm along the direction of that axis. The directions point to the
patient's left, to posterior and to superior, as nearly as the axis allows, so that for every grid, also an oblique or
a tilted one::

    patient LPS mm = z * z.direction + y * y.direction + x * x.direction

Where the axes are straight, which is the usual case, a coordinate therefore is a patient coordinate. A coordinate
belongs to its slice, row or column: after slicing or flipping with xarray it is still true.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from xarray.indexes import CoordinateTransform, CoordinateTransformIndex

from defacedask.errors import InputError
from defacedask.geometry import Geometry

__all__ = ["DIMS", "PATIENT", "axis_vectors", "coordinates_of", "part_of", "patient_coordinates"]

DIMS = ("z", "y", "x")
#: Names of the coordinates of `patient_coordinates`, in the order of LPS.
PATIENT = ("patient_x", "patient_y", "patient_z")
_TOWARDS = ("patient x, to the left", "patient y, to posterior", "patient z, to superior")
_ALONG = {"z": "along the slices", "y": "along the rows", "x": "along the columns"}
#: How far, in voxels, a coordinate may lie from a voxel centre of the grid: what a float32 loses.
_OFF = 1e-3


def axis_vectors(grid: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions, first coordinates and steps of the axes z, y, x.

    Parameters
    ----------
    grid : Geometry

    Returns
    -------
    directions : (3, 3) array
        Unit vectors in LPS as columns, each with its largest component positive.
    first : (3,) array
        mm; coordinates of the first voxel.
    steps : (3,) array
        mm from voxel to voxel, negative where the array runs against the direction.
    """
    directions, steps = grid.directions, np.array(grid.spacing)
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(3)])
    # + 0.0 makes a plain zero of a negative one
    directions, steps = directions * signs + 0.0, steps * signs
    return directions, np.linalg.solve(directions, grid.origin) + 0.0, steps


def coordinates_of(grid: Geometry) -> dict[str, xr.Variable]:
    """Coordinates z, y, x of a grid's voxel centres.

    Parameters
    ----------
    grid : Geometry

    Returns
    -------
    dict
        Name -> 1-D float64 variable in mm, with the attributes units, long_name and direction (LPS).
    """
    directions, first, steps = axis_vectors(grid)
    out = {}
    for axis, (dim, n) in enumerate(zip(DIMS, grid.shape, strict=True)):
        towards = directions[:, axis]
        straight = towards.max() > 1 - 1e-9
        attrs = {
            "units": "mm",
            "long_name": _TOWARDS[int(towards.argmax())] if straight else f"length {_ALONG[dim]}",
            "direction": towards.tolist(),
        }
        out[dim] = xr.Variable((dim,), first[axis] + np.arange(n) * steps[axis], attrs)
    return out


def part_of(whole: Geometry, volume: xr.DataArray) -> Geometry:
    """Grid of a volume that was cut from a whole one, from its coordinates.

    Parameters
    ----------
    whole : Geometry
    volume : xarray.DataArray
        With coordinates z, y, x as `coordinates_of` gives them for the whole.

    Raises
    ------
    InputError
        If a coordinate is missing, lies between the voxels of the whole, or the steps are not all the same.
    """
    _, first, steps = axis_vectors(whole)
    start, stop, step = [], [], []
    for axis, dim in enumerate(DIMS):
        if dim not in volume.coords:
            raise InputError(
                f"the volume has no coordinate {dim} any more, so its place is not known.", _HINT
            )
        place = np.asarray(volume.coords[dim].values, dtype=np.float64)
        if place.ndim != 1 or not len(place) or not np.isfinite(place).all():
            raise InputError(f"the coordinate {dim} of the volume holds no places in mm.", _HINT)
        number = (place - first[axis]) / steps[axis]
        index = np.rint(number).astype(np.int64)
        if np.abs(number - index).max() > _OFF:
            raise InputError(
                f"the volume lies between the voxels of its grid along {dim} (fractional indexing, such as coarsen "
                "or interp).",
                _HINT,
            )
        by = np.unique(np.diff(index))
        if len(by) > 1 or 0 in by:
            raise InputError(
                f"the volume was indexed irregularly along {dim}: it has no grid any more.", _HINT
            )
        one = int(by[0]) if len(by) else 1
        start.append(int(index[0]))
        step.append(one)
        stop.append(int(index[-1]) + (1 if one > 0 else -1))
    return whole.block(start, stop, step)


_HINT = "Use slices with whole steps, or make a volume of the new grid with `defacedask.volume.make_volume`."


class _GridTransform(CoordinateTransform):
    """Index (z, y, x) to patient LPS mm and back."""

    def __init__(self, grid: Geometry) -> None:
        super().__init__(PATIENT, dict(zip(DIMS, grid.shape, strict=True)))
        self.grid = grid

    def forward(self, dim_positions: dict[str, Any]) -> dict[Any, Any]:
        """LPS mm of positions along the axes."""
        index = np.stack(np.broadcast_arrays(*(dim_positions[dim] for dim in self.dims)), axis=-1)
        return dict(zip(self.coord_names, np.moveaxis(self.grid.to_world(index), -1, 0), strict=True))

    def reverse(self, coord_labels: dict[Any, Any]) -> dict[str, Any]:
        """Positions along the axes of places in LPS mm, each within a voxel."""
        world = np.stack(np.broadcast_arrays(*(coord_labels[name] for name in self.coord_names)), axis=-1)
        index, last = self.grid.to_index(world), np.array(self.grid.shape) - 1
        if ((index < -0.5 - _OFF) | (index > last + 0.5 + _OFF)).any():
            raise InputError(
                "a place that was asked for lies outside the volume.",
                "`Geometry.corners` says what it covers.",
            )
        # on the outer face of a voxel the number may be rounded to one that is not there
        return dict(zip(self.dims, np.moveaxis(np.clip(index, 0, last), -1, 0), strict=True))

    def equals(self, other: CoordinateTransform, **kwargs: Any) -> bool:
        """Whether another transform is of the same grid."""
        return isinstance(other, _GridTransform) and self.grid == other.grid


class _GridIndex(CoordinateTransformIndex):
    """Affine index that stays one after slicing."""

    transform: _GridTransform

    def isel(self, indexers: Any) -> _GridIndex | None:
        """Index of a part; None, after which the coordinates are plain numbers, if the part is no grid."""
        start, stop, step = [], [], []
        for dim, n in zip(DIMS, self.transform.grid.shape, strict=True):
            wanted = indexers.get(dim, slice(None))
            if not isinstance(wanted, slice):
                return None
            part = range(n)[wanted]
            if not len(part):
                return None
            start.append(part.start)
            stop.append(part.stop)
            step.append(part.step)
        return _GridIndex(_GridTransform(self.transform.grid.block(start, stop, step)))


def patient_coordinates(grid: Geometry) -> xr.Coordinates:
    """Coordinates patient_x, patient_y, patient_z of every voxel by an affine index, computed when they are used.

    Parameters
    ----------
    grid : Geometry

    Returns
    -------
    xarray.Coordinates
        Each (z, y, x), LPS mm. They can be selected by: ``volume.sel(patient_x=..., ..., method="nearest")``.
    """
    coords = xr.Coordinates.from_xindex(_GridIndex(_GridTransform(grid)))
    for name, towards in zip(PATIENT, _TOWARDS, strict=True):
        coords[name].attrs.update(units="mm", long_name=towards)
    return coords

"""What a volume says of itself: its grid, its units, and its values in them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from defacedask.backend import namespace, to_numpy
from defacedask.coordinates import DIMS, part_of
from defacedask.errors import InputError
from defacedask.geometry import Geometry

__all__ = [
    "checked",
    "geometry_of",
    "grid_attrs",
    "grid_of_attrs",
    "on_host",
    "real_values",
    "stored_limits",
    "to_stored",
    "units_of",
]

_MAPS = "index (z, y, x, 1) of the uncut grid to patient LPS mm (x, y, z, 1), row by row"


def grid_attrs(geometry: Geometry) -> dict[str, Any]:
    """Flat attributes that hold a grid; `grid_of_attrs` gives it back, bit for bit."""
    return {
        "affine": geometry.affine.ravel().tolist(),
        "affine_maps": _MAPS,
        "grid_shape": list(geometry.shape),
        "frame_of_reference": geometry.frame_of_reference,
    }


def grid_of_attrs(attrs: Mapping[Any, Any]) -> Geometry:
    """Inverse of `grid_attrs`.

    Raises
    ------
    InputError
        If there is no grid in the attributes, or a damaged one.
    """
    try:
        shape = tuple(int(n) for n in attrs["grid_shape"])
        affine = np.asarray(attrs["affine"], dtype=np.float64).reshape(4, 4)
    except (KeyError, TypeError, ValueError):
        raise InputError(
            "this array is not a volume: its attributes hold no grid (affine, grid_shape).",
            "Make one with `defacedask.volume.make_volume`; some operations of xarray drop attributes.",
        ) from None
    return Geometry(shape, affine, str(attrs.get("frame_of_reference", "")))  # type: ignore[arg-type]


def geometry_of(volume: xr.DataArray) -> Geometry:
    """Grid of a volume, also after regular slicing or flipping with xarray.

    Raises
    ------
    InputError
        If the array is no volume of ours, or was indexed irregularly or between its voxels.
    """
    if not isinstance(volume, xr.DataArray):
        raise InputError(
            f"an object of the type {type(volume).__name__} is not a volume: it does not say where its voxels lie.",
            "Give an image of a case, or make a volume with `defacedask.volume.make_volume`.",
        )
    if tuple(volume.dims) != DIMS:
        raise InputError(f"this array is not a volume: its dimensions are {volume.dims}, not (z, y, x).")
    return part_of(grid_of_attrs(volume.attrs), volume)


def checked(volume: xr.DataArray) -> Geometry:
    """Grid of a volume, after a look at all else that makes it one.

    Raises
    ------
    InputError
        As `geometry_of`; or if it has no modality or rescale any more, one that gives no real values, or its values
        are no real numbers.
    """
    geometry = geometry_of(volume)
    lost = [] if "modality" in volume.attrs else ["the attribute modality"]
    lost += [f"the coordinate {name}" for name in ("slope", "intercept") if name not in volume.coords]
    if lost:
        raise InputError(
            f"this array is not a volume: it lacks {' and '.join(lost)}.",
            "Make one with `defacedask.volume.make_volume`; some operations of xarray drop them.",
        )
    for name in ("slope", "intercept"):
        _check_rescale(name, volume.coords[name])
    if volume.dtype.kind not in "biuf":
        raise InputError(f"the values of a volume are real numbers, and these are {volume.dtype}.")
    return geometry


def _check_rescale(name: str, rescale: xr.DataArray) -> None:
    """One finite number a slice, and no slope of 0: every value would be the same."""
    if rescale.dims != ("z",):
        raise InputError(
            f"the coordinate {name} of a volume is one number a slice, along z; this one lies along "
            f"{' and '.join(map(str, rescale.dims)) or 'no dimension'}.",
            "Make the volume with `defacedask.volume.make_volume`.",
        )
    values = rescale.values
    if (
        values.dtype.kind not in "iuf"
        or not np.isfinite(values).all()
        or (name == "slope" and not values.all())
    ):
        raise InputError(
            f"the coordinate {name} of the volume holds {'0 or ' if name == 'slope' else ''}what is no finite number."
        )


def units_of(volume: xr.DataArray) -> str:
    """Units of a volume's real values, "" where they are not known."""
    return str(volume.attrs.get("units", volume.attrs.get("real_units", "")))


def real_values(volume: xr.DataArray, dtype: Any = np.float32) -> xr.DataArray:
    """``stored * slope + intercept`` in the volume's units, lazily if the volume is lazy.

    The sum is made in ``dtype`` (float32 holds every 16-bit stored value exactly). The answer needs no further
    rescale, and says so: its ``units`` are those of its values, its slope is 1 and its intercept 0. Voxels that lie
    on a device are brought back.
    """
    volume = on_host(volume)
    slope = volume.coords["slope"].astype(dtype)
    intercept = volume.coords["intercept"].astype(dtype)
    values = volume.astype(dtype)
    if not (slope == 1).all():
        values = values * slope
    if not (intercept == 0).all():
        values = values + intercept
    plain = {
        "slope": xr.ones_like(volume.coords["slope"]).variable,
        "intercept": xr.zeros_like(volume.coords["intercept"]).variable,
    }
    units = units_of(volume)
    facts = {**volume.attrs, "real_units": units, "units": units}
    return values.astype(dtype).assign_coords(plain).assign_attrs(facts)


def on_host(volume: xr.DataArray) -> xr.DataArray:
    """The volume with NumPy's voxels: those on a device, lazy or not, are brought back as they are asked for."""
    data = volume.data
    if isinstance(data, np.ndarray) or "cupy" not in sys.modules:
        return volume
    import dask.array

    if not isinstance(data, dask.array.Array):
        if namespace(data) is np:
            return volume
        data = dask.array.from_array(data, chunks=(32, -1, -1), name=False, asarray=False)
    return volume.copy(data=data.map_blocks(to_numpy, dtype=data.dtype, meta=np.empty((0, 0, 0), data.dtype)))


def to_stored(values: Any, slope: Any, intercept: Any, dtype: np.dtype, xp: Any = np) -> Any:
    """Real values back to stored ones: rounded to nearest for integers and clipped to what ``dtype`` holds."""
    stored = (values - intercept) / slope
    if np.issubdtype(dtype, np.integer):
        low, high = stored_limits(dtype, stored.dtype)
        stored = xp.clip(xp.rint(stored), low, high)
    return stored.astype(dtype)


@functools.cache
def stored_limits(dtype: np.dtype, of: np.dtype) -> tuple[float, float]:
    """Least and largest floating number that the integers hold; a larger one becomes whatever the machine likes."""
    info = np.iinfo(dtype)
    ends = [of.type(end) for end in (info.min, info.max)]
    low, high = (np.nextafter(e, of.type(0)) if not info.min <= int(e) <= info.max else e for e in ends)
    return float(low), float(high)

"""A volume: an `xarray.DataArray` with dims (z, y, x), its grid and its units.

Voxels are kept as **stored** (DICOM's stored values, usually int16), with the rescale beside them as two
coordinates along z, so that what a defacer does not touch stays bit-identical. `real_values` turns them into
HU, Bq/mL, SUV, Gy or the MR's arbitrary units. The coordinates z, y, x are in mm (see `defacedask.coordinates`): a
volume that was sliced with xarray still knows its place in the patient, and for one that no longer lies on its grid
`geometry_of` raises.

Attributes are flat, so that netCDF, Zarr and anything else can keep them:

``affine``, ``grid_shape``, ``frame_of_reference``
    The **uncut** grid: 16 numbers, row by row, that map its index (z, y, x, 1) to patient LPS mm (x, y, z, 1); its
    voxels along (z, y, x); FrameOfReferenceUID. `geometry_of` says where the volume itself lies.
``real_units``
    Of ``stored * slope + intercept``.
``units``
    Of the values as they stand in the array; missing where they have to be rescaled first.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from defacedask import accessor as _accessor  # noqa: F401  every volume has it
from defacedask.backend import namespace, to_numpy
from defacedask.coordinates import DIMS, coordinates_of, part_of
from defacedask.errors import InputError
from defacedask.geometry import Geometry

__all__ = [
    "DIMS",
    "UNITS",
    "checked",
    "flat_attrs",
    "geometry_of",
    "grid_attrs",
    "grid_of_attrs",
    "make_volume",
    "on_host",
    "placed_anew",
    "real_values",
    "to_stored",
    "units_of",
]

#: Units in use: Hounsfield units, body-weight SUV, activity concentration, absorbed dose, arbitrary (MR), none.
UNITS = ("HU", "g/mL", "Bq/mL", "Gy", "1", "")
_MAPS = "index (z, y, x, 1) of the uncut grid to patient LPS mm (x, y, z, 1), row by row"


def make_volume(
    stored: Any,
    geometry: Geometry,
    *,
    modality: str,
    units: str,
    slope: float | np.ndarray = 1.0,
    intercept: float | np.ndarray = 0.0,
    name: str | None = None,
    attrs: dict[str, Any] | None = None,
) -> xr.DataArray:
    """Wrap an array (NumPy, CuPy, Dask) with its grid.

    Parameters
    ----------
    stored : array
        (z, y, x) values as stored.
    geometry : Geometry
        Its grid; the shapes must agree.
    modality : str
        DICOM modality: CT, MR, PT, RTDOSE, or SEG for masks.
    units : str
        One of `UNITS`: of ``stored * slope + intercept``.
    slope, intercept : float or (z,) array
        Rescale; PET series have one slope a slice.
    name : str, optional
        Of the DataArray.
    attrs : dict, optional
        Further JSON-able facts; what is nested in them is made flat.

    Returns
    -------
    xarray.DataArray
        dims (z, y, x); coords z, y, x (mm), slope(z), intercept(z); attrs affine, grid_shape, frame_of_reference,
        modality, real_units, and units if the stored values need no rescale.

    Raises
    ------
    InputError
        If shapes do not agree or the units are not known.
    """
    if tuple(stored.shape) != geometry.shape:
        raise InputError(f"voxels {tuple(stored.shape)} do not fit the grid {geometry.shape}.")
    if units not in UNITS:
        raise InputError(f"unknown units {units!r}.", f"Use one of: {', '.join(UNITS[:-1])}.")
    nz = geometry.shape[0]
    coords: dict[str, Any] = dict(coordinates_of(geometry))
    coords["slope"] = ("z", np.broadcast_to(np.asarray(slope, np.float64), (nz,)).copy())
    coords["intercept"] = ("z", np.broadcast_to(np.asarray(intercept, np.float64), (nz,)).copy())
    facts = {**flat_attrs(attrs or {}), **grid_attrs(geometry), "modality": modality, "real_units": units}
    if (coords["slope"][1] == 1).all() and (coords["intercept"][1] == 0).all():
        facts["units"] = units
    return xr.DataArray(stored, dims=DIMS, coords=coords, attrs=facts, name=name)


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
        As `geometry_of`; or if it has no modality or rescale any more, or its values are no real numbers.
    """
    geometry = geometry_of(volume)
    lost = [] if "modality" in volume.attrs else ["the attribute modality"]
    lost += [f"the coordinate {name}" for name in ("slope", "intercept") if name not in volume.coords]
    if lost:
        raise InputError(
            f"this array is not a volume: it lacks {' and '.join(lost)}.",
            "Make one with `defacedask.volume.make_volume`; some operations of xarray drop them.",
        )
    if volume.dtype.kind not in "biuf":
        raise InputError(f"the values of a volume are real numbers, and these are {volume.dtype}.")
    return geometry


def placed_anew(volume: xr.DataArray, geometry: Geometry) -> xr.DataArray:
    """The same voxels on another grid of their shape: a part that becomes a whole, or one that is moved.

    Raises
    ------
    InputError
        If the shapes do not agree.
    """
    if tuple(volume.shape) != geometry.shape:
        raise InputError(f"voxels {tuple(volume.shape)} do not fit the grid {geometry.shape}.")
    return volume.assign_coords(coordinates_of(geometry)).assign_attrs(grid_attrs(geometry))


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
        low, high = _limits(dtype, stored.dtype)
        stored = xp.clip(xp.rint(stored), low, high)
    return stored.astype(dtype)


@functools.cache
def _limits(dtype: np.dtype, of: np.dtype) -> tuple[float, float]:
    """Least and largest floating number that the integers hold; a larger one becomes whatever the machine likes."""
    info = np.iinfo(dtype)
    ends = [of.type(end) for end in (info.min, info.max)]
    low, high = (np.nextafter(e, of.type(0)) if not info.min <= int(e) <= info.max else e for e in ends)
    return float(low), float(high)


def flat_attrs(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Attributes without nesting, as netCDF knows them: text, numbers, lists of numbers.

    Parameters
    ----------
    facts : mapping
        JSON-able. ``{"suv": {"why": "..."}}`` becomes ``{"suv_why": "..."}``; a matrix is written row by row, true
        and false as 1 and 0, any other list as JSON text; None is left out.
    prefix : str
        Before every name.
    """
    out: dict[str, Any] = {}
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            out.update(flat_attrs(value, f"{name}_"))
        elif isinstance(value, bool):
            out[name] = int(value)
        elif isinstance(value, (list, tuple)):
            numbers = _numbers(value)
            out[name] = json.dumps(value) if numbers is None else numbers
        elif value is not None:
            out[name] = value
    return out


def _numbers(value: Sequence[Any]) -> list[Any] | None:
    """Flat list of a list of numbers or a matrix; None for anything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return None
    return array.ravel().tolist() if array.size and array.dtype.kind in "iuf" else None

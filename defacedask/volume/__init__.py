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

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from defacedask.coordinates import DIMS, coordinates_of
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume.accessor import VolumeAccessor
from defacedask.volume.reading import (
    checked,
    geometry_of,
    grid_attrs,
    grid_of_attrs,
    on_host,
    real_values,
    stored_limits,
    to_stored,
    units_of,
)

__all__ = [
    "DIMS",
    "UNITS",
    "VolumeAccessor",
    "checked",
    "flat_attrs",
    "geometry_of",
    "grid_attrs",
    "grid_of_attrs",
    "make_volume",
    "on_host",
    "placed_anew",
    "real_values",
    "stored_limits",
    "to_stored",
    "units_of",
]

#: Units in use: Hounsfield units, body-weight SUV, activity concentration, absorbed dose, arbitrary (MR), none.
UNITS = ("HU", "g/mL", "Bq/mL", "Gy", "1", "")


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

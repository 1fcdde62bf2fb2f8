"""A volume: an `xarray.DataArray` with dims (z, y, x), its grid and its units.

Voxels are kept as **stored** (DICOM's stored values, usually int16), with the rescale beside them as two
coordinates along z, so that what a defacer does not touch stays bit-identical. `real_values` turns them into
HU, Bq/mL, SUV, Gy or the MR's arbitrary units. The index coordinates remember where a part was cut from, so a
volume that was sliced with xarray still knows its place in the patient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from defacedask.errors import InputError
from defacedask.geometry import Geometry

__all__ = ["DIMS", "UNITS", "geometry_of", "make_volume", "real_values", "to_stored"]

DIMS = ("z", "y", "x")
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
        Further JSON-able facts.

    Returns
    -------
    xarray.DataArray
        dims (z, y, x); coords z, y, x (indices), slope(z), intercept(z); attrs geometry, modality, units.

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
    coords: dict[str, Any] = {dim: (dim, np.arange(n)) for dim, n in zip(DIMS, geometry.shape, strict=True)}
    coords["slope"] = ("z", np.broadcast_to(np.asarray(slope, np.float64), (nz,)).copy())
    coords["intercept"] = ("z", np.broadcast_to(np.asarray(intercept, np.float64), (nz,)).copy())
    facts = {**(attrs or {}), "geometry": geometry.to_dict(), "modality": modality, "units": units}
    return xr.DataArray(stored, dims=DIMS, coords=coords, attrs=facts, name=name)


def geometry_of(volume: xr.DataArray) -> Geometry:
    """Grid of a volume, also after regular slicing or flipping with xarray.

    Raises
    ------
    InputError
        If the array is no volume of ours or was indexed irregularly.
    """
    if "geometry" not in volume.attrs or tuple(volume.dims) != DIMS:
        raise InputError("this array is not a volume with dims (z, y, x) and a geometry.")
    base = Geometry.from_dict(volume.attrs["geometry"])
    start, stop, step = [], [], []
    for dim in DIMS:
        index = np.asarray(volume.coords[dim].values)
        steps = np.unique(np.diff(index))
        if len(steps) > 1:
            raise InputError(f"the volume was indexed irregularly along {dim}: it has no grid any more.")
        by = int(steps[0]) if len(steps) else 1
        start.append(int(index[0]))
        step.append(by)
        stop.append(int(index[-1]) + (1 if by > 0 else -1))
    return base.block(start, stop, step)


def real_values(volume: xr.DataArray, dtype: Any = np.float32) -> xr.DataArray:
    """``stored * slope + intercept`` in the volume's units, lazily if the volume is lazy.

    The sum is made in ``dtype`` (float32 holds every 16-bit stored value exactly).
    """
    slope = volume.coords["slope"].astype(dtype)
    intercept = volume.coords["intercept"].astype(dtype)
    values = volume.astype(dtype)
    if not (slope == 1).all():
        values = values * slope
    if not (intercept == 0).all():
        values = values + intercept
    return values.astype(dtype).assign_attrs(volume.attrs)


def to_stored(values: Any, slope: Any, intercept: Any, dtype: np.dtype, xp: Any = np) -> Any:
    """Real values back to stored ones: rounded to nearest for integers and clipped to what ``dtype`` holds."""
    stored = (values - intercept) / slope
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        stored = xp.clip(xp.rint(stored), info.min, info.max)
    return stored.astype(dtype)

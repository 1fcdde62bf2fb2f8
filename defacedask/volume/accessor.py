"""``volume.defacedask``: what can be asked of a volume, for those who work with xarray."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from defacedask.coordinates import patient_coordinates
from defacedask.geometry import Geometry
from defacedask.volume.reading import geometry_of, real_values, units_of

__all__ = ["VolumeAccessor"]


@xr.register_dataarray_accessor("defacedask")
class VolumeAccessor:
    """What can be asked of a volume (see `defacedask.volume`).

    >>> ct = case.image("CT")  # stored values
    >>> hu = ct.defacedask.real()  # HU
    >>> picture = hu.sel(z=-12.0, method="nearest").plot()  # axes in mm

    Parameters
    ----------
    volume : xarray.DataArray
    """

    def __init__(self, volume: xr.DataArray) -> None:
        self._volume = volume

    @property
    def geometry(self) -> Geometry:
        """Grid of the volume, also after slicing.

        Raises
        ------
        InputError
            If it no longer lies on its grid.
        """
        return geometry_of(self._volume)

    @property
    def units(self) -> str:
        """Units of `real`."""
        return units_of(self._volume)

    def real(self, dtype: Any = np.float32) -> xr.DataArray:
        """Values in the volume's units, lazily if it is lazy; see `defacedask.volume.real_values`."""
        return real_values(self._volume, dtype)

    def patient(self) -> xr.DataArray:
        """The volume with the coordinates patient_x, patient_y and patient_z (LPS mm) of every voxel.

        They come from an affine index, computed when they are used, for oblique and tilted grids too; a point is
        found with ``volume.defacedask.patient().sel(patient_x=..., patient_y=..., patient_z=..., method="nearest")``
        where each place is a DataArray. Written to a file they take 24 bytes a voxel: drop them first.

        Raises
        ------
        InputError
            If the volume no longer lies on its grid.
        """
        return self._volume.assign_coords(patient_coordinates(self.geometry))

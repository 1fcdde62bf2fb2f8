"""Read CT, MR and PET images: stored values bit for bit, the rescale of each slice, the grid of the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from defacedask.dicom.enhanced import read_frames
from defacedask.dicom.headers import Header, open_dataset, read_header
from defacedask.dicom.model import Series
from defacedask.dicom.nifti import read_nifti
from defacedask.dicom.pixels import read_stored, stored_dtype
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import make_volume

__all__ = ["read_image"]

_KEPT = ("padding", "transfer_syntax", "patient_position", "manufacturer", "scanner", "suv", "lossy")


def read_image(series: Series) -> xr.DataArray:
    """Read an image series as a volume.

    Parameters
    ----------
    series : Series
        An image from `scan`: CT, MR or PET, single- or multi-frame DICOM, or NIfTI.

    Returns
    -------
    xarray.DataArray
        dims (z, y, x), stored values (z along the stack normal), coords slope(z), intercept(z); attrs geometry,
        modality, units: HU for CT; "1" (arbitrary) for MR; for PET g/mL (body-weight SUV) where the header allows,
        else Bq/mL or "1", with the reason in ``attrs["suv"]["why"]``. A PET's slope includes the SUV factor.

    Raises
    ------
    InputError
        If the series is no image, or its files changed or cannot be decoded.
    """
    if series.geometry is None:
        raise InputError(f"the series {series.uid} ({series.modality}) is no image.")
    geometry = Geometry.from_dict(series.geometry)
    attrs: dict[str, Any] = {key: series.facts[key] for key in _KEPT if key in series.facts}
    attrs.update(series_uid=series.uid, description=series.description)
    if series.facts.get("format") == "NIfTI":
        stored, one_slope, one_intercept = read_nifti(series)
        return make_volume(
            stored,
            geometry,
            modality=series.modality,
            units=series.facts["units"],
            slope=one_slope,
            intercept=one_intercept,
            attrs=attrs,
        )
    if "frames" in series.facts:
        stored, slope, intercept = _multi_frame(series)
    else:
        stored, slope, intercept = _single_frames(series, geometry)
    units = {"CT": "HU", "MR": "1"}.get(series.modality, "1")
    if series.modality == "PT":
        units, factor = series.facts["suv"]["units"], series.facts["suv"]["factor"]
        slope, intercept = slope * factor, intercept * factor
    return make_volume(
        stored, geometry, modality=series.modality, units=units, slope=slope, intercept=intercept, attrs=attrs
    )


def _header(path: str, instance: str) -> Header:
    try:
        header = read_header(path)
    except InputError as error:
        raise InputError(f"{path} cannot be read any more: {error.message}.", "Scan again.") from None
    if header.text("SOPInstanceUID") != instance:
        raise InputError(f"{path} is not the file that was scanned.", "Scan again.")
    return header


def _single_frames(series: Series, geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(series.files)
    stored: np.ndarray | None = None
    slope, intercept = np.ones(count), np.zeros(count)
    for k, (path, instance) in enumerate(zip(series.files, series.instances, strict=True)):
        header = _header(path, instance)
        size = (header.values.get("Rows"), header.values.get("Columns"))
        if stored is None:
            stored = np.empty(geometry.shape, stored_dtype(header))
        if size != geometry.shape[1:] or stored_dtype(header) != stored.dtype:
            raise InputError(f"{path} changed since it was scanned.", "Scan again.")
        read_stored(header, out=stored[k : k + 1])
        slope[k] = header.number("RescaleSlope", 1.0)
        intercept[k] = header.number("RescaleIntercept", 0.0)
    assert stored is not None
    return stored, slope, intercept


def _multi_frame(series: Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    header = _header(series.files[0], series.instances[0])
    order = np.array(series.facts["frames"])
    stored = read_stored(header)
    if len(stored) != len(order):
        raise InputError(f"{header.path} changed since it was scanned.", "Scan again.")
    frames = read_frames(open_dataset(header.path))
    slope = np.where(np.isfinite(frames.slope), frames.slope, 1.0)[order]
    intercept = np.where(np.isfinite(frames.intercept), frames.intercept, 0.0)[order]
    if (order == np.arange(len(order))).all():
        return stored, slope, intercept
    return stored[order], slope, intercept

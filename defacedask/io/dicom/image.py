"""Read CT, MR and PET images: stored values bit for bit, the rescale of each slice, the grid of the catalogue."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import xarray as xr

from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.io.dicom.frames import read_frames
from defacedask.io.dicom.headers import Header, open_dataset, read_header
from defacedask.io.dicom.pixels import read_stored, stored_dtype
from defacedask.io.dicom.registration import moved
from defacedask.io.dicom.series_facts import Series
from defacedask.io.nifti.read import nifti_rescale, read_nifti
from defacedask.modality import modality_of
from defacedask.volume import make_volume
from defacedask.whole_files import state_of

__all__ = ["read_image"]

_KEPT = (
    "padding",
    "transfer_syntax",
    "patient_position",
    "manufacturer",
    "scanner",
    "suv",
    "lossy",
    "registered",
    "image_type",
)


def read_image(series: Series, *, lazy: bool = False, chunk: int = 32) -> xr.DataArray:
    """Read an image series as a volume.

    Parameters
    ----------
    series : Series
        An image from `scan`: CT, MR or PET, single- or multi-frame DICOM, or NIfTI.
    lazy : bool
        Whether to return a Dask array, whose blocks read their slices when they are computed. Headers are read now.
    chunk : int
        Slices in a block of a lazy volume of single-frame files; any other file is one block.

    Returns
    -------
    xarray.DataArray
        A volume (see `defacedask.volume`): dims (z, y, x), stored values (z along the stack normal), coords z, y, x
        (mm), slope(z), intercept(z); attrs modality, registered_by and registered_matrix (if its grid was moved into
        the case's frame of reference), real_units: HU for CT; "1" (arbitrary) for MR; for PET g/mL (body-weight SUV)
        where the header allows, else Bq/mL or "1", with the reason in ``attrs["suv_why"]``. A PET's slope includes
        the SUV factor.

    Raises
    ------
    InputError
        If the series is no image, or its files changed or cannot be decoded.
    """
    if not isinstance(series, Series):
        raise InputError(
            f"an object of the type {type(series).__name__} is no series.",
            "Give one of a case, such as scan(FOLDER).cases[0].primary.",
        )
    if series.geometry is None:
        raise InputError(f"the series {series.uid} ({series.modality}) is no image.")
    geometry = moved(Geometry.from_dict(series.geometry), series.facts)
    attrs: dict[str, Any] = {key: series.facts[key] for key in _KEPT if key in series.facts}
    attrs.update(series_uid=series.uid, description=series.description)
    if series.volume:
        attrs["series_key"] = series.key
    units = modality_of(series.modality).units
    slope: Any
    intercept: Any
    stored: Any
    if series.facts.get("format") == "NIfTI":
        units, chunk = series.facts["units"], geometry.shape[0]
        slope, intercept = nifti_rescale(series)
        dtype = np.dtype(series.facts["stored"])
        if not lazy:
            stored, count = read_nifti(series)
            if count:
                attrs["note"] = (
                    f"{count} voxels hold no number (NaN, infinite or a mark) and are read as background"
                )
            return _volume(stored, geometry, series, units, slope, intercept, attrs)
    elif "frames" in series.facts:
        chunk = geometry.shape[0]
        slope, intercept = _frame_rescale(series)
        dtype = stored_dtype(_header(series, 0))
    else:
        headers = _single_headers(series, geometry)
        slope = np.array([header.number("RescaleSlope", 1.0) for header in headers])
        intercept = np.array([header.number("RescaleIntercept", 0.0) for header in headers])
        dtype = stored_dtype(headers[0])
        if not lazy:
            return _volume(_fill(headers, dtype), geometry, series, units, slope, intercept, attrs)
    nz = geometry.shape[0]
    stored = _lazily(series, geometry.shape, dtype, chunk) if lazy else _slab(series, 0, nz)
    return _volume(stored, geometry, series, units, slope, intercept, attrs)


def _volume(
    stored: Any,
    geometry: Geometry,
    series: Series,
    units: str,
    slope: Any,
    intercept: Any,
    attrs: dict[str, Any],
) -> xr.DataArray:
    if "suv" in series.facts:
        units, factor = series.facts["suv"]["units"], series.facts["suv"]["factor"]
        slope, intercept = slope * factor, intercept * factor
    return make_volume(
        stored, geometry, modality=series.modality, units=units, slope=slope, intercept=intercept, attrs=attrs
    )


def _lazily(series: Series, shape: tuple[int, int, int], dtype: np.dtype, chunk: int) -> Any:
    """Dask array whose blocks of ``chunk`` slices read themselves."""
    import dask
    import dask.array as da

    # a block needs no more than its own files; geometry and references would travel with every task
    light = dataclasses.replace(series, references=(), geometry={"shape": list(shape)})
    read, blocks = dask.delayed(_slab, pure=True), []
    for start in range(0, shape[0], chunk):
        stop = min(start + chunk, shape[0])
        own = light
        if len(series.files) == shape[0]:
            own = dataclasses.replace(
                light, files=series.files[start:stop], instances=series.instances[start:stop]
            )
        blocks.append(da.from_delayed(read(own, start, stop), (stop - start, *shape[1:]), dtype))
    return da.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _slab(series: Series, start: int, stop: int) -> np.ndarray:
    """Stored values of slices ``start`` to ``stop``; a single-frame series holds just their files."""
    if series.facts.get("format") == "NIfTI":
        return read_nifti(series)[0]
    if "frames" in series.facts:
        return _multi_frame(series)
    headers = [_header(series, k) for k in range(stop - start)]
    return _fill(headers, stored_dtype(headers[0]))


def _header(series: Series, k: int) -> Header:
    path = series.files[k]
    try:
        header = read_header(path)
    except InputError as error:
        raise InputError(f"{path} cannot be read any more: {error.message}.", "Scan again.") from None
    if header.text("SOPInstanceUID") != series.instances[k]:
        raise InputError(f"{path} is not the file that was scanned.", "Scan again.")
    return header


def _single_headers(series: Series, geometry: Geometry) -> list[Header]:
    headers = [_header(series, k) for k in range(len(series.files))]
    for header in headers:
        size = (header.values.get("Rows"), header.values.get("Columns"))
        if size != geometry.shape[1:] or header.values.get("BitsAllocated") != series.facts["bits_allocated"]:
            raise InputError(f"{header.path} changed since it was scanned.", "Scan again.")
    return headers


def _fill(headers: list[Header], dtype: np.dtype) -> np.ndarray:
    one = headers[0].values
    stored = np.empty((len(headers), one["Rows"], one["Columns"]), dtype)
    for k, header in enumerate(headers):
        read_stored(header, out=stored[k : k + 1])
    return stored


def _multi_frame(series: Series) -> np.ndarray:
    order, before = np.array(series.facts["frames"]), 0
    parts: list[np.ndarray] = []
    where: list[np.ndarray] = []
    for k, count in enumerate(series.frame_counts):
        own = np.flatnonzero((order >= before) & (order < before + count))
        header = _header(series, k)
        if header.values.get("NumberOfFrames", 1) != count:
            raise InputError(f"{header.path} changed since it was scanned.", "Scan again.")
        parts.append(read_stored(header, frames=order[own] - before))
        where.append(own)
        before += count
    if len(parts) == 1:
        return parts[0]
    stored = np.empty((len(order), *parts[0].shape[1:]), parts[0].dtype)
    for own, part in zip(where, parts, strict=True):
        stored[own] = part
    return stored


def _frame_rescale(series: Series) -> tuple[np.ndarray, np.ndarray]:
    order = np.array(series.facts["frames"])
    pairs = [_rescale_of(path, *state_of(path)) for path in series.files]
    for path, (slope, _), count in zip(series.files, pairs, series.frame_counts, strict=True):
        if len(slope) != count:
            raise InputError(f"{path} changed since it was scanned.", "Scan again.")
    slope, intercept = (np.concatenate(some)[order] for some in zip(*pairs, strict=True))
    return np.where(np.isfinite(slope), slope, 1.0), np.where(np.isfinite(intercept), intercept, 0.0)


@functools.lru_cache(maxsize=8)
def _rescale_of(path: str, *state: int) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept of every frame: each of the volumes of a file asks for them."""
    frames = read_frames(open_dataset(path))
    return frames.slope, frames.intercept

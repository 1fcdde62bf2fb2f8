"""RTDOSE to a volume in Gy: stored integers kept, DoseGridScaling as slope, planes from their offsets.

Planes of one file may be unevenly apart, where an even grid holds all of them (`defacedask.io.dicom.dose_steps`).

Source: DICOM PS3.3 C.8.8.3 (RT Dose module), C.8.8.3.2 (Grid Frame Offset Vector).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from defacedask.errors import DefacedaskError, InputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.dose_steps import FILLED, common_step, filled
from defacedask.io.dicom.gaps import uneven
from defacedask.io.dicom.headers import open_dataset
from defacedask.volume import make_volume

__all__ = ["read_dose"]

#: A deflated dose may inflate to this.
MAX_DOSE = 256 * 2**20
_RTDOSE = "1.2.840.10008.5.1.4.1.1.481.2"
#: Plane distances may differ by this part of their mean (or by 0.01 mm: offsets are decimal strings).
_EVEN = 0.01


def read_dose(series: Any, *, allow_relative: bool = False) -> xr.DataArray:
    """Read a dose grid.

    Parameters
    ----------
    series : Series, path, or sequence of paths
        One multi-frame (or single-frame) RTDOSE file, or single-frame files that together make one grid.
    allow_relative : bool
        Take DoseUnits RELATIVE too; the volume's units are then "1" and not "Gy".

    Returns
    -------
    xarray.DataArray
        A volume (`defacedask.volume.make_volume`) of modality RTDOSE: stored uint16 or uint32, planes sorted
        along the cross product of row and column direction, slope = DoseGridScaling (of each plane, where planes are
        files of their own). ``attrs["frames"]`` has the file's frame number (0-based), or the number of the file, of
        each plane, -1 of one that was filled in between planes that are unevenly apart; dose type and summation type
        are there too.

    Raises
    ------
    InputError
        If a file is not a readable RTDOSE with pixel data.
    RefusedError
        If no even grid holds all planes, the units are not Gy, or the grid is otherwise ambiguous; with the reason.
    """
    paths = _files(series)
    if not paths:
        raise InputError("this dose series has no file.")
    try:
        return _read(paths, allow_relative)
    except DefacedaskError:
        raise
    except Exception as error:  # pydicom raises whatever a broken element leads to
        raise InputError(
            f"{Path(paths[0]).name} cannot be read as a dose ({error}).", "Is the file whole?"
        ) from error


def _read(paths: list[str], allow_relative: bool) -> xr.DataArray:
    parts = []
    for path in paths:
        label = Path(path).name
        dataset = open_dataset(path, pixels=True, limit=MAX_DOSE)
        if dataset.get("SOPClassUID", "") != _RTDOSE and dataset.get("Modality", "") != "RTDOSE":
            raise InputError(f"{label} is not a dose grid (RTDOSE).")
        if "PixelData" not in dataset:
            raise InputError(f"{label} has no dose grid (no pixel data).", "Is the file whole?")
        units = _units(dataset, label, allow_relative)
        slope = _scaling(dataset, label)
        places = _places(dataset, label)
        parts.append((label, dataset, units, slope, places, _pixels(dataset, label, len(places))))
    if len(parts) > 1 and any(len(part[4]) > 1 for part in parts):
        raise RefusedError(
            f"this dose series holds {len(parts)} dose grids ({', '.join(p[0] for p in parts[:3])}, ...).",
            "Read them one by one: whether they are to be summed is not for a reader to guess.",
        )
    for label, dataset, units, _, _, pixels in parts[1:]:
        _same(parts[0], label, dataset, units, pixels)

    label, dataset, units, _, _, _ = parts[0]
    places = parts[0][4]
    if len(parts) > 1:
        places = np.array([_along(dataset, part[1], part[0]) for part in parts])
        first = int(np.argmin(places))
        label, dataset = parts[first][:2]  # the lowest plane's position is the grid's
        places = places - places[first]
    stored = np.concatenate([part[5] for part in parts])
    order, index, geometry = _grid(dataset, label, places, stored.shape[1:], alone=len(parts) == 1)
    frames = np.full(geometry.shape[0], FILLED)
    frames[index] = order
    attrs = {
        "frames": frames.tolist(),
        "dose_type": str(dataset.get("DoseType") or ""),
        "dose_summation_type": str(dataset.get("DoseSummationType") or ""),
        "sop_instance_uid": str(dataset.get("SOPInstanceUID") or ""),
    }
    # one file a plane may give each plane a scaling of its own
    slope = np.array([part[3] for part in parts])[order] if len(parts) > 1 else parts[0][3]
    if not np.array_equal(order, np.arange(len(order))):
        stored = stored[order]
    if len(frames) > len(order):
        stored = filled(stored, index)
    return make_volume(
        stored,
        geometry,
        modality="RTDOSE",
        units="Gy" if units == "GY" else "1",
        slope=slope,
        name="dose",
        attrs=attrs,
    )


def _files(series: Any) -> list[str]:
    if isinstance(series, (str, os.PathLike)):
        return [os.fspath(series)]
    return [os.fspath(p) for p in getattr(series, "files", series)]


def _numbers(dataset: Any, keyword: str, label: str, count: int | None = None) -> np.ndarray:
    """Finite numbers of an element."""
    try:
        value = dataset.get(keyword)
        values = np.atleast_1d(np.array([] if value is None else value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(f"{label} has an unreadable {keyword} ({error}).") from error
    if not np.isfinite(values).all() or (count is not None and len(values) != count):
        raise InputError(f"{label} has no usable {keyword}.")
    return values


def _units(dataset: Any, label: str, allow_relative: bool) -> str:
    units = str(dataset.get("DoseUnits") or "").upper()
    if units != "GY" and not (units == "RELATIVE" and allow_relative):
        said = f"in {units} units" if units else "without units"
        raise RefusedError(f"{label} gives its dose {said}, not in Gy.", "Export the absolute dose.")
    if str(dataset.get("DoseType") or "").upper() == "ERROR":
        raise RefusedError(f"{label} is a map of dose errors, not of dose.")
    return units


def _scaling(dataset: Any, label: str) -> float:
    slope = float(_numbers(dataset, "DoseGridScaling", label, 1)[0])
    if slope <= 0:
        raise InputError(f"{label} has a DoseGridScaling of {slope:g}.", "It must be positive.")
    return slope


def _places(dataset: Any, label: str) -> np.ndarray:
    """Distance (mm) of every frame's plane from the first one's image position, along row x column."""
    count = (
        int(_numbers(dataset, "NumberOfFrames", label)[0]) if dataset.get("NumberOfFrames") is not None else 1
    )
    if count < 1:
        raise InputError(f"{label} has no frame.")
    if count == 1:
        return np.zeros(1)
    offsets = _numbers(dataset, "GridFrameOffsetVector", label)
    if len(offsets) != count:
        raise RefusedError(
            f"{label} has {count} planes but {len(offsets)} plane offsets.", "Export the dose again."
        )
    position = _numbers(dataset, "ImagePositionPatient", label, 3)
    orientation = _numbers(dataset, "ImageOrientationPatient", label, 6)
    # The first two ways are the standard's: offsets from the image position, or patient z of axial planes.
    if abs(offsets[0]) < 1e-6:
        return offsets
    axial = np.allclose(orientation, (1, 0, 0, 0, 1, 0), atol=1e-4)
    if axial and abs(offsets[0] - position[2]) < 0.01:
        return offsets - offsets[0]
    raise RefusedError(
        f"{label}: its plane offsets start at {offsets[0]:g} mm, which is neither 0 nor the image position's "
        f"z ({position[2]:g} mm, axial planes only), so where the dose lies is not known.",
        "Export the dose again.",
    )


def _along(head: Any, dataset: Any, label: str) -> float:
    """Distance (mm) of a file's plane from another's, along row x column."""
    orientation = _numbers(head, "ImageOrientationPatient", label, 6)
    normal = np.cross(orientation[:3], orientation[3:])
    away = _numbers(dataset, "ImagePositionPatient", label, 3) - _numbers(
        head, "ImagePositionPatient", label, 3
    )
    place = float(away @ normal)
    if np.abs(away - place * normal).max() > 0.01:
        raise RefusedError(f"{label}: its plane is shifted sideways against the others of its grid.")
    return place


def _pixels(dataset: Any, label: str, count: int) -> np.ndarray:
    """(frames, rows, columns) stored values."""
    try:
        if "TransferSyntaxUID" not in dataset.file_meta:
            raise InputError(f"{label} does not say how its pixels are coded (no transfer syntax).")
        pixels = dataset.pixel_array
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the dose grid of {label} cannot be decoded ({error}).", "Is the file whole?"
        ) from error
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if pixels.size != count * rows * columns:
        raise InputError(f"the dose grid of {label} has not the size its header says.")
    return pixels.reshape(count, rows, columns)


def _same(first: tuple, label: str, dataset: Any, units: str, pixels: np.ndarray) -> None:
    """Refuse single planes that do not belong to one grid."""
    head = first[1]
    for keyword in (
        "PixelSpacing",
        "ImageOrientationPatient",
        "FrameOfReferenceUID",
        "DoseSummationType",
        "DoseType",
    ):
        if str(dataset.get(keyword)) != str(head.get(keyword)):
            raise RefusedError(
                f"{label} and {first[0]} differ in {keyword}: they are not planes of one dose grid."
            )
    if units != first[2] or pixels.shape[1:] != first[5].shape[1:] or pixels.dtype != first[5].dtype:
        raise RefusedError(
            f"{label} and {first[0]} differ in units or size: they are not planes of one dose grid."
        )


def _grid(
    dataset: Any, label: str, places: np.ndarray, shape: tuple[int, int], *, alone: bool
) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """Order of the planes along row x column, which plane of the grid each is then, and the grid.

    Planes that are files of their own (not ``alone``) must be even: one may be missing.
    """
    position = _numbers(dataset, "ImagePositionPatient", label, 3)
    orientation = _numbers(dataset, "ImageOrientationPatient", label, 6)
    spacing = _numbers(dataset, "PixelSpacing", label, 2)
    across, down = orientation[:3], orientation[3:]
    axes = np.stack([across, down])
    if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2 or (spacing <= 0).any():
        raise InputError(f"{label} has an unusable orientation or pixel spacing.")
    normal = np.cross(across, down)
    normal /= np.linalg.norm(normal)
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])
    index = np.arange(len(order))
    if len(steps):
        step = float(places[order[-1]] - places[order[0]]) / len(steps)
        if (steps <= 1e-3).any():
            raise RefusedError(f"{label} has two dose planes at the same place.", "Export the dose again.")
        uneven_by = float(np.abs(steps - step).max())
        found = common_step(places[order]) if alone and uneven_by > max(_EVEN * step, 0.01) else None
        if found is not None:
            step, index = found
        elif uneven_by > max(_EVEN * step, 0.01):
            raise RefusedError(
                f"{label}: its dose planes are unevenly spaced ({steps.min():g} to {steps.max():g} mm): "
                f"{uneven(places[order]).replace('slice', 'plane')}.",
                "Export the dose on an even grid.",
            )
    else:
        step = (
            float(_numbers(dataset, "SliceThickness", label).sum()) if dataset.get("SliceThickness") else 0.0
        )
        if step <= 0:
            raise RefusedError(
                f"{label} is a single dose plane of unknown thickness.", "Export the dose as a grid."
            )
    geometry = Geometry.from_steps(
        (int(index[-1]) + 1, *shape),
        (position + places[order[0]] * normal).tolist(),
        (normal * step).tolist(),
        (down * spacing[0]).tolist(),
        (across * spacing[1]).tolist(),
        str(dataset.get("FrameOfReferenceUID") or ""),
    )
    return order, index, geometry

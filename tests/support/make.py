"""Synthetic DICOM for tests: single-frame and multi-frame CT, MR, PET with any geometry and transfer syntax.

Everything is deterministic: UIDs are hashes of what the caller names, so that the same call writes the same bytes.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from defacedask.geometry import Geometry

ROOT = "1.2.840.10008.5.1.4.1.1."
SOP = {
    **{"CT": ROOT + "2", "MR": ROOT + "4", "PT": ROOT + "128"},
    **{"RTDOSE": ROOT + "481.2", "RTSTRUCT": ROOT + "481.3", "RTPLAN": ROOT + "481.5"},
    **{"SEG": ROOT + "66.4", "REG": ROOT + "66.1", "SC": ROOT + "7"},
    **{"enhanced CT": ROOT + "2.1", "enhanced MR": ROOT + "4.1", "enhanced PT": ROOT + "130"},
}
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def uid(*parts: object) -> str:
    """A UID that depends on the parts only."""
    return generate_uid(entropy_srcs=["defacedask tests", *map(str, parts)])


def ds(values: Any) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return [format_number_as_ds(float(v)) for v in np.ravel(values)]


def item(**elements: Any) -> Dataset:
    """A dataset with these elements."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def ramp(
    shape: tuple[int, int, int], dtype: Any = np.int16, seed: int = 0, low: int = -1000, high: int = 3000
) -> np.ndarray:
    """Random stored values over a range."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(max(low, info.min), min(high, info.max) + 1, shape).astype(dtype)


def waves(shape: tuple[int, int, int], dtype: Any = np.int16) -> np.ndarray:
    """Smooth stored values with a little noise, over most of what the type holds: some encoders refuse pure noise."""
    info = np.iinfo(dtype)
    z, y, x = np.meshgrid(*[np.linspace(0, 3, n) for n in shape], indexing="ij")
    values = np.sin(z + 2 * y) * np.cos(x + z) * 0.45 + 0.5
    noise = np.random.default_rng(1).integers(0, 3, shape)
    return (info.min + values * (float(info.max) - info.min - 4) + noise).astype(dtype)


def orientations() -> list[np.ndarray]:
    """The 48 signed permutation matrices."""
    out = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[list(order), range(3)] = signs
            out.append(matrix)
    return out


def grid(
    shape: tuple[int, int, int] = (5, 6, 7),
    spacing: tuple[float, float, float] = (3.0, 1.5, 1.25),
    directions: np.ndarray | None = None,
    origin: tuple[float, float, float] = (-40.5, -20.25, 100.0),
    frame: str | None = None,
) -> Geometry:
    """A grid whose array axes z, y, x run along the columns of ``directions`` (LPS); default axial, head first."""
    axes = np.array([[0, 0, 1.0], [0, 1, 0], [1, 0, 0]]) if directions is None else directions
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    affine[:3, 3] = origin
    return Geometry(shape, affine, uid("frame") if frame is None else frame)


def new(
    modality: str,
    patient: str,
    series: str,
    *,
    instance: object,
    sop_class: str = "",
    syntax: str = ExplicitVRLittleEndian,
) -> FileDataset:
    """An instance with what every instance has; study and frame of reference follow the patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class or SOP[modality]
    meta.MediaStorageSOPInstanceUID = uid(patient, series, "instance", instance)
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = uid("implementation")
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dataset = FileDataset(
        "", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=implicit, is_little_endian=little
    )
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    dataset.Modality, dataset.Manufacturer = modality, "defacedask tests"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = (
        "Test",
        patient,
        "",
        "",
    )
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(patient, "study"), uid(patient, series)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20240102"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = "101500"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", "", ""
    dataset.SeriesNumber, dataset.SeriesDescription, dataset.InstanceNumber = 1, series, 1
    return dataset


def set_pixels(dataset: Dataset, stored: np.ndarray, bits_stored: int | None = None) -> None:
    """Pixel module of native data, in the byte order of the transfer syntax."""
    bits = stored.dtype.itemsize * 8
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored = bits, bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    big = dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    dataset.PixelData = np.ascontiguousarray(stored, stored.dtype.newbyteorder(">" if big else "<")).tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"


def save(dataset: FileDataset, path: Path, syntax: str = "") -> Path:
    """Write; ``syntax`` other than the dataset's own compresses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax and syntax not in NATIVE and not syntax.startswith("dcmcj"):
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    if syntax.startswith("dcmcj"):
        subprocess.run([*syntax.split(), path, path], check=True, capture_output=True)
    return path


def pet_facts(dataset: Dataset, **changes: Any) -> None:
    """What body-weight SUV needs: 370 MBq of F-18, 70 kg, injected an hour before the scan."""
    dataset.Units, dataset.DecayCorrection = "BQML", "START"
    dataset.CorrectedImage = ["DECY", "ATTN", "SCAT"]
    dataset.PatientWeight = "70"
    dataset.FrameReferenceTime, dataset.ActualFrameDuration = "0", "180000"
    dataset.RadiopharmaceuticalInformationSequence = Sequence(
        [
            item(
                RadiopharmaceuticalStartTime="091500",
                RadionuclideTotalDose="370000000",
                RadionuclideHalfLife="6586.2",
            )
        ]
    )
    for keyword, value in changes.items():
        owner = dataset
        if keyword.startswith("Radio"):
            owner = dataset.RadiopharmaceuticalInformationSequence[0]
        if value is None:
            delattr(owner, keyword)
        else:
            setattr(owner, keyword, value)


def write_series(
    folder: Path,
    stored: np.ndarray,
    geometry: Geometry,
    modality: str = "CT",
    *,
    patient: str = "P1",
    series: str = "images",
    syntax: str = ExplicitVRLittleEndian,
    slope: float | np.ndarray = 1.0,
    intercept: float | np.ndarray = 0.0,
    bits_stored: int | None = None,
    change: Any = None,
    only: list[int] | None = None,
) -> list[Path]:
    """Write one file a slice.

    Parameters
    ----------
    stored : (z, y, x) integer array
    geometry : Geometry
        Any: the slices are written where it says, whatever the order along the normal.
    syntax : str
        Transfer syntax UID, or a ``dcmcjpeg`` command line.
    slope, intercept : float or (z,) array
    change : callable, optional
        ``change(dataset, k)`` alters the dataset of slice ``k`` before it is written; False leaves it out.
    only : list of int, optional
        These slices only.

    Returns
    -------
    list of Path
        In the order of the array.
    """
    count = len(stored)
    slopes, intercepts = np.broadcast_to(slope, count), np.broadcast_to(intercept, count)
    native = syntax if syntax in NATIVE else ExplicitVRLittleEndian
    out = []
    for k in range(count) if only is None else only:
        dataset = new(modality, patient, series, instance=k, syntax=native)
        dataset.InstanceNumber = k + 1
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        if geometry.frame_of_reference:
            dataset.FrameOfReferenceUID = geometry.frame_of_reference
        dataset.PatientPosition = "HFS"
        dataset.ImagePositionPatient = ds(geometry.to_world([k, 0, 0]))
        dataset.ImageOrientationPatient = ds([geometry.directions[:, 2], geometry.directions[:, 1]])
        dataset.PixelSpacing = ds(geometry.spacing[1:])
        if modality != "MR":
            dataset.RescaleSlope, dataset.RescaleIntercept = ds([slopes[k]])[0], ds([intercepts[k]])[0]
        if modality == "PT":
            pet_facts(dataset)
        set_pixels(dataset, stored[k], bits_stored)
        if change is not None and change(dataset, k) is False:
            continue
        out.append(save(dataset, folder / f"{series}.{k:04d}.dcm", syntax))
    return out


def write_enhanced(
    path: Path,
    stored: np.ndarray,
    geometry: Geometry,
    modality: str = "MR",
    *,
    patient: str = "P1",
    series: str = "enhanced",
    syntax: str = ExplicitVRLittleEndian,
    slope: float | np.ndarray = 1.0,
    intercept: float | np.ndarray = 0.0,
    order: list[int] | None = None,
    change: Any = None,
) -> Path:
    """Write one multi-frame file; ``order`` is the order of the frames, ``change(dataset)`` alters it."""
    count = len(stored)
    order = list(range(count)) if order is None else order
    slopes, intercepts = np.broadcast_to(slope, count), np.broadcast_to(intercept, count)
    native = syntax if syntax in NATIVE else ExplicitVRLittleEndian
    dataset = new(modality, patient, series, instance=0, sop_class=SOP[f"enhanced {modality}"], syntax=native)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.FrameOfReferenceUID, dataset.NumberOfFrames = geometry.frame_of_reference, len(order)
    orientation = item(ImageOrientationPatient=ds([geometry.directions[:, 2], geometry.directions[:, 1]]))
    measures = item(PixelSpacing=ds(geometry.spacing[1:]), SliceThickness=ds([geometry.spacing[0]])[0])
    dataset.SharedFunctionalGroupsSequence = Sequence(
        [item(PlaneOrientationSequence=Sequence([orientation]), PixelMeasuresSequence=Sequence([measures]))]
    )
    frames = []
    for k in order:
        content = item(
            StackID="1",
            InStackPositionNumber=k + 1,
            DimensionIndexValues=[1, k + 1],
            FrameAcquisitionNumber=1,
        )
        rescale = item(RescaleSlope=ds([slopes[k]])[0], RescaleIntercept=ds([intercepts[k]])[0])
        rescale.RescaleType = {"CT": "HU"}.get(modality, "US")
        position = item(ImagePositionPatient=ds(geometry.to_world([k, 0, 0])))
        frames.append(
            item(
                FrameContentSequence=Sequence([content]),
                PlanePositionSequence=Sequence([position]),
                PixelValueTransformationSequence=Sequence([rescale]),
            )
        )
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    set_pixels(dataset, stored[order])
    if change is not None:
        change(dataset)
    return save(dataset, path, syntax)


def write_struct(
    path: Path,
    names: list[str],
    *,
    patient: str = "P1",
    series: str = "structures",
    frame: str = "",
    instances: Iterable[str] = (),
    series_uid: str = "",
) -> Path:
    """A structure set of names without contours, with the references asked for."""
    dataset = new("RTSTRUCT", patient, series, instance=0)
    dataset.StructureSetLabel = "TEST"
    dataset.StructureSetROISequence = Sequence(
        [
            item(ROINumber=n, ROIName=name, **({"ReferencedFrameOfReferenceUID": frame} if frame else {}))
            for n, name in enumerate(names, 1)
        ]
    )
    reference = item()
    if frame:
        reference.FrameOfReferenceUID = frame
    instances = list(instances)
    if instances or series_uid:
        contour_images = Sequence(
            [item(ReferencedSOPClassUID=SOP["CT"], ReferencedSOPInstanceUID=u) for u in instances]
        )
        inner = item(SeriesInstanceUID=series_uid or uid("nowhere"), ContourImageSequence=contour_images)
        study = item(
            ReferencedSOPInstanceUID=uid(patient, "study"), RTReferencedSeriesSequence=Sequence([inner])
        )
        reference.RTReferencedStudySequence = Sequence([study])
    dataset.ReferencedFrameOfReferenceSequence = Sequence([reference])
    return save(dataset, path)

"""DICOM data sets of a virtual patient, element by element: the part all modalities share."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian

from defacedask.geometry import Geometry
from defacedask.phantom.virtual import MANUFACTURER, MODEL

__all__ = [
    "SOP_CLASS",
    "Study",
    "encoded",
    "image",
    "item",
    "number",
    "numbers",
    "pixels",
    "plane",
    "references",
    "save",
    "uid",
]

SOP_CLASS = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
    "RTDOSE": "1.2.840.10008.5.1.4.1.1.481.2",
    "RTPLAN": "1.2.840.10008.5.1.4.1.1.481.5",
    "REG": "1.2.840.10008.5.1.4.1.1.66.1",
}


def uid(*parts: Any) -> UID:
    """UID under 2.25 (no root needed) that depends on the parts alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}")


def number(value: float) -> str:
    """Decimal string of at most 16 characters, without a trailing point."""
    return f"{float(value):.4f}".rstrip("0").rstrip(".").replace("-0", "0" if abs(value) < 5e-5 else "-0")


def numbers(tag: BaseTag, values: np.ndarray) -> RawDataElement:
    """Many decimal strings (mm, two decimals) as they are written; pydicom would check them one by one."""
    raw = b"\\".join(b"%.2f" % v for v in (np.round(values, 2) + 0.0).ravel().tolist())
    raw += b" " * (len(raw) % 2)
    return RawDataElement(tag, "DS", len(raw), raw, 0, False, True)


def item(**elements: Any) -> Dataset:
    """Data set from keyword elements."""
    out = Dataset()
    for keyword, value in elements.items():
        setattr(out, keyword, value)
    return out


@dataclasses.dataclass(frozen=True)
class Study:
    """Who and when: what every instance of one scan shares.

    Attributes
    ----------
    seed, subject, scan : int
        They alone decide every UID.
    """

    seed: int
    subject: int
    scan: int

    @property
    def patient_id(self) -> str:
        """Such as ``VP-0001``."""
        return f"VP-{self.subject:04d}"

    @property
    def date(self) -> datetime.date:
        """Made up: half a year between a subject's scans."""
        first = datetime.date(2020, 1, 6) + datetime.timedelta(days=self.subject)
        return first + datetime.timedelta(days=182 * (self.scan - 1))

    def uid(self, *what: Any) -> UID:
        """UID of something in this study."""
        return uid("defacedask phantom 1", self.seed, self.subject, self.scan, *what)

    def instance(self, modality: str, series: str, count: int, description: str, k: int) -> FileDataset:
        """Patient, study, series, equipment and SOP elements of instance number ``k`` (from 1)."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(SOP_CLASS[modality])
        meta.MediaStorageSOPInstanceUID = self.uid(series, k)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = uid("defacedask implementation")
        meta.ImplementationVersionName = "DEFACEDASK"
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        day = self.date.strftime("%Y%m%d")
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SOPClassUID, ds.SOPInstanceUID = SOP_CLASS[modality], meta.MediaStorageSOPInstanceUID
        ds.StudyDate = ds.SeriesDate = day
        ds.StudyTime, ds.SeriesTime = "090000", f"09{count:02d}00"
        if modality not in ("RTSTRUCT", "RTPLAN"):
            ds.ContentDate, ds.ContentTime = day, ds.SeriesTime
        ds.AccessionNumber, ds.ReferringPhysicianName = "", ""
        ds.Modality, ds.Manufacturer = modality, MANUFACTURER
        ds.ManufacturerModelName, ds.SoftwareVersions = MODEL, "1"
        ds.StudyDescription, ds.SeriesDescription = f"Virtual patient, scan {self.scan}", description
        ds.PatientName, ds.PatientID = f"Virtual^Patient {self.subject:04d}", self.patient_id
        ds.PatientBirthDate, ds.PatientSex, ds.PatientWeight = "", "O", "70"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = self.uid("study"), self.uid(series)
        ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = str(self.scan), str(count), str(k)
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = self.uid("frame"), ""
        if modality.startswith("RT"):
            ds.OperatorsName = ""
        else:
            ds.BodyPartExamined = "HEAD"
        return ds

    def renumber(self, ds: FileDataset, series: str, k: int) -> UID:
        """Make a data set instance number ``k`` (from 1) of its series; return its SOP Instance UID."""
        instance = self.uid(series, k)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = instance
        ds.InstanceNumber = str(k)
        return instance


def plane(ds: Dataset, grid: Geometry, k: int) -> None:
    """Where slice ``k`` lies."""
    position = grid.to_world([k, 0, 0])
    ds.ImagePositionPatient = [number(v) for v in position]
    if ds.SOPClassUID != SOP_CLASS["RTDOSE"]:
        ds.SliceLocation = number(position[2])


def pixels(ds: Dataset, stored: np.ndarray) -> None:
    """Pixel data of one slice, or of all slices as frames."""
    ds.PixelData = np.ascontiguousarray(stored).astype(stored.dtype.newbyteorder("<")).tobytes()
    ds["PixelData"].VR = "OW"


def image(ds: Dataset, grid: Geometry, dtype: np.dtype, bits: int = 16) -> None:
    """Elements that all slices of a series share."""
    _, ds.Rows, ds.Columns = grid.shape
    ds.PixelSpacing = [number(mm) for mm in grid.spacing[1:]]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.SliceThickness = number(grid.spacing[0])
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PixelRepresentation = int(dtype.kind == "i")


def encoded(ds: FileDataset) -> FileDataset:
    """Return the same data set with every element as its bytes: writing it again and again is cheap."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


def save(ds: Dataset, path: Path) -> None:
    """Write one file in one go."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    path.write_bytes(buffer.getvalue())


def references(sop_class: str, uids: list[str]) -> Sequence:
    """Referenced SOP items."""
    return Sequence(
        item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance) for instance in uids
    )

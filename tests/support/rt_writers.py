"""Small RTSTRUCT and RTDOSE files for tests, with anything in them that a test wants."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from skimage.measure import find_contours

from defacedask.geometry import Geometry

STRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
FRAME = "1.2.826.0.1.3680043.8.498.1"


def _file(sop_class: str, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, meta.MediaStorageSOPInstanceUID, modality
    ds.PatientID, ds.FrameOfReferenceUID = "test", FRAME
    return ds


def contour(points: np.ndarray, kind: str = "CLOSED_PLANAR") -> Dataset:
    """One contour item of (n, 3) LPS mm points."""
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
    item.ContourData = [f"{v:.10g}"[:16] for v in np.asarray(points, dtype=float).ravel()]
    return item


def roi(name: str, contours: Iterable[Any] = (), **facts: Any) -> dict[str, Any]:
    """One region for `write_struct`; contours are (n, 3) arrays or items."""
    items = [c if isinstance(c, Dataset) else contour(c) for c in contours]
    return {"name": name, "contours": items, **facts}


def write_struct(path: Path, rois: Sequence[dict[str, Any]], frame: str | None = FRAME) -> Path:
    ds = _file(STRUCT, "RTSTRUCT")
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for at, facts in enumerate(rois, 1):
        number = facts.get("number", at)
        head, body, seen = Dataset(), Dataset(), Dataset()
        head.ROINumber, head.ROIName = number, facts["name"]
        this = facts.get("frame", frame)
        if this:
            head.ReferencedFrameOfReferenceUID = this
        body.ReferencedROINumber, body.ROIDisplayColor = number, facts.get("colour", [1, 2, 3])
        body.ContourSequence = facts["contours"]
        seen.ReferencedROINumber, seen.ObservationNumber = number, at
        seen.RTROIInterpretedType = facts.get("kind", "ORGAN")
        if facts.get("listed", True):
            ds.StructureSetROISequence.append(head)
            ds.RTROIObservationsSequence.append(seen)
        if facts.get("drawn", True):
            ds.ROIContourSequence.append(body)
    ds.save_as(path, enforce_file_format=True)
    return path


def contours_of(mask: np.ndarray, geometry: Geometry) -> list[np.ndarray]:
    """Contours around a (z, y, x) mask, halfway between voxel centres, as LPS mm points."""
    out = []
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        for line in find_contours(np.pad(mask[k], 1).astype(float), 0.5):
            line = line[:-1] - 1
            out.append(geometry.to_world(np.column_stack([np.full(len(line), float(k)), line])))
    return out


def square(z: float, low: float, high: float) -> np.ndarray:
    """Axis-aligned square in the axial plane at z mm."""
    return np.array([[low, low, z], [high, low, z], [high, high, z], [low, high, z]], dtype=float)


def write_dose(path: Path, stored: np.ndarray, **elements: Any) -> Path:
    """RTDOSE of (frames, rows, columns) stored values; keyword arguments replace or drop (None) elements."""
    ds = _file(DOSE, "RTDOSE")
    facts = {
        "Rows": stored.shape[1],
        "Columns": stored.shape[2],
        "NumberOfFrames": stored.shape[0],
        "GridFrameOffsetVector": [2.5 * k for k in range(stored.shape[0])],
        "ImagePositionPatient": [-10, 20, 30],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [3, 2],
        "DoseUnits": "GY",
        "DoseType": "PHYSICAL",
        "DoseSummationType": "PLAN",
        "DoseGridScaling": "0.001",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 * stored.dtype.itemsize,
        "BitsStored": 8 * stored.dtype.itemsize,
        "HighBit": 8 * stored.dtype.itemsize - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "FrameIncrementPointer": 0x3004000C,
        **elements,
    }
    for keyword, value in facts.items():
        if value is not None:
            setattr(ds, keyword, value)
    ds.PixelData = np.ascontiguousarray(stored).tobytes()
    ds["PixelData"].VR = "OW"
    ds.save_as(path, enforce_file_format=True)
    return path


@functools.cache
def openkbp_dicom(tool: Path, source: Path, patient: str) -> Path:
    """Folder with one OpenKBP patient as DICOM, written once a test process."""
    # kept by the cache, removed when the process ends
    out = tempfile.TemporaryDirectory(prefix="openkbp-")
    _folders.append(out)
    subprocess.run(
        [sys.executable, str(tool), str(source), out.name, "--only", patient], check=True, capture_output=True
    )
    return Path(out.name) / patient


_folders: list[tempfile.TemporaryDirectory[str]] = []


def mutated(whole: bytes, seed: int) -> bytes:
    """A file with a few bytes replaced, added, dropped, or its end cut off; the header's start is kept."""
    rng = np.random.default_rng(seed)
    out = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        at, some = int(rng.integers(140, len(out))), int(rng.integers(1, 9))
        noise = rng.integers(0, 256, some, dtype=np.uint8).tobytes()
        match rng.integers(4):
            case 0:
                out[at : at + some] = noise
            case 1:
                out[at:at] = noise
            case 2:
                del out[at : at + some]
            case _:
                del out[max(200, at) :]
    return bytes(out)

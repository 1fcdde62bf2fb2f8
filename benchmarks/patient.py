"""The virtual patient that is measured: the built-in average head on any grid, as DICOM CT, with its structures."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.geometry import Geometry
from defacedask.io.dicom.structures import Structure

#: Name -> shape (z, y, x) and spacing in mm. All hold the whole head.
SIZES: dict[str, tuple[tuple[int, int, int], tuple[float, float, float]]] = {
    "tiny": ((64, 72, 64), (5.0, 4.0, 4.0)),
    "coarse": ((128, 128, 128), (2.5, 2.2, 2.2)),
    "clinical": ((200, 512, 512), (1.6, 0.6, 0.6)),
}


@dataclasses.dataclass(frozen=True)
class Patient:
    """Where the CT lies, its grid and its structures."""

    folder: Path
    geometry: Geometry
    structures: list[Structure]


def make_patient(size: str, folder: Path) -> Patient:
    """Write the CT of one size (once) and make the masks."""
    shape, spacing = SIZES[size]
    centre = _affine()[:3] @ [*((np.array(_load("average_ct").shape) - 1) / 2), 1]
    origin = centre - (np.array(shape[::-1]) - 1) / 2 * np.array(spacing[::-1])
    geometry = Geometry.from_spacing(shape, spacing, origin, "1.2.826.0.1.3680043.8.498.1.1")
    folder = Path(folder) / size
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        _write(_hounsfield(geometry), geometry, partial)
        partial.rename(folder)
    return Patient(folder, geometry, _structures(geometry))


def _load(name: str) -> np.ndarray:
    import nibabel

    return np.asarray(nibabel.load(str(files("defacedask") / "data" / f"{name}.nii.gz")).dataobj)


def _affine() -> np.ndarray:
    """Index (i, j, k) of the average head to LPS mm."""
    import nibabel

    image = nibabel.load(str(files("defacedask") / "data" / "average_ct.nii.gz"))
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def _sample(values: np.ndarray, geometry: Geometry, order: int, outside: float) -> np.ndarray:
    """Values of the average head on another grid, (z, y, x)."""
    from scipy.ndimage import affine_transform

    to_head = np.linalg.inv(_affine()) @ geometry.affine
    kind = values.dtype if order == 0 else np.float32
    return affine_transform(
        values, to_head[:3, :3], to_head[:3, 3], geometry.shape, kind, order, "constant", outside
    )


def _hounsfield(geometry: Geometry) -> np.ndarray:
    values = _sample(_load("average_ct").astype(np.float32), geometry, 1, -1000.0)
    noise = np.random.default_rng(0).normal(0, 12, geometry.shape).astype(np.float32)
    return np.clip(np.rint(values + noise), -1024, 3071).astype(np.int16)


def _structures(geometry: Geometry) -> list[Structure]:
    names = json.loads((files("defacedask") / "data" / "average_head.json").read_text())["structures"]
    bits = _sample(_load("structures"), geometry, 0, 0)
    found = []
    for number, name in enumerate(names):
        mask = (bits >> number) & 1 == 1
        where = np.argwhere(mask)
        if not len(where):
            continue
        start, stop = where.min(axis=0), where.max(axis=0) + 1
        box = mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        found.append(Structure(name, name, number + 1, None, "ORGAN", tuple(map(int, start)), box, ()))
    return found


def _write(stored: np.ndarray, geometry: Geometry, folder: Path) -> None:
    """Write one uncompressed CT instance a slice."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    root = geometry.frame_of_reference.rpartition(".")[0]
    common: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "PatientID": "VIRTUAL",
        "PatientName": "Virtual^Average",
        "StudyInstanceUID": f"{root}.2",
        "SeriesInstanceUID": f"{root}.3",
        "FrameOfReferenceUID": geometry.frame_of_reference,
        "SeriesDescription": "virtual patient",
        "PatientPosition": "HFS",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [geometry.spacing[1], geometry.spacing[2]],
        "SliceThickness": geometry.spacing[0],
        "Rows": geometry.shape[1],
        "Columns": geometry.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "RescaleType": "HU",
        "SeriesNumber": 1,
    }
    for k in range(geometry.shape[0]):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{root}.4.{k + 1}"
        path = folder / f"{k:04d}.dcm"
        data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        for keyword, value in common.items():
            setattr(data, keyword, value)
        data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        data.InstanceNumber = k + 1
        data.ImagePositionPatient = [round(float(v), 6) for v in geometry.to_world([k, 0, 0])]
        data.PixelData = stored[k].tobytes()
        data.save_as(path, enforce_file_format=True)

"""Image series of a virtual patient as DICOM: CT, MR and PET."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset

from defacedask.geometry import Geometry
from defacedask.phantom.elements import Study, encoded, image, item, number, pixels, plane, save

__all__ = ["write_ct", "write_mr", "write_pt"]


def _write(
    folder: Path,
    study: Study,
    first: FileDataset,
    series: str,
    grid: Geometry,
    slices: Iterator[tuple[np.ndarray, dict[str, Any]]],
) -> list[str]:
    """Write slice after slice (pixels, and elements of its own) of a series whose elements ``first`` holds."""
    ds = encoded(first)
    uids: list[str] = []
    for k, (stored, own) in enumerate(slices):
        uids.append(study.renumber(ds, series, k + 1))
        plane(ds, grid, k)
        for keyword, value in own.items():
            setattr(ds, keyword, value)
        pixels(ds, stored)
        save(ds, folder / f"{series.upper()}.{k + 1:04d}.dcm")
    return uids


def write_ct(folder: Path, study: Study, hu: np.ndarray, grid: Geometry) -> list[str]:
    """Write a CT series, superior slice last; return the SOP Instance UIDs in slice order."""
    stored = np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)
    ds = study.instance("CT", "ct", 1, "Planning CT", 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.AcquisitionNumber, ds.KVP, ds.PatientPosition = "1", "120", "HFS"
    ds.AcquisitionDate, ds.AcquisitionTime = ds.SeriesDate, ds.SeriesTime
    image(ds, grid, stored.dtype)
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    return _write(folder, study, ds, "ct", grid, ((part, {}) for part in stored))


def write_mr(folder: Path, study: Study, t1: np.ndarray, grid: Geometry) -> list[str]:
    """Write a T1-weighted MR series."""
    stored = np.rint(np.clip(t1 * 2.0, 0, 4095)).astype(np.uint16)
    ds = study.instance("MR", "mr", 2, "T1 3D", 1)
    ds.FrameOfReferenceUID = grid.frame_of_reference
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.AcquisitionNumber, ds.PatientPosition = "1", "HFS"
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = ["GR", "IR"], ["SP", "MP"], ""
    ds.MRAcquisitionType, ds.MagneticFieldStrength = "3D", "3"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength = "2300", "2.98", "1"
    ds.InversionTime, ds.FlipAngle = "900", "9"
    image(ds, grid, stored.dtype, bits=12)
    ds.WindowCenter, ds.WindowWidth = "400", "800"
    return _write(folder, study, ds, "mr", grid, ((part, {}) for part in stored))


#: Injected activity (Bq), time from injection to scan (s) and half-life of fluorine-18 (s).
DOSE, UPTAKE_SECONDS, HALF_LIFE = 3.7e8, 3600, 6586.2
WEIGHT_KG = 70.0


def suv_to_becquerel() -> float:
    """Bq/mL of SUV 1, decay corrected to the start of the scan (1 mL weighs 1 g)."""
    return DOSE * 2 ** (-UPTAKE_SECONDS / HALF_LIFE) / (WEIGHT_KG * 1000)


def write_pt(folder: Path, study: Study, suv: np.ndarray, grid: Geometry) -> list[str]:
    """Write an FDG PET series in Bq/mL with all that a body-weight SUV needs; one slope a slice."""
    ds = study.instance("PT", "pt", 3, "FDG PET, attenuation corrected", 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.AcquisitionDate, ds.AcquisitionTime = ds.SeriesDate, ds.SeriesTime
    ds.NumberOfSlices = grid.shape[0]
    ds.Units, ds.CountsSource, ds.SeriesType = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"]
    ds.CollimatorType, ds.RandomsCorrectionMethod = "NONE", "DLYD"
    ds.AttenuationCorrectionMethod, ds.ScatterCorrectionMethod = "CT", "model based"
    ds.ReconstructionMethod = "made, not measured"
    ds.CorrectedImage, ds.DecayCorrection, ds.DecayFactor = ["NORM", "DTIM", "ATTN", "DECY"], "START", "1"
    ds.FrameReferenceTime, ds.ActualFrameDuration, ds.DoseCalibrationFactor = "0", "120000", "1"
    image(ds, grid, np.dtype(np.int16))
    ds.RescaleIntercept = "0"
    ds.EnergyWindowRangeSequence = [item(EnergyWindowLowerLimit="425", EnergyWindowUpperLimit="650")]
    radionuclide = item(CodeValue="77004003", CodingSchemeDesignator="SCT", CodeMeaning="^18^Fluorine")
    radionuclide_dose = item(
        Radiopharmaceutical="Fluorodeoxyglucose F^18^",
        RadiopharmaceuticalVolume="",
        RadiopharmaceuticalStartTime="080300",
        RadionuclideTotalDose=f"{DOSE:.0f}",
        RadionuclideHalfLife=number(HALF_LIFE),
        RadionuclidePositronFraction="0.967",
        RadionuclideCodeSequence=[radionuclide],
    )
    ds.RadiopharmaceuticalInformationSequence = [radionuclide_dose]
    ds.PatientOrientationCodeSequence = [
        item(
            CodeValue="102538003",
            CodingSchemeDesignator="SCT",
            CodeMeaning="recumbent",
            PatientOrientationModifierCodeSequence=[
                item(CodeValue="40199007", CodingSchemeDesignator="SCT", CodeMeaning="supine")
            ],
        )
    ]
    ds.PatientGantryRelationshipCodeSequence = [
        item(CodeValue="102540008", CodingSchemeDesignator="SCT", CodeMeaning="headfirst")
    ]
    return _write(folder, study, ds, "pt", grid, _activity(suv))


def _activity(suv: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Stored values, slope and index of each PET slice; images are counted from the top."""
    for k, part in enumerate(suv):
        becquerel = part.astype(np.float64) * suv_to_becquerel()
        slope = float(f"{max(float(becquerel.max()), 1.0) / 32767:.6g}")
        stored = np.rint(np.clip(becquerel / slope, 0, 32767)).astype(np.int16)
        yield stored, {"RescaleSlope": f"{slope:.6g}", "ImageIndex": len(suv) - k}

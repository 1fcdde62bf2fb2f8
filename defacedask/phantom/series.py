"""Image series of a virtual patient as DICOM: CT, MR and PET."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from defacedask.geometry import Geometry
from defacedask.phantom.elements import Study, item, number, pixels, save

__all__ = ["write_ct", "write_mr", "write_pt"]


def write_ct(folder: Path, study: Study, hu: np.ndarray, grid: Geometry) -> list[str]:
    """Write a CT series, superior slice last; return the SOP Instance UIDs in slice order."""
    stored = np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)
    uids = []
    for k in range(grid.shape[0]):
        ds = study.instance("CT", "ct", 1, "Planning CT", k + 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.AcquisitionNumber, ds.KVP, ds.PatientPosition = "1", "120", "HFS"
        ds.AcquisitionDate, ds.AcquisitionTime = ds.SeriesDate, ds.SeriesTime
        ds.SliceLocation = number(grid.to_world([k, 0, 0])[2])
        pixels(ds, stored[k], grid, k)
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "HU"
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        save(ds, folder / f"CT.{k + 1:04d}.dcm")
        uids.append(ds.SOPInstanceUID)
    return uids


def write_mr(folder: Path, study: Study, t1: np.ndarray, grid: Geometry) -> list[str]:
    """Write a T1-weighted MR series."""
    stored = np.rint(np.clip(t1 * 2.0, 0, 4095)).astype(np.uint16)
    uids = []
    for k in range(grid.shape[0]):
        ds = study.instance("MR", "mr", 2, "T1 3D", k + 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        ds.AcquisitionNumber, ds.PatientPosition = "1", "HFS"
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = ["GR", "IR"], ["SP", "MP"], ""
        ds.MRAcquisitionType, ds.MagneticFieldStrength = "3D", "3"
        ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength = "2300", "2.98", "1"
        ds.InversionTime, ds.FlipAngle = "900", "9"
        ds.SliceLocation = number(grid.to_world([k, 0, 0])[2])
        pixels(ds, stored[k], grid, k)
        ds.BitsStored, ds.HighBit = 12, 11
        ds.WindowCenter, ds.WindowWidth = "400", "800"
        save(ds, folder / f"MR.{k + 1:04d}.dcm")
        uids.append(ds.SOPInstanceUID)
    return uids


#: Injected activity (Bq), time from injection to scan (s) and half-life of fluorine-18 (s).
DOSE, UPTAKE_SECONDS, HALF_LIFE = 3.7e8, 3600, 6586.2
WEIGHT_KG = 70.0


def suv_to_becquerel() -> float:
    """Bq/mL of SUV 1, decay corrected to the start of the scan (1 mL weighs 1 g)."""
    return DOSE * 2 ** (-UPTAKE_SECONDS / HALF_LIFE) / (WEIGHT_KG * 1000)


def write_pt(folder: Path, study: Study, suv: np.ndarray, grid: Geometry) -> list[str]:
    """Write an FDG PET series in Bq/mL with all that a body-weight SUV needs; one slope a slice."""
    activity = suv.astype(np.float64) * suv_to_becquerel()
    uids = []
    n = grid.shape[0]
    for k in range(n):
        slope = float(f"{max(float(activity[k].max()), 1.0) / 32767:.6g}")
        stored = np.rint(np.clip(activity[k] / slope, 0, 32767)).astype(np.int16)
        ds = study.instance("PT", "pt", 3, "FDG PET, attenuation corrected", k + 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY"]
        ds.AcquisitionDate, ds.AcquisitionTime = ds.SeriesDate, ds.SeriesTime
        ds.SliceLocation = number(grid.to_world([k, 0, 0])[2])
        ds.ImageIndex, ds.NumberOfSlices = n - k, n
        ds.Units, ds.CountsSource, ds.SeriesType = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"]
        ds.CollimatorType, ds.RandomsCorrectionMethod = "NONE", "DLYD"
        ds.AttenuationCorrectionMethod, ds.ScatterCorrectionMethod = "CT", "model based"
        ds.ReconstructionMethod = "made, not measured"
        ds.CorrectedImage, ds.DecayCorrection, ds.DecayFactor = ["NORM", "DTIM", "ATTN", "DECY"], "START", "1"
        ds.FrameReferenceTime, ds.ActualFrameDuration, ds.DoseCalibrationFactor = "0", "120000", "1"
        pixels(ds, stored, grid, k)
        ds.RescaleIntercept, ds.RescaleSlope = "0", f"{slope:.6g}"
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
        save(ds, folder / f"PT.{k + 1:04d}.dcm")
        uids.append(ds.SOPInstanceUID)
    return uids

"""RTSTRUCT, RTPLAN and RTDOSE of a virtual patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from scipy import ndimage

from defacedask.geometry import Geometry
from defacedask.phantom.anatomy import ROIS, Target
from defacedask.phantom.elements import (
    SOP_CLASS,
    Study,
    image,
    item,
    number,
    numbers,
    pixels,
    plane,
    references,
    save,
)

#: (3006,0050) Contour Data
CONTOUR_DATA = Tag(0x3006, 0x0050)

__all__ = ["write_dose", "write_plan", "write_structures"]


def outlines(soft: np.ndarray, level: float, smallest: float) -> list[np.ndarray]:
    """Closed polygons (n, 2) in (row, column) of one padded plane; small ones dropped, detail thinned.

    Parameters
    ----------
    soft : (y, x) array
        Above ``level`` inside.
    smallest : float
        Pixels of area below which a polygon is dropped.
    """
    import shapely
    from skimage.measure import find_contours

    out = []
    for line in find_contours(np.pad(soft, 1, constant_values=0.0), level):
        line = shapely.get_coordinates(shapely.simplify(shapely.LineString(line), 0.08))
        if len(line) < 4:
            continue
        y, x = line[:-1].T - 1
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        if area >= smallest:
            out.append(np.column_stack([y, x]))
    return out


def body_planes(skin: np.ndarray) -> np.ndarray:
    """Soft mask (0.5 at the skin) of the filled body, (z, y, x) float32.

    Airways, nostrils and ear canals belong to the BODY contour, as in a planning system.
    """
    soft = np.clip(0.5 - skin / 6.0, 0, 1).astype(np.float32)
    for k in range(len(soft)):
        holes = ndimage.binary_fill_holes(soft[k] > 0.5) & (soft[k] <= 0.5)
        soft[k][holes] = 1.0
    return soft


def write_structures(
    folder: Path,
    study: Study,
    masks: dict[str, tuple[np.ndarray, tuple]],
    skin: np.ndarray,
    grid: Geometry,
    images: list[str],
) -> str:
    """Write the RTSTRUCT on the CT ``images``; return its SOP Instance UID."""
    ds = study.instance("RTSTRUCT", "rs", 4, "Structures", 1)
    ds.StructureSetLabel, ds.StructureSetName = "PLANNING", "Virtual patient"
    ds.StructureSetDate, ds.StructureSetTime = ds.StudyDate, ds.SeriesTime
    series = item(SeriesInstanceUID=study.uid("ct"), ContourImageSequence=references(SOP_CLASS["CT"], images))
    referenced = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=ds.StudyInstanceUID,
        RTReferencedSeriesSequence=Sequence([series]),
    )
    frame = item(FrameOfReferenceUID=study.uid("frame"), RTReferencedStudySequence=Sequence([referenced]))
    ds.ReferencedFrameOfReferenceSequence = Sequence([frame])
    ds.StructureSetROISequence, ds.ROIContourSequence = Sequence(), Sequence()
    ds.RTROIObservationsSequence = Sequence()

    body = body_planes(skin)
    whole = (body, tuple(slice(0, n) for n in body.shape))
    small = 20.0 / (grid.spacing[1] * grid.spacing[2])  # mm²
    for label, (name, colour) in enumerate({"BODY": (0, 255, 0), **ROIS}.items(), 1):
        if name != "BODY" and name not in masks:
            continue
        stack, (rows, ys, xs) = whole if name == "BODY" else masks[name]
        contours = Sequence()
        for i, part in enumerate(stack):
            k = rows.start + i
            # a little blur takes the steps of the voxels off; pad first, so that the box does not cut it
            soft = (
                part if name == "BODY" else ndimage.gaussian_filter(np.pad(part, 2).astype(np.float32), 0.6)
            )
            offset = 0 if name == "BODY" else 2
            for line in outlines(soft, 0.5, small if name == "BODY" else 0.5):
                index = np.column_stack(
                    [np.full(len(line), k), line[:, 0] + ys.start - offset, line[:, 1] + xs.start - offset]
                )
                points = grid.to_world(index)
                contour = item(
                    ContourImageSequence=references(SOP_CLASS["CT"], [images[k]]),
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=str(len(points)),
                )
                contour[CONTOUR_DATA] = numbers(CONTOUR_DATA, points)
                contours.append(contour)
        if not contours:
            continue
        ds.StructureSetROISequence.append(
            item(
                ROINumber=str(label),
                ReferencedFrameOfReferenceUID=study.uid("frame"),
                ROIName=name,
                ROIGenerationAlgorithm="AUTOMATIC",
            )
        )
        ds.ROIContourSequence.append(
            item(ROIDisplayColor=list(colour), ContourSequence=contours, ReferencedROINumber=str(label))
        )
        kind = {"BODY": "EXTERNAL", "Target": "PTV"}.get(name, "ORGAN")
        ds.RTROIObservationsSequence.append(
            item(
                ObservationNumber=str(label),
                ReferencedROINumber=str(label),
                RTROIInterpretedType=kind,
                ROIInterpreter="",
            )
        )
    save(ds, folder / "RS.dcm")
    return ds.SOPInstanceUID


def write_plan(folder: Path, study: Study, target: Target, structures: str) -> str:
    """Write an RTPLAN without beams (the dose needs one to refer to); return its SOP Instance UID."""
    ds = study.instance("RTPLAN", "rp", 5, f"Plan, {target.site}", 1)
    ds.RTPlanLabel, ds.RTPlanDate, ds.RTPlanTime = target.site.upper()[:16], ds.StudyDate, ds.SeriesTime
    ds.RTPlanGeometry, ds.PlanIntent = "PATIENT", "RESEARCH"
    ds.ReferencedStructureSetSequence = references(SOP_CLASS["RTSTRUCT"], [structures])
    ds.FractionGroupSequence = [
        item(
            FractionGroupNumber="1",
            NumberOfFractionsPlanned=str(round(target.prescription / 2)),
            NumberOfBeams="0",
            NumberOfBrachyApplicationSetups="0",
        )
    ]
    ds.ApprovalStatus = "UNAPPROVED"
    save(ds, folder / "RP.dcm")
    return ds.SOPInstanceUID


def write_dose(folder: Path, study: Study, dose: np.ndarray, grid: Geometry, plan: str) -> Dataset:
    """Write the plan's RTDOSE (Gy, physical) on its own grid."""
    ds = study.instance("RTDOSE", "rd", 6, "Plan dose", 1)
    scaling = float(f"{max(float(dose.max()), 1.0) / 60000:.8g}")
    image(ds, grid, np.dtype(np.uint16))
    plane(ds, grid, 0)
    pixels(ds, np.rint(dose / scaling).astype(np.uint16))
    ds.NumberOfFrames, ds.FrameIncrementPointer = str(grid.shape[0]), 0x3004000C
    ds.GridFrameOffsetVector = [number(grid.spacing[0] * k) for k in range(grid.shape[0])]
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    ds.DoseGridScaling, ds.TissueHeterogeneityCorrection = f"{scaling:.8g}", "IMAGE"
    ds.ReferencedRTPlanSequence = references(SOP_CLASS["RTPLAN"], [plan])
    save(ds, folder / "RD.dcm")
    return ds

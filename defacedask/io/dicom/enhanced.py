"""Enhanced multi-frame CT, MR and PET: one file, its frames described by functional groups (PS3.3 C.7.6.16)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from defacedask.errors import InputError, RefusedError
from defacedask.io.dicom.headers import Header, open_dataset
from defacedask.io.dicom.mosaic import projected
from defacedask.io.dicom.series import ENHANCED, HU_TYPES, check_pixels, common_facts
from defacedask.io.dicom.series_facts import Series
from defacedask.io.dicom.stack import MAX_VOXELS, stack_slices
from defacedask.io.dicom.suv import enhanced_suv_facts

__all__ = ["Frames", "enhanced_series", "read_frames"]


@dataclasses.dataclass
class Frames:
    """Functional groups of all frames, as arrays in the order of the file.

    Parameters
    ----------
    positions, cosines, spacing : (n, 3), (n, 6), (n, 2) arrays
        ImagePositionPatient, ImageOrientationPatient, PixelSpacing; mm, LPS.
    slope, intercept : (n,) arrays
        NaN where the header has none.
    rescale_types : set of str
    kinds : dict
        What may tell several frames at one position apart: name -> values.
    thickness : (n,) array
        SliceThickness, mm; NaN where the header has none.
    """

    positions: np.ndarray
    cosines: np.ndarray
    spacing: np.ndarray
    slope: np.ndarray
    intercept: np.ndarray
    rescale_types: set[str]
    kinds: dict[str, list[str]]
    thickness: np.ndarray


# plural name -> (functional group, keyword)
_KINDS = {
    "stacks": ("FrameContentSequence", "StackID"),
    "temporal positions": ("FrameContentSequence", "TemporalPositionIndex"),
    "echo times": ("MREchoSequence", "EffectiveEchoTime"),
    "b-values": ("MRDiffusionSequence", "DiffusionBValue"),
    "inversion times": ("MRModifierSequence", "InversionTimes"),
    "kinds of image (FrameType)": ("MRImageFrameTypeSequence", "FrameType"),
    "components": ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    "kinds of CT image (FrameType)": ("CTImageFrameTypeSequence", "FrameType"),
    "cardiac phases": ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
    "acquisitions": ("FrameContentSequence", "FrameAcquisitionNumber"),
}


def _value(frame: Any, shared: Any, group: str, keyword: str) -> Any:
    for groups in (frame, shared):
        items = groups.get(group, None) if groups is not None else None
        if items and keyword in items[0]:
            return items[0].get(keyword)
    return None


def _floats(value: Any, count: int) -> list[float]:
    try:
        numbers = [float(v) for v in ([value] if count == 1 else value)]
    except (TypeError, ValueError):
        numbers = []
    return numbers if len(numbers) == count else [math.nan] * count


def read_frames(dataset: Any) -> Frames:
    """Collect the functional groups of every frame.

    Raises
    ------
    RefusedError
        If they are missing or not as many as frames.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence", None) or []
    shared = (dataset.get("SharedFunctionalGroupsSequence", None) or [None])[0]
    claimed = int(dataset.get("NumberOfFrames", 0) or 0)
    if not per_frame or len(per_frame) != claimed:
        raise RefusedError(f"it claims {claimed} frames and describes {len(per_frame)}")

    def column(group: str, keyword: str, count: int) -> np.ndarray:
        return np.array(
            [_floats(_value(f, shared, group, keyword), count) for f in per_frame], dtype=np.float64
        )

    transform = "PixelValueTransformationSequence"
    kinds = {
        name: [str(_value(f, shared, group, keyword)) for f in per_frame]
        for name, (group, keyword) in _KINDS.items()
    }
    return Frames(
        column("PlanePositionSequence", "ImagePositionPatient", 3),
        column("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        column("PixelMeasuresSequence", "PixelSpacing", 2),
        column(transform, "RescaleSlope", 1)[:, 0],
        column(transform, "RescaleIntercept", 1)[:, 0],
        {str(_value(f, shared, transform, "RescaleType") or "").upper() for f in per_frame},
        {name: values for name, values in kinds.items() if len(set(values)) > 1},
        column("PixelMeasuresSequence", "SliceThickness", 1)[:, 0],
    )


def _check_rescale(modality: str, frames: Frames) -> None:
    given = np.isfinite(frames.slope) & np.isfinite(frames.intercept)
    if modality == "CT":
        if not given.all():
            raise RefusedError(
                "it is a CT without rescale slope and intercept: its Hounsfield units are not known"
            )
        if not frames.rescale_types <= HU_TYPES:
            raise RefusedError(
                f"its values are not Hounsfield units (RescaleType {', '.join(frames.rescale_types)})"
            )
    if modality == "PT" and not given.all():
        raise RefusedError("it is a PET without rescale slope: its activity is not known")
    if (given.any() and not given.all()) or (frames.slope == 0).any():
        raise RefusedError("its rescale slope is zero, or missing in some of its frames")


def _stacks(frames: Frames, problem: str) -> str:
    if "same position" in problem or "orientations" in problem or "stacks" in frames.kinds:
        for name, values in frames.kinds.items():
            if len(set(values)) <= len(values) // 2:
                return f"{problem}: it holds {len(set(values))} {name}"
    return problem


def enhanced_series(headers: list[Header]) -> Series:
    """Check a multi-frame series and order its frames. Frame order along the stack is kept in ``facts["frames"]``.

    Raises
    ------
    RefusedError
        With the reason as a clause.
    """
    if any("ConcatenationUID" in header.values for header in headers):
        raise RefusedError("it is split over several files (a concatenation), which are not joined")
    if len(headers) > 1:
        raise RefusedError(
            f"it holds {len(headers)} multi-frame images (phases or stacks), which are not told apart"
        )
    header = headers[0]
    modality = ENHANCED[header.text("SOPClassUID")]
    check_pixels(headers)
    rows, columns = header.values["Rows"], header.values["Columns"]
    count = header.values.get("NumberOfFrames", 0)
    if count * rows * columns > MAX_VOXELS or count < 1:
        raise RefusedError(
            f"it claims {count} x {rows} x {columns} voxels, and at most {MAX_VOXELS} are read"
        )
    need = count * rows * columns * header.values["BitsAllocated"] // 8
    if 0 < header.pixel_length < need:
        raise RefusedError(f"its pixel data are too short ({header.pixel_length} of {need} bytes)")
    try:
        dataset = open_dataset(header.path)
        frames = read_frames(dataset)
        _check_rescale(modality, frames)
        order, geometry = stack_slices(
            frames.positions,
            frames.cosines,
            frames.spacing,
            rows,
            columns,
            header.text("FrameOfReferenceUID"),
            frames.thickness,
        )
    except RefusedError as error:
        if "frames" in locals():
            raise RefusedError(_stacks(frames, error.message)) from None
        raise
    except InputError as error:
        raise RefusedError(error.message.rstrip(".")) from None
    if reason := projected(header, modality, geometry, dataset):
        raise RefusedError(reason)
    facts = common_facts(dataset, header)
    facts["frames"] = order.tolist()
    if modality == "PT":
        facts["suv"] = enhanced_suv_facts(dataset)
    return Series(
        uid=header.text("SeriesInstanceUID"),
        modality=modality,
        sop_class_uid=header.text("SOPClassUID"),
        patient_id=header.text("PatientID"),
        study_uid=header.text("StudyInstanceUID"),
        frame_of_reference=header.text("FrameOfReferenceUID"),
        description=header.text("SeriesDescription"),
        number=header.values.get("SeriesNumber", 0),
        files=(header.path,),
        instances=(header.text("SOPInstanceUID"),),
        geometry=geometry.to_dict(),
        facts=facts,
    )

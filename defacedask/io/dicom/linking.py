"""What is not an image: which instances an object refers to, and to which case it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from defacedask.errors import InputError, RefusedError
from defacedask.io.dicom.defaced import by_header
from defacedask.io.dicom.dose_planes import plane_facts
from defacedask.io.dicom.headers import Header, open_dataset
from defacedask.io.dicom.registration import read_relations
from defacedask.io.dicom.series_facts import Series

__all__ = ["OBJECTS", "object_series", "references"]

_ROOT = "1.2.840.10008.5.1.4.1.1."
#: SOP class -> (modality, list of the case it goes to)
OBJECTS = {
    _ROOT + "481.2": ("RTDOSE", "doses"),
    _ROOT + "481.3": ("RTSTRUCT", "structures"),
    _ROOT + "481.5": ("RTPLAN", "plans"),
    _ROOT + "481.8": ("RTPLAN", "plans"),
    _ROOT + "66.1": ("REG", "others"),
    _ROOT + "66.3": ("REG", "others"),
    _ROOT + "66.4": ("SEG", "others"),
    _ROOT + "66.7": ("SEG", "others"),
}
# sequences of an object that hold references, but not the contours, frames or beams themselves
_SEQUENCES = (
    "ReferencedFrameOfReferenceSequence",
    "ReferencedStructureSetSequence",
    "ReferencedRTPlanSequence",
    "ReferencedDoseSequence",
    "ReferencedSeriesSequence",
    "ReferencedImageSequence",
    "ReferencedInstanceSequence",
    "SourceImageSequence",
    "StudiesContainingOtherReferencedInstancesSequence",
    "RegistrationSequence",
    "DeformableRegistrationSequence",
)
_NAMES = ("ReferencedSOPInstanceUID", "SeriesInstanceUID")
_FRAMES = ("FrameOfReferenceUID", "ReferencedFrameOfReferenceUID", "SourceFrameOfReferenceUID")


def _walk(dataset: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """(keyword, UID) of all references below a dataset."""
    if depth > 12:
        return
    for keyword in (*_NAMES, *_FRAMES):
        if keyword in dataset:
            value = dataset.get(keyword)
            if value:
                yield keyword, str(value)
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _walk(item, depth + 1)


def references(dataset: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """UIDs an object refers to.

    Returns
    -------
    instances : tuple of str
        Series and SOP instance UIDs, each once, in order.
    frames : tuple of str
        Frames of reference it names, its own first.
    """
    uids: dict[str, None] = {}
    frames: dict[str, None] = {}
    if dataset.get("FrameOfReferenceUID"):
        frames[str(dataset.FrameOfReferenceUID)] = None
    for name in _SEQUENCES:
        for item in dataset.get(name, None) or ():
            for keyword, value in _walk(item):
                (frames if keyword in _FRAMES else uids)[value] = None
    for item in dataset.get("StructureSetROISequence", None) or ():
        if item.get("ReferencedFrameOfReferenceUID"):
            frames[str(item.ReferencedFrameOfReferenceUID)] = None
    if not uids:
        # some writers name the images at the contours only
        for roi in dataset.get("ROIContourSequence", None) or ():
            for contour in roi.get("ContourSequence", None) or ():
                for item in contour.get("ContourImageSequence", None) or ():
                    if item.get("ReferencedSOPInstanceUID"):
                        uids[str(item.ReferencedSOPInstanceUID)] = None
        # and some at the frames
        for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            for group in dataset.get(name, None) or ():
                for part in group.get("DerivationImageSequence", None) or ():
                    for item in part.get("SourceImageSequence", None) or ():
                        if item.get("ReferencedSOPInstanceUID"):
                            uids[str(item.ReferencedSOPInstanceUID)] = None
    return tuple(uids), tuple(frames)


def _facts(modality: str, dataset: Any) -> dict[str, Any]:
    if modality == "RTSTRUCT":
        rois = dataset.get("StructureSetROISequence", None) or ()
        return {
            "label": str(dataset.get("StructureSetLabel", "") or ""),
            "structures": [str(roi.get("ROIName", "") or "") for roi in rois],
        }
    if modality == "RTDOSE":
        plane = plane_facts(dataset)
        return {
            "units": str(dataset.get("DoseUnits", "") or ""),
            "type": str(dataset.get("DoseType", "") or ""),
            "summation": str(dataset.get("DoseSummationType", "") or ""),
            **({} if plane is None else {"plane": plane}),
        }
    if modality == "RTPLAN":
        return {"label": str(dataset.get("RTPlanLabel", "") or "")}
    if modality == "SEG":
        items = dataset.get("SegmentSequence", None) or ()
        return {"structures": [str(item.get("SegmentLabel", "") or "") for item in items]}
    if modality == "REG":
        try:
            return {"registrations": [one.to_dict() for one in read_relations(dataset)]}
        except RefusedError as error:
            return {"not_used": error.message}
    return {}


def object_series(header: Header) -> tuple[Series, tuple[str, ...]]:
    """Make the `Series` of one instance that is not an image, and the frames of reference it names.

    Raises
    ------
    RefusedError
        If its header cannot be read or the object holds nothing.
    """
    modality = OBJECTS[header.text("SOPClassUID")][0]
    try:
        dataset = open_dataset(header.path)
        uids, frames = references(dataset)
        facts = _facts(modality, dataset)
    except InputError as error:
        raise RefusedError(error.message) from None
    except Exception as error:  # pydicom converts values when they are asked for and raises what it likes
        raise RefusedError(f"its header is damaged ({type(error).__name__}: {error})"[:200]) from None
    facts["transfer_syntax"] = header.transfer_syntax
    defaced = by_header(dataset)
    if defaced is not None:
        facts["already_defaced"] = defaced
    facts["frames_of_reference"] = list(frames)
    if modality == "RTSTRUCT" and not facts["structures"]:
        raise RefusedError("it is a structure set without structures")
    if modality == "RTDOSE" and not header.pixel_length:
        raise RefusedError("it is a dose without a dose grid (dose-volume histograms only)")
    series = Series(
        uid=header.text("SeriesInstanceUID"),
        modality=modality,
        sop_class_uid=header.text("SOPClassUID"),
        patient_id=header.text("PatientID"),
        study_uid=header.text("StudyInstanceUID"),
        frame_of_reference=frames[0] if frames else "",
        description=header.text("SeriesDescription"),
        number=header.values.get("SeriesNumber", 0),
        files=(header.path,),
        instances=(header.text("SOPInstanceUID"),),
        references=uids,
        facts=facts,
    )
    return series, frames

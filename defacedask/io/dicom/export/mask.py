"""The published mask of a defaced DICOM image, as a segmentation on its slices and as a NIfTI file.

It is the hull of `defacedask.defacers.hull`, never the region: outside of it no voxel changed, inside any may have.
It tells where not to measure, and nothing of the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import DefacedaskError, RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.export.image import Context, save
from defacedask.io.dicom.export.record import SCHEME, code
from defacedask.io.dicom.export.segmentation import _put_bits, frame_grids
from defacedask.io.dicom.export.series_names import derived_number, described, series_number
from defacedask.io.dicom.headers import open_dataset

__all__ = ["LABEL", "MASKS", "mask_nifti", "mask_segmentation"]

#: Kinds of mask that `deface` writes.
MASKS = ("seg", "nifti")
#: SegmentLabel of the one segment.
LABEL = "Not to be analysed"
SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT = "1.2.840.10008.1.2.1"
#: No word of these may be a name or the end of one: files of de-identified people are searched for names.
_SAYS = (
    "No voxel outside of it was changed by defacing, any inside may have been. It is not a map of the face."
)
#: Of patient and study: what the defaced image says.
_CARRIED = (
    *(
        "SpecificCharacterSet",
        "TimezoneOffsetFromUTC",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
    ),
    *("AccessionNumber", "ReferringPhysicianName", "StudyDescription", "PatientName", "PatientID"),
    *("IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("LongitudinalTemporalInformationModified", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID"),
    *("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator"),
)


def mask_segmentation(
    files: Sequence[str],
    hull: np.ndarray,
    path: Path,
    context: Context,
    uid: str,
    series: str,
    some: Sequence[int] | None = None,
) -> str:
    """Write a hull as DICOM Segmentation of type BINARY, and read it back.

    Parameters
    ----------
    files : sequence of str
        The defaced image as it was written: one file a slice, or those that hold its frames.
    hull : (z, y, x) bool array
    path : Path
        File to write.
    context : Context
    uid, series : str
        New SOP instance and series UID.
    some : sequence of int, optional
        Which of the slices of all files, one after the other, the hull is of, in its order; by default all.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    RefusedError
        If the mask is empty, or an image does not say where it lies.
    DefacedaskError
        If it did not read back as written.
    """
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    heads = [open_dataset(file) for file in files]
    slices = _slices(heads)
    slices = slices if some is None else [slices[k] for k in some]
    places = [one[0] for one in slices]
    if len(places) != len(hull) or hull.shape[1:] != (int(heads[0].Rows), int(heads[0].Columns)):
        raise DefacedaskError("the mask is not on the grid of its image.", "Please report this.")
    frames = [int(k) for k in np.flatnonzero(hull.any(axis=(1, 2)))]
    if not frames:
        raise RefusedError("no voxel of the image may have changed, so there is no mask of it")
    first = heads[0]
    dataset = Dataset()
    for keyword in _CARRIED:
        if keyword in first:
            dataset[keyword] = first[keyword]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "PositionReferenceIndicator"):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = SEG_CLASS, uid, series
    dataset.Modality, dataset.InstanceNumber = "SEG", 1
    number = series_number(open_dataset(files[0]))
    dataset.SeriesNumber = None if number is None else _number(number, context)
    about = str(first.get("SeriesDescription", "") or "").rpartition(" [")[0]
    dataset.SeriesDescription = described(about, "not to be analysed")
    dataset.Manufacturer, dataset.ManufacturerModelName = "The defacedask developers", "defacedask"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "0", context.version
    # the day of the image, not of this run: the same input gives the same bytes
    dataset.ContentDate = first.get("StudyDate", None) or "19000101"
    dataset.ContentTime = first.get("StudyTime", None) or "000000"
    dataset.ImageType, dataset.LossyImageCompression = ["DERIVED", "PRIMARY"], "00"
    dataset.ContentLabel, dataset.ContentDescription = "DEFACEMASK", LABEL
    dataset.ContentCreatorName = ""
    dataset.SegmentationType, dataset.SegmentsOverlap = "BINARY", "NO"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = hull.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.SegmentSequence = Items([_segment(context)])
    organisation = Dataset()
    organisation.DimensionOrganizationUID = context.remap.uids(f"{uid} dimensions")
    dataset.DimensionOrganizationSequence = Items([organisation])
    dataset.DimensionOrganizationType = "3D"
    dataset.DimensionIndexSequence = Items(
        [
            _index(organisation, 0x0062000B, 0x0062000A),
            _index(organisation, 0x00200032, 0x00209113),
        ]
    )
    dataset.SharedFunctionalGroupsSequence = Items([_shared(places[frames[0]], places)])
    dataset.PerFrameFunctionalGroupsSequence = Items(
        [_frame(*slices[k], order) for order, k in enumerate(frames, 1)]
    )
    dataset.ReferencedSeriesSequence = Items([_referenced(heads)])
    dataset.NumberOfFrames = len(frames)
    syntax = _put_bits(dataset, hull[frames], EXPLICIT)
    digest = save(dataset, path, syntax, context)
    again = open_dataset(path, pixels=True)
    read = np.asarray(again.pixel_array).reshape(len(frames), *hull.shape[1:]) != 0
    there = [grid.close_to(places[k], 1e-2) for grid, k in zip(frame_grids(again), frames, strict=True)]
    if not np.array_equal(read, hull[frames]) or not all(there):
        raise DefacedaskError("the mask did not read back as it was written.", "Please report this.")
    return digest


def _number(derived: int, context: Context) -> int:
    """Number of a mask, from that of the defaced series."""
    source = next((n for n in context.numbers if derived_number(n, context.numbers) == derived), None)
    return derived if source is None else derived_number(source, context.numbers, 2)


def _slices(heads: Sequence[Any]) -> list[tuple[Geometry, Any, int]]:
    """(grid, header of its file, number of the frame in that or 0) of every slice, file by file."""
    out = []
    for head in heads:
        if "PerFrameFunctionalGroupsSequence" in head:
            out += [(grid, head, k) for k, grid in enumerate(frame_grids(head), 1)]
            continue
        cosines = np.array([float(v) for v in head.ImageOrientationPatient])
        rows, columns = (float(v) for v in head.PixelSpacing)
        across, down = cosines[:3], cosines[3:]
        steps = (np.cross(across, down), down * rows, across * columns)
        shape = (1, int(head.Rows), int(head.Columns))
        place = [float(v) for v in head.ImagePositionPatient]
        frame = str(head.get("FrameOfReferenceUID", ""))
        out.append((Geometry.from_steps(shape, place, *steps, frame), head, 0))
    return out


def _segment(context: Context) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    one = Dataset()
    one.SegmentNumber, one.SegmentLabel, one.SegmentDescription = 1, LABEL, _SAYS
    one.SegmentAlgorithmType, one.SegmentAlgorithmName = "AUTOMATIC", f"defacedask {context.defacer}"[:64]
    category = code("309825002", "SCT", "Spatial and Relational Concept")
    one.SegmentedPropertyCategoryCodeSequence = Items([category])
    kind = code("MAY_HAVE_CHANGED", SCHEME, "What defacing may have changed", context.version)
    one.SegmentedPropertyTypeCodeSequence = Items([kind])
    return one


def _index(organisation: Any, pointer: int, group: int) -> Any:
    from pydicom.dataset import Dataset

    one = Dataset()
    one.DimensionOrganizationUID = organisation.DimensionOrganizationUID
    one.DimensionIndexPointer, one.FunctionalGroupPointer = pointer, group
    return one


def _decimal(values: Any) -> list[str]:
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(v)) for v in np.asarray(values).ravel()]


def _shared(place: Geometry, places: Sequence[Geometry]) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    orientation, measures, group = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = _decimal([place.directions[:, 2], place.directions[:, 1]])
    normal = place.directions[:, 0]
    steps = np.abs(np.diff(sorted(float(normal @ one.origin) for one in places)))
    thick = float(np.median(steps)) if len(steps) else 1.0
    measures.SliceThickness = measures.SpacingBetweenSlices = _decimal([thick])[0]
    measures.PixelSpacing = _decimal(place.spacing[1:])
    group.PlaneOrientationSequence, group.PixelMeasuresSequence = Items([orientation]), Items([measures])
    return group


def _frame(where: Geometry, head: Any, number: int, order: int) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    content, place, segment, source, derivation, group = (Dataset() for _ in range(6))
    content.DimensionIndexValues = [1, order]
    place.ImagePositionPatient = _decimal(where.origin)
    segment.ReferencedSegmentNumber = 1
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = head.SOPClassUID, head.SOPInstanceUID
    if number:
        source.ReferencedFrameNumber = number
    source.PurposeOfReferenceCodeSequence = Items(
        [code("121322", "DCM", "Source image for image processing operation")]
    )
    derivation.SourceImageSequence = Items([source])
    derivation.DerivationCodeSequence = Items([code("113076", "DCM", "Segmentation")])
    group.FrameContentSequence, group.PlanePositionSequence = Items([content]), Items([place])
    group.SegmentIdentificationSequence = Items([segment])
    group.DerivationImageSequence = Items([derivation])
    return group


def _referenced(heads: Sequence[Any]) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    one, items = Dataset(), []
    for head in heads:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = head.SOPClassUID, head.SOPInstanceUID
        items.append(item)
    one.SeriesInstanceUID, one.ReferencedInstanceSequence = heads[0].SeriesInstanceUID, Items(items)
    return one


def mask_nifti(hull: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write a hull as NIfTI: 1 inside, 0 outside, in scanner coordinates.

    Parameters
    ----------
    hull : (z, y, x) bool array
    geometry : Geometry
        Of the image, as its own headers say.
    path : Path
        Ends with ``.nii.gz``.

    Raises
    ------
    DefacedaskError
        If it did not read back as written.
    """
    import nibabel

    from defacedask.io.nifti.read import RAS_TO_LPS
    from defacedask.io.nifti.write import HULL, save_bytes

    affine = np.eye(4)
    affine[:3] = (RAS_TO_LPS @ geometry.affine)[:3][:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(hull.T.astype(np.uint8), affine)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = HULL.encode("ascii")
    save_bytes(path, image.to_bytes())
    read: Any = nibabel.load(path)
    if not np.array_equal(np.asarray(read.dataobj).T != 0, hull) or np.abs(read.affine - affine).max() > 1e-3:
        raise DefacedaskError("the mask did not read back as it was written.", "Please report this.")

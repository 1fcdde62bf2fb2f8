"""From the headers of one series to a `Series`, or the reason why it is refused. No pixel is read."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from defacedask.errors import InputError, RefusedError
from defacedask.io.dicom.about import age_of, sex_of
from defacedask.io.dicom.defaced import by_header
from defacedask.io.dicom.headers import Header, open_dataset
from defacedask.io.dicom.mosaic import projected, tiled_by_header
from defacedask.io.dicom.series_facts import Series
from defacedask.io.dicom.stack import stack_slices
from defacedask.io.dicom.suv import suv_facts
from defacedask.modality import MODALITIES

__all__ = ["CLASSIC", "ENHANCED", "IMAGE_CLASSES", "class_name", "common_facts", "image_series"]

CLASSIC = {uid: name for name, one in MODALITIES.items() for uid in one.classes}
ENHANCED = {uid: name for name, one in MODALITIES.items() for uid in one.enhanced}
IMAGE_CLASSES = {**CLASSIC, **ENHANCED}
HU_TYPES = {"", "HU", "HU_MOD", "US"}
# what a series says of an earlier defacing: all of its slices must
CLAIMS = ("RecognizableVisualFeatures", "DeidentificationMethod", "DeidentificationMethodCodeSequence")
# what tells several images at one position apart, and how it is called
PHASES = {
    "TemporalPositionIdentifier": "temporal positions",
    "EchoNumbers": "echoes",
    "EchoTime": "echo times",
    "InversionTime": "inversion times",
    "DiffusionBValue": "b-values",
    "TriggerTime": "trigger times",
    "AcquisitionNumber": "acquisitions",
    "ImageType": "kinds of image (ImageType)",
    "ConvolutionKernel": "reconstruction kernels",
    "RescaleSlope": "rescale slopes",
    "KVP": "tube voltages",
    "AcquisitionTime": "acquisition times",
}


@functools.cache
def class_name(uid: str) -> str:
    """Name of a SOP class or transfer syntax."""
    from pydicom.uid import UID

    name = UID(uid).name if uid else ""
    return name if name and name != uid else f"the unknown class {uid[:64]}" if uid else "no SOP class"


@functools.cache
def can_decode(transfer_syntax: str) -> bool:
    """Whether pixel data in this transfer syntax can be decoded here."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    try:
        return bool(get_decoder(UID(transfer_syntax)).is_available)
    except (NotImplementedError, ValueError):
        return False


def same(headers: list[Header], keyword: str) -> bool:
    """Whether all headers have the same value."""
    first = headers[0].values.get(keyword)
    return all(header.values.get(keyword) == first for header in headers[1:])


def check_pixels(headers: list[Header]) -> None:
    """Refuse what is no plain grey image in a known encoding.

    Raises
    ------
    RefusedError
    """
    for header in headers:
        if header.values.get("FloatPixelData"):
            raise RefusedError("its pixel data are floating point numbers, which are not read")
        if not header.pixel_length:
            raise RefusedError("it has no pixel data")
        if not can_decode(header.transfer_syntax):
            raise RefusedError(
                f"its transfer syntax is not known here ({class_name(header.transfer_syntax)})"
            )
        if header.values.get("BurnedInAnnotation", "").upper() == "YES":
            raise RefusedError("text is burned into its pixels (BurnedInAnnotation is YES)")
    for keyword, name in (("Rows", "numbers of rows"), ("Columns", "numbers of columns")):
        if not same(headers, keyword):
            found = sorted({h.values.get(keyword, 0) for h in headers})
            turned = _directions(headers)
            raise RefusedError(
                f"its slices have different {name} ({', '.join(map(str, found[:4]))})"
                + (f" and {turned} different orientations" if turned > 1 else "")
            )
    for keyword in ("BitsAllocated", "PixelRepresentation", "SamplesPerPixel"):
        if not same(headers, keyword):
            raise RefusedError(f"its slices store their values differently ({keyword})")
    one = headers[0].values
    if one.get("SamplesPerPixel", 1) != 1 or not one.get(
        "PhotometricInterpretation", "MONOCHROME2"
    ).startswith("MONOCHROME"):
        raise RefusedError(f"it is a colour image ({one.get('PhotometricInterpretation')})")
    if not one.get("Rows") or not one.get("Columns"):
        raise RefusedError("it has no rows or no columns")
    allocated = one.get("BitsAllocated", 0)
    for header in headers:  # some writers give every slice as many bits as its own values need
        stored = header.values.get("BitsStored", 0)
        high = header.values.get("HighBit", stored - 1)
        if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or high != stored - 1:
            raise RefusedError(f"its values are stored oddly ({stored} of {allocated} bits, high bit {high})")
    if one.get("PixelRepresentation", 2) not in (0, 1):
        raise RefusedError("it does not say whether its values are signed (PixelRepresentation)")
    for header in headers:
        if header.pixel_length > 0 and "NumberOfFrames" not in header.values:
            need = one["Rows"] * one["Columns"] * allocated // 8
            if header.pixel_length < need:
                raise RefusedError(f"its pixel data are too short ({header.pixel_length} of {need} bytes)")


def _directions(headers: list[Header]) -> int:
    """How many orientations the slices have that are more than rounding apart."""
    kinds = {tuple(round(v, 1) + 0.0 for v in h.values.get("ImageOrientationPatient", ())) for h in headers}
    return len(kinds - {()})


def check_rescale(modality: str, header: Header) -> None:
    """Refuse values that no slope and intercept turn into the modality's units.

    Raises
    ------
    RefusedError
    """
    values = header.values
    if values.get("ModalityLUTSequence"):
        raise RefusedError(
            "its values pass through a lookup table (Modality LUT), not through slope and intercept"
        )
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if slope is not None and (not math.isfinite(slope) or slope == 0):
        raise RefusedError("its rescale slope is zero or not a number")
    if intercept is not None and not math.isfinite(intercept):
        raise RefusedError("its rescale intercept is not a number")
    if modality == "CT":
        if slope is None or intercept is None:
            raise RefusedError(
                "it is a CT without rescale slope and intercept: its Hounsfield units are not known"
            )
        kind = header.text("RescaleType").upper()
        if kind not in HU_TYPES:
            raise RefusedError(f"its values are not Hounsfield units (RescaleType {kind})")
    if modality == "PT" and slope is None:
        raise RefusedError("it is a PET without rescale slope: its activity is not known")


def check_gaps(headers: list[Header], spacing: float) -> None:
    """Refuse an even stack that is every second or tenth slice of one: the headers know how far apart they were.

    Parameters
    ----------
    spacing : float
        Distance between neighbours, mm.

    Raises
    ------
    RefusedError
    """
    stated, thick = headers[0].number("SpacingBetweenSlices"), headers[0].number("SliceThickness")
    times = abs(spacing / stated) if stated else 0.0
    # some vendors state the gap between slices there: then it is less than their thickness, and says nothing
    whole = not thick or abs(stated or 0.0) > 0.99 * thick
    if whole and times > 1.5 and abs(times - round(times)) < 0.05:
        raise RefusedError(
            f"slices are missing: they lie {spacing:.3g} mm apart, and its header says {abs(stated):.3g} mm"
        )
    # two-dimensional MR leaves gaps of up to a slice or two between slices; nothing useful leaves more
    if thick and thick > 0 and spacing > max(10.0, 3 * thick):
        raise RefusedError(f"slices are missing: {thick:.3g} mm thick slices lie {spacing:.3g} mm apart")


def _array(headers: list[Header], keyword: str, count: int, name: str) -> np.ndarray:
    rows = [header.values.get(keyword, ()) for header in headers]
    if any(len(row) != count for row in rows):
        bad = sum(len(row) != count for row in rows)
        raise RefusedError(f"{bad} of its {len(rows)} slices have no usable {name} ({keyword})")
    return np.array(rows, dtype=np.float64)


def _phases(headers: list[Header], problem: str) -> str:
    """Add to "several at one position" what tells them apart."""
    kinds = {name: len({str(h.values.get(keyword)) for h in headers}) for keyword, name in PHASES.items()}
    kinds = {name: count for name, count in kinds.items() if 1 < count <= len(headers) // 2}
    if not kinds:
        return problem
    name = min(kinds, key=lambda one: kinds[one])  # what differs from slice to slice tells no phases apart
    return f"{problem}: it holds {kinds[name]} {name}"


def _text(dataset: Any, keyword: str) -> str:
    value = dataset.get(keyword, "")
    if value is None:
        return ""
    return str(value) if not isinstance(value, (list, tuple)) else "\\".join(map(str, value))


def common_facts(dataset: Any, header: Header) -> dict[str, Any]:
    """JSON-able header facts of an image that later stages need; nothing that names a person."""
    one = header.values
    facts: dict[str, Any] = {
        "transfer_syntax": header.transfer_syntax,
        "image_type": list(one.get("ImageType", ())),
        "bits_allocated": one.get("BitsAllocated", 0),
        "bits_stored": one.get("BitsStored", 0),
        "lossy": _text(dataset, "LossyImageCompression") == "01",
        "signed": bool(one.get("PixelRepresentation", 0)),
        "photometric": header.text("PhotometricInterpretation"),
        "patient_position": header.text("PatientPosition"),
        "laterality": _text(dataset, "Laterality") or _text(dataset, "ImageLaterality"),
        "body_part": _text(dataset, "BodyPartExamined"),
        "manufacturer": _text(dataset, "Manufacturer"),
        "scanner": _text(dataset, "ManufacturerModelName"),
        "visual_features": _text(dataset, "RecognizableVisualFeatures"),
        "sex": sex_of(dataset),
        "age": age_of(dataset),
        "deidentification": [
            str(item.get("CodeValue", ""))
            for item in dataset.get("DeidentificationMethodCodeSequence", None) or ()
        ],
    }
    defaced = by_header(dataset)
    if defaced is not None:
        facts["already_defaced"] = defaced
    padding = one.get("PixelPaddingValue")
    if padding is not None:
        bits = one.get("BitsAllocated", 16)
        signed = one.get("PixelRepresentation", 0) == 1
        facts["padding"] = padding - (1 << bits) if signed and padding >= 1 << (bits - 1) else padding
    return facts


def image_series(headers: list[Header]) -> Series:
    """Check and order the single-frame images of one series.

    Parameters
    ----------
    headers : list of Header
        Of one SOP class among `CLASSIC`, without copies of an instance.

    Raises
    ------
    RefusedError
        With the reason as a clause.
    """
    if not same(headers, "SOPClassUID"):
        raise RefusedError("it mixes images of different SOP classes")
    modality = CLASSIC[headers[0].text("SOPClassUID")]
    if any(header.values.get("NumberOfFrames", 1) != 1 for header in headers):
        raise RefusedError("it has several frames where its SOP class allows one")
    check_pixels(headers)
    for header in headers:
        check_rescale(modality, header)
    if modality == "MR":
        tiled = tiled_by_header(open_dataset(headers[0].path), headers[0])
        if tiled:
            raise RefusedError(tiled)
    if not same(headers, "FrameOfReferenceUID"):
        raise RefusedError("its slices lie in different frames of reference")
    frame = headers[0].text("FrameOfReferenceUID")
    one = headers[0].values
    try:
        order, geometry = stack_slices(
            _array(headers, "ImagePositionPatient", 3, "position"),
            _array(headers, "ImageOrientationPatient", 6, "orientation"),
            _array(headers, "PixelSpacing", 2, "pixel spacing"),
            one["Rows"],
            one["Columns"],
            frame,
            np.array([header.number("SliceThickness", math.nan) for header in headers], dtype=np.float64),
        )
    except RefusedError as error:
        if "same position" in error.message:
            raise RefusedError(_phases(headers, error.message)) from None
        raise
    except InputError as error:
        raise RefusedError(error.message.rstrip(".")) from None
    ordered = [headers[i] for i in order]
    between = abs(geometry.voxel_volume / geometry.spacing[1] / geometry.spacing[2])
    if reason := next(filter(None, (projected(header, modality, geometry) for header in ordered)), ""):
        raise RefusedError(reason)
    check_gaps(ordered, between)
    first = ordered[0]
    dataset = open_dataset(first.path)
    if reason := projected(first, modality, geometry, dataset):
        raise RefusedError(reason)
    facts = common_facts(dataset, first)
    if not all(same(headers, keyword) for keyword in CLAIMS):
        facts.pop("already_defaced", None)  # some of its slices say otherwise
    if modality == "PT":
        times = ("AcquisitionDate", "AcquisitionTime")
        durations = ("FrameReferenceTime", "ActualFrameDuration")
        facts["suv"] = suv_facts(
            dataset,
            [{**{k: h.text(k) for k in times}, **{k: h.number(k) for k in durations}} for h in ordered],
        )
    return Series(
        uid=first.text("SeriesInstanceUID"),
        modality=modality,
        sop_class_uid=first.text("SOPClassUID"),
        patient_id=first.text("PatientID"),
        study_uid=first.text("StudyInstanceUID"),
        frame_of_reference=frame,
        description=first.text("SeriesDescription"),
        number=first.values.get("SeriesNumber", 0),
        files=tuple(header.path for header in ordered),
        instances=tuple(header.text("SOPInstanceUID") for header in ordered),
        geometry=geometry.to_dict(),
        facts=facts,
    )

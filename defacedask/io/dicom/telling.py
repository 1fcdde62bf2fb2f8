"""What the headers of single-frame images say that may tell the volumes of one series apart.

Public elements first, and the private ones in which scanners of the three large makers keep b-value, direction and
kind of image (magnitude, phase, real, imaginary) where they had no public one.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Hashable, Sequence
from typing import Any

from defacedask.io.dicom.headers import Header, open_dataset
from defacedask.io.dicom.suv import parse_date_time
from defacedask.io.dicom.volumes import Element

__all__ = ["elements_of", "plain", "seconds"]

#: How an image was made: the same in all slices of a volume.
FIRM = {
    "EchoTime": 0x00180081,
    "EchoNumbers": 0x00180086,
    "ImageType": 0x00080008,
    "ComplexImageComponent": 0x00089208,
    "DiffusionBValue": 0x00189087,
    "DiffusionGradientOrientation": 0x00189089,
    "DiffusionDirectionality": 0x00189075,
    "KVP": 0x00180060,
    "ConvolutionKernel": 0x00181210,
}
#: Counters and times, and what may differ from slice to slice.
LOOSE = {
    "InversionTime": 0x00180082,
    "RepetitionTime": 0x00180080,
    "FlipAngle": 0x00181314,
    "SequenceName": 0x00180024,
    "TemporalPositionIdentifier": 0x00200100,
    "TemporalPositionIndex": 0x00209128,
    "AcquisitionNumber": 0x00200012,
    "AcquisitionDateTime": 0x0008002A,
    "AcquisitionTime": 0x00080032,
    "TriggerTime": 0x00181060,
    "NominalPercentageOfCardiacPhase": 0x00209241,
    "NominalPercentageOfRespiratoryPhase": 0x00209245,
    "FrameReferenceTime": 0x00541300,
    "ActualFrameDuration": 0x00181242,
}
#: What numbers of ms or s they are, that grow with time.
TIMES = ("TriggerTime", "FrameReferenceTime")
#: Creator, group, element in the block, name.
PRIVATE = (
    ("SIEMENS MR HEADER", 0x0019, 0x0C, "b-value (Siemens)"),
    ("SIEMENS MR HEADER", 0x0019, 0x0E, "diffusion direction (Siemens)"),
    ("GEMS_PARM_01", 0x0043, 0x39, "b-value (GE)"),
    ("GEMS_PARM_01", 0x0043, 0x2F, "kind of image (GE)"),
    ("Philips Imaging DD 001", 0x2001, 0x03, "b-value (Philips)"),
    ("Philips MR Imaging DD 001", 0x2005, 0xB0, "diffusion direction, right to left (Philips)"),
    ("Philips MR Imaging DD 001", 0x2005, 0xB1, "diffusion direction, front to back (Philips)"),
    ("Philips MR Imaging DD 001", 0x2005, 0xB2, "diffusion direction, foot to head (Philips)"),
)
#: Public elements that some writers put into this sequence.
DIFFUSION = 0x00189117
DATE = 0x00080022


def plain(value: Any) -> Hashable:
    """A value that can be compared, whatever its VR: numbers as such, texts without padding, None if empty."""
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return tuple(plain(one) for one in value) or None
    if isinstance(value, bytes):
        return value or None
    text = str(value).strip(" \0") if value is not None else ""
    try:
        number = float(text)
    except ValueError:
        return text or None
    return round(number, 6) if math.isfinite(number) else text


def seconds(date: Any, time: Any) -> float:
    """Seconds since the year 1, NaN where date or time are none."""
    found = parse_date_time(str(date or ""), str(time or ""))
    return math.nan if found is None else (found - dt.datetime(1, 1, 1)).total_seconds()


def elements_of(headers: Sequence[Header]) -> list[Element]:
    """What may tell these images apart.

    Parameters
    ----------
    headers : sequence of Header
        Of single-frame images.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    rows = [_row(header.path) for header in headers]
    out = []
    for name in [*FIRM, *LOOSE, *(one[3] for one in PRIVATE)]:
        values = tuple(row.get(name) for row in rows)
        if len(set(values)) < 2:
            continue
        times: tuple[float, ...] = ()
        if name in TIMES:
            times = tuple(v if isinstance(v, float) else math.nan for v in values)
        elif name.startswith("Acquisition") and "Time" in name:
            times = tuple(row["acquired"] for row in rows)
        firm = name in FIRM or name in {one[3] for one in PRIVATE}
        out.append(Element(name, values, firm, times))
    return out


def _row(path: str) -> dict[str, Any]:
    creators = {(group << 16) | element for _, group, _, _ in PRIVATE for element in range(0x10, 0x20)}
    blocks = {
        (group << 16) | (block << 8) | element
        for _, group, element, _ in PRIVATE
        for block in range(0x10, 0x20)
    }
    tags = [*FIRM.values(), *LOOSE.values(), DIFFUSION, DATE, *creators, *blocks]
    dataset = open_dataset(path, specific_tags=tags)
    out: dict[str, Any] = {name: plain(dataset.get(name)) for name in (*FIRM, *LOOSE)}
    for one in dataset.get("MRDiffusionSequence", None) or ():
        for name in ("DiffusionBValue", "DiffusionDirectionality"):
            out[name] = out[name] if out[name] is not None else plain(one.get(name))
        for inner in one.get("DiffusionGradientDirectionSequence", None) or ():
            direction = plain(inner.get("DiffusionGradientOrientation"))
            out["DiffusionGradientOrientation"] = out["DiffusionGradientOrientation"] or direction
    for creator, group, element, name in PRIVATE:
        try:
            block = dataset.private_block(group, creator)
            out[name] = plain(block[element].value) if element in block else None
        except KeyError:
            out[name] = None
    full = str(dataset.get("AcquisitionDateTime", "") or "")
    date = str(dataset.get("AcquisitionDate", "") or "") or full[:8] or "19000101"
    out["acquired"] = seconds(full[:8], full[8:].split("+")[0]) if full else math.nan
    if math.isnan(out["acquired"]):
        out["acquired"] = seconds(date, dataset.get("AcquisitionTime", ""))
    return out

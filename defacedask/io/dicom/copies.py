"""Whether two files with one SOP instance UID are the same instance: what they show decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from defacedask.io.dicom.elements import DEFLATED
from defacedask.io.dicom.headers import Header, open_dataset
from defacedask.whole_files import file_hash

__all__ = ["same_instance"]

#: What of an instance must agree for two files to be copies of one another.
_IDENTITY = (
    "SOPClassUID",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "NumberOfFrames",
    "FrameOfReferenceUID",
    "RescaleSlope",
    "RescaleIntercept",
)


def same_instance(one: Header, other: Header) -> bool:
    """Whether two files show the same: images by place, rescale and pixels, other objects by their whole content.

    A file that cannot be read is not the same as anything.
    """
    if any(one.values.get(k) != other.values.get(k) for k in _IDENTITY):
        return False
    try:
        if one.size == other.size and file_hash(one.path) == file_hash(other.path):
            return True
        if "Rows" not in one.values:
            return bool(open_dataset(one.path, pixels=True) == open_dataset(other.path, pixels=True))
        if not _same_pixels(one, other):
            return False
        return "ImagePositionPatient" in one.values or _rest(one) == _rest(other)
    except Exception:  # readers raise what they like; then nothing shows that the two agree
        return False


def _same_pixels(one: Header, other: Header) -> bool:
    if (
        one.transfer_syntax == other.transfer_syntax != DEFLATED
        and one.pixel_length == other.pixel_length > 0
    ):
        return _pixels(one) == _pixels(other)
    from defacedask.io.dicom.pixels import read_stored

    a, b = read_stored(one), read_stored(other)
    return a.shape == b.shape and bool(np.array_equal(a, b))


def _pixels(header: Header) -> bytes:
    with Path(header.path).open("rb") as file:
        file.seek(header.pixel_offset)
        return file.read(header.pixel_length)


def _rest(header: Header) -> Any:
    """Header of a multi-frame object, whose frames lie where its sequences say."""
    dataset = open_dataset(header.path)
    return [dataset.get(k) for k in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")]

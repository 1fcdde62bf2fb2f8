"""What the Basic Application Level Confidentiality Profile asks of each element (PS3.15 Table E.1-1, edition 2024e).

The table lies in ``defacedask/data/basic_profile.csv``: tag, keyword, action of the Basic Profile, and which of the
options used here (modified dates, patient characteristics, clean descriptors) let the element stay.
"""

from __future__ import annotations

import csv
import functools
import re
from importlib import resources
from typing import Any

from defacedask.io.dicom.export.walking import walk

__all__ = [
    "KEPT_LABELS",
    "OPTIONS",
    "REPLACED",
    "SAFE_PRIVATE",
    "apply_profile",
    "empty_value",
    "keyword_actions",
    "safe_private",
    "told_age",
]

#: Options of the profile that are used: code, meaning (CID 7050).
OPTIONS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
SAFE_PRIVATE = ("113111", "Retain Safe Private Option")
#: Descriptors without which the object cannot be used: kept, with the patient's own words taken out.
KEPT_LABELS = {
    "ROIName",
    "StructureSetLabel",
    "RTPlanLabel",
    "BeamName",
    "SegmentLabel",
    "EntityLabel",
    "ContrastBolusAgent",
    "BodyPartExamined",
}
#: Ids and names of places, replaced by dicognito.
REPLACED = {
    "AccessionNumber",
    "InstitutionAddress",
    "InstitutionName",
    "PatientID",
    "StationName",
    "StudyID",
}
DUMMY = "DEIDENTIFIED"
#: Years: who is older is one of few, and is told as this old.
OLDEST = 90
_TEXT = {"LO", "SH", "ST", "LT", "UT", "UC", "CS", "AE"}
#: Private elements that carry no identity (PS3.15 Table E.3.10-1), those that CT, MR and PET readers need:
#: creator -> elements.
_SAFE = {
    "Philips PET Private Group": {0x00, 0x09},
    "ELSCINT1": {0x21, 0x26, 0x50},
    "Philips Imaging DD 001": {0x03, 0x04},
    "Philips MR Imaging DD 001": {0x0D, 0x0E},
    "GEMS_ACQU_01": {0x23, 0x24, 0x27},
    "GEMS_PARM_01": {0x27, 0x39},
    "SIEMENS MR HEADER": {0x0C, 0x0D, 0x0E, 0x27},
}


@functools.cache
def _table() -> dict[int, tuple[str, frozenset[str]]]:
    text = resources.files("defacedask.data").joinpath("basic_profile.csv").read_text("utf-8")
    return {
        int(row["tag"], 16): (row["action"], frozenset(row["option"].split()))
        for row in csv.DictReader(text.splitlines())
    }


@functools.cache
def keyword_actions() -> dict[str, str]:
    """Keyword -> ``drop`` or ``empty`` for what the options do not keep; for sidecars that use keywords."""
    from pydicom.datadict import dictionary_VR, keyword_for_tag

    out = {}
    for tag, (action, options) in _table().items():
        keyword = keyword_for_tag(tag)
        if keyword and "characteristics" not in options and keyword not in KEPT_LABELS:
            vr = dictionary_VR(tag)
            dates = "dates" in options and vr == "TM"  # times of day stay, dates cannot be moved in a sidecar
            if not dates:
                out[keyword] = "drop" if action == "X" or vr in ("DA", "DT", "SQ") else "empty"
    return out


def empty_value(element: Any) -> None:
    """Make an element empty (sequences: without items)."""
    from pydicom.sequence import Sequence

    element.value = Sequence() if element.VR == "SQ" else None if element.VR in ("DS", "IS") else ""


def told_age(value: Any) -> Any:
    """An age that may stay, text such as ``095Y`` or a number of years: `OLDEST` for all who are older."""
    if isinstance(value, int | float):
        return min(value, type(value)(OLDEST))
    years = re.fullmatch(r"\s*(\d+)\s*Y?\s*", str(value), re.IGNORECASE)
    return f"{OLDEST:03d}Y" if years and int(years[1]) > OLDEST else value


def safe_private(item: Any, tag: Any) -> bool:
    """Whether a private element is among those that carry no identity; a creator counts as such itself."""
    if tag.is_private_creator:
        return str(item[tag].value) in _SAFE
    creator = item.get((tag.group, tag.element >> 8))
    return creator is not None and (tag.element & 0xFF) in _SAFE.get(str(creator.value), ())


def apply_profile(dataset: Any, *, private: str) -> None:
    """Remove, empty or replace what the profile says and the de-identifier of names, ids and dates leaves alone.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Changed in place, items of sequences too.
    private : str
        ``drop``: no private element stays; ``keep``: only those that are known to carry no identity.
    """
    from pydicom.datadict import keyword_for_tag

    table = _table()
    for item, tag, vr in list(walk(dataset)):
        if tag not in item:
            continue
        if tag.is_private:
            if private == "drop" or not safe_private(item, tag):
                del item[tag]
            continue
        if tag not in table:
            continue
        action, options = table[tag]
        keyword = keyword_for_tag(tag)
        if keyword == "PatientAge":
            item[tag].value = told_age(item[tag].value)
        if "U" in action or vr == "UI" or "characteristics" in options or keyword in KEPT_LABELS:
            continue
        if "dates" in options and vr in ("DA", "DT", "TM"):
            continue
        if action == "X":
            del item[tag]
        elif keyword in REPLACED or vr == "PN":
            continue
        elif "D" in action and vr in _TEXT:
            item[tag].value = DUMMY
        elif "D" in action:
            del item[tag]
        else:
            empty_value(item[tag])

"""What a header says of a patient that rates are told apart by: sex and age; and which sequence an MR image is."""

from __future__ import annotations

import datetime
import re
from typing import Any

__all__ = ["age_of", "sequence_of", "sex_of"]

#: Years of an age string's unit (DICOM PS3.5, AS).
_UNITS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
#: Words of a description, the more telling first.
_SEQUENCES = (
    ("FLAIR", r"flair"),
    ("SWI", r"swi|t2\W*star|t2\*"),
    ("DWI", r"dwi|dti|diff\w*|adc"),
    ("T1", r"t1\w*|mp\W*rage|mprage|spgr|bravo|mp2rage"),
    ("T2", r"t2\w*"),
    ("PD", r"pd\w*"),
)


def sex_of(dataset: Any) -> str:
    """``F``, ``M`` or ``O``; "" where the header does not say."""
    text = str(dataset.get("PatientSex", "") or "").strip().upper()
    return text if text in ("F", "M", "O") else ""


def age_of(dataset: Any) -> float | None:
    """Years at the study, from PatientAge, else from the dates of birth and study; None where neither is there."""
    found = re.fullmatch(r"(\d{1,3})([DWMY])", str(dataset.get("PatientAge", "") or "").strip().upper())
    if found:
        return round(int(found[1]) * _UNITS[found[2]], 2)
    born, seen = (_day(dataset.get(name)) for name in ("PatientBirthDate", "StudyDate"))
    if born is None or seen is None:
        return None
    years = (seen - born).days / 365.25
    return round(years, 1) if 0 <= years < 130 else None


def _day(text: Any) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(str(text or ""), "%Y%m%d").date()
    except ValueError:
        return None


def sequence_of(description: str) -> str:
    """Such as ``T1``, by the words of a series' description or a file's name; "" where none of them tells."""
    for name, words in _SEQUENCES:
        if re.search(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", description, re.IGNORECASE):
            return name
    return ""

"""Everything that the headers of a whole scan call each person: collected once, for de-identification.

The record is plain and JSON-able. It names people: it goes to the workers, and is written nowhere.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from defacedask.errors import InputError
from defacedask.io.bids.sidecar import sidecar_of
from defacedask.io.dicom.headers import Header, open_dataset
from defacedask.io.dicom.persons import Persons, plain_id

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Series

__all__ = ["People", "collect_people", "people_of", "person_key"]

#: Label of a person -> ``names``, ``ids``, ``births`` (sorted lists) and ``key``.
People = dict[str, dict[str, Any]]

_NAMES = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ResponsiblePerson",
    "ReferringPhysicianName",
    "PhysiciansOfRecord",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
)
_IDS = ("PatientID", "OtherPatientIDs", "AccessionNumber")


class _Collection:
    def __init__(self) -> None:
        self.found: dict[str, dict[str, set[str]]] = {}

    def add(self, label: str, kind: str, values: Iterable[Any]) -> None:
        one = self.found.setdefault(label, {"names": set(), "ids": set(), "births": set()})
        one[kind].update(text for value in values if (text := str(value or "").strip()))

    def record(self) -> People:
        """Sorted, with a key for each label: its plain id, unless that of another label is the same."""
        out: People = {}
        keys: set[str] = set()
        for label in sorted(self.found, key=lambda one: (len(one), one)):
            plain = plain_id(re.sub(r" \[\d+\]$", "", label))
            key = plain if plain and plain not in keys and not label.startswith("study ") else label
            keys.add(key)
            out[label] = {**{kind: sorted(values) for kind, values in self.found[label].items()}, "key": key}
        return out


def collect_people(headers: Iterable[Header], persons: Persons, files: Sequence[Series] = ()) -> People:
    """Names and ids of everybody in a scan.

    Parameters
    ----------
    headers : iterable of Header
        Of every DICOM file, also of those that are skipped.
    persons : Persons
    files : sequence of Series
        NIfTI files, whose sidecars may name people.
    """
    out = _Collection()
    for header in headers:
        label = persons.label(header)
        out.add(label, "names", (header.text(k) for k in _NAMES))
        out.add(label, "ids", (header.text(k) for k in _IDS))
        out.add(label, "births", [header.text("PatientBirthDate")])
        if header.values.get("OtherPatientIDsSequence"):
            out.add(label, "ids", _other_ids(header.path))
    for one in files:
        label = one.facts.get("patient", one.patient_id)
        # labels of data sets are pseudonyms; words of file names do not come out, and reasons do not quote them
        out.add(label, "ids", (i for i in (label, one.patient_id) if re.search(r"[1-9]\d{4}", i)))
        _sidecar(out, label, one.files[0])
    return out.record()


def _other_ids(path: str) -> list[str]:
    try:
        dataset = open_dataset(path, specific_tags=[0x00101002])
        items = dataset.get("OtherPatientIDsSequence", None) or ()
        return [str(item.get("PatientID", "") or "") for item in items]
    except Exception:  # the export refuses what it cannot read
        return []


def _sidecar(out: _Collection, label: str, path: str) -> None:
    def look(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                kind = "names" if key in _NAMES else "ids" if key in _IDS else ""
                several = inner if isinstance(inner, list) else [inner]
                if kind:
                    out.add(label, kind, (one for one in several if isinstance(one, str)))
                if key == "PatientBirthDate" and isinstance(inner, str):
                    out.add(label, "births", [re.sub(r"\D", "", inner)[:8]])
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(sidecar_of(path))


def people_of(cases: Iterable[Case]) -> People:
    """The same for cases without their scan: reads the header of every file."""
    from pydicom.config import disable_value_validation

    from defacedask.io.dicom.bulk import Unreadable, read_headers

    series = [s for case in cases for s in case.series]
    files = [s for s in series if s.facts.get("format") == "NIfTI"]
    paths = sorted({f for s in series if s.facts.get("format") != "NIfTI" for f in s.files})
    with disable_value_validation(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        headers = [one for one in read_headers(paths) if not isinstance(one, Unreadable)]
    if len(headers) < len(paths):
        raise InputError(
            f"{len(paths) - len(headers)} files of the cases cannot be read any more.", "Scan again."
        )
    return collect_people(headers, Persons(headers), files)


def person_key(people: Mapping[str, Mapping[str, Any]], label: str) -> str:
    """What a person's new id and name are drawn from: the same for every spelling of one id, and in every run."""
    return str(people[label]["key"]) if label in people else plain_id(label) or label

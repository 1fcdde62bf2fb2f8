"""The part of `verify` that concerns people: whether somebody is still named, and whether one id has one name."""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from defacedask.io.dicom.export.leaks import Search
from defacedask.verify.lines import Line, Lines

__all__ = ["Names", "identity", "one_name_each"]

#: Fields of a line that are hashes and numbers.
_NO_TEXT = {
    "input_sha256",
    "output_sha256",
    "plan_sha256",
    "sop_instance_uid",
    "status",
    "modality",
    "defacer",
}
#: Elements that hold nothing but an identity, and that no option used here keeps.
_GONE = (
    *(
        "OtherPatientIDs",
        "OtherPatientNames",
        "OtherPatientIDsSequence",
        "PatientBirthName",
        "PatientMotherBirthName",
    ),
    *("PatientAddress", "PatientTelephoneNumbers", "PatientComments", "MilitaryRank", "MedicalRecordLocator"),
    *("ResponsiblePerson", "AdditionalPatientHistory", "PersonAddress", "PersonTelephoneNumbers"),
)
_PRINTED = re.compile(rb"[\x20-\x7e\xa0-\xff]{3,}")


class _Found(Protocol):
    folder: Path
    patients: defaultdict[str, set[str]]

    def say(self, file: str, check: str, what: str) -> None: ...


def identity(found: _Found, line: Line, dataset: Any) -> None:
    """What can be seen in a file without key and source: no element that is nothing but an identity."""
    if not line.get("deidentified"):
        return
    found.patients[str(dataset.get("PatientID", ""))].add(str(dataset.get("PatientName", "")))
    left = [keyword for keyword in _GONE if dataset.get(keyword)]
    if left:
        found.say(line["file"], "leaks", f"it still holds {', '.join(left)}")


def one_name_each(found: _Found) -> None:
    """See that one name stands with an id."""
    for several in found.patients.values():
        if len(several - {""}) > 1:
            found.say(
                "", "tags", f"one new PatientID stands with {len(several - {''})} different PatientNames"
            )


class Names:
    """Words of people in headers, sidecars, names of files and folders, and the record itself.

    Parameters
    ----------
    search : Search
    """

    def __init__(self, search: Search) -> None:
        self._search = search

    def file(self, found: _Found, line: Line, dataset: Any) -> None:
        """Look at one file, of which there is a header if it is DICOM."""
        from defacedask.io.dicom.export.identity import texts_of

        if not line.get("deidentified"):
            return
        name = str(line["file"])
        if dataset is not None:
            any_ = self._search.any
            where = next((str(tag) for _, tag, texts in texts_of(dataset) if any_(texts)), "")
            if where:
                found.say(name, "leaks", f"{where} still names somebody")
        elif self._search.any(_texts_of_file(found.folder / name, plain=line.get("modality") == "dataset")):
            found.say(name, "leaks", "its header or a field of it still names somebody")

    def record(self, found: _Found, lines: Lines) -> None:
        """Look at all lines, also those of what was refused."""
        if not any(line.get("deidentified") for line in lines):
            return
        for line in lines:
            said = [text for key, value in line.items() if key not in _NO_TEXT for text in _texts(value)]
            if self._search.any(said):
                found.say(str(line.get("file", "")), "leaks", "somebody is named in its name or its line")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield str(name)
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _texts_of_file(path: Path, *, plain: bool = False) -> list[str]:
    """Texts of a sidecar or a plain text, or what is printed before and after the voxels of a NIfTI file."""
    try:
        data = path.read_bytes()
        if plain:
            return [
                cell for line in data.decode("utf-8", "replace").splitlines() for cell in line.split("\t")
            ]
        if path.suffix == ".json":
            return list(_texts(json.loads(data)))
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, ValueError, EOFError):
        return []
    mark = "<" if int.from_bytes(data[:4], "little") in (348, 540) else ">"
    size = int(struct.unpack_from(mark + "i", data)[0]) if len(data) >= 4 else 0
    if size == 540 and len(data) >= 540:
        offset = int(struct.unpack_from(mark + "q", data, 168)[0])
        dims, bits = struct.unpack_from(mark + "8q", data, 16), struct.unpack_from(mark + "h", data, 14)[0]
    elif len(data) >= 348:
        offset = int(struct.unpack_from(mark + "f", data, 108)[0])
        dims, bits = struct.unpack_from(mark + "8h", data, 40), struct.unpack_from(mark + "h", data, 72)[0]
    else:
        return []
    count = 1
    for n in dims[1 : 1 + max(0, min(dims[0], 7))]:
        count *= max(int(n), 1)
    rest = data[: max(offset, size)] + b"\0" + data[offset + count * bits // 8 :]
    return [m[0].decode("latin-1") for m in _PRINTED.finditer(rest)]

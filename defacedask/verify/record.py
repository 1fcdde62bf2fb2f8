"""What `verify` sees in a record by itself: its lines, its seal, and which files are there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from defacedask.errors import InputError
from defacedask.inputs import scan_of
from defacedask.io.dicom.model import Case, Scan
from defacedask.verify.files import Found
from defacedask.verify.lines import Lines, Record, Some

if TYPE_CHECKING:
    from defacedask.io.dicom.export.leaks import Search

__all__ = ["THERE", "check_seal", "named_files", "read_record", "sealed_search", "source_facts", "unseen"]

#: Status of a line whose file is there; of what was passed on as it came its bytes alone are looked at.
THERE = ("written", "copied")
#: Files of the record itself.
RECORD = {"audit.jsonl", "audit.seal.json"}


def read_record(folder: Path) -> Record:
    """Lines of the record of a folder.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    from defacedask.io.dicom.export.audit import AUDIT

    if not (folder / AUDIT).is_file():
        raise InputError(f"{folder} has no {AUDIT}.", "Name the folder that `defacedask deface --out` wrote.")
    return Record(folder / AUDIT)


def sealed_search(found: Found, key: bytes) -> Search | None:
    """Search for the people whose codes are in the seal; none without the key, or without codes."""
    from defacedask.io.dicom.export.audit import SEAL
    from defacedask.io.dicom.export.leaks import searcher

    try:
        coded = json.loads((found.folder / SEAL).read_text(encoding="utf-8")).get("words")
        return searcher(coded, key) if key and isinstance(coded, dict) else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def unseen(lines: Lines, searched: bool, originals: Sequence[str] = ()) -> list[str]:
    """What could not be checked, one sentence each.

    Parameters
    ----------
    lines : iterable of dict
    searched : bool
        Whether people's names were looked for.
    originals : sequence of str
        Files of the images that were given as originals.
    """
    from defacedask.io.dicom.export.audit import hash_of_source

    told = []
    if originals:
        hashes = {line.get("input_sha256") for line in lines} - {"", None}
        if not any(hash_of_source(path) in hashes for path in originals):
            told.append(
                "No image that was given as an original is the source of a file on record. See whether --source "
                "names the right ones."
            )
    if searched or not any(line.get("deidentified") for line in lines):
        return told
    return [
        *told,
        "Whether a name or id of somebody is left in a text was not looked for: this needs the run's key (--key) or "
        "the originals (--source).",
    ]


def check_seal(found: Found, key: bytes) -> None:
    """See that the record is the one that was sealed."""
    from defacedask.io.dicom.export.audit import AUDIT, SEAL, seal_of

    path = found.folder / SEAL
    try:
        seal = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found.say(SEAL, "record", "the record's seal is missing or damaged")
        return
    now = seal_of(found.folder / AUDIT, key)
    if seal.get("sha256") != now["sha256"] or seal.get("lines") != now["lines"]:
        found.say(AUDIT, "record", "it is not the record that was sealed")
    if key and seal.get("hmac_sha256") != now["hmac_sha256"]:
        found.say(AUDIT, "record", "the holder of this key did not seal it")


def named_files(found: Found, lines: Lines, delivered: bool = False) -> Lines:
    """Lines whose file should be there and is; says which are missing, twice on record or on no record.

    With ``delivered`` files of cases are elsewhere, and were looked at before they went there.
    """
    folder = found.folder
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()}
    if _of_study(folder):  # it holds more
        there = {name for name in there if name.startswith("defaced/")}
    named = bytearray()
    seen: set[str] = set()
    for line in lines:
        named.append(False)
        if line.get("status") not in THERE:
            continue
        name = str(line.get("file", ""))
        pure = PurePosixPath(name)
        if not name or pure.is_absolute() or ".." in pure.parts:
            found.say(name, "record", "the record names a file outside the folder")
        elif name in seen:
            found.say(name, "record", "it is on record twice")
        elif delivered and line.get("modality") != "dataset" and not os.path.lexists(folder / name):
            pass
        elif not (folder / name).is_file() or (folder / name).is_symlink():
            found.say(name, "record", "it is on record, but not there")
        else:
            named[-1] = True
        seen.add(name)
    for name in sorted(there - seen - RECORD):
        found.say(name, "record", "it is not on record")
    return Some(lines, named)


def _of_study(folder: Path) -> bool:
    """Whether a folder is a study's, or a copy of one without its store."""
    own = (folder / "store").is_dir() and (folder / "defaced").is_dir()
    return own or ((folder / "tables").is_dir() and (folder / "config.yaml").is_file())


def source_facts(source: Any) -> tuple[set[str], Search | None, list[str]]:
    """UIDs of the originals, a search for the words that name people in them, and files of their images."""
    if not isinstance(source, (str, os.PathLike, Case, Scan)):
        source = list(source)
        if not source:
            return set(), None, []
    from defacedask.io.dicom.export.leaks import plain_search
    from defacedask.io.dicom.export.words import words_of_people
    from defacedask.io.dicom.people import people_of

    result = scan_of(source)
    if not result.cases and not result.skipped:
        raise InputError(
            "there is no original at the source that was given.", "See `defacedask scan SOURCE`."
        )
    people = result.people or people_of(result.cases)
    series = [s for case in result.cases for s in case.series]
    uids = {u for s in series for u in (s.uid, *s.instances)}
    found = plain_search(words_of_people(people).forms)
    files = [f for case in result.cases for s in case.images for f in s.files]
    return uids | {s.series_uid for s in result.skipped if s.series_uid}, found, files

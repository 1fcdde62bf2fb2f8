"""`verify` case by case: before the files of one go to an address, and at an address that holds more than a disk.

What files of different cases say of each other is seen for instance UIDs and patients' names. UIDs of the source that
one case's files name are looked for in that case alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from defacedask.io.remote.objects import Objects
from defacedask.io.remote.publish import fetch_sent, manifest_of
from defacedask.verify.files import Found, Problem, look
from defacedask.verify.lines import Line, Lines, Record, Some
from defacedask.verify.model import Verification, verification
from defacedask.verify.record import (
    THERE,
    check_seal,
    named_files,
    read_record,
    sealed_search,
    source_facts,
    unseen,
)

__all__ = ["fetched_parts", "verify_address", "verify_part"]


def verify_part(folder: Path, lines: list[Line]) -> list[Problem]:
    """Check the files of some lines of a record, by themselves.

    Parameters
    ----------
    folder : Path
        That holds them, and may hold others.
    lines : list of dict
        Of status written or copied.

    Returns
    -------
    list of Problem
    """
    found = Found(folder)
    there = []
    for line in lines:
        if (folder / line["file"]).is_file():
            there.append(line)
        else:
            found.say(line["file"], "record", "it is on record, but not there")
    look(found, there, lines)
    return found.problems


def verify_address(address: str, *, key: bytes = b"", source: Any = ()) -> Verification:
    """Check what `deface` or `study` left at an address: a case at a time is here.

    Parameters
    ----------
    address : str
    key, source
        See `defacedask.verify.verify`.

    Raises
    ------
    InputError
        If there is no record.
    RemoteError
        If the copying was not finished, or a file is not the one that was sent.
    """
    objects = Objects(address)
    manifest = manifest_of(objects)
    with tempfile.TemporaryDirectory() as base:
        rest = Path(base, "rest")
        fetch_sent(objects, manifest["files"], rest)
        lines = read_record(rest)
        found = Found(rest)
        check_seal(found, key)
        uids, plain, files = source_facts(source)
        searches = [one for one in (plain, sealed_search(found, key)) if one is not None]
        held = {name for mark in manifest["parts"].values() for name in mark.files}
        # what belongs to a part is looked at with that
        own = Some(lines, bytes(_there(line) not in held for line in lines))
        look(found, named_files(found, own), own, uids, files, searches)
        on_record = {name for line in lines if (name := _there(line)) is not None}
        for name in sorted(held - on_record):
            found.say(name, "record", "it is not on record")
        for folder, some in fetched_parts(objects, manifest, lines, Path(base, "part")):
            found.folder = folder
            look(found, some, some, uids, files, searches)
        _twice(found, lines)
        return verification(found, lines, unseen(lines, bool(searches), files))


def fetched_parts(
    objects: Objects, manifest: dict[str, Any], lines: Record, folder: Path
) -> Iterator[tuple[Path, list[Line]]]:
    """Files of each part, here for as long as they are looked at, and their lines."""
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines):
        if (name := _there(line)) is not None:
            numbers.setdefault(name, number)
    for part, mark in manifest["parts"].items():
        with tempfile.TemporaryDirectory(prefix=f"{part}-", dir=_made(folder)) as place:
            fetch_sent(objects, mark.files, Path(place))
            yield Path(place), [lines[numbers[name]] for name in sorted(mark.files) if name in numbers]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _there(line: Line) -> str | None:
    """File of a line that says that it is there."""
    return str(line.get("file", "")) if line.get("status") in THERE else None


def _twice(found: Found, lines: Lines) -> None:
    seen: set[str] = set()
    for line in lines:
        if (name := _there(line)) is None:
            continue
        if name in seen:
            found.say(name, "record", "it is on record twice")
        seen.add(name)

"""`verify` case by case: before the files of one go to an address, and at an address that holds more than a disk.

What files of different cases say of each other is seen for instance UIDs and patients' names. UIDs of the source that
one case's files name are looked for in that case alone.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from defacedask.io.remote.objects import Objects
from defacedask.io.remote.publish import fetch_sent, manifest_of
from defacedask.verify.files import Found, Lines, Problem, look
from defacedask.verify.model import THERE, Verification, verification
from defacedask.verify.record import (
    check_seal,
    named_files,
    read_record,
    sealed_search,
    source_facts,
    unseen,
)

__all__ = ["fetched_parts", "verify_address", "verify_part"]


def verify_part(folder: Path, lines: Lines) -> list[Problem]:
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
        on_record = [line for line in lines if line.get("status") in THERE]
        own = [line for line in lines if line.get("file") not in held or line.get("status") not in THERE]
        named = named_files(found, [line for line in on_record if line.get("file") not in held])
        look(found, named, own, uids, files, searches)
        for name in sorted(held - {line.get("file") for line in on_record}):
            found.say(name, "record", "it is not on record")
        for folder, some in fetched_parts(objects, manifest, on_record, Path(base, "part")):
            found.folder = folder
            look(found, some, some, uids, files, searches)
        _twice(found, on_record)
        return verification(found, lines, unseen(lines, bool(searches), files))


def fetched_parts(
    objects: Objects, manifest: dict[str, Any], lines: Lines, folder: Path
) -> Iterator[tuple[Path, Lines]]:
    """Files of each part, here for as long as they are looked at, and their lines."""
    by_name: defaultdict[str, Lines] = defaultdict(list)
    for line in lines:
        by_name[str(line["file"])].append(line)
    for part, mark in manifest["parts"].items():
        with tempfile.TemporaryDirectory(prefix=f"{part}-", dir=_made(folder)) as place:
            fetch_sent(objects, mark.files, Path(place))
            yield Path(place), [line for name in sorted(mark.files) for line in by_name[name][:1]]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _twice(found: Found, lines: Lines) -> None:
    seen: set[str] = set()
    for line in lines:
        name = str(line.get("file", ""))
        if name in seen:
            found.say(name, "record", "it is on record twice")
        seen.add(name)

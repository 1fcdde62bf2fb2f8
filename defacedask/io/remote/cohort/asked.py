"""What is asked for: a ``.tcia`` or ``.s5cmd`` manifest, a text file of Series UIDs, or ``idc:`` and a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from defacedask.errors import InputError
from defacedask.io.dicom.find import MAX_LIST_BYTES, UID
from defacedask.io.remote.cohort.model import Asked

__all__ = ["is_uid", "read_asked"]

_IDC = "idc:"
_OBJECT = re.compile(r"s3://[a-z0-9.-]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")


def is_uid(text: str) -> bool:
    """Whether a text is a DICOM UID: 64 characters at most (PS3.5, 9.1)."""
    return len(text) <= 64 and bool(UID.fullmatch(text))


def read_asked(source: str) -> Asked:
    """Read what the user named.

    Parameters
    ----------
    source : str
        A ``.tcia`` manifest or text file of Series Instance UIDs, for NBIA; ``idc:`` with a collection, an analysis
        result, a series or study UID, or such a file; or an ``.s5cmd`` manifest, as the portal of IDC writes it.

    Raises
    ------
    InputError
        If the file is not there, is not text, or holds a line that is none of this.
    """
    name = source.removeprefix(_IDC)
    service = "idc" if source.startswith(_IDC) else "nbia"
    path = Path(name)
    if path.is_file():
        if path.suffix.lower() == ".s5cmd":
            return Asked("idc", objects=tuple(_objects(path)), manifest=path)
        uids, server = _series(path)
        return Asked(service, uids=uids, server=server if service == "nbia" else "", manifest=path)
    if service == "nbia":
        raise InputError(
            f"{source} is a folder." if Path(source).is_dir() else f"{source} does not exist.",
            "Name a .tcia manifest, a text file of Series UIDs, or idc:COLLECTION.",
        )
    if is_uid(name):
        return Asked("idc", uids=(name,))
    if not re.fullmatch(r"[\w. -]+", name):
        raise InputError(f"{source} names no collection.", "Write idc: and its name, such as idc:upenn_gbm.")
    return Asked("idc", collection=name)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_LIST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).", "Check its permissions.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not a text file, so no manifest.") from None
    if len(raw) > MAX_LIST_BYTES:
        raise InputError(f"{path.name} is larger than any manifest.", "Name the right file.")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def _series(path: Path) -> tuple[tuple[str, ...], str]:
    """Series UIDs, each once, and the address of the server where a manifest names one."""
    uids: dict[str, None] = {}
    head: dict[str, str] = {}
    for number, line in _lines(path):
        name, equals, value = line.partition("=")
        # which lines a manifest begins with, and how many, depends on who wrote it
        if equals and not uids:
            head[name.strip()] = value.strip()
        elif is_uid(line):
            uids[line] = None
        else:
            raise InputError(f"line {number} of {path.name} is no Series Instance UID: {line[:70]!r}.")
    if not uids:
        raise InputError(f"{path.name} names no series.")
    return tuple(uids), head.get("downloadServerUrl", "")


def _objects(path: Path) -> list[str]:
    found: dict[str, None] = {}
    for number, line in _lines(path):
        match = _OBJECT.search(line)
        if match is None:
            raise InputError(f"line {number} of {path.name} names no series of IDC: {line[:70]!r}.")
        found[match[1]] = None
    if not found:
        raise InputError(f"{path.name} names no series.")
    return list(found)

"""ZIP archives of strangers: a series' files, into one folder and nowhere else."""

from __future__ import annotations

import csv
import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from defacedask.errors import InputError, RemoteError, writing
from defacedask.io.remote.cohort.model import FileFacts, Stopped
from defacedask.io.remote.cohort.names import is_plain

__all__ = ["HASHES", "unpack"]

#: Member that lists the others and their MD5.
HASHES = "md5hashes.csv"
#: Members that are no instances.
_BESIDE = {HASHES, "LICENSE"}
_CHUNK = 1 << 20
_LIST_BYTES = 64 << 20


def unpack(
    archive: Path, folder: Path, uid: str, most: int, stopped: Callable[[], bool] = lambda: False
) -> FileFacts:
    """Unpack the archive of a series, and compare each file with the MD5 that the archive lists for it.

    Parameters
    ----------
    archive, folder : Path
        The folder is empty.
    uid : str
        Of the series, for what is said.
    most : int
        Bytes that all members may have together.
    stopped : callable
        Asked now and then.

    Raises
    ------
    RemoteError
        If the archive is not whole: cut off, without its list of hashes, a file missing or other than listed.
    InputError
        If a member's name leads out of the folder, or it unpacks to more than it may.
    OutputError
    """
    files: FileFacts = {}
    try:
        with zipfile.ZipFile(archive) as given:
            names = given.namelist()
            _must_be_plain(names, uid)
            if HASHES not in names:
                raise RemoteError(
                    f"the archive of series {uid} ends before its list of hashes.", "Try again later."
                )
            if given.getinfo(HASHES).file_size > _LIST_BYTES:
                raise InputError(f"the archive of series {uid} lists more hashes than any series has files.")
            listed = _listed(given.read(HASHES).decode("utf-8-sig", "replace"), uid)
            left = most
            for name in names:
                if name in _BESIDE:
                    continue
                size, md5 = 0, hashlib.md5(usedforsecurity=False)
                with given.open(name) as member, writing(f"series {uid}"), (folder / name).open("xb") as file:
                    while chunk := member.read(_CHUNK):
                        size += len(chunk)
                        if size > left:
                            raise InputError(
                                f"the archive of series {uid} unpacks to far more than it should."
                            )
                        if stopped():
                            raise Stopped
                        md5.update(chunk)
                        file.write(chunk)
                left -= size
                files[name] = (size, md5.hexdigest())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        # cut off, a wrong CRC, a method or a password that no such archive has
        raise RemoteError(
            f"the archive of series {uid} is not whole ({error}).", "Try again later."
        ) from None
    _compare(files, listed, uid)
    return files


def _must_be_plain(names: list[str], uid: str) -> None:
    for name in names:
        if not is_plain(name):
            raise InputError(
                f"the archive of series {uid} holds a file called {name[:80]!r}, which may lead anywhere."
            )
    if len({name.casefold() for name in names}) != len(names):
        raise InputError(f"the archive of series {uid} holds two files of one name.")


def _listed(text: str, uid: str) -> dict[str, str]:
    """File name -> MD5, as the archive lists them; a hash that the service does not have is empty."""
    rows = list(csv.reader(text.splitlines()))
    if not rows or [name.strip().lower() for name in rows[0][:2]] != ["filename", "md5hash"]:
        raise RemoteError(f"the list of hashes of series {uid} cannot be read.", "Try again later.")
    listed = {}
    for row in rows[1:]:
        if row:
            name, md5 = row[0].strip(), (row[1].strip().lower() if len(row) > 1 else "")
            # some versions of the service leave out zeros at the beginning
            listed[name] = md5.zfill(32) if re.fullmatch("[0-9a-f]{1,32}", md5) else ""
    return listed


def _compare(files: FileFacts, listed: dict[str, str], uid: str) -> None:
    for name, md5 in listed.items():
        if name not in files:
            raise RemoteError(f"{name} of series {uid} is listed and did not come.", "Try again later.")
        if md5 and files[name][1] != md5:
            raise RemoteError(
                f"{name} of series {uid} is not what the service has (its MD5 differs).", "Try again later."
            )
    for name in files:
        if name not in listed:
            raise RemoteError(f"{name} of series {uid} came and is not listed.", "Try again later.")

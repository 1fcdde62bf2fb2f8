"""Which files an input names: folders (searched, symbolic links followed, loops safe), files, manifests, lists.

A ``.tcia`` manifest and a text file of Series UIDs hold no images: they say which series of the files beside
them, or of the other inputs, are wanted.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from defacedask.errors import InputError
from defacedask.io.dicom.joining import not_workable

__all__ = ["NO_FILE", "UNFINISHED", "Found", "find_files", "is_nifti"]

UID = re.compile(r"[0-9]+(\.[0-9]+)+")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
MAX_LIST_BYTES = 16 * 2**20
#: Folder of `defacedask fetch` in its output: halves of series may lie there, and no search enters it.
UNFINISHED = ".defacedask-fetch"
#: Stores of version control: what is checked out lies beside them, under its own name. git-annex and DataLad keep the
#: files of a data set in there, and links to them in the tree.
STORES = frozenset({".git", ".datalad", ".hg", ".svn", ".bzr", ".dvc"})

#: Said of sockets, devices and the like, which hold no image.
NO_FILE = "it is not a regular file"


@dataclasses.dataclass
class Found:
    """What the inputs name.

    Parameters
    ----------
    files : list of str
        Each file once, in a fixed order.
    wanted : dict
        Series UID -> the list or manifest that names it; empty if every series is wanted.
    unreadable : list of (path, reason)
        Folders and links that could not be followed.
    """

    files: list[str] = dataclasses.field(default_factory=list)
    wanted: dict[str, str] = dataclasses.field(default_factory=dict)
    unreadable: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def is_nifti(path: str) -> bool:
    """Whether a file name is a NIfTI image's."""
    return path.lower().endswith((".nii", ".nii.gz"))


def _series_list(path: Path) -> list[str] | None:
    """Series UIDs of a manifest or list, or None if the file is neither."""
    manifest = path.suffix.lower() == ".tcia"
    if not manifest and path.stat().st_size > MAX_LIST_BYTES:
        return None
    with path.open("rb") as file:
        raw = file.read(MAX_LIST_BYTES)
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = None
    if lines is None:
        if manifest:
            raise InputError(f"{path.name} is not a text file, so no manifest.")
        return None
    lines = [line.strip() for line in lines]
    if manifest:
        lines = [line for line in lines if line and "=" not in line]
    else:
        lines = [line for line in lines if line and not line.startswith("#")]
    uids = [line for line in lines if UID.fullmatch(line) and len(line) <= 64]
    if manifest and not uids:
        raise InputError(f"the manifest {path.name} names no series.")
    return uids if (uids and len(uids) == len(lines)) or manifest else None


class _Search:
    def __init__(self) -> None:
        self.found = Found()
        self.seen: set[tuple[int, int] | str] = set()

    def file(self, path: str, status: os.stat_result) -> None:
        # one file behind two links is one file, and no duplicate instance; but NIfTI has nothing but its name, and
        # git-annex keeps two images of the same bytes as one file: which of them are copies is told apart later
        key = path if is_nifti(path) else (status.st_dev, status.st_ino)
        if key not in self.seen:
            self.seen.add(key)
            self.found.files.append(path)

    def folder(self, top: str) -> None:
        """Walk without recursion; a folder already met (by device and inode) is not entered again."""
        waiting = [top]
        while waiting:
            here = waiting.pop()
            try:
                status = Path(here).stat()
                if (status.st_dev, status.st_ino) in self.seen:
                    continue
                self.seen.add((status.st_dev, status.st_ino))
                with os.scandir(here) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self.found.unreadable.append((here, f"the folder cannot be read ({error.strerror})"))
                continue
            folders = []
            for entry in entries:
                try:
                    if entry.name == UNFINISHED or entry.name in STORES:
                        continue
                    if entry.is_dir():
                        folders.append(entry.path)
                    elif entry.is_file():
                        self.file(entry.path, entry.stat())
                    elif entry.is_symlink():
                        annexed = ".git/annex/objects" in os.readlink(entry.path)  # noqa: PTH115
                        reason = "the link leads nowhere or in a circle"
                        if annexed:
                            reason = "its content was not fetched (git-annex, DataLad): get it first"
                        self.found.unreadable.append((entry.path, reason))
                    else:
                        self.found.unreadable.append((entry.path, NO_FILE))
                except OSError as error:
                    self.found.unreadable.append((entry.path, f"it cannot be read ({error.strerror})"))
            waiting.extend(reversed(folders))


def _named(one: Any) -> str:
    """A path as text; what stands for nothing is no path, least of all the current folder."""
    if isinstance(one, bytes):
        one = os.fsdecode(one)
    if not isinstance(one, (str, os.PathLike)):
        raise not_workable(one)
    text = os.fspath(one)
    if not text.strip():
        raise InputError(
            "the name of an input is empty.", "Name a folder or a file; the current folder is called '.'."
        )
    return text


def find_files(inputs: Iterable[str | os.PathLike[str]]) -> Found:
    """Resolve inputs to files and, where a manifest or list says so, the wanted series.

    Raises
    ------
    InputError
        If an input does not exist, cannot be read, has no name, is a URL or no path at all, or there is none.
    """
    search, lists, named = _Search(), [], False
    given = [_named(one) for one in inputs]
    if not given:
        raise InputError(
            "there is no input.", "Name a folder, a file, a .tcia manifest or a list of Series UIDs."
        )
    for one in given:
        if URL.match(one):
            raise InputError(
                f"{one.split('://')[0]}:// addresses cannot be scanned.",
                "Fetch the data first, with `defacedask.io.remote.localise` or by hand, and name the folder.",
            )
        path = Path(one)
        try:
            if path.is_dir():
                search.folder(str(path.absolute()))
                named = True
                continue
            if not path.exists():
                raise InputError(f"{one} does not exist.", "Check the name.")
            if path.suffix.lower() in (".tcia", ".txt", ".csv", ".list", ".uids", "") and path.is_file():
                uids = _series_list(path)
                if uids is not None:
                    lists.append(path)
                    search.seen.add((path.stat().st_dev, path.stat().st_ino))
                    search.found.wanted.update((uid, one) for uid in uids)
                    continue
            search.file(str(path.absolute()), path.stat())
            named = True
        except OSError as error:
            raise InputError(f"{one} cannot be read ({error.strerror}).", "Check its permissions.") from None
    if lists and not named:
        for path in lists:
            search.folder(str(path.absolute().parent))
    return search.found

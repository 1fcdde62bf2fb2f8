"""Where a defaced file goes: the same folder shape as the input, without the source's UIDs in any name."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePath

from defacedask.io.bids.names import mask_name
from defacedask.io.dicom.export.uids import UidMap
from defacedask.io.nifti.names import ENDS

__all__ = ["clean_name", "fitting", "output_names"]

_UID = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-2](?:\.(?:0|[1-9][0-9]*)){2,}(?![0-9])")
#: Bytes of one name on the usual file systems, and the longest name that is made of a NIfTI file's.
LONGEST = 255
#: Longest end that a mask's name has and its image's has not.
_MASK = "_desc-Defaced_mask.nii.gz"


def output_names(
    files: Iterable[str | os.PathLike[str]],
    inputs: Iterable[str | os.PathLike[str]] = (),
    others: Iterable[str | os.PathLike[str]] = (),
) -> dict[str, str]:
    """Path of each file relative to the output folder.

    Parameters
    ----------
    files : iterable of path
        All files of a run that may be written, absolute as the scan gives them.
    inputs : iterable of path, optional
        Folders the user named; a file below one keeps its path from there. Several folders keep their own names.
        Others, and all if there is none, keep their path below the deepest folder that holds them all.
    others : iterable of path, optional
        Files that are named in the record, but never written; they take nobody's name.

    Returns
    -------
    dict
        Source path as given -> relative path with ``/``; no two of ``files`` are the same on a file system that does
        not tell case or forms of accents, none is a folder of another, none leads out of a folder. A NIfTI file's
        mask and sidecar count as its own names: ``X.nii`` and ``X.nii.gz`` become ``X.nii`` and ``X-2.nii.gz``.
    """
    written = sorted({os.fspath(f) for f in files})
    rest = sorted({os.fspath(f) for f in others} - set(written))
    # as the scan names them: absolute, links not followed
    roots = [os.path.abspath(i) for i in inputs if Path(i).is_dir()]  # noqa: PTH100
    loose = [str(PurePath(p).parent) for p in (*written, *rest) if not _below(p, roots)]
    common = os.path.commonpath(loose) if loose else ""
    out: dict[str, str] = {}
    for group in (written, rest):
        # beside what is never written lies no mask and no sidecar of ours: it is told by the name that it has
        shelf = _Taken(_family if group is written else lambda name: {_key(name)})
        for path in group:
            root = _below(path, roots)
            relative = PurePath(os.path.relpath(path, root or common))
            parts = [p for p in relative.parts if p not in ("..", ".", "/", "")]
            if root and len(roots) > 1:
                parts.insert(0, PurePath(root).name or "input")
            out[path] = shelf.put(parts)
    return out


class _Taken:
    """Names that are given away."""

    def __init__(self, family: Callable[[str], set[str]]) -> None:
        self.family = family
        self.files: set[str] = set()
        self.folders: set[str] = set()

    def put(self, parts: list[str]) -> str:
        """A free name as near as possible to the one asked for."""
        number = 1
        while True:
            name = "/".join(self._numbered(parts, number))
            if self._free(name):
                break
            number += 1
        self.files.update(self.family(name))
        own = _key(name).split("/")
        self.folders.update("/".join(own[:k]) for k in range(1, len(own)))
        return name

    def _numbered(self, parts: list[str], number: int) -> list[str]:
        last, folders = parts[-1], parts[:-1]
        if number > 1:
            found = ENDS.search(last)
            ends = found[0] if found else PurePath(last).suffix
            last = f"{last[: len(last) - len(ends)]}-{number}{ends}"
        # a folder that is a file already gets the number, too
        for k in range(len(folders)):
            if _key("/".join(folders[: k + 1])) in self.files:
                folders = [*folders[:k], f"{folders[k]}-{number + 1}", *folders[k + 1 :]]
        return [*folders, fitting(last)]

    def _free(self, name: str) -> bool:
        family = self.family(name)
        own = _key(name).split("/")
        above = {"/".join(own[:k]) for k in range(1, len(own))}
        return not family & (self.files | self.folders) and not above & self.files


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _family(name: str) -> set[str]:
    """Names that are written for a file."""
    found = ENDS.search(name)
    if not found:
        return {_key(name)}
    stem = name[: found.start()]
    folder, _, last = name.rpartition("/")
    masks = [f"{folder}/{mask_name(last, derivative=kind)}".lstrip("/") for kind in (False, True)]
    return {_key(one) for one in (*(stem + ends for ends in (".nii", ".nii.gz", ".json")), *masks)}


def fitting(name: str) -> str:
    """A file name that is short enough for itself and for what is made of it; unchanged if it is."""
    found = ENDS.search(name)
    ends = found[0] if found else PurePath(name).suffix[:20]
    stem = name[: len(name) - len(ends)] if ends else name
    longest = LONGEST - len(os.fsencode(_MASK if found else ends))
    if len(os.fsencode(stem)) <= longest:
        return name
    mark = "-" + hashlib.sha256(os.fsencode(name)).hexdigest()[:10]
    while len(os.fsencode(stem)) > longest - len(mark):
        stem = stem[:-1]
    return stem + mark + ends


def _below(path: str, roots: list[str]) -> str:
    fitting = [r for r in roots if path == r or path.startswith(r.rstrip(os.sep) + os.sep)]
    return max(fitting, key=len) if fitting else ""


def clean_name(name: str, uids: UidMap, known: Collection[str]) -> str:
    """Replace source UIDs that stand in a file's or folder's name.

    Many archives name files after their SOP instance UID and folders after their series UID.
    """

    def new(match: re.Match[str]) -> str:
        token = match[0]
        while token and token not in known:  # digits of another meaning may follow the UID
            token = token.rpartition(".")[0]
        return uids(token) + match[0][len(token) :] if token else match[0]

    return "/".join(_UID.sub(new, part) for part in Path(name).as_posix().split("/"))

"""Where a defaced file goes: the same folder shape as the input, without the source's UIDs in any name."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePath

from defacedask.dicom.export.uids import UidMap

__all__ = ["clean_name", "output_names"]

_UID = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-2](?:\.(?:0|[1-9][0-9]*)){2,}(?![0-9])")


def output_names(
    files: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]] = ()
) -> dict[str, str]:
    """Path of each file relative to the output folder.

    Parameters
    ----------
    files : iterable of path
        All files of a run, absolute as the scan gives them.
    inputs : iterable of path, optional
        Folders the user named; a file below one keeps its path from there. Several folders keep their own names.
        Others, and all if there is none, keep their path below the deepest folder that holds them all.

    Returns
    -------
    dict
        Source path as given -> relative path with ``/``; no two are the same, none leads out of a folder.
    """
    paths = sorted({os.fspath(f) for f in files})
    # as the scan names them: absolute, links not followed
    roots = [os.path.abspath(i) for i in inputs if Path(i).is_dir()]  # noqa: PTH100
    own = len(roots) > 1
    rest = [p for p in paths if not _below(p, roots)]
    common = os.path.commonpath([str(PurePath(p).parent) for p in rest]) if rest else ""
    out: dict[str, str] = {}
    taken: set[str] = set()
    for path in paths:
        root = _below(path, roots)
        relative = PurePath(os.path.relpath(path, root or common))
        parts = [p for p in relative.parts if p not in ("..", ".", "/", "")]
        if root and own:
            parts.insert(0, PurePath(root).name or "input")
        name, number = "/".join(parts), 1
        while name.casefold() in taken:
            number += 1
            last = PurePath(parts[-1])
            name = "/".join([*parts[:-1], f"{last.stem}-{number}{last.suffix}"])
        taken.add(name.casefold())
        out[path] = name
    return out


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

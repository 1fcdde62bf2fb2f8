"""What the functions of the public door are given: paths, a Scan, a Case, several of these, or a finished run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import InputError

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Scan, Skipped

__all__ = ["folder_of", "nothing_found", "one_case", "paths_of", "scan_of"]


def scan_of(given: Any) -> Scan:
    """Scan of what was given; paths are scanned, all of them together.

    Parameters
    ----------
    given : path, Scan, Case, or iterable of these; or what `deface` returned, for its folder

    Raises
    ------
    InputError
        If it is anything else, a path does not exist, or two cases of one id are not the same.
    """
    from defacedask.io.dicom.catalogue import scan
    from defacedask.io.dicom.joining import joined
    from defacedask.io.dicom.model import Scan

    return given if isinstance(given, Scan) else joined(_items(given), scan)


def _items(given: Any) -> list[Any]:
    from defacedask.io.dicom.joining import not_workable
    from defacedask.io.dicom.model import Case

    if isinstance(given, (str, os.PathLike, Case)):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, (bytes, dict)):
        return list(given)
    raise not_workable(given)


def paths_of(given: Any) -> Sequence[str | os.PathLike[str]]:
    """The paths among what was given: what is written keeps its place below them."""
    if dataclasses.is_dataclass(given):  # a Case, or what `deface` returned: nothing that the user named
        return ()
    if isinstance(given, (str, os.PathLike)):
        return (given,)
    if not isinstance(given, (list, tuple)):
        return ()
    return tuple(one for one in given if isinstance(one, (str, os.PathLike)))


def nothing_found(skipped: Sequence[Skipped], what: str = "image series to work on") -> InputError:
    """What is said where a scan found nothing to use, with the first reason why."""
    why = f" ({len(skipped)} files or series were skipped; the first: {skipped[0].reason})" if skipped else ""
    return InputError(f"there is no {what}{why}.", "See `defacedask scan INPUT` for what is there.")


def one_case(given: Any) -> Case:
    """The only case of what was given.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    from defacedask.io.dicom.model import Case

    if isinstance(given, Case):
        return given
    found = scan_of(given)
    if not found.cases:
        raise nothing_found(found.skipped)
    if len(found.cases) > 1:
        raise InputError(
            f"a plan is of one case, and there are {len(found.cases)}.",
            "Give one of them, such as scan.cases[0].",
        )
    return found.cases[0]


def folder_of(given: Any) -> Path:
    """Folder of a run, by its path or by what `deface`, `study` or `attack` returned.

    Raises
    ------
    InputError
        If it is anything else.
    """
    place = getattr(given, "out", given)
    if isinstance(place, (str, os.PathLike)):
        return Path(place)
    raise InputError(
        f"a {type(given).__name__} is no folder that was written.",
        "Give the output folder, or what `deface`, `study` or `attack` returned.",
    )

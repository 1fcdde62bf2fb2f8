"""What the functions of the public door are given: paths, a Scan, a Case, several of these, or a finished run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import InputError

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Scan

__all__ = ["folder_of", "one_case", "paths_of", "scan_of"]

_TAKEN = "Give a path, a Scan, a Case, or a list of these."


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
    from defacedask.io.dicom.model import Case, Scan

    if isinstance(given, Scan):
        return given
    items = _items(given)
    paths = [one for one in items if isinstance(one, (str, os.PathLike))]
    others = [one for one in items if not isinstance(one, (str, os.PathLike))]
    parts = [scan(*paths)] if paths else []
    for one in others:
        if not isinstance(one, (Scan, Case)):
            raise InputError(f"a {type(one).__name__} is nothing that can be worked on.", _TAKEN)
        parts.append(one if isinstance(one, Scan) else Scan((one,)))
    if len(parts) == 1:
        return parts[0]
    cases: dict[str, Case] = {}
    for case in (case for part in parts for case in part.cases):
        if cases.setdefault(case.id, case) != case:
            raise InputError(
                f"two cases that are not the same have the id {case.id}.", "Scan their folders together."
            )
    # without people: a Case brings none, and some would be taken for all. Who needs them reads them of all cases
    return Scan(
        tuple(cases[name] for name in sorted(cases)),
        tuple(dict.fromkeys(skip for part in parts for skip in part.skipped)),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _items(given: Any) -> list[Any]:
    from defacedask.io.dicom.model import Case
    from defacedask.runs.deface import DefaceResult

    if isinstance(given, DefaceResult):
        return [given.out]
    if isinstance(given, (str, os.PathLike, Case)):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, (bytes, dict)):
        return list(given)
    raise InputError(f"a {type(given).__name__} is nothing that can be worked on.", _TAKEN)


def paths_of(given: Any) -> Sequence[str | os.PathLike[str]]:
    """The paths among what was given: what is written keeps its place below them."""
    if isinstance(given, (str, os.PathLike)):
        return (given,)
    if dataclasses.is_dataclass(given) or not isinstance(given, (list, tuple)):
        return ()
    return tuple(one for one in given if isinstance(one, (str, os.PathLike)))


def one_case(given: Any) -> Case:
    """The only case of what was given.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    from defacedask.io.dicom.model import Case
    from defacedask.runs.preparing import nothing_found

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

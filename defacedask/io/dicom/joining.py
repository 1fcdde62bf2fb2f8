"""One scan of several things: paths, which are scanned all together, scans, and cases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from defacedask.errors import InputError
from defacedask.io.dicom.model import Case, Scan

__all__ = ["joined", "not_workable"]


def not_workable(given: object) -> InputError:
    """What is said of something that is neither a path nor holds cases."""
    return InputError(
        f"an object of the type {type(given).__name__} is nothing that can be worked on.",
        "Give a path, a Scan, a Case, or a list of these.",
    )


def joined(items: Iterable[Any], scan: Callable[..., Scan]) -> Scan:
    """Scan of what was given.

    Parameters
    ----------
    items : iterable of path, Scan or Case
    scan : callable
        Gives the scan of paths.

    Raises
    ------
    InputError
        If one is anything else, a path does not exist, or two cases of one id are not the same.
    """
    items = list(items)
    paths = [one for one in items if isinstance(one, (str, os.PathLike))]
    others = [one for one in items if not isinstance(one, (str, os.PathLike))]
    parts = [scan(*paths)] if paths else []
    for one in others:
        if not isinstance(one, (Scan, Case)):
            raise not_workable(one)
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

"""Number and description of a derived series: none of the source's, and what was done.

Every number of a study is moved by one step, a power of ten above all numbers of that study: series 3 of a study
whose highest number is 904 becomes 1003, its mask 2003. So no number meets another, and each tells its source.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

__all__ = ["derived_number", "described", "rename", "says_so", "series_number"]

#: Largest value of an IS element (PS3.5 6.2).
LARGEST = 2**31 - 1
#: Characters of an LO element.
LONGEST = 64
_TAIL = re.compile(r"\[(face (removed|covered|left in): [^\]]+|not to be analysed)\]$")


def derived_number(number: int, taken: Collection[int], kind: int = 1) -> int:
    """Number of a series that is derived from another.

    Parameters
    ----------
    number : int
        Of the source.
    taken : collection of int
        Numbers of all series of the source's study.
    kind : int
        1 for the defaced series itself, 2 for its mask.

    Returns
    -------
    int
        None of ``taken``; different for different sources and kinds.
    """
    known = sorted({*taken, number})
    reach = max(known[-1], known[-1] - known[0], 1)
    step = 10 ** len(str(reach))
    if known[-1] + 2 * step <= LARGEST:
        return number + kind * step
    # numbers that leave no room above them: the lowest that are free, in the order of the sources
    place = 2 * known.index(number) + kind
    free = 0
    while place:
        free += 1
        place -= free not in taken
    return free


def series_number(dataset: Any) -> int | None:
    """SeriesNumber of a header; None where there is none that can be read."""
    try:
        value = dataset.get("SeriesNumber", None)
        return None if value is None or str(value) == "" else int(value)
    except (ValueError, TypeError, OverflowError):
        return None


def rename(
    dataset: Any,
    defacer: str,
    taken: Collection[int],
    *,
    visible: bool = False,
    reversible: bool = False,
) -> None:
    """Give a derived instance the number and the description of its series.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Changed in place. A series without a number stays without.
    defacer : str
    taken : collection of int
        Numbers of all series of the source's study.
    visible, reversible : bool
        As in `defacedask.io.dicom.export.record.mark_cleaned`.
    """
    number = series_number(dataset)
    if number is not None:
        dataset.SeriesNumber = derived_number(number, taken)
    what = "face covered" if reversible else "face left in" if visible else "face removed"
    given = dataset.get("SeriesDescription", "") or ""
    before = given if isinstance(given, str) else " ".join(map(str, given))
    dataset.SeriesDescription = described(before, f"{what}: {defacer}")


def described(before: str, what: str) -> str:
    """A description with what was done behind it, shortened at the end of what was there."""
    tail = f"[{what[: LONGEST - 2]}]"
    head = " ".join(before.replace("\\", " ").split())[: max(LONGEST - len(tail) - 1, 0)].strip()
    return f"{head} {tail}".strip()


def says_so(dataset: Any) -> bool:
    """Whether the description of a series says that it is derived."""
    return _TAIL.search(str(dataset.get("SeriesDescription", "") or "")) is not None

"""The lines of a record, read from its file as often as they are asked for: memory may not hold a large run's."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from defacedask.errors import InputError

__all__ = ["Line", "Lines", "Record", "Some"]

Line = dict[str, Any]
#: What can be gone through more than once.
Lines = Iterable[Line]


class Record:
    """Lines of a record.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Byte at which each line begins.
        self._starts = array("Q", (start for start, _ in self._read()))

    def _read(self, start: int = 0) -> Iterator[tuple[int, Line]]:
        from defacedask.io.dicom.export.audit import each_line

        try:
            yield from each_line(self._path, start)
        except (ValueError, OSError) as error:
            raise InputError(f"{self._path} cannot be read ({error}).", "The record is damaged.") from None

    def __iter__(self) -> Iterator[Line]:
        return (line for _, line in self._read())

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Line:
        return next(self._read(self._starts[number]))[1]


class Some:
    """Lines of which a byte each says whether they are meant.

    Parameters
    ----------
    lines : iterable of dict
    meant : bytes
        As many; not 0: meant.
    """

    def __init__(self, lines: Lines, meant: bytes | bytearray) -> None:
        self._lines, self._meant = lines, meant

    def __iter__(self) -> Iterator[Line]:
        return (line for line, meant in zip(self._lines, self._meant, strict=True) if meant)

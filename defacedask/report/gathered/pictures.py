"""The list of pictures, read one after the other: of a large cohort it is longer than a process wants to hold."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from defacedask.errors import InputError

__all__ = ["Listed"]


class Listed(Collection[Mapping[str, Any]]):
    """Pictures of ``pictures/index.json``, each a mapping with its ``file``.

    Parameters
    ----------
    path : Path
        None is listed where it is not there.

    Raises
    ------
    InputError
        While it is gone through, if it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        if self._path.is_file():
            yield from (p for p in self._read() if isinstance(p, dict) and p.get("file"))

    def _read(self) -> Iterator[Any]:
        try:
            with self._path.open(encoding="utf-8") as file:
                begin = file.readline()
                if begin.strip() == "[":  # as a run writes it: a line a picture
                    for line in file:
                        yield json.loads(line.strip().removesuffix("]").rstrip(","))
                    return
                yield from json.loads(begin + file.read())
        except (ValueError, TypeError) as error:
            raise InputError(f"{self._path} is damaged ({error}).") from error

    @functools.cached_property
    def _length(self) -> int:
        return sum(1 for _ in self)

    def __len__(self) -> int:
        return self._length

    def __contains__(self, picture: object) -> bool:
        return any(one == picture for one in self)

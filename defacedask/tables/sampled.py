"""Numbers of many cases in bounded memory: counts, sums and extremes of all, medians and the like of a sample.

Up to `report.most-cases` cases every number is kept, and everything is exact. Of more, those of the cases with the
smallest hash stay, which is a sample drawn with the seed `SEED`: the same in whatever order the cases come, and
however they are split into batches. Exact stay the count, the mean and the extremes.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from defacedask.config import option

__all__ = [
    "SEED",
    "Numbers",
    "Worst",
    "case_hashes",
    "grouped",
    "kept_cases",
    "most_cases",
    "pooled",
]

#: Of the sample of cases.
SEED = 0
#: Sixteen letters, as pandas wants a key.
_KEY = f"defacedask-seed{SEED}"


def most_cases() -> int:
    """Cases up to which medians and the like are of all."""
    return max(int(option("report.most-cases")), 1)


def case_hashes(cases: Iterable[Any]) -> np.ndarray:
    """(n,) uint64: a case's place in the draw, the same wherever it is met."""
    names = cases.to_numpy(dtype=object) if isinstance(cases, pd.Series) else np.array(list(cases), object)
    return pd.util.hash_array(names, hash_key=_KEY)


def kept_cases(hashes: np.ndarray, most: int) -> tuple[np.ndarray, int | None]:
    """Rows of the sample of ``most`` cases, and the hash below which it lies; None where it holds all."""
    each = np.unique(hashes)
    if len(each) <= most:
        return np.ones(len(hashes), bool), None
    return hashes < each[most], int(each[most])


#: Small arrays that are held before they are made one.
_ARRAYS = 64


class Numbers:
    """Numbers that come batch by batch.

    Attributes
    ----------
    count : int
        Of all that came.
    total, smallest, largest : float
        Of all; NaN in a number makes them NaN.
    below : int or None
        Hash below which the cases of the sample lie; None while all numbers are kept.
    """

    __slots__ = (
        "_hashes",
        "_held",
        "_most",
        "_room",
        "_values",
        "below",
        "count",
        "largest",
        "smallest",
        "total",
    )

    def __init__(self, most: int | None = None) -> None:
        self._most = most_cases() if most is None else most
        self._room = self._most
        self._values: list[np.ndarray] = []
        self._hashes: list[np.ndarray] = []
        self._held = self.count = 0
        self.total, self.smallest, self.largest = 0.0, math.inf, -math.inf
        self.below: int | None = None

    def add(self, values: Any, hashes: np.ndarray) -> None:
        """Add numbers, with the hash of the case that each is of (`case_hashes`)."""
        values = np.asarray(values, dtype=np.float64)
        if not len(values):
            return
        self.count += len(values)
        self.total += float(values.sum())
        self.smallest = float(np.minimum(self.smallest, values.min()))
        self.largest = float(np.maximum(self.largest, values.max()))
        if self.below is not None:
            inside = hashes < self.below
            values, hashes = values[inside], hashes[inside]
        self._values.append(values)
        self._hashes.append(hashes)
        self._held += len(values)
        if self._held > self._room or len(self._values) > _ARRAYS:
            self._thin()

    def _thin(self) -> None:
        values, hashes = np.concatenate(self._values), np.concatenate(self._hashes)
        inside, below = kept_cases(hashes, self._most)
        if below is not None:
            values, hashes, self.below = values[inside], hashes[inside], below
        self._values, self._hashes, self._held = [values], [hashes], len(values)
        self._room = max(self._room, len(values) + len(values) // 4)

    def _settle(self) -> None:
        if len(self._values) > 1:
            self._thin()

    @property
    def values(self) -> np.ndarray:
        """Those kept, as they came."""
        self._settle()
        return self._values[0] if self._values else np.empty(0)

    @property
    def hashes(self) -> np.ndarray:
        """Of the case of each of `values`."""
        self._settle()
        return self._hashes[0] if self._hashes else np.empty(0, np.uint64)

    @property
    def sampled(self) -> bool:
        """Whether `values` are of a sample."""
        self._settle()
        return self.below is not None

    @property
    def mean(self) -> float:
        """Of all numbers; NaN without any."""
        if not self.count:
            return math.nan
        return self.total / self.count if self.sampled else float(self.values.mean())

    @property
    def sum(self) -> float:
        """Of all numbers."""
        return self.total if self.sampled else float(self.values.sum())

    def percentile(self, percent: float) -> float:
        """Of `values`; NaN without any."""
        values = self.values
        return float(np.percentile(values, percent)) if len(values) else math.nan

    @property
    def median(self) -> float:
        """Of `values`; NaN without any."""
        values = self.values
        return float(np.median(values)) if len(values) else math.nan


def pooled(several: Sequence[Numbers]) -> tuple[np.ndarray, bool]:
    """Numbers of several kinds as one, and whether they are a sample: of the cases that all of them kept."""
    limits = [one.below for one in several if one.sampled and one.below is not None]
    if not limits:
        return np.concatenate([one.values for one in several]) if several else np.empty(0), False
    return np.concatenate([one.values[one.hashes < min(limits)] for one in several]), True


class Worst:
    """The number that is largest, with what it is of; of equal ones the first."""

    __slots__ = ("about", "size")

    def __init__(self) -> None:
        self.size: float = -math.inf
        self.about: tuple[Any, ...] = ()

    def add(self, sizes: Any, *about: Sequence[Any]) -> None:
        """Add some numbers (NaN: none), with as many of each thing to remember."""
        sizes = np.asarray(sizes, dtype=np.float64)
        known = np.where(np.isnan(sizes), -math.inf, sizes)
        if len(known) and known.max() > self.size:
            row = int(known.argmax())
            self.size, self.about = float(known[row]), tuple(each[row] for each in about)

    def __bool__(self) -> bool:
        return bool(self.about)


def grouped(rows: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[tuple[Hashable, ...], np.ndarray]]:
    """Key -> rows that have it (by number), keys as they come; a row that lacks one is left out."""
    if not len(rows):
        return
    number = rows.groupby(list(keys), sort=False).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    order = order[np.searchsorted(number[order], 0) :]
    cuts = np.flatnonzero(np.diff(number[order], prepend=-1))
    names = zip(*(rows[key].iloc[order[cuts]].to_numpy(dtype=object) for key in keys), strict=True)
    for key, begin, end in zip(names, cuts, [*cuts[1:], len(order)], strict=True):
        yield key, order[begin:end]

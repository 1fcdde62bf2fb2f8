"""Slices of a series that lie several at a place, told apart into volumes by what their headers say.

Echoes, phases, b-values, magnitude and phase, times of a dynamic scan: each is a volume of its own on one grid, and
many archives keep them in one series. Which slice belongs to which volume is never guessed. An element tells volumes
apart if each of its values stands at every place equally often: an echo time does, the time of a single slice does
not. Of what no such element tells apart, the order in time may, if one volume ends before the next begins. Elements
that contradict each other tell nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np

from defacedask.errors import RefusedError

__all__ = ["APART", "Element", "Split", "places_of", "split"]

#: mm along the normal from which on two slices lie at two places.
APART = 0.05
#: Cosines that differ by less are of one direction.
TURNED = 0.01
#: In place of an element: which of those that only an order in time tells apart.
IN_TIME = "in time"
#: Which elements are heard first: how a slice was made, then counters and times.
FIRM, LOOSE = "firm", "loose"


@dataclasses.dataclass(frozen=True)
class Element:
    """What one element says of every slice.

    Attributes
    ----------
    name : str
        Keyword, or what else it is known by.
    values : tuple
        Of each slice; None where it has none.
    firm : bool
        It says how a slice was made, and is the same in all slices of a volume; a counter or a time need not be.
    times : tuple of float
        The values as numbers that grow with time, NaN where there is none; empty if it is no time.
    """

    name: str
    values: tuple[Hashable, ...]
    firm: bool = False
    times: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Split:
    """Slices by their volumes.

    Attributes
    ----------
    volumes : list of list of int
        Slices of each volume: exactly one at every place.
    by : list of dict
        Element -> value, of those elements that tell the volumes apart.
    rest : list of (list of int, str)
        Slices that make no whole volume, and why, as a clause.
    """

    volumes: list[list[int]]
    by: list[dict[str, Hashable]]
    rest: list[tuple[list[int], str]]


def places_of(positions: np.ndarray, cosines: np.ndarray) -> np.ndarray | None:
    """Number of the place, along their common normal, at which each slice lies.

    Parameters
    ----------
    positions, cosines : (n, 3) and (n, 6) arrays
        ImagePositionPatient and ImageOrientationPatient, LPS mm.

    Returns
    -------
    (n,) int array or None
        None if the slices have no common normal, or one does not say where it lies.
    """
    if len(positions) < 2 or not (np.isfinite(positions).all() and np.isfinite(cosines).all()):
        return None
    if np.abs(cosines - cosines[0]).max() > TURNED:
        return None
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    out = np.empty(len(along), np.int64)
    out[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > APART)])
    return out


def split(places: np.ndarray, elements: Sequence[Element]) -> Split:
    """Tell slices apart into volumes that each have exactly one slice at every place.

    Parameters
    ----------
    places : (n,) int array
        From `places_of`.
    elements : sequence of Element

    Returns
    -------
    Split
        Every slice is in exactly one volume, or in the rest. The order of slices and elements does not matter.

    Raises
    ------
    RefusedError
        If nothing tells volumes apart, or elements contradict each other; with the reason as a clause.
    """
    work = _Splitting(places, elements)
    whole, rest = work.divide(list(range(len(places))))
    found: list[list[int]] = []
    for volume in whole:
        mixed = [one.name for one in elements if one.firm and len({one.values[k] for k in volume}) > 1]
        if mixed:
            rest.append((volume, f"slices of one volume differ in {' and '.join(sorted(mixed))}"))
        else:
            found.append(volume)
    for one in elements:
        # whoever could have told the volumes apart must not tell it otherwise
        if work.level(one, range(len(places))) == 1.0 and any(
            len({one.values[k] for k in volume}) > 1 for volume in found
        ):
            raise RefusedError(f"{one.name} tells its volumes apart otherwise than what else does")
    if 2 * sum(map(len, found)) <= len(places) or not found:
        raise RefusedError(_why(rest))
    telling = [one for one in elements if len({one.values[k] for volume in found for k in volume}) > 1]
    by = [
        {one.name: one.values[volume[0]] for one in telling if len({one.values[k] for k in volume}) == 1}
        for volume in found
    ]
    alike = [frozenset(one.items()) for one in by]
    for k, same in enumerate(alike):
        if alike.count(same) > 1:  # in the order that only their times have shown
            by[k] = {**by[k], IN_TIME: float(alike[: k + 1].count(same))}
    return Split(found, by, rest)


def _why(rest: Sequence[tuple[list[int], str]]) -> str:
    why: Counter[str] = Counter()
    for some, reason in rest:
        why[reason] += len(some)
    return max(why, key=lambda reason: (why[reason], reason))


class _Splitting:
    """One series while its slices are told apart."""

    def __init__(self, places: np.ndarray, elements: Sequence[Element]) -> None:
        self.places = [int(place) for place in places]
        self.count = len(set(self.places))
        self.elements = elements
        #: What is tried by turns: elements of one kind together, then each order in time.
        self.steps = (FIRM, LOOSE)

    def _even(self, some: Sequence[int]) -> int:
        """How many of these slices lie at each place; 0 if not equally many lie at all."""
        counts = Counter(self.places[k] for k in some)
        return (
            counts.most_common(1)[0][1] if len(counts) == self.count and len(set(counts.values())) == 1 else 0
        )

    def level(self, one: Element, some: Sequence[int]) -> float:
        """Part of slices whose value stands at every place equally often; 0 where all have one value."""
        groups = self._groups([one], some)
        if len(groups) < 2:
            return 0.0
        return sum(len(group) for group in groups if self._even(group)) / len(some)

    @staticmethod
    def _groups(elements: Sequence[Element], some: Sequence[int]) -> list[list[int]]:
        out: dict[tuple[Hashable, ...], list[int]] = defaultdict(list)
        for k in some:
            out[tuple(one.values[k] for one in elements)].append(k)
        return list(out.values())

    def divide(self, some: list[int], step: int = 0) -> tuple[list[list[int]], list[tuple[list[int], str]]]:
        """(whole volumes, what is left over and why) of some slices."""
        even = self._even(some)
        if even == 1:
            return [some], []
        if max(Counter(self.places[k] for k in some).values()) == 1:
            lacks = self.count - len(some)
            what = f"lacks {lacks} of the {self.count} slices that the others have"
            return [], [(some, f"a volume of its series {what}")]
        if step == len(self.steps):
            return self._in_time(some) if even else ([], [(some, NOTHING)])
        own = [one for one in self.elements if one.firm == (self.steps[step] == FIRM)]
        # one of more than half is believed: a volume may lack slices
        used = [one for one in own if self.level(one, some) > 0.5]
        groups = self._groups(used, some)
        if all(self.level(one, some) == 1.0 for one in used) and not all(map(self._even, groups)) and used:
            names = " and ".join(sorted(one.name for one in used))
            return [], [(some, f"{names} tell its volumes apart in different ways")]
        whole: list[list[int]] = []
        rest: list[tuple[list[int], str]] = []
        for group in groups:
            more, left = self.divide(group, step + 1)
            whole += more
            rest += left
        return whole, rest

    def _in_time(self, some: list[int]) -> tuple[list[list[int]], list[tuple[list[int], str]]]:
        """Volumes one after the other, if each ends before the next begins."""
        found: dict[frozenset[frozenset[int]], list[list[int]]] = {}
        for times in self._orders(some):
            ranks = sorted(some, key=lambda k: times[k])
            parts = [ranks[k : k + self.count] for k in range(0, len(ranks), self.count)]
            ends = [(times[part[0]], times[part[-1]]) for part in parts]
            apart = all(a[1] < b[0] for a, b in itertools.pairwise(ends))
            if apart and all(self._even(part) == 1 for part in parts):
                found[frozenset(map(frozenset, parts))] = parts
        if len(found) == 1:
            return next(iter(found.values())), []
        return [], [(some, "its times tell its volumes apart in more than one way" if found else NOTHING)]

    def _orders(self, some: Sequence[int]) -> Iterator[Mapping[int, float]]:
        for one in self.elements:
            if one.times and all(np.isfinite(one.times[k]) for k in some):
                yield {k: one.times[k] for k in some}


#: Said of slices at one place between which no element makes a difference that could be followed.
NOTHING = "nothing in their headers tells whole volumes apart"

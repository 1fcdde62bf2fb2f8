"""What is wrong with a stack whose slices are not all equally far apart, in one true clause.

Slices may be missing, or a scan may have been made like that: in blocks of thin and thick slices, with a distance
that drifts, as two stacks in one another. Distances alone do not always tell, so the slices' own thickness is heard
too, and what cannot be told is said as what was seen.
"""

from __future__ import annotations

import numpy as np

__all__ = ["uneven"]

#: Distances that differ by less than this part, or by less than 0.1 mm, are one.
SAME = 0.05
#: Gaps in a row that make a block.
BLOCK = 3
#: Slices fill a gap if their thickness is within this part of it.
FILLED = 0.15


def mm(value: float) -> str:
    """Millimetres without needless zeros."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def uneven(along: np.ndarray, thickness: np.ndarray | None = None) -> str:
    """Say what is wrong with distances that are not all the same.

    Parameters
    ----------
    along : (n,) array
        Positions of the slices along their normal, mm, ascending.
    thickness : (n,) array, optional
        SliceThickness of each, mm; NaN where it is not known.

    Returns
    -------
    str
        A clause about the series.
    """
    gaps = np.diff(along)
    thick = _thickness(thickness, len(along))
    runs = _runs(gaps)
    filled = _filled(gaps, thick)
    for say in (_by_turns, _blocks):
        found = say(gaps, runs, thick, filled)
        if found:
            return found
    usual = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    times = np.rint(gaps / usual)
    whole = np.abs(gaps / usual - times) < 0.1
    open_ = (times > 1) & ~filled
    if whole.all() and open_.any():
        missing = int((times[open_] - 1).sum())
        where = int(np.argmax(np.where(open_, times, 0)))
        return (
            f"{missing} slice{'s are' if missing > 1 else ' is'} missing: a gap of {mm(gaps[where])} mm "
            f"after slice {where + 1} of {len(along)}, where slices are {mm(usual)} mm apart"
        )
    spread = f"from {mm(gaps.min())} to {mm(gaps.max())} mm apart"
    steps = np.diff(gaps)
    if len(gaps) > BLOCK and ((steps > -1e-3).all() or (steps < 1e-3).all()):
        return f"slices are unevenly spaced: {spread}, the distance changes steadily along the stack"
    if filled.all():
        return (
            f"slices are unevenly spaced: {spread}, and as thick as they are apart, so that none is missing"
        )
    return f"slices are unevenly spaced: {spread}"


def _thickness(thickness: np.ndarray | None, count: int) -> np.ndarray:
    out = np.full(count, np.nan) if thickness is None else np.asarray(thickness, dtype=np.float64)
    return np.where(np.isfinite(out) & (out > 0), out, np.nan)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= max(0.1, SAME * max(one, other))


def _runs(gaps: np.ndarray) -> list[tuple[int, int, float]]:
    """(first gap, number, mm) of neighbouring gaps that are the same."""
    out: list[tuple[int, int, float]] = []
    start = 0
    for k in range(1, len(gaps) + 1):
        if k == len(gaps) or not _same(gaps[k], gaps[start]):
            out.append((start, k - start, float(np.median(gaps[start:k]))))
            start = k
    return out


def _filled(gaps: np.ndarray, thick: np.ndarray) -> np.ndarray:
    """Gaps that the two slices beside them fill, one of which is thicker than the usual slice."""
    known = np.isfinite(thick)
    if not known.all() or np.ptp(thick) <= SAME * thick.min():
        # slices of one thickness leave the same gap everywhere, or something between them is missing
        return np.zeros(len(gaps), bool)
    low, high = np.minimum(thick[:-1], thick[1:]), np.maximum(thick[:-1], thick[1:])
    return (gaps >= (1 - FILLED) * low) & (gaps <= (1 + FILLED) * high)


def _by_turns(
    gaps: np.ndarray, runs: list[tuple[int, int, float]], thick: np.ndarray, filled: np.ndarray
) -> str:
    """Two stacks in one another: a short and a long gap by turns, in all of the stack or in a part of it."""
    if len(gaps) < 5:
        return ""
    again = np.array(
        [_same(gaps[k], gaps[k + 2]) and not _same(gaps[k], gaps[k + 1]) for k in range(len(gaps) - 2)]
    )
    longest, count = 0, 0
    for one in again:
        count = count + 1 if one else 0
        longest = max(longest, count)
    if longest < BLOCK or longest < 0.3 * len(again):
        return ""
    k = int(np.flatnonzero(again)[0])
    pair = sorted((float(gaps[k]), float(gaps[k + 1])))
    return (
        f"slices are {mm(pair[0])} and {mm(pair[1])} mm apart by turns: two stacks lie in one another, each of "
        f"slices {mm(sum(pair))} mm apart, or every third slice is missing"
        if _same(2 * pair[0], pair[1])
        else f"slices are {mm(pair[0])} and {mm(pair[1])} mm apart by turns: two stacks lie in one another, each of "
        f"slices {mm(sum(pair))} mm apart"
    )


def _blocks(
    gaps: np.ndarray, runs: list[tuple[int, int, float]], thick: np.ndarray, filled: np.ndarray
) -> str:
    """Blocks of slices, each with a distance of its own."""
    long = [run for run in runs if run[1] >= BLOCK]
    rest = len(gaps) - sum(run[1] for run in long)
    distances: list[float] = []
    for _, _, step in long:
        if not any(_same(step, other) for other in distances):
            distances.append(step)
    if len(distances) < 2 or len(distances) > 4 or len(long) > 6 or rest > len(runs) - 1:
        return ""
    stray = [run for run in runs if run[1] < BLOCK]
    if any(run[2] > 1.1 * max(distances) and not filled[run[0] : run[0] + run[1]].all() for run in stray):
        return ""  # more than a change from one distance to the next
    said = ", then ".join(f"{count} of {mm(step)} mm" for _, count, step in long)
    between = "; the thickness of the slices is not known"
    if np.isfinite(thick).all():
        kinds = [f"{mm(float(np.median(thick[a : a + n + 1])))}" for a, n, _ in long]
        if filled.all():
            between = (
                f", and so thick are the slices ({' and '.join(dict.fromkeys(kinds))} mm): none is missing"
            )
        elif np.ptp(thick) <= SAME * thick.min():
            between = f"; all slices are {mm(float(np.median(thick)))} mm thick, so that some may be missing"
        else:
            between = f"; the slices are {' and '.join(dict.fromkeys(kinds))} mm thick"
    return f"it has {len(distances)} slice distances (gaps in order: {said}){between}"

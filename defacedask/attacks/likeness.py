"""Whether a defaced image shows the same scan as an original: by its voxels, not by what it is called.

Defacing leaves most of a head as it was. What lies behind the face is compared as detail, the difference between a
voxel and its neighbourhood: two scans of the same kind of anatomy agree in their outlines, but not in these, and
scaling, an offset or another grid do not change them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.geometry import Geometry

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Series

__all__ = ["OTHER", "SAME", "UNKNOWN", "Likeness", "compare", "compare_moved", "likeness"]

SAME, OTHER, UNKNOWN = "same", "other", "unknown"
#: Correlation of details from which on two images show one scan, and below which they do not. Measured: 42 pairs of
#: different real heads reach 0.03 at most, two virtual heads 0.15; a real head and its cut version 1.00 (CT) and 0.76
#: (MR), on a 3 mm grid 0.74 and 0.52, smoothed 0.54 and 0.65; turned by 10 degrees and found again 0.99 and 0.86.
SAME_DETAIL, OTHER_DETAIL = 0.3, 0.2
#: Points compared, spread over the original's body; fewer in common say nothing.
POINTS, FEWEST = 60_000, 4_000
#: Neighbourhood of a detail, mm to each side.
REACH = 6.0


@dataclasses.dataclass(frozen=True)
class Likeness:
    """How alike two images are.

    Attributes
    ----------
    detail : float
        Correlation of the details, NaN where nothing can be compared.
    equal : float
        Fraction of the points of the body with the very same value.
    common : float
        Fraction of the original's body that lies in the other image's field of view.
    """

    detail: float = float("nan")
    equal: float = 0.0
    common: float = 0.0

    @property
    def verdict(self) -> str:
        """`SAME`, `OTHER` (they lie at the same place and differ), or `UNKNOWN`."""
        if self.detail >= SAME_DETAIL or self.equal >= SAME_DETAIL:
            return SAME
        return OTHER if self.common >= 0.5 and self.detail < OTHER_DETAIL else UNKNOWN


def likeness(original: Series, defaced: Series) -> Likeness:
    """Compare two image series; reads both."""
    from defacedask.errors import DefacedaskError
    from defacedask.io.dicom.image import read_image
    from defacedask.volume import geometry_of, real_values

    try:
        one, other = (real_values(read_image(s)).load() for s in (original, defaced))
    except (DefacedaskError, OSError):
        return Likeness()
    return compare(one.values, geometry_of(one), other.values, geometry_of(other))


def compare(one: np.ndarray, grid: Geometry, other: np.ndarray, its_grid: Geometry) -> Likeness:
    """Compare two volumes where they lie.

    Parameters
    ----------
    one, other : (z, y, x) arrays
        Real values of the original and of what may be its defaced version.
    grid, its_grid : Geometry
        Where they lie, patient LPS mm.
    """
    return _Pair(one, grid, other, its_grid, POINTS).at(np.eye(4), REACH)


def compare_moved(
    one: np.ndarray, grid: Geometry, other: np.ndarray, its_grid: Geometry, start: np.ndarray
) -> Likeness:
    """Compare two volumes of which one lies elsewhere: the best agreement near a first guess.

    Parameters
    ----------
    one, other, grid, its_grid
        As for `compare`.
    start : (4, 4) array
        From the original's world to the other's, mm, right to about a centimetre and ten degrees.
    """
    pair = _Pair(one, grid, other, its_grid, POINTS // 6)
    best = np.asarray(start, np.float64)
    # wide neighbourhoods first: details of 6 mm agree only where the two lie within 2 mm of each other
    for reach, step in ((20.0, 6.0), (14.0, 3.0), (9.0, 1.5), (REACH, 0.75)):
        best = pair.climb(best, reach, step)
    return _Pair(one, grid, other, its_grid, POINTS).at(best, REACH)


class _Pair:
    """Two volumes, and points in the body of the first."""

    def __init__(
        self, one: np.ndarray, grid: Geometry, other: np.ndarray, its_grid: Geometry, points: int
    ) -> None:
        self.one, self.other = (np.nan_to_num(np.asarray(v, np.float32)) for v in (one, other))
        self.grid, self.its_grid = grid, its_grid
        low, high = np.percentile(self.one[::2, ::2, ::2], [2, 98])
        self.floor = float(low + 0.25 * (high - low))
        body = np.flatnonzero((self.one > self.floor).ravel()) if high > low else np.zeros(0, int)
        step = max(1, len(body) // points)
        index = np.stack(np.unravel_index(body[step // 2 :: step], self.one.shape), axis=1)
        self.world = grid.to_world(index)
        self._own: dict[float, Any] = {}

    def at(self, there: np.ndarray, reach: float) -> Likeness:
        """Likeness with the other volume moved by a matrix from the original's world to the other's."""
        if not len(self.world):
            return Likeness()
        if reach not in self._own:
            self._own[reach] = _details(self.one, self.grid, self.world, np.eye(3), reach, self.floor)
        a, inside_a = self._own[reach]
        b, inside_b = _details(
            self.other, self.its_grid, self.world @ there[:3, :3].T + there[:3, 3], there[:3, :3], reach
        )
        both, common = inside_a & inside_b, float(inside_b.mean())
        if both.sum() < max(200, min(FEWEST, len(self.world) // 4)):
            return Likeness(common=common)
        equal = float((a[1][both] == b[1][both]).mean())
        # of ranks: few voxels at edges would outweigh all others
        return Likeness(_rank_correlation(a[0][both], b[0][both]), equal, common)

    def climb(self, start: np.ndarray, reach: float, step: float) -> np.ndarray:
        """Turn and shift in small steps as long as that agrees better."""
        middle = self.world.mean(axis=0) if len(self.world) else np.zeros(3)
        best, score = start, self.at(start, reach).detail
        for _ in range(8):
            before = score
            for axis in range(6):
                for sign in (step, -step):
                    trial = best @ _small(axis, sign, middle)
                    value = self.at(trial, reach).detail
                    if value > score or (np.isnan(score) and not np.isnan(value)):
                        best, score = trial, value
                        break
            if not score > before:
                break
        return best


def _small(axis: int, step: float, middle: np.ndarray) -> np.ndarray:
    """A shift by ``step`` mm, or a turn about the middle that moves what is 60 mm away by as much."""
    out = np.eye(4)
    if axis < 3:
        out[axis, 3] = step
        return out
    angle, (i, j) = step / 60.0, [(1, 2), (2, 0), (0, 1)][axis - 3]
    out[i, i] = out[j, j] = np.cos(angle)
    out[i, j], out[j, i] = -np.sin(angle), np.sin(angle)
    out[:3, 3] = middle - out[:3, :3] @ middle
    return out


def _details(
    values: np.ndarray,
    grid: Geometry,
    world: np.ndarray,
    turn: np.ndarray,
    reach: float,
    floor: float = -np.inf,
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Details at points, by nearest voxels: ((value minus the mean of its six neighbours, value), where that holds).

    It does not hold where a neighbour lies outside, or at ``floor`` or below: outlines of bodies are much alike.
    """
    centre, inside = _at(values, grid, world)
    around = np.zeros(len(world))
    for axis in range(3):
        for sign in (-reach, reach):
            value, there = _at(values, grid, world + sign * turn[:, axis])
            around += value / 6
            inside &= there & (value > floor)
    return (centre - around, centre), inside


def _at(values: np.ndarray, grid: Geometry, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = np.rint(grid.to_index(world)).astype(np.int64)
    inside = ((index >= 0) & (index < np.array(values.shape))).all(axis=1)
    index = np.where(inside[:, None], index, 0)
    return values[index[:, 0], index[:, 1], index[:, 2]].astype(np.float64), inside


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    if x.std() == 0 or y.std() == 0:
        return float("nan")
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic)

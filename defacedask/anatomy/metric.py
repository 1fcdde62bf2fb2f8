"""How well a head fits the average head in a pose: mutual information of sampled points.

Mutual information between the patient and an average head, so that CT, MR and PET go the same way. It is computed on
regularly drawn points with plain NumPy: a fraction of a millisecond a pose, in one thread, so the same bits again on
any machine. Points below the template's field of view (it ends at the chin) count as unexplained: the score is the
information per point of the whole sample, so that a pose cannot gain by pushing difficult points out of view.

Sources: Viola & Wells 1997, Mattes et al. 2003; the crop to 150 mm around the brain and the soft-tissue window were
measured on planning CTs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import xlogy

from defacedask.geometry import Geometry

__all__ = ["Metric", "Sample"]

#: mm around the rough centre of the brain that enters the metric.
RADIUS = 150.0
#: Bins of the patient's values and of the template's, and values that the template's may have.
BINS, LEVELS = 24, 256


class Metric:
    """Mutual information between points of a patient and the template, as a function of a (4, 4) matrix.

    The template is looked up at the nearest voxel of its own fine grid (smoothed before), and shared out linearly
    between two bins of its value.

    Parameters
    ----------
    points : (n, 3) array
        World LPS mm of the patient.
    values : (n,) array
        The patient's values there.
    levels : (z, y, x) uint8 array
        Average head, see `defacedask.anatomy.atlas.Atlas.levels`; array axis 0 towards superior.
    grid : Geometry
        Of the average head, without the voxel of air around ``levels``.
    """

    def __init__(self, points: np.ndarray, values: np.ndarray, levels: np.ndarray, grid: Geometry) -> None:
        # without a body there is no point: every pose scores 0
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])) if len(values) else values
        rows = np.searchsorted(edges, values).astype(np.int64) * LEVELS
        # every n-th point, together in memory; the ones take a shift along with a turn
        four = np.column_stack([points, np.ones(len(points))])
        self.flat, self.shape = levels.ravel(), levels.shape
        # what lies beyond is clipped into the voxel of air around, which is the same on all sides; the last voxels
        # stand there once a point, because NumPy compares whole arrays four times as fast as it does with a column
        last = np.array(levels.shape, dtype=np.uint32)[:, None] - np.uint32(1)
        self.some = {
            n: (
                np.ascontiguousarray(four[::n].T),
                rows[::n].copy(),
                np.repeat(last, len(rows[::n]), axis=1),
            )
            for n in (1, 2, 3, 4)
        }
        place = np.arange(LEVELS) * ((BINS - 1) / (LEVELS - 1))
        low = np.minimum(place.astype(np.int64), BINS - 2)
        #: How each level is shared out between two bins.
        self.shares = np.zeros((LEVELS, BINS))
        self.shares[np.arange(LEVELS), low] = 1.0 - (place - low)
        self.shares[np.arange(LEVELS), low + 1] = place - low
        self.inverse = np.linalg.inv(grid.affine)

    def __call__(self, matrix: np.ndarray, every: int = 1) -> float:
        """Nats a point; larger is better.

        Parameters
        ----------
        matrix : (4, 4) array
            World LPS mm of the patient -> the template's LPS mm.
        every : int
            Of each 1 to 4 points one is looked at.
        """
        points, rows, last = self.some[every]
        number = len(rows)
        if not number:
            return 0.0
        m = self.inverse @ matrix
        m[:3, 3] += 1.5
        # cut towards 0, from -1 on; what lies lower is huge without its sign, and clipped with the rest
        voxel = (m[:3] @ points).astype(np.int32)
        unseen = voxel[0] < 1  # array axis 0 runs upwards from the lower end of the template's neck
        inside = voxel.view(np.uint32)
        np.minimum(inside, last, out=inside)
        k = voxel[0]
        for axis in (1, 2):
            k *= self.shape[axis]
            k += voxel[axis]
        where = rows + self.flat.take(k)
        if lost := np.count_nonzero(unseen):
            if number - lost < 0.2 * number:
                return 0.0
            np.putmask(where, unseen, BINS * LEVELS)  # behind the table
        joint = np.bincount(where, minlength=BINS * LEVELS)[: BINS * LEVELS]
        table = joint.astype(np.float64).reshape(BINS, LEVELS) @ self.shares / number
        # ten thousand looks a head: NumPy's own methods ask more of Python than they add up
        a, b = np.add.reduce(table, axis=1), np.add.reduce(table, axis=0)
        total = float(np.add.reduce(a))
        return _of_logs(table) + total * math.log(total) - _of_logs(a) - _of_logs(b)


def _of_logs(p: np.ndarray) -> float:
    """Sum of p log p."""
    return float(np.add.reduce(xlogy(p, p), axis=None))


class Sample:
    """Points of a head from which metrics are made.

    Parameters
    ----------
    values : (z, y, x) float32 array
        Patient, on the working grid.
    grid : Geometry
    mask : bool array
        Body, a little dilated.
    limits : (low, high)
        Soft-tissue window that values are clipped to.
    levels, template_grid
        Average head; see `Metric`.
    """

    def __init__(
        self,
        values: np.ndarray,
        grid: Geometry,
        mask: np.ndarray,
        limits: tuple[float, float],
        levels: np.ndarray,
        template_grid: Geometry,
    ) -> None:
        from scipy.ndimage import uniform_filter

        # one in 4 mm; each an average over that
        by = max(1, round(4.0 / grid.spacing[0]))
        where: Any = np.argwhere(mask[::by, ::by, ::by]) * by
        smooth = uniform_filter(np.clip(values, *limits), by, mode="nearest")
        self.world = grid.to_world(where)
        self.values = smooth[tuple(where.T)]
        self.template = levels, template_grid

    def metric(self, centre: np.ndarray, points: int = 12000) -> Metric:
        """Metric of about ``points`` points within 150 mm of a rough centre of the brain (world LPS mm)."""
        near = np.flatnonzero(((self.world - centre) ** 2).sum(axis=1) <= RADIUS**2)
        step = max(1, len(near) // points)
        # a step that shares no factor with the rows' lengths would alias less; jitter by a fixed sequence instead
        pick = near[np.random.default_rng(20200101).permutation(len(near))[: len(near) // step]]
        return Metric(self.world[pick], self.values[pick], *self.template)

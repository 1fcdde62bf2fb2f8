"""How well a head fits the average head in a pose: mutual information of sampled points.

Mutual information between the patient and an average head, so that CT, MR and PET go the same way. It is computed on
regularly drawn points with plain NumPy: a fraction of a millisecond a pose, in one thread, so the same bits again on
any machine. Points below the template's field of view (it ends at the chin) count as unexplained: the score is the
information per point of the whole sample, so that a pose cannot gain by pushing difficult points out of view.

Sources: Viola & Wells 1997, Mattes et al. 2003; the crop to 150 mm around the brain and the soft-tissue window were
measured on planning CTs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from defacedask.geometry import Geometry

__all__ = ["Metric", "Sample"]

#: mm around the rough centre of the brain that enters the metric.
RADIUS = 150.0
BINS = 24


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
        Average head, see `defacedask.head.atlas.Atlas.levels`; array axis 0 towards superior.
    grid : Geometry
        Of the average head, without the voxel of air around ``levels``.
    """

    def __init__(self, points: np.ndarray, values: np.ndarray, levels: np.ndarray, grid: Geometry) -> None:
        # without a body there is no point: every pose scores 0
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])) if len(values) else values
        self.rows = np.searchsorted(edges, values).astype(np.int64) * BINS
        self.points = np.ascontiguousarray(points.T)
        # what lies beyond is clipped into the one voxel of air around
        self.shape, self.flat = levels.shape, levels.ravel()
        place = np.arange(256) * ((BINS - 1) / 255.0)
        self.low = np.minimum(place.astype(np.int64), BINS - 2)
        self.part = place - self.low
        self.inverse = np.linalg.inv(grid.affine)

    def __call__(self, matrix: np.ndarray, every: int = 1) -> float:
        """Nats a point; larger is better. ``matrix``: world LPS mm of the patient -> the template's LPS mm."""
        points, rows = self.points[:, ::every], self.rows[::every]
        number = len(rows)
        if not number:
            return 0.0
        m = self.inverse @ matrix
        index = m[:3, :3] @ points + (m[:3, 3:4] + 1.5)
        seen = index[0] >= 1.0  # array axis 0 runs upwards from the lower end of the template's neck
        if not seen.all():
            index, rows = index[:, seen], rows[seen]
            if len(rows) < 0.2 * number:
                return 0.0
        n0, n1, n2 = self.shape
        k = np.clip(index[0], 0, n0 - 1).astype(np.int64)
        k = k * n1 + np.clip(index[1], 0, n1 - 1).astype(np.int64)
        k = k * n2 + np.clip(index[2], 0, n2 - 1).astype(np.int64)
        level = self.flat[k]
        part, cell = self.part[level], rows + self.low[level]
        size = BINS * BINS + 1
        joint = np.bincount(cell, weights=1.0 - part, minlength=size)
        joint[1:] += np.bincount(cell, weights=part, minlength=size)[:-1]
        table = joint[:-1].reshape(BINS, BINS) / number
        a, b = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
        total = float(table.sum())
        some = table > 0
        return float((table[some] * np.log((table * total / np.maximum(a * b, 1e-30))[some])).sum())


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

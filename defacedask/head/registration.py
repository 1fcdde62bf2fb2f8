"""Where the head is, and how it is turned: the template's place in the patient.

Mutual information between the patient and an average T1 head, so that CT, MR and PET go the same way. A coarse
search over poses comes first, because planning heads are chin-up and anybody may be turned; the best few are
refined as rigid motions, the best of those as affines; an affine that scores worse than its rigid start, or
stretches the head beyond what heads differ by, is not kept.

The metric is computed on some ten thousand regularly drawn points with plain NumPy: about a millisecond a pose,
in one thread, so the same bits again on any machine. Points below the template's field of view (it ends at the
chin) count as unexplained: the score is the information per point of the whole sample, so that a pose cannot
gain by pushing difficult points out of view.

Sources: Viola & Wells 1997, Mattes et al. 2003 (metric); Powell 1964 (optimiser); the crop to 150 mm around the
brain and the soft-tissue window were measured on planning CTs.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from defacedask.geometry import Geometry

__all__ = ["Registration", "nearest_rigid", "register", "rotation", "stretch"]

#: mm around the rough centre of the brain that enters the metric.
RADIUS = 150.0
#: Degrees and mm of the coarse search.
PITCHES = (-60.0, -45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
YAWS = (-60.0, -45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0, 60.0)
ROLLS = (-20.0, 0.0, 20.0)
LIFTS = (-30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
#: Principal stretches of the affine beyond these are no head.
STRETCH = (0.80, 1.25)
BINS = 24


@dataclasses.dataclass(frozen=True)
class Registration:
    """What `register` found.

    Attributes
    ----------
    rigid : (4, 4) array
        World LPS mm of the patient -> the template's LPS mm, rotation and translation only.
    affine : (4, 4) array
        The same with stretch and shear; equals ``rigid`` where the affine step was not kept.
    score : float
        Mutual information per sampled point of the kept affine (nats; larger is better).
    margin : float
        By how much the best pose of the coarse search beats the best that is turned or moved differently,
        relative; near 0 the pose is ambiguous.
    kept_affine : bool
    """

    rigid: np.ndarray
    affine: np.ndarray
    score: float
    margin: float
    kept_affine: bool


def rotation(pitch: float, yaw: float, roll: float = 0.0) -> np.ndarray:
    """Rotation matrix in LPS: pitch about L (x), roll about P (y), yaw about S (z), in degrees."""
    a, b, c = np.deg2rad([pitch, roll, yaw])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rx @ ry @ rz


def nearest_rigid(affine: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Rigid motion nearest to an affine (polar decomposition) that maps ``point`` (mm) to the same place."""
    u, _, v = np.linalg.svd(affine[:3, :3])
    turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    out = np.eye(4)
    out[:3, :3] = turn
    out[:3, 3] = affine[:3, :3] @ point + affine[:3, 3] - turn @ point
    return out


def stretch(affine: np.ndarray) -> np.ndarray:
    """Principal stretches of an affine, largest first."""
    return np.linalg.svd(affine[:3, :3], compute_uv=False)


class _Metric:
    """Mutual information between sampled points and the template, as a function of a (4, 4) matrix.

    The template is looked up at the nearest voxel of its own fine grid (smoothed before), and shared out linearly
    between two bins of its value.
    """

    def __init__(self, points: np.ndarray, values: np.ndarray, levels: np.ndarray, grid: Geometry) -> None:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        self.rows = np.searchsorted(edges, values).astype(np.int64) * BINS
        self.points = np.ascontiguousarray(points.T)
        # what lies beyond is clipped into the one voxel of air around
        self.shape, self.flat = levels.shape, levels.ravel()
        place = np.arange(256) * ((BINS - 1) / 255.0)
        self.low = np.minimum(place.astype(np.int64), BINS - 2)
        self.part = place - self.low
        self.inverse = np.linalg.inv(grid.affine)

    def __call__(self, matrix: np.ndarray, every: int = 1) -> float:
        points, rows = self.points[:, ::every], self.rows[::every]
        m = self.inverse @ matrix
        index = m[:3, :3] @ points + (m[:3, 3:4] + 1.5)
        seen = index[0] >= 1.0  # array axis 0 runs upwards from the lower end of the template's neck
        number = len(rows)
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


def register(
    values: np.ndarray,
    grid: Geometry,
    mask: np.ndarray,
    centre: np.ndarray,
    levels: np.ndarray,
    template_grid: Geometry,
    template_centre: np.ndarray,
    *,
    limits: tuple[float, float],
    turns: list[np.ndarray] | None = None,
    lifts: tuple[float, ...] = LIFTS,
    points: int = 12000,
) -> Registration:
    """Register a head to the template.

    Parameters
    ----------
    values : (z, y, x) float32 array
        Patient, real values on the working grid (axes along LPS).
    grid : Geometry
        Of ``values``.
    mask : bool array
        Body on ``grid``, a little dilated: what enters the metric, within 150 mm of ``centre``.
    centre : (3,) array
        Rough centre of the brain, world LPS mm.
    levels : (z, y, x) uint8 array
        Average head, see `defacedask.head.atlas.Atlas.levels`; array axis 0 towards superior.
    template_grid : Geometry
        Of the average head, without the voxel of air around ``levels``.
    template_centre : (3,) array
        Centre of its brain, template LPS mm.
    limits : (low, high)
        Values of the patient are clipped to these (a soft-tissue window).
    turns : list of (3, 3) arrays, optional
        Rotations of the coarse search; default: pitch -60..45 by yaw -60..60 by roll -20..20 degrees.
    lifts : tuple of float
        mm along S of the coarse search.
    points : int
        Drawn for the refinement.

    Returns
    -------
    Registration
    """
    from scipy.ndimage import uniform_filter
    from scipy.optimize import minimize

    smooth = uniform_filter(np.clip(values, *limits), 2, mode="nearest")
    where: Any = np.argwhere(mask[::2, ::2, ::2]) * 2
    world: Any = grid.to_world(where)
    near = ((world - centre) ** 2).sum(axis=1) <= RADIUS**2
    where, world = where[near], world[near]
    step = max(1, len(world) // points)
    # a step that shares no factor with the rows' lengths would alias less; jitter by a fixed sequence instead
    pick = np.random.default_rng(20200101).permutation(len(world))[: len(world) // step]
    sample = smooth[tuple(where[pick].T)]
    metric = _Metric(world[pick], sample, levels, template_grid)

    def matrix_of(turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
        out = np.eye(4)
        out[:3, :3] = turn
        out[:3, 3] = template_centre + shift - turn @ centre
        return out

    if turns is None:
        turns = [rotation(p, y, r) for p, y, r in itertools.product(PITCHES, YAWS, ROLLS)]
    scored = []
    for turn in turns:
        for lift in lifts:
            # the lift is along the head's own axis: what the crown's absence does to the rough centre
            matrix = matrix_of(turn, np.array([0.0, 0.0, lift]))
            scored.append((metric(matrix, every=4), matrix))
    scored.sort(key=lambda s: -s[0])
    starts = _apart(scored, 5)

    def of(parameters: np.ndarray, base: np.ndarray, affine: bool) -> np.ndarray:
        """Small motion (degrees / 10, mm / 10, then stretches) about the brain's centre in the template."""
        step_ = np.eye(4)
        linear = rotation(*(parameters[:3] * 10.0))
        if affine:
            s = np.eye(3) + np.diag(parameters[6:9]) + _upper(parameters[9:12])
            linear = linear @ s
        step_[:3, :3] = linear
        step_[:3, 3] = template_centre + parameters[3:6] * 10.0 - linear @ template_centre
        return step_ @ base

    def refine(
        base: np.ndarray, affine: bool, every: int, rounds: int, size: float
    ) -> tuple[float, np.ndarray]:
        n = 12 if affine else 6
        result = minimize(
            lambda p: (
                -metric(of(p, base, affine), every) + (0.02 * float((p[6:] ** 2).sum()) if affine else 0.0)
            ),
            np.zeros(n),
            method="Powell",
            bounds=[(-size, size)] * 6 + [(-0.2, 0.2)] * (n - 6),
            options={"maxiter": rounds, "xtol": 1e-2, "ftol": 1e-4},
        )
        best = of(result.x, base, affine)
        return metric(best), best

    refined = sorted((refine(m, False, 3, 2, 3.0) for _, m in starts), key=lambda s: -s[0])
    margin = 1.0
    for score, matrix in refined[1:]:
        if _different(matrix, refined[0][1], 15.0, 20.0, template_centre):
            margin = 1.0 - score / max(refined[0][0], 1e-9)
            break
    # rigid scores mislead where the head is larger or smaller than the average: the best few are stretched first
    stretched = [refine(m, True, 2, 2, 2.0) for _, m in refined[:3]]
    first = max(range(len(stretched)), key=lambda k: stretched[k][0])
    score, matrix = refine(stretched[first][1], True, 1, 4, 1.5)
    rigid_score, rigid = refine(refined[0][1], False, 1, 3, 1.5)
    size = stretch(matrix)
    kept = score >= rigid_score and STRETCH[0] <= size.min() and size.max() <= STRETCH[1]
    if not kept:
        matrix, score = rigid, rigid_score
    return Registration(nearest_rigid(matrix, centre), matrix, score, margin, kept)


def _upper(three: np.ndarray) -> np.ndarray:
    out = np.zeros((3, 3))
    out[0, 1], out[0, 2], out[1, 2] = three
    return out


def _different(a: np.ndarray, b: np.ndarray, degrees: float, mm: float, at: np.ndarray) -> bool:
    """Whether two motions differ by more than an angle, or by more than a distance at a template point."""
    turn = a[:3, :3] @ b[:3, :3].T
    angle = np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    back = np.linalg.inv(b) @ np.append(at, 1)
    return bool(angle > degrees or np.linalg.norm((a @ back)[:3] - at) > mm)


def _apart(scored: list[tuple[float, np.ndarray]], count: int) -> list[tuple[float, np.ndarray]]:
    """Best starts, no two of which are neighbours."""
    chosen: list[tuple[float, np.ndarray]] = []
    for candidate in scored:
        if all(_different(candidate[1], c[1], 20.0, 20.0, c[1][:3, 3]) for c in chosen):
            chosen.append(candidate)
            if len(chosen) == count:
                break
    return chosen

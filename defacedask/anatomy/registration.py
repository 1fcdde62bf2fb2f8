"""Where the head is, and how it is turned: the template's place in the patient.

The coarse looks of `sweep` come first, over the whole sphere, because anybody may be turned and headers may be
wrong. The best few are refined as rigid motions, and so are the poses that mistake front for back or up for down; the
best of all are refined as affines. An affine that scores worse than its rigid start, or stretches the head beyond
what heads differ by, is not kept. By how much a pose is better than the best one elsewhere is its margin.

Sources: Powell 1964 (optimiser); `defacedask.anatomy.metric` for what is optimised.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from defacedask.anatomy.metric import Metric
from defacedask.anatomy.turns import angle_between, different, motion, nearest_rigid, rotation, stretch

if TYPE_CHECKING:
    from defacedask.anatomy.sweep import Top

__all__ = ["NOWHERE", "Registration", "nearest_rigid", "refined", "register", "rotation", "stretch"]

#: Principal stretches of the affine beyond these are no head; a child's is smaller than the average.
STRETCH = (0.80, 1.55)
#: Tops of the sweep that are refined, and how many of them as affines.
REFINED, STRETCHED = 5, 3
#: Degrees and mm from which on a pose lies elsewhere.
ELSEWHERE = (45.0, 60.0)


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
        By how much it beats the best pose elsewhere (turned by more than 45 degrees, or 60 mm away), as a part of
        its score; 0 and less: that one is as good.
    kept_affine : bool
    rival : (4, 4) array
        That best pose elsewhere.
    """

    rigid: np.ndarray
    affine: np.ndarray
    score: float
    margin: float
    kept_affine: bool
    rival: np.ndarray


#: Of an image without a head.
NOWHERE = Registration(np.eye(4), np.eye(4), 0.0, 0.0, False, np.eye(4))


def refined(tops: Sequence[Top], template_centre: np.ndarray) -> list[np.ndarray]:
    """Refine the best tops of a sweep, and their twins, as rigid motions.

    Parameters
    ----------
    tops : sequence of Top
        Best first.
    template_centre : (3,) array
        Centre of the template's brain, mm.

    Returns
    -------
    list of (4, 4) arrays
        Best first: three at most, and behind them the best that lies elsewhere than the first, unless it is there.
    """
    found = []
    for top in tops[:REFINED]:
        found.append(
            (*_Fit(top.place.metric, template_centre).rigid(top.matrix, 1, 2, 3.0), top.place.metric)
        )
    _, best, metric = max(found, key=lambda f: f[0])
    for turn in _HALF_TURNS:
        twin = motion(turn, template_centre, template_centre) @ best
        found.append((*_Fit(metric, template_centre).rigid(twin, 1, 2, 3.0), metric))
    poses = [matrix for _, matrix, _ in sorted(found, key=lambda f: -f[0])]
    away = [k for k, pose in enumerate(poses) if _elsewhere(pose, poses[0], template_centre)]
    return poses[:STRETCHED] + [poses[k] for k in away[:1] if k >= STRETCHED]


def register(
    metric: Metric,
    starts: Sequence[np.ndarray],
    centre: np.ndarray,
    template_centre: np.ndarray,
    *,
    again: bool = False,
) -> Registration:
    """Register a head to the template.

    Parameters
    ----------
    metric : Metric
    starts : sequence of (4, 4) arrays
        Poses to begin with; see `refined`.
    centre, template_centre : (3,) arrays
        Rough centre of the brain in the patient's world, and the template's own, mm.
    again : bool
        The first time found a better pose elsewhere: begun from there.

    Returns
    -------
    Registration
    """
    fit = _Fit(metric, template_centre)
    # where the crown is cut, a nod and a lift look alike: both ways are tried about the best start
    nods = sorted((fit.affine(m, 4, 1, 1.5) for m in _nods(starts[0], template_centre)), key=lambda f: -f[0])
    # rigid scores mislead where the head is larger or smaller than the average: all are stretched first
    chosen = [*starts, *(matrix for _, matrix in nods[:2])]
    stretched = sorted((fit.affine(m, 2, 2, 2.0) for m in chosen), key=lambda f: -f[0])
    first = max((fit.affine(m, 1, 3, 1.5) for _, m in stretched[:2]), key=lambda f: f[0])[1]
    # begun anew once, with fresh directions: the first time often stops on a ridge
    score, matrix = fit.affine(first, 1, 3, 0.8)
    rigid_score, rigid = fit.rigid(nearest_rigid(first, centre), 1, 3, 1.5)
    size = stretch(matrix)
    kept = bool(score >= rigid_score and STRETCH[0] <= size.min() and size.max() <= STRETCH[1])
    if not kept:
        matrix, score = rigid, rigid_score
    rival = _rival(fit, matrix, stretched, template_centre)
    if rival[0] > score and not again:
        return register(metric, [rival[1], matrix], centre, template_centre, again=True)
    margin = 1.0 - rival[0] / max(score, 1e-9)
    return Registration(nearest_rigid(matrix, centre), matrix, score, margin, kept, rival[1])


def _nods(base: np.ndarray, at: np.ndarray) -> list[np.ndarray]:
    """A pose, nodding and lifted both ways about a point of the template."""
    return [
        motion(rotation(pitch, 0.0), at, at + np.array([0.0, 0.0, lift])) @ base
        for pitch, lift in itertools.product((-12.0, 0.0, 12.0), (-15.0, 0.0, 15.0))
    ]


def _rival(
    fit: _Fit, matrix: np.ndarray, others: Sequence[tuple[float, np.ndarray]], at: np.ndarray
) -> tuple[float, np.ndarray]:
    """Best pose that lies elsewhere than ``matrix``: one of the others, or a twin."""
    twins = [fit.rigid(motion(turn, at, at) @ matrix, 3, 1, 2.0) for turn in _HALF_TURNS]
    best = max(twins, key=lambda f: f[0])[1]
    found = [*others, *twins, fit.affine(best, 3, 2, 2.0)]
    away = [f for f in found if _elsewhere(f[1], matrix, at)]
    return max(away, key=lambda f: f[0], default=(0.0, np.eye(4)))


#: What turns a head upside down, back to front, or both.
_HALF_TURNS = tuple(np.diag(signs) for signs in ((1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0)))


def _elsewhere(matrix: np.ndarray, than: np.ndarray, at: np.ndarray) -> bool:
    # an affine's own turn counts, not its stretch
    turns = [nearest_rigid(m, np.zeros(3)) for m in (matrix, than)]
    turned = float(angle_between(turns[0][:3, :3], turns[1][:3, :3]))
    away = different(than, matrix[None], 360.0, ELSEWHERE[1], at)[0]
    return bool(turned > ELSEWHERE[0] or away)


@dataclasses.dataclass(frozen=True)
class _Fit:
    """Powell's method from a start, by small motions about the brain's centre in the template."""

    metric: Metric
    at: np.ndarray

    def rigid(self, base: np.ndarray, every: int, rounds: int, size: float) -> tuple[float, np.ndarray]:
        """Best rigid motion near ``base``; ``size`` bounds it in units of 10 degrees and 10 mm."""
        return self._refine(base, 6, every, rounds, size)

    def affine(self, base: np.ndarray, every: int, rounds: int, size: float) -> tuple[float, np.ndarray]:
        """Best affine near ``base``."""
        return self._refine(base, 12, every, rounds, size)

    def _refine(
        self, base: np.ndarray, n: int, every: int, rounds: int, size: float
    ) -> tuple[float, np.ndarray]:
        from scipy.optimize import minimize

        result = minimize(
            lambda p: -self.metric(self._moved(p, base), every) + 0.02 * float((p[6:] ** 2).sum()),
            np.zeros(n),
            method="Powell",
            bounds=[(-size, size)] * 6 + [(-0.2, 0.2)] * (n - 6),
            options={"maxiter": rounds, "xtol": 1e-2, "ftol": 1e-4},
        )
        best = self._moved(result.x, base)
        return self.metric(best), best

    def _moved(self, parameters: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Degrees / 10, mm / 10, then stretches and shears."""
        linear = rotation(*(parameters[:3] * 10.0))
        if len(parameters) > 6:
            linear = linear @ (np.eye(3) + np.diag(parameters[6:9]) + _upper(parameters[9:12]))
        return motion(linear, self.at, self.at + parameters[3:6] * 10.0) @ base


def _upper(three: np.ndarray) -> np.ndarray:
    out = np.zeros((3, 3))
    out[0, 1], out[0, 2], out[1, 2] = three
    return out

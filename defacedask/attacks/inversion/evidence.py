"""How near a prediction comes to the face that was taken, beside the average face."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.inversion.maps import HEIGHTS, face_rays
from defacedask.attacks.inversion.placement import moved, without_placement
from defacedask.attacks.inversion.regression import CHANGED, FAR
from defacedask.faces.rates import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Iterable

    from defacedask.attacks.inversion.regression import Known, Prediction

__all__ = ["SURE", "Nearness", "Paired", "nearness", "paired"]

#: p below which an error counts as smaller than the average face's.
SURE = 0.01
#: Rays of the face that must have been changed to be judged.
LEAST_RAYS = 50


@dataclasses.dataclass(frozen=True)
class Nearness:
    """One prediction beside the truth, over the rays of the face whose skin was changed.

    Attributes
    ----------
    rays : int
    error_mm, average_mm : float
        Mean distance along the rays, in the patient, of the true skin from the prediction, and from the average face,
        each moved and sized to fit best (see `defacedask.attacks.inversion.placement`).
    nearer : float
        Share of other persons whose face agrees less with what the prediction has beyond the average (0..1); 0.5
        where it says nothing. Its mean over persons is the area under the ROC.
    """

    rays: int
    error_mm: float
    average_mm: float
    nearer: float


def nearness(
    prediction: Prediction,
    original: np.ndarray,
    defaced: np.ndarray,
    scale: np.ndarray,
    others: Known,
) -> Nearness | None:
    """Judge a prediction.

    Parameters
    ----------
    prediction : Prediction
    original, defaced : (rays,) arrays
        Skin, mm of the average's space.
    scale : (columns,) array
        See `defacedask.attacks.inversion.maps.ray_scale`.
    others : Known
        Other persons, each of them once or more.

    Returns
    -------
    Nearness or None
        None where the face is as it was.
    """
    with np.errstate(invalid="ignore"):
        changed = np.isnan(defaced) | (np.abs(defaced - original) >= CHANGED)
    rays = face_rays().ravel() & changed & ~np.isnan(original) & ~np.isnan(prediction.average)
    if rays.sum() < LEAST_RAYS:
        return None
    ways = moved(np.asarray(prediction.average, np.float64))
    rays &= np.isfinite(ways).all(axis=0)
    if rays.sum() < LEAST_RAYS:
        return None
    mm = np.tile(scale, len(HEIGHTS))[rays]
    middle = prediction.average[rays]

    def placed(apart: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            apart = np.where(np.abs(apart) <= FAR, apart, 0.0)
        return without_placement(apart, ways[:, rays])

    learnt, true = placed(prediction.learnt[rays] - middle), placed(original[rays] - middle)

    def agreement(apart: np.ndarray) -> Any:
        return apart @ learnt / np.maximum(np.linalg.norm(apart, axis=-1), 1e-9)

    own, theirs = float(agreement(true)), agreement(placed(others.original[:, rays] - middle))
    below = (theirs < own) + 0.5 * (theirs == own)
    each = [below[others.persons == name].mean() for name in np.unique(others.persons)]
    return Nearness(
        int(rays.sum()),
        float((np.abs(learnt - true) * mm).mean()),
        float((np.abs(true) * mm).mean()),
        float(np.mean(each)),
    )


@dataclasses.dataclass(frozen=True)
class Paired:
    """A prediction against the average face, over persons.

    Attributes
    ----------
    persons : int
    error_mm, average_mm : float
        Medians.
    gain_mm : float
        Median of what the prediction is better by.
    p : float
        Of Wilcoxon's signed-rank test, one-sided: it is better.
    auc, low, high : float
        Area under the ROC of the own face against others' by the agreement of the shapes, with its 95 % interval
        (bootstrap over persons; none of one person).
    """

    persons: int
    error_mm: float
    average_mm: float
    gain_mm: float
    p: float
    auc: float
    low: float
    high: float

    @property
    def better(self) -> bool:
        """Whether the prediction knows more of the face than the average does."""
        return self.p < SURE and self.gain_mm > 0


def paired(rows: Iterable[tuple[str, float, float, float]]) -> Paired:
    """Compare over persons.

    Parameters
    ----------
    rows : iterable of (person, error_mm, average_mm, nearer)
        Several of one person count as one, by their mean.
    """
    from scipy.stats import wilcoxon

    by: dict[str, list[tuple[float, float, float]]] = {}
    for person, *figures in rows:
        by.setdefault(person, []).append((figures[0], figures[1], figures[2]))
    each = np.array([np.mean(some, axis=0) for _, some in sorted(by.items())]).reshape(-1, 3)
    if not len(each):
        return Paired(0, *[float("nan")] * 7)
    error, average, nearer = each.T
    gain = average - error
    p = 1.0 if not np.any(gain) else float(wilcoxon(gain, alternative="greater").pvalue)
    low, high = bootstrap_interval(lambda drawn: float(nearer[drawn].mean()), sorted(by), repeats=2000)
    return Paired(
        len(each),
        float(np.median(error)),
        float(np.median(average)),
        float(np.median(gain)),
        p,
        float(nearer.mean()),
        low,
        high,
    )

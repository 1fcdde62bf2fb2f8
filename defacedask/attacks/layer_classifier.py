"""Tell an added layer from body by what it looks like, having learnt it on other persons.

A logistic regression on the products of a few local features of `Rays`: value, blurred values, roughness, slopes,
the darkest line nearby, depth. It is trained on heads of which both versions are known, defaced by the same defacer
with other keys, and asked about a head of which only the defaced one is. Its odds, added up along each ray, say where
the layer ends; the smoothest such surface is taken for the old skin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.face_rays import ALONG, DEEPEST, Rays
from defacedask.attacks.names import UNMASKED

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["LayerClassifier", "Lesson", "attempts_by", "lesson"]

#: Number of local features of a sample.
FEATURES = 13
#: Samples of one head that are learnt from.
SAMPLES = 12_000
#: mm: only rays with at least so much layer teach, and no more of the body below than there is layer before it.
LEAST_LAYER = 2.0
#: mm below the outer skin at which there is layer, if any, and at which there is none.
SURELY_LAYER, SURELY_BODY = (1.0, 3.0), (16.0, 30.0)
#: Odds of one of several classifiers beyond this count no more.
SUREST = 6.0
#: Weight of the penalty on the squared coefficients.
RIDGE = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class Lesson:
    """Samples of one head whose layer is known.

    Attributes
    ----------
    features : (n, features) float32 array
    added : (n,) bool array
        Layer, not body.
    """

    features: np.ndarray
    added: np.ndarray


def lesson(original: Target, defaced: Target, seed: int = 0) -> Lesson:
    """Samples of a head of which both versions are known."""
    before, after = original.once(Rays.of), defaced.once(Rays.of)
    thick = before.front - after.front
    depths = np.broadcast_to(after.depths, after.values.shape)
    with np.errstate(invalid="ignore"):
        used = (thick > LEAST_LAYER)[..., None] & (depths < np.minimum(2.5 * thick, DEEPEST)[..., None])
    at = np.argwhere(used)
    chosen = np.random.default_rng(seed).permutation(len(at))[:SAMPLES]
    where = tuple(at[chosen].T)
    return Lesson(_features(after)[where], (depths < thick[..., None])[where])


@dataclasses.dataclass(frozen=True, eq=False)
class LayerClassifier:
    """What was learnt.

    Attributes
    ----------
    middle, spread : (features,) arrays
        With which features are brought to one scale.
    weights : (terms,) array
    """

    middle: np.ndarray
    spread: np.ndarray
    weights: np.ndarray

    @classmethod
    def trained(cls, lessons: Iterable[Lesson], rounds: int = 12) -> LayerClassifier:
        """Learn from heads (iteratively reweighted least squares)."""
        known = list(lessons)
        features = np.concatenate([one.features for one in known])
        added = np.concatenate([one.added for one in known]).astype(np.float64)
        middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
        terms = _terms((features - middle) / spread).astype(np.float64)
        weights = np.zeros(terms.shape[1])
        for _ in range(rounds):
            chance = _chance(terms @ weights)
            slope = np.maximum(chance * (1 - chance), 1e-4)
            normal = (terms * slope[:, None]).T @ terms + RIDGE * np.eye(len(weights))
            step = np.linalg.solve(normal, terms.T @ (added - chance) - RIDGE * weights)
            weights = weights + step
            if np.abs(step).max() < 1e-3:
                break
        return cls(middle, spread, weights)

    def odds(self, rays: Rays) -> np.ndarray:
        """Logarithm of the odds that each sample is layer, (rows, columns, samples)."""
        return self.of_features(_features(rays))

    def of_features(self, features: np.ndarray) -> np.ndarray:
        """The same for features (..., features)."""
        number = features.shape[-1]
        # the sum over all products as a quadratic form, which needs no room for the products
        form = np.zeros((number, number))
        form[np.triu_indices(number)] = self.weights[number + 1 :]
        out = np.empty(features.shape[:-1], np.float32)
        for k, line in enumerate(features):
            scaled = np.clip((line - self.middle) / self.spread, -6, 6).astype(np.float64)
            out[k] = self.weights[0] + ((scaled @ form + self.weights[1 : number + 1]) * scaled).sum(axis=-1)
        return out

    def auc(self, one: Lesson) -> float:
        """Area under the ROC on samples whose truth is known."""
        from scipy.stats import rankdata

        odds = self.of_features(one.features[None])[0]
        ranks, positive = rankdata(odds), int(one.added.sum())
        negative = len(odds) - positive
        if not positive or not negative:
            return float("nan")
        total = float(ranks[one.added].sum()) - positive * (positive + 1) / 2
        return total / (positive * negative)


def attempts_by(
    classifiers: Sequence[LayerClassifier], target: Target, rays: Rays | None = None
) -> list[Attempt]:
    """Take off what is told to be layer: by the first, by all together, and by odds about their middle in this image.

    One that learnt on a smooth head knows the skin's place well and noise badly, one that learnt on scans the other
    way round: their odds are averaged. Another scanner shifts all odds of an image. What lies just below the outer
    skin is layer, and what lies deepest is body: half-way between the two is this image's own middle.

    Parameters
    ----------
    classifiers : sequence of LayerClassifier
        Taught by different teachers; the last attempt is by the odds of all.
    target : Target
    rays : Rays, optional
        Of the target, if they are known.
    """
    rays = target.once(Rays.of) if rays is None else rays
    there = ~np.isnan(rays.front)
    if not there.any():
        return []
    features = _features(rays)
    each = [one.of_features(features) for one in classifiers]
    tried = {"classifier": each[0]}
    odds = each[0]
    if len(each) > 1:
        # none alone decides, however sure it is
        odds = np.mean([np.clip(one, -SUREST, SUREST) for one in each], axis=0)
        tried["classifiers together"] = odds
    middle = np.mean([np.median(odds[there][:, _samples(part)]) for part in (SURELY_LAYER, SURELY_BODY)])
    tried["classifier, own middle"] = odds - middle
    return [
        rays.as_attempt(target, _end_of_layer(rays, one), UNMASKED, variant) for variant, one in tried.items()
    ]


def _samples(part: tuple[float, float]) -> slice:
    return slice(round(part[0] / ALONG), round(part[1] / ALONG) + 1)


def _end_of_layer(rays: Rays, odds: np.ndarray) -> np.ndarray:
    """Surface before which odds speak for layer and behind which for body, as `Rays.follow` gives it."""
    odds = np.clip(odds, -4.0, 4.0)
    before = np.concatenate([np.zeros((*odds.shape[:2], 1), np.float32), odds[..., :-1]], axis=2)
    gain = before.cumsum(axis=2)
    gain -= gain.mean(axis=2, keepdims=True)
    return rays.follow(-gain * (ALONG / 2.0))


def _chance(odds: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(odds, -30, 30)))


def _terms(scaled: np.ndarray) -> np.ndarray:
    """One, the features, and their products."""
    rows, columns = np.triu_indices(scaled.shape[-1])
    ones = np.ones((*scaled.shape[:-1], 1), scaled.dtype)
    return np.concatenate([ones, scaled, scaled[..., rows] * scaled[..., columns]], axis=-1)


def _features(rays: Rays) -> np.ndarray:
    """(rows, columns, samples, features) float32."""
    from scipy.ndimage import maximum_filter1d, uniform_filter

    values = rays.values
    there = ~np.isnan(rays.front)
    inside = values[there][:, int(2 / ALONG) :]
    low, middle, high = np.quantile(inside, [0.1, 0.5, 0.9]) if inside.size else (0.0, 0.0, 1.0)
    unit = np.clip((values - middle) / max(float(high - low), 1e-6), -3.0, 3.0).astype(np.float32)
    out = np.empty((*unit.shape, FEATURES), np.float32)
    # one after the other, each to its place: together they take half the room of the image
    out[..., 0] = unit
    out[..., 1] = uniform_filter(unit, (1, 1, 3))
    out[..., 2] = medium = uniform_filter(unit, (3, 3, 7))
    out[..., 3] = uniform_filter(unit, (7, 7, 15))
    for k, size in enumerate(((3, 3, 5), (5, 5, 11))):
        spread = uniform_filter(unit**2, size) - uniform_filter(unit, size) ** 2
        out[..., 4 + k] = np.log(np.sqrt(np.maximum(spread, 0)) + 0.01)
    for axis in range(3):
        out[..., 6 + axis] = np.log(uniform_filter(np.abs(np.gradient(unit, axis=axis)), (3, 3, 7)) + 0.01)
    by = int(4 / ALONG)
    ahead, behind = np.empty_like(medium), np.empty_like(medium)
    ahead[..., by:], ahead[..., :by] = medium[..., :-by], medium[..., :1]
    behind[..., :-by], behind[..., -by:] = medium[..., by:], medium[..., -1:]
    out[..., 9], out[..., 10] = ahead - medium, behind - medium
    out[..., 11] = maximum_filter1d(np.minimum(ahead, behind) - medium, int(6 / ALONG), axis=2)
    out[..., 12] = rays.depths / 10.0
    return out

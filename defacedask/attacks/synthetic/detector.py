"""Find what was added or replaced, having learnt on other persons what such voxels look like.

It learns on heads of which both versions are known, defaced by several defacers, and on the same heads untouched:
place alone must not convict. A first classifier looks at each voxel's features, a second also at what the first told
of its surroundings (auto-context: Tu and Bai 2010). The odds are averaged over a few mm, and where they
make the detector sure is the finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.layer_classifier import LayerClassifier, Lesson
from defacedask.attacks.synthetic.context import around
from defacedask.attacks.synthetic.features import NAMES, PLACE, Looks, near_skin

if TYPE_CHECKING:
    from defacedask.attacks.synthetic.trees import Trees
    from defacedask.attacks.target import Target

__all__ = ["Finding", "SyntheticDetector", "changed", "lesson"]

#: Voxels of one head that are learnt from.
SAMPLES = 5_000
#: mm over which odds are averaged: what is synthetic is no single voxel.
OVER = 5.0
#: What is so much less than sure, as the logarithm of the odds, is likely.
LIKELY = 1.75


def changed(original: Target, released: Target) -> Any:
    """Voxels of `Target.finest` whose value is not the original's, (z, y, x) bool array."""
    return original.finest[0] != released.finest[0]


def lesson(original: Target, released: Target, seed: int = 0) -> Lesson:
    """Tissue of a head of which both versions are known; the original itself teaches what is not synthetic."""
    looks = near_skin(released)
    chosen = np.random.default_rng(seed).permutation(len(looks.where))[:SAMPLES]
    return Lesson(looks.features[chosen], changed(original, released).ravel()[looks.where[chosen]])


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """What a detector says of one image.

    Attributes
    ----------
    looks : Looks
        The tissue that was looked at.
    odds : (n,) float32 array
        Logarithm of the odds that it is synthetic, averaged over `OVER` mm, less what makes the detector sure.
    shape : (z, y, x)
        Of the grid of `Target.finest`.
    """

    looks: Looks
    odds: np.ndarray
    shape: tuple[int, ...]

    @property
    def where(self) -> np.ndarray:
        """Flat index of the tissue that was looked at, in the voxels of `Target.finest`."""
        return self.looks.where

    @property
    def mask(self) -> np.ndarray:
        """What is told to be synthetic, (z, y, x) bool array."""
        return self._mask(self.odds > 0)

    @property
    def likely(self) -> np.ndarray:
        """What may well be synthetic, sure or not, (z, y, x) bool array; an untouched head has some of it, too."""
        return self._mask(self.odds > -LIKELY)

    def _mask(self, told: np.ndarray) -> np.ndarray:
        from scipy.ndimage import uniform_filter

        field, there = self.looks.spread(told)
        if max(self.looks.steps) > 1:
            # tissue whose nearest point of the lattice is air goes with the tissue beside it
            share = uniform_filter(field, 3) / np.maximum(uniform_filter(there, 3), 1e-6)
            field = np.where(there > 0, field, share)
        out = field > 0.5
        for axis, (step, size) in enumerate(zip(self.looks.steps, self.shape, strict=True)):
            # each voxel as the nearest one that was looked at
            nearest = np.minimum((np.arange(size) + step // 2) // step, out.shape[axis] - 1)
            out = np.take(out, nearest, axis=axis)
        return np.asarray(out)


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticDetector:
    """What was learnt.

    Attributes
    ----------
    classifier : LayerClassifier or Trees
        The first look.
    columns : tuple of int
        Which features it looks at.
    second : Trees, optional
        The second look, at `context.around` and then these features.
    sure : float
        Logarithm of the odds from which on a voxel is told to be synthetic.
    """

    classifier: LayerClassifier | Trees
    columns: tuple[int, ...] = tuple(range(len(NAMES)))
    second: Trees | None = None
    sure: float = 0.0

    @classmethod
    def trained(
        cls, lessons: Iterable[Lesson], columns: Sequence[int] = tuple(range(len(NAMES)))
    ) -> SyntheticDetector:
        """Learn from heads, by a logistic regression on features and their products; no second look.

        Parameters
        ----------
        lessons : iterable of Lesson
            See `lesson`.
        columns : sequence of int
            Features to look at; `features.PLACE` alone is what a finding must be better than.
        """
        known = [Lesson(one.features[:, list(columns)], one.added) for one in lessons]
        return cls(LayerClassifier.trained(known), tuple(columns))

    @classmethod
    def of_place(cls, lessons: Iterable[Lesson]) -> SyntheticDetector:
        """One that knows only where heads are usually changed."""
        return cls.trained((one for one in lessons if one.added.any()), PLACE)

    def odds(self, looks: Looks) -> np.ndarray:
        """Logarithm of the odds of each voxel by itself, (n,) float32."""
        features = looks.features[:, list(self.columns)]
        if isinstance(self.classifier, LayerClassifier):
            # in parts: the classifier works in float64
            parts = [features[k : k + 100_000] for k in range(0, len(features), 100_000)]
            found = [self.classifier.of_features(part[None])[0] for part in parts]
            first = np.concatenate(found) if found else np.zeros(0, np.float32)
        else:
            first = self.classifier.odds(features)
        if self.second is None or not len(first):
            return first
        return self.second.odds(np.concatenate([around(looks, first), features], axis=1))

    def find(self, target: Target, looks: Looks | None = None) -> Finding:
        """Look at a target.

        Parameters
        ----------
        target : Target
        looks : Looks, optional
            See `features.near_skin`, if they are known.
        """
        from scipy.ndimage import uniform_filter

        looks = target.once(near_skin) if looks is None else looks
        size = [1 + 2 * round(OVER / spacing / 2) for spacing in looks.spacing]
        odds, weight = looks.spread(np.clip(self.odds(looks), -6.0, 6.0))
        smooth = uniform_filter(odds, size) / np.maximum(uniform_filter(weight, size), 1e-6)
        odds = smooth[looks.at] - np.float32(self.sure)
        return Finding(looks, odds, target.finest[1].shape)

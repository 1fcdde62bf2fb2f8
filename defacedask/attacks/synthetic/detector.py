"""Find what was added or replaced, having learnt on other persons what such voxels look like.

A logistic regression on the features of `features` and their products. It learns on heads of which both versions are
known, defaced by several defacers, and on the same heads untouched: place alone must not convict. Its odds are
averaged over a few mm, and what is more likely synthetic than not is the finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.layer_classifier import LayerClassifier, Lesson
from defacedask.attacks.synthetic.features import NAMES, PLACE, near_skin

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["Finding", "SyntheticDetector", "changed", "lesson"]

#: Voxels of one head that are learnt from.
SAMPLES = 5_000
#: mm over which odds are averaged: what is synthetic is no single voxel.
OVER = 5.0


def changed(original: Target, released: Target) -> Any:
    """Voxels of `Target.finest` whose value is not the original's, (z, y, x) bool array."""
    return original.finest[0] != released.finest[0]


def lesson(original: Target, released: Target, seed: int = 0) -> Lesson:
    """Tissue of a head of which both versions are known; the original itself teaches what is not synthetic."""
    where, features = near_skin(released)
    chosen = np.random.default_rng(seed).permutation(len(where))[:SAMPLES]
    return Lesson(features[chosen], changed(original, released).ravel()[where[chosen]])


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """What a detector says of one image.

    Attributes
    ----------
    where : (n,) int array
        Flat index of the tissue that was looked at, in the voxels of `Target.finest`.
    odds : (n,) float32 array
        Logarithm of the odds that it is synthetic, averaged over `OVER` mm.
    shape : (z, y, x)
        Of that grid.
    """

    where: np.ndarray
    odds: np.ndarray
    shape: tuple[int, ...]

    @property
    def mask(self) -> np.ndarray:
        """What is more likely synthetic than not, (z, y, x) bool array."""
        out = np.zeros(self.shape, bool)
        out.ravel()[self.where[self.odds > 0]] = True
        return out


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticDetector:
    """What was learnt.

    Attributes
    ----------
    classifier : LayerClassifier
    columns : tuple of int
        Which features it looks at.
    """

    classifier: LayerClassifier
    columns: tuple[int, ...] = tuple(range(len(NAMES)))

    @classmethod
    def trained(
        cls, lessons: Iterable[Lesson], columns: Sequence[int] = tuple(range(len(NAMES)))
    ) -> SyntheticDetector:
        """Learn from heads.

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

    def odds(self, features: np.ndarray) -> np.ndarray:
        """Logarithm of the odds of each voxel by itself, (n,) float32."""
        # in parts: the classifier works in float64
        parts = [features[k : k + 100_000][:, list(self.columns)] for k in range(0, len(features), 100_000)]
        found = [self.classifier.of_features(part[None])[0] for part in parts]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def find(self, target: Target, seen: tuple[np.ndarray, np.ndarray] | None = None) -> Finding:
        """Look at a target.

        Parameters
        ----------
        target : Target
        seen : (where, features), optional
            Of `features.near_skin`, if they are known.
        """
        from scipy.ndimage import uniform_filter

        where, features = near_skin(target) if seen is None else seen
        _, geometry = target.finest
        size = [1 + 2 * round(OVER / spacing / 2) for spacing in geometry.spacing]
        odds, weight = np.zeros((2, *geometry.shape), np.float32)
        odds.ravel()[where] = np.clip(self.odds(features), -6.0, 6.0)
        weight.ravel()[where] = 1.0
        smooth = uniform_filter(odds, size) / np.maximum(uniform_filter(weight, size), 1e-6)
        return Finding(where, smooth.ravel()[where], geometry.shape)

"""Boosted decision trees, asked without the library that grew them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

__all__ = ["Trees"]


@dataclasses.dataclass(frozen=True, eq=False)
class Trees:
    """Trees whose values add up to the logarithm of odds.

    Attributes
    ----------
    feature : (trees, nodes) int16 array
        Column that a node asks about; -1 in a leaf.
    threshold : (trees, nodes) float64 array
        At most that much goes left.
    left, right : (trees, nodes) int16 array
        Nodes that follow; a leaf follows itself.
    value : (trees, nodes) float32 array
        Of a leaf.
    base : float
        Of no tree.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    base: float

    @classmethod
    def of(cls, kept: Mapping[str, np.ndarray], name: str) -> Trees:
        """Out of arrays, as `to_arrays` gives them."""
        fields = ("feature", "threshold", "left", "right", "value")
        feature, threshold, left, right, value = (kept[f"{name} {field}"] for field in fields)
        return cls(feature, threshold, left, right, value, float(kept[f"{name} base"]))

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays to be kept in a file under a name."""
        return {f"{name} {f.name}": np.asarray(getattr(self, f.name)) for f in dataclasses.fields(self)}

    def odds(self, features: np.ndarray) -> np.ndarray:
        """Logarithm of the odds for features (n, columns), (n,) float32."""
        out = np.full(len(features), self.base, np.float64)
        flat, width = np.ascontiguousarray(features, dtype=np.float32).ravel(), features.shape[1]
        rows = np.arange(len(features)) * width
        for feature, threshold, left, right, value in zip(
            self.feature, self.threshold, self.left, self.right, self.value, strict=True
        ):
            node = np.zeros(len(features), np.intp)
            leaf, column = feature < 0, np.maximum(feature, 0)
            while not leaf[node].all():
                goes_left = flat[rows + column[node]] <= threshold[node]
                node = np.where(goes_left, left[node], right[node])
            out += value[node]
        return out.astype(np.float32)

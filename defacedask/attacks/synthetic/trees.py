"""Boosted decision trees, asked without the library that grew them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

__all__ = ["Trees"]

#: Rows that are asked together: they stay in the processor's cache.
TOGETHER = 16_384


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
        features = np.ascontiguousarray(features, dtype=np.float32)
        column = np.maximum(self.feature, 0).astype(np.intp)
        # where each node goes by a no, and by a yes
        answers = np.stack([self.right, self.left], axis=2).reshape(len(column), -1).astype(np.intp)
        deep = [_depth(*tree) for tree in zip(self.feature, self.left, self.right, strict=True)]
        out = np.full(len(features), self.base, np.float64)
        for start in range(0, len(features), TOGETHER):
            part = features[start : start + TOGETHER]
            rows = np.arange(len(part)) * part.shape[1]
            for k, steps in enumerate(deep):
                node = np.zeros(len(part), np.intp)
                for _ in range(steps):
                    yes = part.ravel().take(rows + column[k].take(node)) <= self.threshold[k].take(node)
                    node = answers[k].take(2 * node + yes)
                out[start : start + TOGETHER] += self.value[k].take(node)
        return out.astype(np.float32)


def _depth(feature: np.ndarray, left: np.ndarray, right: np.ndarray) -> int:
    """Questions on the longest way down a tree."""
    nodes, deep = np.zeros(1, np.intp), 0
    while (feature[nodes] >= 0).any():
        nodes, deep = np.unique(np.concatenate([left[nodes], right[nodes]])), deep + 1
    return deep

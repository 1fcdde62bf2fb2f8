"""Names of the features that are computed of every structure."""

from __future__ import annotations

__all__ = ["TEN_FEATURES"]

#: The study's ten first-order features, in its order.
TEN_FEATURES = (
    "90Percentile",
    "Energy",
    "Entropy",
    "Kurtosis",
    "Maximum",
    "Median",
    "Range",
    "Skewness",
    "Uniformity",
    "Variance",
)

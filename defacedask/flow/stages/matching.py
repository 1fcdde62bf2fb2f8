"""How a defaced image relates to its original: where it lies, and whether its values are the original's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.geometry import Geometry

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head

__all__ = ["Match", "match_images"]

#: Below this correlation of the two brains the defaced image does not lie where the original does.
SAME_PLACE = 0.5
#: Half of the brain's voxels within this part of its contrast are the original's own values.
NOISE = 0.1


@dataclasses.dataclass(frozen=True)
class Match:
    """How a defaced image relates to its original, by their brains.

    Attributes
    ----------
    correlation : float
        Of the ranks of real values in the original's brain, NaN where they do not overlap.
    gain, offset : float
        ``defaced = gain * original + offset``; 1 and 0 where the difference is noise.
    """

    correlation: float
    gain: float = 1.0
    offset: float = 0.0

    @property
    def in_place(self) -> bool:
        """Whether the defaced head lies where the original does."""
        return self.correlation >= SAME_PLACE


def match_images(head: Head, values: np.ndarray, geometry: Geometry) -> Match:
    """Compare a defaced image with the original in the original's brain.

    Parameters
    ----------
    head : Head
        Of the original.
    values : (z, y, x) array
        Real values of the defaced image.
    geometry : Geometry
        Its grid.
    """
    from scipy.stats import spearmanr

    from defacedask.anatomy.grid import resample

    # NaN would spread through interpolation, so what lies outside is marked beside
    there = resample(np.asarray(values, np.float32), geometry, head.grid)
    inside = resample(np.ones(geometry.shape, np.uint8), geometry, head.grid, nearest=True) > 0
    brain = np.asarray(head.brain) & inside
    if brain.sum() < 1000:
        return Match(float("nan"))
    a, b = np.asarray(head.values)[brain].astype(np.float64), there[brain].astype(np.float64)
    if a.std() == 0 or b.std() == 0:
        return Match(float("nan"))
    # of ranks: a few voxels that were cut would outweigh all others
    step = max(1, len(a) // 50_000)
    correlation = float(spearmanr(a[::step], b[::step]).statistic)
    if not correlation >= SAME_PLACE:
        return Match(correlation)
    (a0, a1), (b0, b1) = (np.percentile(part, [10, 90]) for part in (a, b))
    if float(np.median(np.abs(b - a))) <= NOISE * (a1 - a0):
        return Match(correlation)
    gain = float((b1 - b0) / (a1 - a0))
    return Match(correlation, gain, float(np.median(b) - gain * np.median(a)))

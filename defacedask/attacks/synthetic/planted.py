"""Positive controls: weak defacers, planted on an original, whose synthetic voxels must be found.

Each has the one weakness that the detector lives on; nothing of any defacer's takes part in making them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.attacks.planted import Ground

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["LEAST_DICE", "WEAK", "weakly_defaced"]

#: What each weak defacer does wrong.
WEAK = {
    "smooth": "a fill without noise",
    "white": "a fill with white noise instead of the image's own spectrum",
}
#: Dice coefficient that the detector must reach on each.
LEAST_DICE = 0.7
#: mm below the old skin that are overwritten.
DEEP = 6.0


def weakly_defaced(original: Target, kind: str, seed: int = 1, ground: Ground | None = None) -> Target:
    """An original with a weak defacer's fill: a layer on the skin, and what lies just below it.

    Parameters
    ----------
    original : Target
    kind : str
        See `WEAK`.
    seed : int
        Of the layer's thickness and of the noise.
    ground : Ground, optional
        Of the original, if it is known.
    """
    from defacedask.anatomy.distances import distance_to
    from defacedask.faces.surface import regrid

    ground = ground or Ground.of(original)
    values, geometry = original.finest
    depth = distance_to(~ground.body, geometry.spacing)
    filled = (ground.proud(seed) <= 0) & (depth <= DEEP)
    new = values.copy()
    new[filled] = np.float32(ground.tissue)
    if kind == "white":
        even = ground.body & (depth > 4.0 * DEEP)
        steps = np.diff(values, axis=2)[even[:, :, 1:] & even[:, :, :-1]]
        # half of the differences between neighbours are smaller than 0.95 times a deviation
        amplitude = float(np.median(np.abs(steps))) / 0.954 if steps.size else 0.05 * ground.tissue
        rng = np.random.default_rng(seed)
        new[filled] += np.float32(amplitude) * rng.standard_normal(int(filled.sum()), dtype=np.float32)
    coarse, grid = regrid(new, geometry, 2.0, interpolate=False)
    return dataclasses.replace(original, values=coarse, geometry=grid, fine=(new, geometry))

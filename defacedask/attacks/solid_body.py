"""The body alone, without what noise, ghosts and wrap leave in the air at the skin's level.

On MR the skin's level lies low between air and tissue, and noise and the ghosts of a moving head reach it. A surface
laid on such specks is not the face's, and a layer planted on them lies beside the skin.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["solid_body", "tissue_above"]

#: Part of the way from the skin's level to the tissue's middle value that a speck does not reach.
CLEARLY = 0.2
#: mm before what clearly is tissue within which what reaches the level is skin.
SKIN_MM = 2.5


def tissue_above(values: np.ndarray, level: float) -> float:
    """Middle value of what reaches the level; the level itself if nothing does."""
    body = values >= level
    return float(np.median(values[body])) if body.any() else level


def solid_body(values: np.ndarray, spacing: tuple[float, ...], level: float) -> Any:
    """Voxels that reach the level and belong to the largest piece of what clearly is tissue.

    Parameters
    ----------
    values : (z, y, x) float array
    spacing : three float
        mm between voxels.
    level : float
        Of the skin.

    Returns
    -------
    (z, y, x) bool array
    """
    from defacedask.anatomy.distances import within
    from defacedask.anatomy.morphology import largest

    body = values >= level
    core = largest(values >= level + CLEARLY * (tissue_above(values, level) - level))
    if not core.any():
        return body
    # coarse voxels have at least one neighbour
    reach = max(SKIN_MM, 1.01 * max(spacing))
    return largest(body & within(core, spacing, reach))

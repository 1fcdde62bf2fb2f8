"""What a first look tells of the surroundings: odds about, and of the shells above and below.

A voxel alone proves little; a fill is a layer that begins at the outside air. Means over the whole image are left
out: with them a detector told 40 % of some untouched heads to be synthetic, and nothing of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.synthetic.shells import LAYERS

if TYPE_CHECKING:
    from defacedask.attacks.synthetic.features import Looks

__all__ = ["LIMIT", "around"]

#: Odds beyond this count no more.
LIMIT = 5.0
#: mm that odds are averaged over: about, far about, and along a shell.
ABOUT, FAR, ALONG = 4.0, 12.0, 6.0


def around(looks: Looks, odds: np.ndarray) -> np.ndarray:
    """Features of a second look.

    Parameters
    ----------
    looks : Looks
    odds : (n,) array
        Of the first.

    Returns
    -------
    (n, 12) float32 array
        The odds; their mean about and far about; of the own shell, the two below and the one above; of the four
        outermost there; depth.
    """
    from scipy.ndimage import gaussian_filter

    own = np.clip(odds, -LIMIT, LIMIT).astype(np.float32)
    field, there = looks.spread(own)
    number = np.full(looks.lattice, -1)
    number[looks.at] = looks.layer

    def mean(mask: np.ndarray, mm: float) -> Any:
        widths = [mm / spacing for spacing in looks.spacing]
        total, weight = (gaussian_filter(one * mask, widths, truncate=2.5) for one in (field, there))
        return (total / (weight + np.float32(1e-4)))[looks.at]

    everywhere = np.ones(looks.lattice, np.float32)
    shells = np.stack([mean((number == k).astype(np.float32), ALONG) for k in range(LAYERS)], axis=1)
    rows = np.arange(len(own))
    beyond = [shells[rows, np.clip(looks.layer + by, 0, LAYERS - 1)] for by in (0, 1, 2, -1)]
    columns = (own, mean(everywhere, ABOUT), mean(everywhere, FAR), *beyond, *shells.T[:4])
    return np.stack([*columns, looks.depth / 10.0], axis=1).astype(np.float32)

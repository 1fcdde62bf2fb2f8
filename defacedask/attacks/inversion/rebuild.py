"""A predicted skin as an image: everything before it is taken off, everything behind it filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from defacedask.attacks.base import Attempt
from defacedask.attacks.face_rays import finer
from defacedask.attacks.inversion.maps import ANGLES, HEIGHTS, SHAPE
from defacedask.attacks.names import INVERSION
from defacedask.attacks.target import Target, span_of
from defacedask.sampling import apply_affine

if TYPE_CHECKING:
    from defacedask.attacks.inversion.regression import Prediction

__all__ = ["rebuilt"]

#: Standard deviation (rays) of the blur of what counts as replaced: single rays are not stitched together.
SMOOTH = 1.0
#: What is less likely replaced than this stays as it is.
LEAST = 0.05
#: mm from the axis within which nothing is drawn.
CORE = 10.0


def rebuilt(target: Target, prediction: Prediction, variant: str = "predicted") -> Attempt:
    """Draw the predicted skin into a defaced image.

    Parameters
    ----------
    target : Target
        The defaced image that the prediction was made for.
    prediction : Prediction
    variant : str

    Returns
    -------
    Attempt
        On voxels of at most 3 mm.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    share = np.nan_to_num(prediction.replaced).reshape(SHAPE)
    share = gaussian_filter(share, SMOOTH, mode=("nearest", "wrap"))
    learnt, kept = prediction.learnt.reshape(SHAPE), prediction.skin.reshape(SHAPE)
    place = np.where(share > LEAST, share * learnt + (1 - share) * kept, np.nan)
    # the back of the head is one piece
    around = np.concatenate([place, place[:, :1]], axis=1)
    values, geometry = finer(np.asarray(target.values, np.float32), target.geometry)
    image = values.copy()
    matrix = target.matrix
    step = 0.5 * float(np.cbrt(geometry.voxel_volume))
    span = span_of(target)
    row, column = HEIGHTS[1] - HEIGHTS[0], ANGLES[1] - ANGLES[0]
    for first in range(0, len(image), 16):  # positions take much more room than values
        last = min(first + 16, len(image))
        slab = geometry.block((first, 0, 0), (last, *geometry.shape[1:]))
        x, y, z = np.broadcast_arrays(*apply_affine(matrix, *slab.positions(dtype=np.float64)))
        turn = np.rad2deg(np.arctan2(x, -y))
        index = np.stack([(z - HEIGHTS[0]) / row, (turn - ANGLES[0]) / column])
        skin = map_coordinates(around, index, order=1, mode="constant", cval=np.nan)
        away = np.hypot(x, y)
        ramp = target.level + span * np.clip((skin - away) / (2.0 * step), -1.0, 1.0)
        drawn = ~np.isnan(skin) & (away > CORE)
        np.copyto(image[first:last], ramp.astype(np.float32), where=drawn)
    return Attempt(INVERSION, variant, image, target.level, geometry)

"""Looking for the face in a mask: the skin as a surface at a constant distance from the mask's boundary."""

from __future__ import annotations

import numpy as np

from defacedask.anatomy.distances import distance_to
from defacedask.anatomy.head import Head
from defacedask.geometry import Geometry

#: mm within which skin counts as found.
WITHIN = 2.0


def found_in_mask(mask: np.ndarray, geometry: Geometry, *heads: Head) -> float:
    """Share of the face's skin within 2 mm of a surface parallel to the mask's boundary; the best of all distances.

    The attacker is given the best distance, which he would have to guess; of several heads, the best found.
    """
    from scipy.ndimage import map_coordinates

    if mask.all() or not mask.any():
        return 0.0
    signed = distance_to(mask, geometry.spacing) - distance_to(~mask, geometry.spacing)
    best = 0.0
    for head in heads:
        skin = head.grid.to_world(np.argwhere(head.face_skin))
        away = map_coordinates(signed, geometry.to_index(skin).T, order=1, mode="nearest")
        best = max(best, *(float((np.abs(away - d) <= WITHIN).mean()) for d in np.arange(-80.0, 80.5, 0.5)))
    return best


def found_by_average(head: Head) -> float:
    """The same for the average head's skin, laid on the patient by the pose: what anybody can do without a mask."""
    from defacedask.anatomy.grid import resample

    body = resample(head.atlas.body, head.atlas.grid, head.grid, matrix=head.to_template, nearest=True)
    spacing = head.grid.spacing
    away = (distance_to(body, spacing) - distance_to(~body, spacing))[head.face_skin]
    return max(float((np.abs(away - d) <= WITHIN).mean()) for d in np.arange(-20.0, 20.5, 0.5))

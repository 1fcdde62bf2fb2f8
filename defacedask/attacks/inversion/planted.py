"""Weak defacers, planted on an original: what inversion must see through, and what it must not.

`constant_cut` takes the face off to a constant depth, which is the face again: it must be found. That the kept of
one person goes with the face of another (`regression.Known.shuffled`) must not teach anything.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.attacks.inversion.maps import ANGLES, HEIGHTS, face_rays
from defacedask.sampling import apply_affine

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["CUT_MM", "PLANTED", "RIM_MM", "constant_cut", "shrunken_mask"]

#: mm that the planted cut takes off.
CUT_MM = 8.0
#: mm of the face that a shrunken mask leaves on all sides.
RIM_MM = 15.0


def constant_cut(original: Target, mm: float = CUT_MM) -> Target:
    """An original whose face was cut off to a constant depth below its skin."""
    from defacedask.anatomy.distances import within
    from defacedask.attacks.solid_body import solid_body

    values, geometry = np.asarray(original.values, np.float32), original.geometry
    body = solid_body(values, geometry.spacing, original.level)
    return _emptied(original, _before(original, face_rays()) & within(~body, geometry.spacing, mm))


def shrunken_mask(original: Target, rim_mm: float = RIM_MM) -> Target:
    """An original of which the whole face was cut off, but for a rim that a mask too small leaves."""
    from scipy.ndimage import distance_transform_edt

    face = face_rays()
    # at 90 mm from the axis
    spacing = (HEIGHTS[1] - HEIGHTS[0], np.deg2rad(ANGLES[1] - ANGLES[0]) * 90.0)
    inner = distance_transform_edt(face, spacing) > rim_mm
    return _emptied(original, _before(original, inner))


def _before(original: Target, rays: np.ndarray) -> np.ndarray:
    """Voxels that some rays pass, more than 35 mm from the axis; (z, y, x) bool."""
    matrix = original.matrix
    x, y, z = np.broadcast_arrays(*apply_affine(matrix, *original.geometry.positions(dtype=np.float64)))
    row = np.rint((z - HEIGHTS[0]) / (HEIGHTS[1] - HEIGHTS[0])).astype(int)
    column = np.rint((np.rad2deg(np.arctan2(x, -y)) - ANGLES[0]) / (ANGLES[1] - ANGLES[0])).astype(int)
    inside = (row >= 0) & (row < len(HEIGHTS))
    return inside & rays[np.where(inside, row, 0), column % len(ANGLES)] & (np.hypot(x, y) > 35.0)


def _emptied(original: Target, region: np.ndarray) -> Target:
    """The same with air in a region."""
    from defacedask.modality import air_of

    values = np.where(region, np.float32(air_of(original.modality)), np.asarray(original.values, np.float32))
    return dataclasses.replace(original, values=values, fine=None, mask=None)


#: Weak defacers by what they leave.
PLANTED = {"constant cut": constant_cut, "rim left": shrunken_mask}

"""The part of a head that attempts look into, and that their results are read in."""

from __future__ import annotations

import numpy as np

from defacedask.faces.surface_change import _face_grid

__all__ = ["BOX", "SPACING", "face_box"]

#: Low and high corner of the box of the rays into the face, mm in the head's frame; to the sides of it is no head.
BOX = ((-115.0, -170.0, -160.0), (115.0, 5.0, 45.0))
#: mm of the grid that surfaces are read on; they lie between its points, where the values cross the level.
SPACING = 1.5


def face_box(pose: np.ndarray, to_template: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corner, mm in the head's frame, of all that attempts look into and their results are read in.

    Parameters
    ----------
    pose, to_template : (4, 4) array
        World LPS mm to the head's frame, and to the template; the latter is by default the pose.
    """
    grid = _face_grid(np.asarray(pose if to_template is None else to_template), SPACING, -pose[1, :3])
    corners = grid.corners @ pose[:3, :3].T + pose[:3, 3]
    low, high = np.array(BOX)
    # a few mm more: the edge of what is cut out is no skin
    return np.minimum(low, corners.min(axis=0) - 5.0), np.maximum(high, corners.max(axis=0) + 5.0)

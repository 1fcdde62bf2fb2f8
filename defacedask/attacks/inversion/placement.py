"""What of a difference between two depth maps is mere placement: a motion or another size of the same face.

Heads are never registered exactly. Where the kept part of a head lies a millimetre beside the average's, its face
does, too; to know that is to know nothing of the face, and a recogniser does not look at it.
"""

from __future__ import annotations

import numpy as np

from defacedask.attacks.inversion.maps import ANGLES, HEIGHTS, SHAPE

__all__ = ["moved", "without_placement"]

#: Least slope of a ray against the skin, as the sine of the angle between them: along the skin no depth is told.
STEEP = 0.3


def moved(skin: np.ndarray) -> np.ndarray:
    """What small motions do to a map: three shifts, three turns and a change of size, (7, rays).

    Parameters
    ----------
    skin : (rays,) array
        Of the average face, mm; NaN where there is none.
    """
    radius = skin.reshape(SHAPE)
    turns = np.deg2rad(ANGLES)
    out = np.stack(np.broadcast_arrays(np.sin(turns), -np.cos(turns), np.zeros(SHAPE)), axis=-1)
    points = radius[..., None] * out + np.stack(
        np.broadcast_arrays(0.0, 0.0, HEIGHTS[:, None] * np.ones(SHAPE)), axis=-1
    )
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    steep = (normal * out).sum(axis=-1)
    about = points - np.nanmean(points.reshape(-1, 3), axis=0)
    eye = np.eye(3)
    ways = [np.broadcast_to(one, points.shape) for one in eye]
    ways += [np.cross(np.broadcast_to(one, points.shape), about) / 90.0 for one in eye]
    ways.append(about / 90.0)
    sign = np.where(steep < 0, -1.0, 1.0)
    return np.stack(
        [((way * normal).sum(axis=-1) * sign / np.maximum(np.abs(steep), STEEP)).ravel() for way in ways]
    )


def without_placement(apart: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """Differences of maps without what the motions explain best, (..., rays).

    Parameters
    ----------
    apart : (..., rays) array
    ways : (motions, rays) array
        See `moved`, on the same rays, finite.
    """
    base, _ = np.linalg.qr(ways.T)
    return np.asarray(apart - (apart @ base) @ base.T)

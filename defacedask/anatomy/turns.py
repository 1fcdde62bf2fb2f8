"""Rotations: by angles, all over the sphere, and how far apart two motions are."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["angle_between", "different", "motion", "nearest_rigid", "rotation", "sphere", "stretch"]


def rotation(pitch: float, yaw: float, roll: float = 0.0) -> np.ndarray:
    """Rotation matrix in LPS: pitch about L (x), roll about P (y), yaw about S (z), in degrees."""
    a, b, c = math.radians(pitch), math.radians(roll), math.radians(yaw)
    sa, ca, sb, cb, sc, cc = math.sin(a), math.cos(a), math.sin(b), math.cos(b), math.sin(c), math.cos(c)
    return np.array(
        [
            [cb * cc, -cb * sc, sb],
            [ca * sc + sa * sb * cc, ca * cc - sa * sb * sc, -sa * cb],
            [sa * sc - ca * sb * cc, sa * cc + ca * sb * sc, ca * cb],
        ]
    )


def sphere(count: int) -> np.ndarray:
    """Rotations spread evenly over all orientations; the same ones for the same count.

    600 of them leave no orientation farther than 23 degrees from one of them, 2,000 none farther than 16.

    Parameters
    ----------
    count : int

    Returns
    -------
    (count, 3, 3) array

    Notes
    -----
    Source: Alexa 2022, "Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)".
    """
    from scipy.spatial.transform import Rotation

    s = np.arange(count) + 0.5
    near, far = np.sqrt(s / count), np.sqrt(1.0 - s / count)
    a, b = 2 * np.pi * s / np.sqrt(2.0), 2 * np.pi * s / 1.533751168755204288118041
    quaternions = np.stack([near * np.sin(a), near * np.cos(a), far * np.sin(b), far * np.cos(b)], axis=1)
    return Rotation.from_quat(quaternions).as_matrix()


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle in degrees by which rotations (..., 3, 3) differ."""
    trace = np.einsum("...ij,...ij->...", a, b)
    return np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def motion(turn: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(4, 4) motion that turns, and sends the point ``source`` (mm) to ``target`` (mm)."""
    out = np.eye(4)
    out[:3, :3] = turn
    out[:3, 3] = target - turn @ source
    return out


def nearest_rigid(affine: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Rigid motion nearest to an affine (polar decomposition) that maps ``point`` (mm) to the same place."""
    u, _, v = np.linalg.svd(affine[:3, :3])
    turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    return motion(turn, point, affine[:3, :3] @ point + affine[:3, 3])


def stretch(affine: np.ndarray) -> np.ndarray:
    """Principal stretches of an affine, largest first."""
    return np.linalg.svd(affine[:3, :3], compute_uv=False)


def different(one: np.ndarray, others: np.ndarray, degrees: float, mm: float, at: np.ndarray) -> np.ndarray:
    """Whether a motion differs from others by more than an angle, or by more than a distance at a target point.

    Motions may be scaled by one factor along all axes: their turn counts.

    Parameters
    ----------
    one : (4, 4) array
    others : (n, 4, 4) array
    degrees, mm : float
    at : (3,) array
        Point of the target's world, mm.

    Returns
    -------
    (n,) bool array
    """
    back = np.linalg.inv(one) @ np.append(at, 1.0)
    away = np.linalg.norm((others @ back)[:, :3] - at, axis=1)
    scales = np.cbrt(np.linalg.det(others[:, :3, :3]))[:, None, None] * np.cbrt(np.linalg.det(one[:3, :3]))
    turned = angle_between(np.asarray(one)[:3, :3], others[:, :3, :3] / scales)
    return (turned > degrees) | (away > mm)

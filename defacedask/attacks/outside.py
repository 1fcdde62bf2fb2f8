"""The air around a head, and how deep below it everything lies."""

from __future__ import annotations

import numpy as np

from defacedask.attacks.target import Target

__all__ = ["outside_air", "skin_depth", "voxel_step"]


def skin_depth(target: Target) -> np.ndarray:
    """Signed depth below the outer skin in mm, (z, y, x) float32; negative in the outside air."""
    from defacedask.anatomy.distances import distance_to

    outside = outside_air(np.asarray(target.values) < target.level)
    depth = distance_to(np.pad(outside, 1, constant_values=True), target.geometry.spacing)[1:-1, 1:-1, 1:-1]
    # from voxel centres to the border between voxels
    return depth - np.float32(voxel_step(target) / 2)


def outside_air(empty: np.ndarray) -> np.ndarray:
    """Part of a (z, y, x) bool mask that is connected with what lies around the grid."""
    from defacedask.anatomy.morphology import components

    pieces = components(np.pad(empty, 1, constant_values=True))
    return (pieces == pieces[0, 0, 0])[1:-1, 1:-1, 1:-1]


def voxel_step(target: Target) -> float:
    """Edge of a cube of one voxel's volume, mm."""
    return float(np.cbrt(target.geometry.voxel_volume))

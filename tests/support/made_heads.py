"""Simple bodies with a known surface, for tests of surfaces and pictures: no person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defacedask.geometry import Geometry

#: One ball: centre (L, P, S) in mm and radius in mm.
Ball = tuple[tuple[float, float, float], float]

#: A head of sorts, in the head frame: skull, nose, and a marker on the patient's left ear.
HEAD: tuple[Ball, ...] = (((0, 0, 0), 75.0), ((0, -78, -20), 14.0), ((78, 0, 0), 12.0))


def balls(geometry: Geometry, parts: Sequence[Ball], pose: np.ndarray | None = None) -> np.ndarray:
    """HU-like values of balls: 0 inside, -1000 outside, and 200 HU a mm in between.

    ``pose`` maps the world to the frame the balls are given in.
    """
    world = np.stack(np.broadcast_arrays(*geometry.positions(dtype=np.float64)), axis=-1)
    if pose is not None:
        world = world @ pose[:3, :3].T + pose[:3, 3]
    depth = np.max([radius - np.linalg.norm(world - np.array(at), axis=-1) for at, radius in parts], axis=0)
    return np.clip(-500 + 200 * depth, -1000, 0).astype(np.float32)


def around(spacing: float | Sequence[float], half: float = 110.0) -> Geometry:
    """Axis-aligned grid around the origin; spacing (z, y, x) in mm."""
    steps = np.broadcast_to(np.asarray(spacing, dtype=float), (3,))
    shape = np.ceil(2 * half / steps).astype(int)
    return Geometry.from_spacing(shape.tolist(), steps.tolist(), -(shape[::-1] - 1) / 2 * steps[::-1])

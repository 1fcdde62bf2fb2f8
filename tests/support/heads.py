"""The built-in average head as an acquisition, in any pose, on any grid, so that the truth is known."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import xarray as xr

from defacedask.anatomy.atlas import atlas_of
from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Head
from defacedask.anatomy.registration import Registration, rotation
from defacedask.geometry import Geometry
from defacedask.volume import make_volume
from support import once


@functools.partial(once.told, name="support.heads:posed")
def posed(
    modality: str = "CT",
    *,
    pitch: float = 0.0,
    yaw: float = 0.0,
    roll: float = 0.0,
    spacing: Sequence[float] = (3.0, 2.0, 2.0),
    top: float | None = None,
    bottom: float | None = None,
    flip: Sequence[int] = (1, 1, 1),
    couch: bool = False,
    noise: float = 12.0,
) -> tuple[xr.DataArray, np.ndarray]:
    """Volume of the average head and the true map from its world to the template's.

    ``top`` and ``bottom`` crop the field of view (mm in the turned head's world); ``flip`` of -1 reverses an array
    axis; a couch is a 6 mm board with a 30 mm block under the neck, behind the head.
    """
    atlas = atlas_of()
    truth = np.eye(4)
    turn = rotation(pitch, yaw, roll).T
    shift = np.array([11.0, -23.0, 140.0])
    truth[:3, :3] = turn
    truth[:3, 3] = atlas.centre - turn @ (atlas.centre + shift)
    back = np.linalg.inv(truth)
    corners = atlas.grid.corners @ back[:3, :3].T + back[:3, 3]
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle = atlas.centre + shift
    low = np.maximum(low, middle - np.array([130.0, 150.0, 240.0]))
    high = np.minimum(high, middle + np.array([130.0, 150.0, 130.0]))
    if top is not None:
        high[2] = middle[2] + top
    if bottom is not None:
        low[2] = middle[2] + bottom
    steps = np.array(spacing, dtype=float)
    shape = np.ceil((high - low)[::-1] / steps).astype(int)
    grid = Geometry.from_spacing(shape.tolist(), steps.tolist(), low, "1.2.3.4")
    air = -1000.0 if modality == "CT" else 0.0
    values = resample(atlas.image(modality).astype(np.float32), atlas.grid, grid, matrix=truth, outside=air)
    if couch:
        x, y, z = grid.positions()
        behind = y - (middle[1] + 118.0)
        board = (behind > 0) & (behind < 6) & (np.abs(x - middle[0]) < 120) & (z == z)
        block = (behind > -30) & (behind <= 0) & (np.abs(x - middle[0]) < 30) & (z < middle[2] - 100)
        values[np.broadcast_to(board | block, values.shape) & (values < -500)] = 100.0
    values = values + np.random.default_rng(1).normal(0, noise, values.shape)
    stored = np.rint(np.clip(values, -1024 if modality == "CT" else 0, 3000)).astype(np.int16)
    if any(f < 0 for f in flip):
        start = [0 if f > 0 else n - 1 for f, n in zip(flip, grid.shape, strict=True)]
        stop = [n if f > 0 else -1 for f, n in zip(flip, grid.shape, strict=True)]
        grid = grid.block(start, stop, flip)
        stored = stored[tuple(slice(None, None, f) for f in flip)].copy()
        grid = Geometry(grid.shape, grid.affine, grid.frame_of_reference)
    units = {"CT": "HU", "MR": "1", "PT": "g/mL"}[modality]
    return make_volume(stored, grid, modality=modality, units=units), truth


def placed(volume: xr.DataArray, truth: np.ndarray) -> Head:
    """Head whose place is known, for tests of what comes after: it is not looked for."""
    return Head(volume, registration=Registration(truth, truth, 1.0, 1.0, True, truth))


def pose_error(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Angle (degrees) between two motions, and mm between where they send the brain's centre."""
    turn = found[:3, :3] @ truth[:3, :3].T
    angle = np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    centre = np.linalg.inv(truth) @ np.append(atlas_of().centre, 1.0)
    return float(angle), float(np.linalg.norm((found @ centre - truth @ centre)[:3]))

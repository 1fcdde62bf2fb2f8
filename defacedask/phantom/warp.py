"""Pull volumes of the average head into a scanner grid, slab by slab."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from defacedask.geometry import Geometry
from defacedask.phantom.shape import Pose, Shape

__all__ = ["Warp"]

#: Spacing (mm) at which the map is computed; between, it is linear. Its finest detail is 6 mm wide.
COARSE = 4.0
#: Slices pulled at a time: bounds the memory of a 512 x 512 x 200 scan.
SLAB = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Warp:
    """Map from one scanner grid to the average head's voxels.

    Attributes
    ----------
    shape, pose : Shape, Pose
        The subject and how it lies.
    grid : Geometry
        Axis-aligned scanner grid (array axes S, P, L).
    source : Geometry
        Grid of the average head's volumes.
    """

    shape: Shape
    pose: Pose
    grid: Geometry
    source: Geometry

    @functools.cached_property
    def _coarse(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Index in ``source`` on a coarse grid, (3, z, y, x) float32, and the fine grid's place in it."""
        ends = np.array(self.grid.spacing) * (np.array(self.grid.shape) - 1)
        counts = np.maximum(2, np.ceil(ends / COARSE).astype(int) + 1)
        steps = np.where(ends > 0, ends / (counts - 1), 1.0)
        coarse = Geometry.from_spacing(counts.tolist(), steps.tolist(), self.grid.origin)
        world = np.stack(np.broadcast_arrays(*coarse.positions(dtype=np.float64)))
        average = self.shape.to_average(self.pose.to_subject(world))
        # below its last slice the average goes on unchanged: shoulders do not end in mid-air
        average[2] = np.maximum(average[2], self.source.origin[2])
        start = self.source.origin.reshape(3, 1, 1, 1)
        steps_xyz = np.array(self.source.spacing)[::-1].reshape(3, 1, 1, 1)
        index = np.ascontiguousarray(((average - start) / steps_xyz)[::-1], dtype=np.float32)
        places = [
            np.arange(n) * spacing / step
            for n, spacing, step in zip(self.grid.shape, self.grid.spacing, steps, strict=True)
        ]
        return index, places

    def _indices(self, rows: slice) -> np.ndarray:
        """Index in ``source`` of the voxels of some slices, (3, z, y, x) float32."""
        index, places = self._coarse
        for axis, place in enumerate((places[0][rows], places[1], places[2]), 1):
            low = np.minimum(np.floor(place).astype(int), index.shape[axis] - 2)
            part = (place - low).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(4)])
            below = np.take(index, low, axis=axis)
            index = below + part * (np.take(index, low + 1, axis=axis) - below)
        return index

    def slabs(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of the grid, and where they lie in ``source``."""
        for start in range(0, self.grid.shape[0], SLAB):
            rows = slice(start, min(start + SLAB, self.grid.shape[0]))
            yield rows, self._indices(rows)

    def pull(self, *volumes: np.ndarray, outside: tuple[float, ...]) -> list[np.ndarray]:
        """Volumes on ``source`` as float32 on ``grid``, linear; ``outside`` beyond the average's field of view."""
        out = [np.empty(self.grid.shape, np.float32) for _ in volumes]
        for rows, index in self.slabs():
            for target, volume, fill in zip(out, volumes, outside, strict=True):
                ndimage.map_coordinates(
                    volume, index, output=target[rows], order=1, mode="constant", cval=fill, prefilter=False
                )
        return out

"""How much of a face's true skin an attempt at un-masking finds again: the share of it within 2 mm of what was found.

Both surfaces are read in the images themselves, where the air before the face ends: the true one in the original, the
other in what the attempt made of the defaced image. Beside it stands a peel of constant thickness, which knows
nothing: an attempt tells something of the face by as much as it is better than that.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.face_box import SPACING
from defacedask.attacks.solid_body import solid_body
from defacedask.errors import InputError
from defacedask.faces.outer_skin import between, outline
from defacedask.faces.surface_change import _face_region
from defacedask.geometry import Geometry
from defacedask.modality import air_of
from defacedask.sampling import index_at

if TYPE_CHECKING:
    from defacedask.attacks.base import Attempt
    from defacedask.attacks.target import Target

__all__ = ["NEAR_MM", "FaceSkin"]

#: mm from the true skin within which skin counts as found.
NEAR_MM = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class FaceSkin:
    """The skin from brow to chin of one original.

    Attributes
    ----------
    points : (n, 3) array
        On it, patient LPS mm.
    box : Geometry
        Grid around the face.
    toward : (3,) array
        Where the face looks, LPS.
    air : float
        Real value of empty space.
    """

    points: np.ndarray
    box: Geometry
    toward: np.ndarray
    air: float

    @classmethod
    def of(cls, original: Target) -> FaceSkin:
        """Read it in an original.

        Parameters
        ----------
        original : Target
            With ``to_template``; what is not body reads as air.

        Raises
        ------
        InputError
            If no skin of the face is in view.
        """
        matrix = original.matrix
        toward = -np.asarray(original.pose)[1, :3]
        region, box = _face_region(matrix, SPACING, toward)
        found = cls(np.zeros((0, 3)), box, toward, air_of(original.modality))
        values, geometry = original.finest
        index, points = found._skin(values, geometry, original.level)
        at = geometry.to_index(points)
        # the edge of the field of view is no skin
        inner = ((at > 1.0) & (at < np.array(geometry.shape) - 2.0)).all(axis=1)
        points = points[region[tuple(index.T)] & inner]
        if not len(points):
            raise InputError("no skin of the face is in view.")
        return dataclasses.replace(found, points=points)

    def share(self, values: Any, geometry: Geometry, level: float, near_mm: float = NEAR_MM) -> float:
        """Share (0..1) of the true skin that lies within ``near_mm`` of an image's skin."""
        from scipy.spatial import cKDTree

        _, found = self._skin(np.asarray(values, np.float32), geometry, level)
        if not len(found):
            return 0.0
        distance, _ = cKDTree(found).query(self.points, distance_upper_bound=near_mm)
        return float(np.isfinite(distance).mean())

    def shares(self, target: Target, attempts: list[Attempt]) -> dict[str, float]:
        """Variant -> `share`, for attempts at a target."""
        return {a.variant: self.share(a.values, a.geometry or target.geometry, a.level) for a in attempts}

    def _skin(self, values: np.ndarray, geometry: Geometry, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Body voxels (n, 3) of the box that lie at the skin, and the points (n, 3) where it lies before each."""
        from defacedask.anatomy.grid import resample

        fine = resample(values, geometry, self.box, outside=self.air)
        view = between(index_at(geometry, self.box.positions(dtype=np.float64)), geometry.shape, -0.5)
        body = solid_body(fine, self.box.spacing, level)
        skin = outline(body, view, self.toward)
        voxels, points = [], []
        every = np.argwhere(skin)
        for axis in range(3):
            for step in (-1, 1):
                at, beside = every, every.copy()
                beside[:, axis] += step
                ok = (beside[:, axis] >= 0) & (beside[:, axis] < body.shape[axis])
                at, beside = at[ok], beside[ok]
                ok = ~body[tuple(beside.T)]
                at, beside = at[ok], beside[ok]
                inside, outside = fine[tuple(at.T)], fine[tuple(beside.T)]
                part = np.clip((inside - level) / np.maximum(inside - outside, 1e-6), 0.0, 1.0)
                place = at.astype(np.float64)
                place[:, axis] += step * part
                voxels.append(at)
                points.append(self.box.to_world(place))
        return np.concatenate(voxels), np.concatenate(points)

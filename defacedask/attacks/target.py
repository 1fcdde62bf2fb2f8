"""A defaced head as its attacker has it: the image alone, with pose and level, which can be found again in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from defacedask.attacks.face_box import face_box
from defacedask.geometry import Geometry
from defacedask.modality import air_of

__all__ = ["Target", "span_of", "target_of"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """A defaced head.

    Attributes
    ----------
    values : (z, y, x) float array
        Real values.
    geometry : Geometry
    modality : str
        CT, MR or PT.
    level : float
        Of the skin.
    pose : (4, 4) array
        World LPS mm to the head frame.
    to_template : (4, 4) array, optional
        World LPS mm to the template, affine; default the pose.
    fine : (array, Geometry), optional
        The face's box in the image's own voxels: a thin line under a layer is gone in the average of two.
    mask : (z, y, x) bool array, optional
        What is published as the region that was changed, in the voxels of `finest`.
    """

    values: np.ndarray
    geometry: Geometry
    modality: str
    level: float
    pose: np.ndarray
    to_template: np.ndarray | None = None
    fine: tuple[np.ndarray, Geometry] | None = None
    mask: np.ndarray | None = None
    _known: dict[Any, Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @property
    def finest(self) -> tuple[np.ndarray, Geometry]:
        """Values and grid, as fine as they are known."""
        return self.fine or (np.asarray(self.values, np.float32), self.geometry)

    @property
    def matrix(self) -> np.ndarray:
        """World LPS mm to the template: affine where it is known, else the pose."""
        return np.asarray(self.pose if self.to_template is None else self.to_template)

    @property
    def front(self) -> np.ndarray:
        """Voxels before the coronal plane through the template's middle, (z, y, x) bool."""
        row = self.matrix[1]
        places = zip(row, self.geometry.positions(dtype=np.float64), strict=False)
        depth = row[3] + sum(float(factor) * place for factor, place in places)
        return np.broadcast_to(depth < 0.0, self.geometry.shape)

    def copied(self) -> Target:
        """The same with arrays of its own: whoever writes to them changes nothing for those who come after."""
        fine = None if self.fine is None else (self.fine[0].copy(), self.fine[1])
        matrix = None if self.to_template is None else np.array(self.to_template)
        mask = None if self.mask is None else self.mask.copy()
        return dataclasses.replace(
            self,
            values=np.array(self.values),
            pose=np.array(self.pose),
            to_template=matrix,
            fine=fine,
            mask=mask,
        )

    def once(self, measure: Callable[[Target], T]) -> T:
        """``measure(self)``, made once for all attempts that build on it."""
        if measure not in self._known:
            self._known[measure] = measure(self)
        known: T = self._known[measure]
        return known


def target_of(
    values: Any,
    geometry: Geometry,
    *,
    modality: str,
    level: float,
    pose: np.ndarray,
    to_template: np.ndarray | None = None,
    drop: Any = None,
    mask: Any = None,
) -> Target:
    """Cut a target out of an image: the head's box, averaged to about 2 mm where finer, and the face as it is.

    Parameters
    ----------
    values : (z, y, x) array
        Real values of the whole defaced image.
    geometry : Geometry
    modality, level, pose, to_template
        See `Target`.
    drop : (z, y, x) bool array, optional
        What is not body in the original: read as air.
    mask : (z, y, x) bool array, optional
        Published with the image, on its grid: what was changed.

    Raises
    ------
    RefusedError
        If the head's box does not meet the image.
    """
    from defacedask.faces.surface import HEAD_BOX, crop_to_box, regrid

    values, pose = np.asarray(values), np.asarray(pose)

    def cut(box: Any) -> tuple[np.ndarray, Geometry]:
        block, grid, away = crop_to_box(values, geometry, drop, pose, box)
        block = np.asarray(block, np.float32)
        return (block if away is None else np.where(away, np.float32(air_of(modality)), block)), grid

    coarse, grid = cut(HEAD_BOX)
    coarse, grid = regrid(coarse, grid, 2.0, interpolate=False)
    box: Any = face_box(pose, to_template)
    if mask is not None:
        # what is published may reach beyond the face
        box = np.minimum(box[0], HEAD_BOX[0]), np.maximum(box[1], HEAD_BOX[1])
        mask, _, _ = crop_to_box(np.asarray(mask), geometry, None, pose, box)
    return Target(coarse, grid, modality, level, pose, to_template, cut(box), mask)


def span_of(target: Target) -> float:
    """How far below the level empty space lies."""
    return float(max(target.level - air_of(target.modality), 1e-6))

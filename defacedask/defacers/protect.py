"""Structures that no defacer may change: coarse signed distances that a plan carries with it.

A distance field keeps the meaning of "within 3 mm of the structure" on any grid in the frame of reference, costs
some kilobytes, and answers block by block as it answers for the whole.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.codec import record
from defacedask.defacers.near import BELOW, UNSURE, cell_sides, voxel_sides
from defacedask.defacers.solid import withdraw
from defacedask.defacers.tiling import Tiling
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.kernels import fuses
from defacedask.sampling import sample_field

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head

__all__ = ["Protected", "brain_of", "unprotected"]

#: mm of one step of the stored distance; and how far from the structure it is stored.
STEP = 0.25
REACH = 31.0
#: Voxels of a structure that are looked at together; and steps that rounding may add to an interpolated value.
_AT_ONCE = 20_000
_ROUNDING = 1e-3


@record
@dataclasses.dataclass(frozen=True, eq=False)
class Protected:
    """One structure and how far around it nothing may change.

    Attributes
    ----------
    name : str
    margin_mm : float
        What lies within this distance of the structure is kept, as the coarse grid tells distances. Whatever the
        grid: nothing inside of a voxel of the structure changes, on any other grid either.
    grid : Geometry
        Of ``distance``.
    distance : (z, y, x) int8 array
        Signed distance in steps of 0.25 mm, negative inside, clipped to 31 mm.
    face_percent : float
        How much of the face's skin that the defacer would have changed stays because of this structure, percent;
        NaN until a plan was made (see `defacedask.defacers.remaining`).
    leaves : tuple of str
        Parts of the face that stay because of it: nose, mouth, ...
    """

    kind: ClassVar[str] = "Protected"

    name: str
    margin_mm: float
    grid: Geometry
    distance: np.ndarray
    face_percent: float = float("nan")
    leaves: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, name: str, mask: np.ndarray, geometry: Geometry, *, margin_mm: float = 2.0, spacing: float = 3.0
    ) -> Protected:
        """Protect a mask.

        Parameters
        ----------
        name : str
        mask : (z, y, x) bool array
        geometry : Geometry
            Of ``mask``.
        margin_mm : float
            At most 20.
        spacing : float
            mm of the stored grid.

        Raises
        ------
        InputError
            For an empty mask or a margin out of range.
        """
        from scipy.ndimage import map_coordinates

        from defacedask.anatomy.distances import inner_distances

        if not 0 <= margin_mm <= 20:
            raise InputError(f"a protected margin of {margin_mm:g} mm is not between 0 and 20 mm.")
        inside = np.argwhere(mask)
        if len(inside) == 0:
            raise InputError(f"the structure {name!r} is empty: there is nothing to protect.")
        reach = margin_mm + 2 * spacing + 2 * max(geometry.spacing)
        pad = np.ceil(reach / np.array(geometry.spacing)).astype(int)
        low, high = inside.min(axis=0) - pad, inside.max(axis=0) + pad + 1
        box = np.zeros(high - low, dtype=bool)
        box[tuple((inside - low).T)] = True
        part = geometry.block(low.tolist(), high.tolist())
        signed = inner_distances(~box, geometry.spacing, np.float32)
        # what is not inside lies one voxel beyond it at the farthest
        tight = tuple(slice(p - 1, n - p + 1) for p, n in zip(pad.tolist(), box.shape, strict=True))
        into = inner_distances(box[tight], geometry.spacing)
        np.copyto(signed[tight], -into, where=box[tight], casting="same_kind")
        grid = part.aligned(spacing)
        x, y, z = grid.positions(dtype=np.float64)
        points = np.stack([a.ravel() for a in np.broadcast_arrays(x, y, z)], axis=-1)
        index = part.to_index(points).T
        coarse = map_coordinates(signed, index, order=1, mode="nearest", prefilter=False).reshape(grid.shape)
        steps = np.rint(np.clip(coarse, -4.0, min(reach, REACH)) / STEP).astype(np.int8)
        grid = Geometry(grid.shape, grid.affine, geometry.frame_of_reference)
        steps = _holding(steps, grid, part, box, margin_mm)
        return cls(name, float(margin_mm), grid, steps)

    @functools.cached_property
    def _mm(self) -> np.ndarray:
        return self.distance.astype(np.float32) * np.float32(STEP)

    def _distance(self, positions: tuple[Any, Any, Any], xp: Any) -> Any:
        return sample_field(self._mm, self.grid, positions, outside=REACH + 1, xp=xp)

    @functools.cached_property
    def _cells(self) -> np.ndarray:
        return cell_sides(self._mm, self.margin_mm)

    @functools.cached_property
    def _nearness(self) -> Tiling:
        return Tiling(-self._mm, self.grid)

    def near(self, geometry: Geometry) -> tuple[slice, ...] | None:
        """Box of a grid beyond which the structure is far; None if it is far from all of it."""
        index = geometry.to_index(self.grid.corners)
        low = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(index.max(axis=0)) + 1, geometry.shape).astype(int)
        if (low >= high).any():
            return None
        return tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))

    def keep(self, geometry: Geometry, xp: Any = np) -> Any:
        """Voxels of a grid, or of a block of one, that must stay as they are.

        Parameters
        ----------
        geometry : Geometry
        xp : module
            Array namespace of the answer.

        Returns
        -------
        bool array of ``geometry.shape``
        """
        keep = xp.ones(geometry.shape, dtype=bool)
        self.withdraw(keep, geometry, xp)
        return ~keep

    def withdraw(self, region: Any, geometry: Geometry, xp: Any = np) -> None:
        """Take what must stay out of a region, in place; looks only where the two may meet.

        Parameters
        ----------
        region : bool array of ``geometry.shape``
        geometry : Geometry
        xp : module
            Namespace of ``region``.
        """
        if fuses(xp):
            withdraw(region, (self,), geometry, xp)
            return
        box = self.near(geometry)
        if box is None:
            return
        near = geometry.block([s.start for s in box], [s.stop for s in box])
        sides = voxel_sides(self._cells, self.grid, near, xp)
        if sides is None:
            self._withdraw_by_tiles(region[box], near, xp)
            return
        part = region[box]
        part &= sides != BELOW
        self._read(part, xp.nonzero(part & (sides == UNSURE)), near, xp)

    def _withdraw_by_tiles(self, region: Any, geometry: Geometry, xp: Any) -> None:
        for box in self._nearness.tiles(geometry, np.eye(4), -self.margin_mm - STEP, xp):
            part = geometry.block([s.start for s in box], [s.stop for s in box])
            self._read(region[box], xp.nonzero(region[box]), part, xp)

    def _read(self, region: Any, at: tuple[Any, ...], geometry: Geometry, xp: Any) -> None:
        """Decide by the field itself at some places of a block, given by their indices."""
        if at[0].size == 0:
            return
        places = geometry.positions_at(at, xp)
        region[at] = self._distance(places, xp) > self.margin_mm

    def summary(self) -> dict[str, Any]:
        """Name, margin, and what of the face stays because of it."""
        out: dict[str, Any] = {"name": self.name, "margin_mm": self.margin_mm}
        if np.isfinite(self.face_percent):
            out |= {"face_percent": round(self.face_percent, 2), "leaves": list(self.leaves)}
        return out


def _holding(
    steps: np.ndarray, grid: Geometry, part: Geometry, mask: np.ndarray, margin_mm: float
) -> np.ndarray:
    """Lower a coarse distance where, inside of a voxel of the structure, it exceeds the margin.

    A coarse grid steps over what is thin or sticks out. Linear interpolation between nodes is greatest at a corner of
    what a voxel and a cell have in common; it is read at all of these.

    Parameters
    ----------
    steps : (z, y, x) int8 array
        Distance on ``grid``, in steps of `STEP`.
    grid, part : Geometry
        Of ``steps`` and of ``mask``.
    mask : bool array
    margin_mm : float
    """
    from scipy.ndimage import map_coordinates, maximum_filter

    to_index = np.linalg.inv(grid.affine) @ part.affine
    half = np.abs(to_index[:3, :3]).sum(axis=1) / 2
    planes = np.floor(2 * half).astype(int) + 1
    # the greatest node around a voxel, and the greatest that it can meet
    around, met = (
        maximum_filter(steps, size=(2 * np.ceil(half + more).astype(int) + 1).tolist(), mode="nearest")
        for more in (1.0, 0.5)
    )
    limit = int(np.floor(margin_mm / STEP + 1e-6))
    # where that is below the margin no point of the voxel comes near it
    looked_at = (around > limit) & (met >= limit)
    middle = np.argwhere(mask) @ to_index[:3, :3].T
    middle += to_index[:3, 3]
    at = np.rint(middle).astype(np.int32)  # a drawn brain has a million voxels
    np.clip(at, 0, np.array(grid.shape) - 1, out=at, casting="same_kind")
    middle = middle[looked_at[tuple(at.T)]]
    lowered = np.zeros(steps.shape, dtype=np.int16)
    values = steps.astype(np.float32)
    for first in range(0, len(middle), _AT_ONCE):
        some = middle[first : first + _AT_ONCE]
        ends = []
        for axis in range(3):
            low, high = some[:, axis] - half[axis], some[:, axis] + half[axis]
            cuts = np.ceil(low)[:, None] + np.arange(planes[axis])
            ends.append(np.column_stack([low, high, np.clip(cuts, low[:, None], high[:, None])]))
        z, y, x = np.broadcast_arrays(
            ends[0][:, :, None, None], ends[1][:, None, :, None], ends[2][:, None, None, :]
        )
        points = np.clip(np.stack([z.ravel(), y.ravel(), x.ravel()]), 0, np.array(grid.shape)[:, None] - 1)
        beyond = map_coordinates(values, points, order=1, mode="nearest", prefilter=False) - limit
        bad = beyond > -_ROUNDING
        excess = np.ceil(beyond[bad] + _ROUNDING).astype(np.int16)
        node = np.floor(points[:, bad]).astype(int)
        for offset in np.ndindex(2, 2, 2):
            there = tuple(np.minimum(n + o, m - 1) for n, o, m in zip(node, offset, steps.shape, strict=True))
            np.maximum.at(lowered, there, excess)
    return np.maximum(steps.astype(np.int16) - lowered, np.iinfo(np.int8).min).astype(np.int8)


def brain_of(head: Head, margin_mm: float = 2.0) -> Protected:
    """The default protection: the head's brain; the same for all defacers that are asked about one head."""
    known: dict[float, tuple[np.ndarray, Protected]] = head.__dict__.setdefault("_protected_brains", {})
    brain = head.brain
    if margin_mm not in known or known[margin_mm][0] is not brain:
        known[margin_mm] = brain, Protected.of("Brain", brain, head.grid, margin_mm=margin_mm)
    return known[margin_mm][1]


def unprotected(region: Any, protected: Iterable[Protected], geometry: Geometry, xp: Any = np) -> Any:
    """A region without what is protected."""
    region = region.copy()
    if fuses(xp):
        withdraw(region, protected, geometry, xp)
        return region
    for one in protected:
        one.withdraw(region, geometry, xp)
    return region

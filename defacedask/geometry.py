"""Where voxels lie: a grid in patient space, without the voxels.

One coordinate system throughout: patient LPS millimetres (x to the patient's left, y to posterior, z to
superior). One index order throughout: ``(z, y, x)`` for (slice, row, column) of the array as stored, voxel
centres at integer indices. A grid may be oblique, reversed or sheared (gantry tilt): the affine says so.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from defacedask.errors import InputError
from defacedask.kernels import PLACE, Kernel, fuses

__all__ = ["Geometry"]

#: `Geometry.positions_at`; the numbers are those of `Geometry.root`.
_POSITIONS = Kernel(
    "positions",
    "int64 z, int64 y, int64 x, " + ", ".join(f"float64 b{k}" for k in range(18)),
    "float64 px, float64 py, float64 pz",
    """
    const double b[12] = {b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11};
    double iz = b12 + b15 * (double)z, iy = b13 + b16 * (double)y, ix = b14 + b17 * (double)x;
    px = world(b, 0, iz, iy, ix); py = world(b, 1, iz, iy, ix); pz = world(b, 2, iz, iy, ix);
    """,
    PLACE,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
    """Shape, affine and frame of reference of a voxel grid.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    affine : numpy.ndarray
        (4, 4) float64; maps homogeneous index ``(z, y, x, 1)`` to patient LPS mm ``(x, y, z, 1)``.
        Its columns are the steps along the array axes z, y, x and the centre of voxel (0, 0, 0).
    frame_of_reference : str, optional
        FrameOfReferenceUID, or "" where there is none.

    Raises
    ------
    InputError
        For an empty shape or an affine that is singular or not finite.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    frame_of_reference: str = ""
    # Where a block was cut from: (affine of the uncut grid, first index, step). `positions` starts from it, so
    # that a voxel has the same coordinates, to the last bit, in whatever block it is met.
    _root: tuple[np.ndarray, tuple[int, ...], tuple[int, ...]] | None = dataclasses.field(
        default=None, repr=False
    )

    def __post_init__(self) -> None:
        try:
            shape = tuple(int(n) for n in self.shape)
            affine = np.array(self.affine, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("a grid needs three whole sizes, and an affine of 4 x 4 numbers.") from None
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"a grid needs three positive sizes, not {self.shape}.")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError("the affine of a grid must be a finite 4 x 4 matrix.")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise InputError("the voxel spacing or orientation is degenerate (the voxel has no volume).")
        affine[3] = (0, 0, 0, 1)
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    # --- making one

    @classmethod
    def from_steps(
        cls,
        shape: Sequence[int],
        origin: ArrayLike,
        step_z: ArrayLike,
        step_y: ArrayLike,
        step_x: ArrayLike,
        frame_of_reference: str = "",
    ) -> Geometry:
        """Build from the first voxel's centre and the step vectors (LPS mm) along each array axis."""
        affine = np.eye(4)
        affine[:3] = np.column_stack([step_z, step_y, step_x, origin])
        return cls(tuple(shape), affine, frame_of_reference)  # type: ignore[arg-type]

    @classmethod
    def from_spacing(
        cls,
        shape: Sequence[int],
        spacing: Sequence[float],
        origin: ArrayLike = (0.0, 0.0, 0.0),
        frame_of_reference: str = "",
    ) -> Geometry:
        """Axis-aligned grid: ``spacing`` is (z, y, x) mm, ``origin`` the first voxel's LPS position in mm."""
        dz, dy, dx = (float(s) for s in spacing)
        return cls.from_steps(shape, origin, (0, 0, dz), (0, dy, 0), (dx, 0, 0), frame_of_reference)

    # --- facts

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbours along (z, y, x)."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))  # type: ignore[return-value]

    @property
    def origin(self) -> np.ndarray:
        """LPS mm of the centre of voxel (0, 0, 0)."""
        return self.affine[:3, 3].copy()

    @property
    def directions(self) -> np.ndarray:
        """(3, 3): unit vectors (columns) of the array axes z, y, x in LPS."""
        return self.affine[:3, :3] / np.array(self.spacing)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm³."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def codes(self) -> str:
        """Nearest anatomical direction of each array axis, such as ``SPL`` for an axial HFS stack."""
        letters = (("R", "L"), ("A", "P"), ("I", "S"))
        free, out = [0, 1, 2], ["", "", ""]
        cosines = self.directions
        for _ in range(3):
            # the strongest remaining axis first, so that two axes never get the same letter pair
            column, row = max(
                ((c, r) for c in range(3) if not out[c] for r in free),
                key=lambda cr: abs(cosines[cr[1], cr[0]]),
            )
            out[column] = letters[row][int(cosines[row, column] > 0)]
            free.remove(row)
        return "".join(out)

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) LPS mm of the outer corners (voxel faces, not centres)."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return self.to_world(np.array(list(itertools.product(*ends))))

    @property
    def centre(self) -> np.ndarray:
        """LPS mm of the middle of the grid."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    # --- both ways

    def to_world(self, index: Any) -> np.ndarray:
        """Map indices (..., 3) in (z, y, x) to LPS mm (..., 3) in (x, y, z)."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, world: Any) -> np.ndarray:
        """Map LPS mm (..., 3) to continuous indices (..., 3) in (z, y, x)."""
        inverse = np.linalg.inv(self.affine[:3, :3])
        return (np.asarray(world, dtype=np.float64) - self.affine[:3, 3]) @ inverse.T

    def positions(self, xp: Any = np, dtype: Any = np.float32) -> tuple[Any, Any, Any]:
        """World coordinates of every voxel as three arrays that broadcast to ``shape``.

        Parameters
        ----------
        xp : module
            Array namespace (``numpy`` or ``cupy``).
        dtype : dtype
            Of the result; the sums are made in float64 first.

        Returns
        -------
        x, y, z : arrays
            LPS mm. An axis that does not move a coordinate keeps length 1, so axis-aligned grids cost
            three vectors and not three volumes.
        """
        x, y, z = (
            functools.reduce(operator.add, parts).astype(dtype) for parts in _sent(self._vectors(), xp)
        )
        return x, y, z

    def _vectors(self) -> list[list[np.ndarray]]:
        """Of each coordinate a vector along every axis that moves it, the first with the origin in it."""
        affine, first, by = self._root or (self.affine, (0, 0, 0), (1, 1, 1))
        rows: list[list[np.ndarray]] = []
        for row in range(3):
            parts = [np.full((1, 1, 1), affine[row, 3], dtype=np.float64)]
            for axis, n in enumerate(self.shape):
                step = affine[row, axis]
                if step != 0.0:
                    along = [1, 1, 1]
                    along[axis] = n
                    index = first[axis] + by[axis] * np.arange(n, dtype=np.float64)
                    vector = (index * step).reshape(along)
                    parts = [*parts, vector] if parts[0].size > 1 else [parts[0] + vector]
            rows.append(parts)
        return rows

    def root(self) -> np.ndarray:
        """What `positions` starts from, as kernels take it (see `defacedask.kernels.PLACE`).

        Returns
        -------
        (21,) float64 array
            Rows of the affine of the uncut grid, this grid's first index there, its step, its shape.
        """
        affine, first, by = self._root or (self.affine, (0, 0, 0), (1, 1, 1))
        return np.concatenate([affine[:3].ravel(), first, by, self.shape])

    def positions_at(self, index: Sequence[Any], xp: Any = np) -> tuple[Any, Any, Any]:
        """World coordinates of some voxels, with the bits that `positions` has there.

        Parameters
        ----------
        index : sequence of three (n,) int64 arrays
            Along (z, y, x), in the namespace ``xp``.
        xp : module

        Returns
        -------
        x, y, z : (n,) float64 arrays
            LPS mm.
        """
        if fuses(xp):
            numbers = (float(number) for number in self.root()[:18])
            return _POSITIONS(xp, *index, *numbers)
        x, y, z = (
            functools.reduce(operator.add, (_taken(part, index) for part in parts))
            for parts in _sent(self._vectors(), xp)
        )
        return x, y, z

    def along(self, other: Geometry, lean: float) -> list[tuple[int, np.ndarray]] | None:
        """Where the voxels of this grid lie on another whose axes are parallel, axis by axis.

        Parameters
        ----------
        other : Geometry
            In the same frame of reference.
        lean : float
            Index steps of ``other`` by which leaning axes may move a voxel, over this whole grid, and still count as
            parallel.

        Returns
        -------
        list of (axis, (n,) array), or None
            For each axis of this grid: the axis of ``other`` that it runs along, and its voxels' continuous indices
            on that. None if the axes are not parallel.
        """
        steps = np.linalg.solve(other.affine[:3, :3], self.affine[:3, :3])
        axes = np.abs(steps).argmax(axis=0)
        leaning = np.abs(steps) * np.array(self.shape)
        leaning[axes, np.arange(3)] = 0.0
        if len(set(axes.tolist())) != 3 or leaning.sum(axis=1).max() > lean:
            return None
        first = other.to_index(self.to_world((0, 0, 0)))
        return [
            (int(there), first[there] + steps[there, here] * np.arange(n))
            for here, (there, n) in enumerate(zip(axes, self.shape, strict=True))
        ]

    # --- other grids from this one

    def block(self, start: Sequence[int], stop: Sequence[int], step: Sequence[int] = (1, 1, 1)) -> Geometry:
        """Grid of ``array[start:stop:step]``; ``step`` may be negative, ``stop`` is exclusive as in Python."""
        ranges = [range(a, b, s) for a, b, s in zip(start, stop, step, strict=True)]
        affine = np.eye(4)
        affine[:3, :3] = self.affine[:3, :3] * np.array(step, dtype=np.float64)
        affine[:3, 3] = self.to_world([r.start for r in ranges])
        origin, first, by = self._root or (self.affine, (0, 0, 0), (1, 1, 1))
        root = (
            origin,
            tuple(f + b * r.start for f, b, r in zip(first, by, ranges, strict=True)),
            tuple(b * s for b, s in zip(by, step, strict=True)),
        )
        shape = tuple(len(r) for r in ranges)
        return Geometry(shape, affine, self.frame_of_reference, root)  # type: ignore[arg-type]

    def aligned(self, spacing: float | Sequence[float], margin: float = 0.0) -> Geometry:
        """Axis-aligned LPS grid (array axes S, P, L) that covers this one.

        Parameters
        ----------
        spacing : float or (z, y, x)
            mm.
        margin : float
            mm added on every side.
        """
        steps = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,))
        low = self.corners.min(axis=0) - margin
        high = self.corners.max(axis=0) + margin
        counts = np.maximum(1, np.ceil((high - low) / steps[::-1] - 1e-6)).astype(int)
        origin = (low + high) / 2 - (counts - 1) * steps[::-1] / 2
        return Geometry.from_spacing(counts[::-1].tolist(), steps.tolist(), origin, self.frame_of_reference)

    def resampled(self, spacing: float | Sequence[float]) -> Geometry:
        """Same field of view, directions and frame at another ``spacing`` (mm, along (z, y, x))."""
        steps = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,))
        extent = np.array(self.spacing) * np.array(self.shape)
        counts = np.maximum(1, np.round(extent / steps)).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = self.directions * steps
        affine[:3, 3] = self.centre - affine[:3, :3] @ ((counts - 1) / 2)
        return Geometry(tuple(counts.tolist()), affine, self.frame_of_reference)

    # --- keeping one

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able facts; `from_dict` gives the same grid back, bit for bit."""
        return {
            "shape": list(self.shape),
            "affine": self.affine.tolist(),
            "frame_of_reference": self.frame_of_reference,
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Geometry:
        """Inverse of `to_dict`."""
        return cls(tuple(facts["shape"]), np.array(facts["affine"]), facts.get("frame_of_reference", ""))

    def close_to(self, other: Geometry, mm: float = 1e-3) -> bool:
        """Whether both grids have the same shape and every voxel lies within ``mm`` of its twin."""
        return self.shape == other.shape and bool(np.abs(self.corners - other.corners).max() <= mm)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return (
            self.shape == other.shape
            and self.frame_of_reference == other.frame_of_reference
            and np.array_equal(self.affine, other.affine)
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes(), self.frame_of_reference))

    def __dask_tokenize__(self) -> str:
        digest = hashlib.sha256(self.affine.tobytes())
        digest.update(repr((self.shape, self.frame_of_reference)).encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        mm = " x ".join(f"{s:g}" for s in self.spacing)
        return f"Geometry({' x '.join(map(str, self.shape))} voxels of {mm} mm, {self.codes})"


def _taken(vector: Any, index: Sequence[Any]) -> Any:
    """Of a vector along one axis the numbers at some indices (z, y, x); of a single number as many as there are."""
    axis = int(np.argmax(vector.shape))
    return vector.ravel().take(index[axis] if vector.size > 1 else index[0] * 0)


def _sent(rows: list[list[np.ndarray]], xp: Any) -> list[list[Any]]:
    """Arrays in another namespace, by one transfer."""
    if xp is np:
        return rows
    parts = [part for row in rows for part in row]
    ends = np.cumsum([part.size for part in parts])[:-1].tolist()
    sent = iter(xp.split(xp.asarray(np.concatenate([part.ravel() for part in parts])), ends))
    return [[next(sent).reshape(part.shape) for part in row] for row in rows]

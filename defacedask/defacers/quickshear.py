"""Quickshear: everything on the face's side of a plane goes.

Source: Schimke & Hale, "Quickshear defacing for neuroimages", HealthSec 2011. The sagittal profile of the brain
mask, its outline, the lower chain of the outline's convex hull, its edge at the anterior end: the plane along that
edge, moved away from the brain. Computed here in the head's own frame and in millimetres, so that
pose, thick slices and non-square grids do not matter; beyond the border of the field of view there is nothing
(no wrap), so that a brain cut by the field of view adds no false points.

One plane leaves the outer corners of eyes and brow on most heads: 4 to 14 % of the face's skin from brow to chin on
the real ones, at any angle, since in the middle the brain reaches further to the front than at the temples. Two more
planes of the same kind, turned to the sides, take those corners: 99 to 100 % goes (``sides_degrees=0`` leaves them
out, and so does the published form). Where an image ends just above the brow, the brain's profile begins low and its
first edge lies flat: the brow stays in front of the brain. Up to three more planes that touch the brain take it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import Defacer, Plan
from defacedask.defacers.options import within
from defacedask.defacers.shear import beyond_planes, first_edge, front_edge, lower_chain
from defacedask.defacers.solid import Solid
from defacedask.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.defacers.boxes import Piece
    from defacedask.defacers.protect import Protected
    from defacedask.geometry import Geometry

__all__ = ["Quickshear", "QuickshearPlan", "sagittal_profile"]

#: Degrees against the head's horizontal of the planes at the sides.
LOW = (70.0, 60.0, 50.0)
#: Part of the face that may be left without more planes; how many these are at most, the part that each must take,
#: and the turns and inclinations among which each is chosen.
FACE_LEFT, MOST_MORE, WORTH = 0.01, 3, 0.005
ANY_TURN = (0.0, -15.0, 15.0, -30.0, 30.0, -45.0, 45.0, -60.0, 60.0)
ANY_ANGLE = (90.0, 80.0, 70.0, 60.0, 50.0, 100.0, 110.0)


@dataclasses.dataclass(frozen=True, eq=False)
class QuickshearPlan(Plan):
    """One half-space, two more at its sides, maybe bounded by another.

    Attributes
    ----------
    normal, offset : tuple, float
        World LPS mm; the face lies where ``normal . p > offset``.
    sides : tuple of (4,) tuples
        Normal and offset of the planes to the right and left, and of more where a face was left; what
        lies beyond any plane goes.
    bounded : bool
        Whether the cut ends below the chin.
    bound_normal, bound_offset : tuple, float
        Where bounded, only ``bound_normal . p > bound_offset`` goes.
    buffer_mm : float
        Between plane and brain, perpendicular to the plane (along S in the published form).
    form : str
        "measured" or "published".
    angle_degrees : float
        Of the plane against the head's horizontal; 90 is a coronal plane.
    face_removed : float
        Fraction of the face's skin, brow to chin, that goes with the 3 mm below it (the template's region, without
        regard to protected structures); NaN where no face is in view.
    tissue_ml : float
        Body removed, mL.
    unbounded_tissue_ml : float
        What the published, unbounded half-space would remove, mL.
    """

    defacer: ClassVar[str] = "quickshear"
    flat: ClassVar[bool] = True

    normal: tuple[float, float, float]
    offset: float
    bounded: bool
    bound_normal: tuple[float, float, float]
    bound_offset: float
    buffer_mm: float
    form: str
    angle_degrees: float
    face_removed: float
    tissue_ml: float
    unbounded_tissue_ml: float
    sides: tuple[tuple[float, float, float, float], ...] = ()

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        """See `Plan.wanted`."""
        it = self.solid()
        return beyond_planes(it.planes, it.within, geometry, xp)

    def solid(self) -> Solid:
        """See `Plan.solid`."""
        below = ((*self.bound_normal, self.bound_offset),) if self.bounded else ()
        return Solid(planes=((*self.normal, self.offset), *self.sides), within=below)

    def hull(self, to_template: np.ndarray | None) -> tuple[Piece, ...]:
        """The half-spaces themselves (see `Plan.hull`)."""
        it = self.solid()
        return tuple((plane, *it.within) for plane in it.planes)


@dataclasses.dataclass(frozen=True)
class Quickshear(Defacer):
    """Everything in front of and below one plane along the brain's lower front is removed (Schimke & Hale 2011).

    Attributes
    ----------
    buffer_mm : float
        Distance between brain and plane, mm, perpendicular to the plane. (The authors' 10 voxels along S come to 1
        to 4 mm at 1 mm and the 66 to 85 degrees of their plane; see `defacedask.defacers.shear.front_edge`.)
    span_mm : float
        mm of the hull's front that give the plane its angle; 0: that of 25, 40 and 60 mm which removes most of the
        face, the steepest of those that are within half a per cent of the best.
    bounded : str
        "auto": end the cut below the chin where the field of view reaches further down (neck, shoulders);
        "yes"; "no": the published half-space, which there takes litres of neck and chest.
    below_chin_mm : float
        How far below the chin a bounded cut ends.
    form : str
        "measured": as above; "published": the hull's first edge at 1 mm, and the buffer along S, as in the authors'
        program, and one plane alone.
    sides_degrees : float
        How far two more planes are turned to the right and left; 0: none.
    brain_margin_mm : float
        No voxel within this distance of the brain changes, whatever the plane says.
    """

    name: ClassVar[str] = "quickshear"

    buffer_mm: float = 3.0
    span_mm: float = 0.0
    bounded: str = "auto"
    below_chin_mm: float = 15.0
    form: str = "measured"
    brain_margin_mm: float = 2.0
    sides_degrees: float = 30.0

    def __post_init__(self) -> None:
        if self.bounded not in ("auto", "yes", "no"):
            raise ConfigError(f"bounded is {self.bounded!r}.", "Choose from: auto, yes, no.")
        if self.form not in ("measured", "published"):
            raise ConfigError(f"form is {self.form!r}.", "Choose from: measured, published.")
        within(self, buffer_mm=(0, 50), span_mm=(0, 200), below_chin_mm=(-50, 200))
        within(self, brain_margin_mm=(0, 20), sides_degrees=(0, 60))

    def propose(self, head: Head, *, key: bytes, protected: tuple[Protected, ...]) -> QuickshearPlan:
        """See `Defacer.propose`; refused for a head without a brain in view."""
        profile, corner = sagittal_profile(head)
        chain = lower_chain(profile) + corner  # millimetres: the profile's pixels are 1 mm
        pose = head.pose
        up = pose[:3, :3].T @ np.array([0.0, 0.0, 1.0])
        bound_offset = float(up @ head.chin) - self.below_chin_mm
        body = head.grid.to_world(np.argwhere(head.body))
        above = body @ up > bound_offset
        reaches = bool((body @ up < bound_offset - 10.0).any())
        bounded = self.bounded == "yes" or (self.bounded == "auto" and reaches)

        # 3 mm below the skin: skin that the plane only grazes has not moved
        inward = pose[:3, :3].T @ np.array([0.0, 3.0, 0.0])
        face = head.grid.to_world(np.argwhere(head.face_skin)) + inward
        if bounded:
            face = face[face @ up > bound_offset]
        best: tuple[float, np.ndarray, float, float] | None = None
        for span in self._spans:
            normal, offset, angle = self._plane(chain, span, pose)
            removed = float((face @ normal > offset).mean()) if len(face) else float("nan")
            if best is None or removed > best[0] + 0.005:
                best = (removed, normal, offset, angle)
        assert best is not None
        _, normal, offset, angle = best
        cut = body @ normal > offset
        gone = face @ normal > offset
        sides = []
        for side in self._more(head, face, gone):
            sides.append(side)
            cut |= body @ side[:3] > side[3]
            gone |= face @ side[:3] > side[3]
        volume = head.grid.voxel_volume / 1000.0
        return QuickshearPlan(
            normal=tuple(normal.tolist()),
            offset=offset,
            bounded=bounded,
            bound_normal=tuple(up.tolist()),
            bound_offset=bound_offset,
            buffer_mm=float(self.buffer_mm),
            form=self.form,
            angle_degrees=angle,
            face_removed=float(gone.mean()) if len(face) else float("nan"),
            tissue_ml=float((cut & above).sum() if bounded else cut.sum()) * volume,
            unbounded_tissue_ml=float(cut.sum()) * volume,
            sides=tuple(tuple(side.tolist()) for side in sides),
        )

    @property
    def _spans(self) -> tuple[float, ...]:
        """Steepest plane first."""
        return (self.span_mm,) if self.span_mm or self.form == "published" else (25.0, 40.0, 60.0)

    @property
    def _turns(self) -> tuple[float, ...]:
        """Degrees of the planes at the sides."""
        wanted = self.sides_degrees and self.form != "published"
        return (-self.sides_degrees, self.sides_degrees) if wanted else ()

    def _more(self, head: Head, face: np.ndarray, gone: np.ndarray) -> Iterator[np.ndarray]:
        """World normal and offset of further planes: those at the sides, then what takes a face that is left.

        ``gone`` is brought up to date by who asks, between two planes.
        """
        if not self._turns:
            return
        brain = head.grid.to_world(np.argwhere(head.brain))
        for turn in self._turns:
            yield _best(self._touching(head, brain, (turn,), LOW), face, gone)
        planes: list[np.ndarray] = []
        for _ in range(MOST_MORE):
            if int((~gone).sum()) <= FACE_LEFT * len(face):
                return
            planes = planes or self._touching(head, brain, ANY_TURN, ANY_ANGLE)
            plane = _best(planes, face, gone)
            if int((face[~gone] @ plane[:3] > plane[3]).sum()) <= WORTH * len(face):
                return
            yield plane

    def _touching(
        self, head: Head, brain: np.ndarray, turns: Sequence[float], angles: Sequence[float]
    ) -> list[np.ndarray]:
        """World normals and offsets of planes that touch the brain's buffer, turned about the head's axis."""
        planes = []
        for across in np.deg2rad(turns):
            for angle in np.deg2rad(angles):
                front = np.array(
                    [np.sin(across) * np.sin(angle), -np.cos(across) * np.sin(angle), -np.cos(angle)]
                )
                normal = head.pose[:3, :3].T @ front
                # a voxel's half width beyond its centre
                offset = float((brain @ normal).max()) + self.buffer_mm + head.grid.spacing[0] / 2
                planes.append(np.append(normal, offset))
        return planes

    def _plane(self, chain: np.ndarray, span: float, pose: np.ndarray) -> tuple[np.ndarray, float, float]:
        """World normal, offset (mm) and angle (degrees) of the plane along a hull given in the head's frame."""
        if self.form == "published":
            at, along = first_edge(chain)
            shift = self.buffer_mm * abs(float(along[0]))
        else:
            at, along = front_edge(chain, span)
            shift = self.buffer_mm
        away = np.array([0.0, along[1], -along[0]])  # towards anterior and inferior
        offset = float(away[1:] @ at) + shift - float(away @ pose[:3, 3])
        angle = float(np.rad2deg(np.arctan2(abs(along[1]), abs(along[0]))))
        return pose[:3, :3].T @ away, offset, angle


def _best(planes: Sequence[np.ndarray], face: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """The first of some planes within half a per cent of what removes most of the face."""
    best = (-1.0, np.zeros(4))
    for plane in planes:
        removed = float((gone | (face @ plane[:3] > plane[3])).mean()) if len(face) else 0.0
        if removed > best[0] + 0.005:
            best = removed, plane
    return best[1]


def sagittal_profile(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """The brain seen from the side, in the head's frame.

    Returns
    -------
    profile : (P, S) bool array
        1 mm pixels.
    corner : (2,) array
        (P, S) mm of the centre of pixel (0, 0).

    Raises
    ------
    RefusedError
        If there is no brain in view.
    """
    from scipy.ndimage import zoom

    grid = head.upright
    seen = head.to_upright(head.brain, nearest=False).max(axis=2)  # (S, P)
    if not (seen >= 0.5).any():
        raise RefusedError("no brain was found to lay a plane along.")
    by = round(grid.spacing[0])
    fine = zoom(seen, by, order=1, grid_mode=True, mode="grid-constant") >= 0.5
    corner = grid.origin[1:] - (by - 1) / 2.0
    return fine.T, corner

"""Quickshear: everything on the face's side of one plane goes.

Source: Schimke & Hale, "Quickshear defacing for neuroimages", HealthSec 2011. The sagittal profile of the brain
mask, its outline, the lower chain of the outline's convex hull, its edge at the anterior end: the plane along that
edge, moved away from the brain. Computed here in the head's own frame and in millimetres, so that
pose, thick slices and non-square grids do not matter; beyond the border of the field of view there is nothing
(no wrap), so that a brain cut by the field of view adds no false points.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from defacedask.defacers.base import Defacer, Plan
from defacedask.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from defacedask.defacers.protect import Protected
    from defacedask.geometry import Geometry
    from defacedask.head import Head

__all__ = [
    "Quickshear",
    "QuickshearPlan",
    "first_edge",
    "front_edge",
    "half_space",
    "lower_chain",
    "outline",
]


def outline(profile: np.ndarray) -> np.ndarray:
    """Pixels whose four neighbours are not all like themselves; outside the picture there is nothing.

    Parameters
    ----------
    profile : 2D bool array

    Returns
    -------
    bool array, one pixel larger on every side
    """
    padded = np.pad(np.asarray(profile, dtype=bool), 2).astype(np.int8)
    centre = padded[1:-1, 1:-1]
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return around != 4 * centre


def lower_chain(profile: np.ndarray) -> np.ndarray:
    """Lower convex hull of a profile's outline, from the anterior end (Andrew's monotone chain).

    Parameters
    ----------
    profile : (P, S) bool array
        Sagittal profile; axis 0 towards posterior, axis 1 towards superior.

    Returns
    -------
    (n, 2) float array
        Corners as (P, S) indices of ``profile`` (the outline reaches to -1).

    Raises
    ------
    RefusedError
        If the profile is empty.
    """
    edge = outline(profile)
    columns = np.flatnonzero(edge.any(axis=1))
    if len(columns) < 2:
        raise RefusedError("the brain has no sagittal profile to lay a plane along.")
    lowest = edge[columns].argmax(axis=1)
    points = np.column_stack([columns, lowest]).astype(np.float64) - 1.0
    chain: list[np.ndarray] = []
    for point in points:
        while len(chain) > 1:
            a, b = chain[-1] - chain[-2], point - chain[-2]
            if a[0] * b[1] - a[1] * b[0] > 0:
                break
            chain.pop()
        chain.append(point)
    return np.array(chain)


def first_edge(chain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Published rule: a point on the hull's first edge from the anterior end, and the edge's direction.

    Returns
    -------
    at, along : (2,) arrays
        (P, S); ``along`` has unit length and points to posterior.
    """
    step = chain[1] - chain[0]
    return chain[0], step / np.linalg.norm(step)


def front_edge(chain: np.ndarray, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Rule for any voxel size: the line that touches the hull, parallel to the chord over its first ``span``.

    The first edge of a finely sampled hull is a few voxels of the frontal pole's tip; its angle (66 to 85 degrees
    on 1 mm profiles of the real heads) changes with the voxel size, and the plane then runs in front of eyes and
    mouth. The chord over some centimetres is what a profile of coarse voxels gives, whatever the voxels are.

    Parameters
    ----------
    chain : (n, 2) array
        See `lower_chain`, in mm.
    span : float
        mm along the hull.

    Returns
    -------
    at, along : (2,) arrays
        See `first_edge`.
    """
    lengths = np.linalg.norm(np.diff(chain, axis=0), axis=1)
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    far = np.array([np.interp(span, ends, chain[:, k]) for k in range(2)])
    along = (far - chain[0]) / np.linalg.norm(far - chain[0])
    away = np.array([along[1], -along[0]])
    return chain[int(np.argmax(chain @ away))], along


def half_space(normal: Sequence[float], offset: float, geometry: Geometry, xp: Any = np) -> Any:
    """Where ``normal . position > offset``.

    The terms are summed on the smallest arrays first, so that an axis-aligned block costs one comparison.

    Parameters
    ----------
    normal : (3,) sequence
        World LPS.
    offset : float
        mm.
    geometry : Geometry
    xp : module

    Returns
    -------
    bool array of ``geometry.shape``
    """
    terms = [
        float(n) * p for n, p in zip(normal, geometry.positions(xp, np.float64), strict=True) if n != 0.0
    ]
    terms.sort(key=lambda t: t.size)
    last = terms.pop()
    rest = xp.asarray(float(offset), dtype=np.float64)
    for term in terms:
        rest = rest - term
    return xp.broadcast_to(last > rest, geometry.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class QuickshearPlan(Plan):
    """One half-space, maybe bounded by a second, without what is protected.

    Attributes
    ----------
    normal, offset : tuple, float
        World LPS mm; the face lies where ``normal . p > offset``.
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
    protected : tuple of Protected
    """

    defacer: ClassVar[str] = "quickshear"

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
    protected: tuple[Protected, ...] = ()

    def region(self, geometry: Geometry, xp: Any = np) -> Any:
        """See `Plan.region`."""
        from defacedask.defacers.protect import unprotected

        region = half_space(self.normal, self.offset, geometry, xp)
        if self.bounded:
            region = region & half_space(self.bound_normal, self.bound_offset, geometry, xp)
        return unprotected(region, self.protected, geometry, xp)


@dataclasses.dataclass(frozen=True)
class Quickshear(Defacer):
    """Everything in front of and below one plane along the brain's lower front is removed (Schimke & Hale 2011).

    Attributes
    ----------
    buffer_mm : float
        Distance between brain and plane, mm, perpendicular to the plane. (The authors' 10 voxels along S come to 1
        to 4 mm at 1 mm and the 66 to 85 degrees of their plane; see `front_edge`.)
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
        program.
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

    def __post_init__(self) -> None:
        if self.bounded not in ("auto", "yes", "no"):
            raise ConfigError(f"bounded is {self.bounded!r}.", "Choose from: auto, yes, no.")
        if self.form not in ("measured", "published"):
            raise ConfigError(f"form is {self.form!r}.", "Choose from: measured, published.")

    def plan(self, head: Head, *, key: bytes = b"", protected: Sequence[Protected] = ()) -> QuickshearPlan:
        """See `Defacer.plan`; refused for a head without a brain in view."""
        from defacedask.defacers.protect import brain_of

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
        removed, normal, offset, angle = best
        cut = body @ normal > offset
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
            face_removed=removed,
            tissue_ml=float((cut & above).sum() if bounded else cut.sum()) * volume,
            unbounded_tissue_ml=float(cut.sum()) * volume,
            protected=(brain_of(head, self.brain_margin_mm), *protected),
        )

    @property
    def _spans(self) -> tuple[float, ...]:
        """Steepest plane first."""
        return (self.span_mm,) if self.span_mm or self.form == "published" else (25.0, 40.0, 60.0)

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

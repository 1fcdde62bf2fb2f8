"""What is published of the region that a plan may change: a hull that does not follow the patient's skin.

The region itself must stay with the key. carina's ends a constant distance below the skin, mri_reface's below the
skin smoothed, and the voxels that changed end at it for any defacer: each of them is a map of the face. The hull is
bounded by planes that the pose of the head alone puts where they are, and holds every voxel that changed.

- A plan says its hull by planes (`Plan.hull`); for one that does not, it is the box around its region along the
  patient's axes, each side moved outwards to a multiple of `CELL` mm.
- The middle of the average's brain, through the head's affine, is taken out: no defacer changes the brain, and
  statistics of the brain need a mask that leaves it.
- mri_reface replaces ghosts in the air of an MR wherever they are: its mask is then all of the image but that brain.
- `published` makes it and looks whether every voxel that changed lies in it. If not, the next larger one of a short
  fixed list is taken (`steps`): so what the choice can tell of a face is which of six it was, less than three bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.defacers.boxes import FAR, Box, Piece, box_pieces
from defacedask.defacers.shear import half_space
from defacedask.errors import ContractError

if TYPE_CHECKING:
    from defacedask.defacers.plan import Plan
    from defacedask.geometry import Geometry

__all__ = ["CELL", "FACE_AND_EARS", "covers", "published", "steps"]

#: mm by which a hull grows at a time, and to whose multiples the sides of a box around a region are moved.
CELL = 20.0
#: mm that the average's brain loses at its surface before it is taken out: how exact the affine is.
BRAIN_MM = 6.0
#: Convex pieces of a hull, and planes of a piece, at most: of many pieces any surface can be made, a face's too.
MOST_PIECES, MOST_PLANES = 8, 12
#: Slices worked on at a time.
SLAB = 16

#: Face, ears, the skin between them and the neck, in the average's space (LPS mm), open to the front and the sides;
#: wide enough for what mri_reface and carina changed on real heads, so that a larger hull is seldom taken.
FACE_AND_EARS = (
    Box("face", (-FAR, -FAR, -195.0), (FAR, -35.0, 55.0)),
    Box("below_eyes", (-FAR, -FAR, -195.0), (FAR, 10.0, -30.0)),
    Box("below_nose", (-FAR, -FAR, -195.0), (FAR, 110.0, -85.0)),
    Box("right", (-FAR, -FAR, -195.0), (-25.0, 80.0, 60.0)),
    Box("left", (25.0, -FAR, -195.0), (FAR, 80.0, 60.0)),
)


def published(
    plan: Plan, changed: np.ndarray, geometry: Geometry, to_template: np.ndarray | None = None
) -> np.ndarray:
    """The smallest of the plan's hulls that holds every voxel that changed.

    Parameters
    ----------
    plan : Plan
    changed : (z, y, x) bool array
        Voxels whose value is another than it was.
    geometry : Geometry
        Of the image.
    to_template : (4, 4) array, optional
        World LPS mm -> the average's LPS mm; without it the brain is not taken out.

    Returns
    -------
    bool array of ``geometry.shape``
        Outside of it no voxel changed; inside, any may have changed or not.

    Raises
    ------
    ContractError
        If the plan's own hull has so many pieces or planes that it could follow the skin.
    """
    for hull in steps(plan, geometry, to_template):
        if covers(hull, changed):
            return hull
    raise AssertionError("the last hull is all of the image")


def covers(hull: np.ndarray, changed: np.ndarray) -> bool:
    """Whether no voxel outside of a hull changed."""
    return not bool((changed & ~hull).any())


def steps(plan: Plan, geometry: Geometry, to_template: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Hulls of a plan, each of two sizes and at last all of the image; the brain taken out first, then not."""
    pieces = plan.hull(to_template)
    if pieces is None:
        pieces = _box_around(plan, geometry)
    if len(pieces) > MOST_PIECES or any(len(planes) > MOST_PLANES for planes in pieces):
        raise ContractError(
            f"the hull of {type(plan).__name__} is published, and of more than {MOST_PIECES} pieces of {MOST_PLANES} "
            "planes it could follow the skin.",
            "Give a few large boxes, or None for the box around the region.",
        )
    brain = None if to_template is None else _brain(geometry, to_template)
    for grown in (0.0, CELL, None):
        shape = np.ones(geometry.shape, bool) if grown is None else _mask(pieces, geometry, grown)
        if brain is not None:
            yield shape & ~brain
        yield shape


def _mask(pieces: Sequence[Piece], geometry: Geometry, grown: float) -> np.ndarray:
    out = np.zeros(geometry.shape, bool)
    _, ny, nx = geometry.shape
    for first in range(0, geometry.shape[0], SLAB):
        last = min(first + SLAB, geometry.shape[0])
        slab = geometry.block((first, 0, 0), (last, ny, nx))
        for planes in pieces:
            inside: Any = np.ones((1, 1, 1), bool)
            for *normal, offset in planes:
                away = grown * float(np.linalg.norm(normal))
                inside = inside & half_space(normal, offset - away, slab)
            out[first:last] |= inside
    return out


def _box_around(plan: Plan, geometry: Geometry) -> tuple[Piece, ...]:
    """The region's box along the patient's axes, on the lattice of `CELL`."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    _, ny, nx = geometry.shape
    for first in range(0, geometry.shape[0], SLAB):
        last = min(first + SLAB, geometry.shape[0])
        slab = geometry.block((first, 0, 0), (last, ny, nx))
        at = np.nonzero(np.asarray(plan.region(slab)))
        if at[0].size:
            for axis, places in enumerate(slab.positions(np, np.float64)):
                here = np.broadcast_to(places, slab.shape)[at]
                low[axis], high[axis] = min(low[axis], here.min()), max(high[axis], here.max())
    if not np.isfinite(low).all():
        return ()
    ends = (np.floor(low / CELL) * CELL).tolist(), (np.ceil(high / CELL) * CELL).tolist()
    return box_pieces([Box("around", *map(tuple, ends))], np.eye(4))


def _brain(geometry: Geometry, to_template: np.ndarray) -> np.ndarray:
    """The average's brain without its outermost mm, where the head's affine puts it: no function of the skin."""
    from defacedask.anatomy.atlas import atlas_of
    from defacedask.anatomy.grid import resample
    from defacedask.anatomy.morphology import erode

    atlas = atlas_of()
    core = erode(np.asarray(atlas.brain), round(BRAIN_MM / min(atlas.grid.spacing)))
    return resample(core, atlas.grid, geometry, matrix=np.asarray(to_template), nearest=True)

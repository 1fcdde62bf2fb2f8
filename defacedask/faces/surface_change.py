"""How far the skin of the face has moved: the fraction of it that lies at least 3 mm from where it was.

The skin is the outer edge of the body in the image itself, so any defacer of any make can be measured. What counts
as face is the average head's region from brow to chin, laid on the original through the head's affine.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from defacedask.errors import InputError
from defacedask.faces.outer_skin import between, distances_to, outline, part_around, values_on
from defacedask.geometry import Geometry
from defacedask.sampling import index_at
from defacedask.volume import geometry_of

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head

__all__ = ["SurfaceChange", "surface_change"]

#: mm around the average's brow-to-chin region within which the patient's skin counts as face.
NEAR = 12.0
#: mm of room around that, for skin that has moved; and beside a face whose skin is looked for where it was.
MOVED, BESIDE = 25.0, 10.0


@dataclasses.dataclass(frozen=True)
class SurfaceChange:
    """What became of the face's skin.

    Attributes
    ----------
    points : int
        Skin voxels of the original from brow to chin.
    moved : float
        Fraction of them with no skin of the defaced image within ``least_mm``.
    least_mm : float
    median_mm : float
        Median distance from the original's skin to the defaced image's nearest skin.
    brain_voxels_changed : int or None
        Voxels of the original's grid within the head's brain whose stored value changed; None if not counted.
    """

    points: int
    moved: float
    least_mm: float
    median_mm: float
    brain_voxels_changed: int | None


def surface_change(
    head: Head,
    defaced: xr.DataArray,
    *,
    least_mm: float = 3.0,
    spacing_mm: float = 1.5,
    count_brain: bool = True,
) -> SurfaceChange:
    """Compare a head with its defaced image.

    Parameters
    ----------
    head : Head
        Of the original.
    defaced : xarray.DataArray
        On the original's grid.
    least_mm : float
        What counts as moved.
    spacing_mm : float
        Of the grid the surfaces are compared on.
    count_brain : bool
        Count what changed in the brain, too; otherwise only the surroundings of the face are read.

    Raises
    ------
    InputError
        If the images do not share a grid, or no facial skin is in view.
    """
    from defacedask.anatomy.grid import resample

    original = head.volume
    grid = geometry_of(original)
    if not grid.close_to(geometry_of(defaced)):
        raise InputError("the defaced image lies on another grid than the original.")
    region, box = _face_region(head.to_template, spacing_mm)
    # by axis: a box along the axes of the image costs three vectors and not three volumes
    index = index_at(grid, box.positions(dtype=np.float64))
    view, inner = (between(index, grid.shape, beyond) for beyond in (-0.5, 1.0))
    part = part_around(index, grid.shape)
    if part is None:
        raise InputError("no skin of the face is in view.")
    toward = -np.asarray(head.pose)[1, :3]
    solid, left = (values_on(head, volume, box, part) > head.level for volume in (original, defaced))
    before = outline(solid, view, toward)
    after = before if np.array_equal(solid, left) else outline(left, view, toward)
    skin = before & region & inner
    if not skin.any():
        raise InputError("no skin of the face is in view.")
    gap = distances_to(after, skin, box.spacing)
    changed: int | None = None
    if count_brain:
        brain = resample(head.brain, head.grid, grid, nearest=True)
        changed = int((np.asarray(original.values != defaced.values) & brain).sum())
    return SurfaceChange(
        points=int(skin.sum()),
        moved=float((gap >= least_mm).mean()),
        least_mm=least_mm,
        median_mm=float(np.median(gap)),
        brain_voxels_changed=changed,
    )


def _face_region(
    to_template: np.ndarray, spacing: float, toward: np.ndarray | None = None
) -> tuple[np.ndarray, Geometry]:
    """Brow to chin, with some mm around, on an upright grid in the patient's world; ``toward`` as in `_face_grid`."""
    from defacedask.anatomy.grid import resample

    near, grid = _near_face()
    box = _face_grid(to_template, spacing, toward)
    return resample(near, grid, box, matrix=to_template, nearest=True), box


def _face_grid(to_template: np.ndarray, spacing: float, toward: np.ndarray | None = None) -> Geometry:
    """The grid of `_face_region`.

    With ``toward``, where the face looks (LPS), there is room for skin that has moved on that side alone, and at the
    others as much as the search for the air before the face needs.
    """
    back = np.linalg.inv(to_template)
    ends = _ends_of_face() @ back[:3, :3].T + back[:3, 3]
    room = np.full((2, 3), MOVED if toward is None else BESIDE)
    if toward is not None:
        axis = int(np.argmax(np.abs(toward)))
        room[int(toward[axis] > 0), axis] = MOVED
    low, high = ends.min(axis=0) - room[0], ends.max(axis=0) + room[1]
    shape = np.ceil((high - low) / spacing).astype(int)[::-1]
    return Geometry.from_spacing(shape.tolist(), (spacing,) * 3, low)


@functools.cache
def _ends_of_face() -> np.ndarray:
    """(n, 3) points of `_near_face`, LPS mm, between which all others lie."""
    from scipy.spatial import ConvexHull

    near, grid = _near_face()
    points = grid.to_world(np.argwhere(near))
    return points[ConvexHull(points).vertices]


@functools.cache
def _near_face() -> tuple[np.ndarray, Geometry]:
    """The average's face from brow to chin, with some mm around: the same for everybody."""
    from defacedask.anatomy.distances import within
    from defacedask.anatomy.morphology import box_of
    from defacedask.anatomy.template import load_template

    template = load_template("average_ct")
    mask = template.mask("brow_to_chin")
    box = box_of(mask, int(NEAR / min(template.geometry.spacing)) + 1)
    near = np.zeros_like(mask)
    near[box] = within(mask[box], template.geometry.spacing, NEAR)
    # beyond brow, chin and cheeks is no face, however near; in front of it there may be more
    for axis, both in enumerate((True, False, True)):
        rows = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        turned = np.moveaxis(near, axis, 0)
        if both:
            turned[: rows[0]] = False
        turned[rows[-1] + 1 :] = False
    near.flags.writeable = False
    return near, template.geometry

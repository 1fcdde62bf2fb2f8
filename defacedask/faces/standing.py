"""Something that stands before a face, with air between: a mask, a shield. It hides the face, and may be its cast.

What lies outermost is then not the face's skin, so that a defacer may lay its new face on the thing, and the skin
below it stays as it was. Looked for in columns from the front to the ears, from brow to chin, on a grid in the head's
own frame. Only in CT: elsewhere plastic does not show, and dark fat below bright skin looks the same.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.faces.outer_skin import distances_to, part_around
from defacedask.geometry import Geometry
from defacedask.sampling import index_at
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head

__all__ = ["Standing", "standing_before"]

#: mm of the grid's voxels; most that the thing is thick, least of the air behind it, most to the skin behind that.
STEP, THICK, AIR, DEEP = 2.0, 12.0, 4.0, 50.0
#: mm that are looked at before the nose, and beside the middle.
BEFORE, BESIDE = 60.0, 60.0
#: Fraction of the columns that must show it. A nose and an open mouth have air behind thin tissue, too: at most 0.16
#: of the columns of 59 real heads, and 0.5 and more where a mask stands off.
LEAST_COLUMNS = 0.35
#: Likeness from which it is a cast: 0.79 and more of masks 5 to 25 mm before the skin, 0.02 of a flat shield.
LEAST_LIKENESS = 0.6


@dataclasses.dataclass(frozen=True)
class Standing:
    """What stands before a face.

    Attributes
    ----------
    columns : float
        Fraction of the columns through the face that meet it first.
    follows : float
        How far its front has the relief of the skin behind it, from 0 to 1: of a cast nearly 1, of a board 0.
    thing, skin : float
        Fraction of its front, and of the skin behind it, that no longer lies where it was; NaN if nothing is there.
    """

    columns: float
    follows: float = float("nan")
    thing: float = float("nan")
    skin: float = float("nan")

    @property
    def there(self) -> bool:
        """Whether something stands there."""
        return self.columns >= LEAST_COLUMNS

    @property
    def cast(self) -> bool:
        """Whether it shows the face itself."""
        return self.there and self.follows >= LEAST_LIKENESS


def standing_before(head: Head, defaced: xr.DataArray, *, least_mm: float = 3.0) -> Standing:
    """Say what stands before a face, and what became of it.

    Parameters
    ----------
    head : Head
        Of the original.
    defaced : xarray.DataArray
        On the original's grid.
    least_mm : float
        What counts as moved.
    """
    if head.modality != "CT":
        return Standing(0.0)
    box = _box(head)
    part = part_around(index_at(geometry_of(head.volume), box.positions(dtype=np.float64)), head.volume.shape)
    if part is None:
        return Standing(0.0)
    before = _solid(head, head.volume, box, part)
    first, second, both = _two_surfaces(before)
    meets = before.any(axis=1)
    columns = float(both.sum() / max(1, meets.sum()))
    if columns < LEAST_COLUMNS:
        return Standing(columns)
    after = _solid(head, defaced, box, part)
    edges = after & ~np.roll(after, 1, axis=1)
    edges[:, 0] = after[:, 0]
    moved = [
        float((distances_to(edges, _marked(at, both, before.shape), box.spacing) >= least_mm).mean())
        for at in (first, second)
    ]
    return Standing(columns, _likeness(first, second, both), *moved)


def _solid(head: Head, volume: xr.DataArray, box: Geometry, part: tuple[slice, ...]) -> np.ndarray:
    """What is no air, also of what is not the patient."""
    from defacedask.anatomy.grid import resample

    block = volume[part]
    return resample(real_values(block).values, geometry_of(block), box, outside=head.air) > head.level


def _box(head: Head) -> Geometry:
    """Columns through the face: z up, y from the front to the ears, x across, in the head's frame."""
    pose = np.asarray(head.pose)
    names = ("brow_left", "brow_right", "menton", "nose_tip", "tragion_left", "tragion_right")
    at = {name: (pose @ np.append(head.landmark(name), 1.0))[:3] for name in names}
    middle = (at["tragion_left"] + at["tragion_right"]) / 2
    low = np.array([middle[0] - BESIDE, at["nose_tip"][1] - BEFORE, at["menton"][2]])
    high = np.array([middle[0] + BESIDE, middle[1], max(at["brow_left"][2], at["brow_right"][2])])
    shape = np.ceil((high - low) / STEP).astype(int)[::-1]
    upright = Geometry.from_spacing(shape.tolist(), (STEP,) * 3, low)
    return Geometry(upright.shape, np.linalg.inv(pose) @ upright.affine)


def _two_surfaces(solid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows at which each column meets the first solid thing and the next, and whether the first stands before it."""
    row = np.arange(solid.shape[1])[None, :, None]
    first = solid.argmax(axis=1)
    behind = ~solid & (row > first[:, None])
    gap = behind.argmax(axis=1)
    further = solid & (row > gap[:, None])
    second = further.argmax(axis=1)
    both = solid.any(axis=1) & behind.any(axis=1) & further.any(axis=1)
    both &= (
        ((gap - first) * STEP <= THICK) & ((second - gap) * STEP >= AIR) & ((second - first) * STEP <= DEEP)
    )
    return first, second, both


def _likeness(first: np.ndarray, second: np.ndarray, both: np.ndarray) -> float:
    """Correlation of two reliefs, each without its own slope."""
    z, x = np.nonzero(both)
    plane = np.stack([z, x, np.ones(len(z))], axis=1).astype(np.float64)
    bare = []
    for rows in (first, second):
        depth = rows[z, x].astype(np.float64)
        bare.append(depth - plane @ np.linalg.lstsq(plane, depth, rcond=None)[0])
    norm = float(np.linalg.norm(bare[0]) * np.linalg.norm(bare[1]))
    return max(0.0, float(bare[0] @ bare[1]) / norm) if norm > 0 else 0.0


def _marked(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels at a row of each of some columns."""
    out = np.zeros(shape, dtype=bool)
    z, x = np.nonzero(columns)
    out[z, rows[z, x], x] = True
    return out

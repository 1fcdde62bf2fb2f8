"""A volume that shows no face to be judged by, at the place of the face that its sibling on the same grid shows.

What a diffusion-weighted volume or a map shows of skin is too weak to measure where it is, and enough to know a
person by. Its sibling says where the skin lies. There nothing of the volume may be as it was: neither at that skin
and below it, nor what the volume shows before it. And nothing that is as large as a face may show, and stay,
elsewhere outside of the head. Values are compared, not surfaces: what was replaced is not the patient's, however weak
it is.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from defacedask.anatomy.body import material_level
from defacedask.anatomy.grid import reduced, resample
from defacedask.anatomy.morphology import components, dilate
from defacedask.anatomy.witness.judging import LEAST_MOVED, LEAST_POINTS
from defacedask.anatomy.witness.skin import face_skin
from defacedask.anatomy.witness.solid import SPACING
from defacedask.modality import air_of
from defacedask.showing import beside
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.witness.alignment import Alignment
    from defacedask.anatomy.witness.seeing import Sighting
    from defacedask.anatomy.witness.solid import Solid

__all__ = ["MOST_MOVED", "Replaced", "replaced"]

#: mm by which a face may lie elsewhere than its sibling's. What has moved less is judged where it lies.
MOST_MOVED = 8.0
#: How much more the two must tell of each other in their place than `ASIDE` mm away: less, and the place is a guess.
LEAST_CLEAR = 1.5
#: mm toward the middle of the skull within which nothing may be as it was, and mm outward within which nothing that
#: shows may.
BELOW, BEFORE = (0.0, 1.5, 3.0), (3.0, 6.0)
#: mL of what shows, stays, and lies this many mm outside of the sibling's head: half a face of thin skin has 45.
MOST_LEFT, OUTSIDE = 20.0, 9.0
#: Air is noise, as in a map, if more than this part of it is above the level of the head, and it is as rough from
#: voxel to voxel as all in all: what is shown again there is bright, too, but even.
NOISY, ROUGH = 0.1, 0.5
#: Fewer voxels of air, of `SPACING` mm, than this tell nothing of noise.
LEAST_AIR = 500


@dataclasses.dataclass(frozen=True)
class Replaced:
    """What the place of a sibling's face says of a volume.

    Attributes
    ----------
    share : float
        Of the skin of that face, where nothing of the volume is as it was; NaN if it was not looked at.
    points : int
        Voxels of that skin.
    left : float
        mL of the largest thing that shows, stays and lies outside of the head; NaN if it was not looked at.
    sentence : str
        Why the volume may not leave, as a clause; "" if it may.
    """

    share: float = float("nan")
    points: int = 0
    left: float = float("nan")
    sentence: str = ""

    def facts(self) -> dict[str, float | int | None]:
        """JSON-able."""
        share, left = (None if np.isnan(v) else round(v, 4) for v in (self.share, self.left))
        return {"replaced": share, "points": self.points, "left_ml": left}


def replaced(
    sibling: xr.DataArray,
    solid: Solid,
    seen: Sighting,
    lies: Alignment,
    original: xr.DataArray,
    defaced: xr.DataArray,
) -> Replaced:
    """Judge a volume at the place of its sibling's face.

    Parameters
    ----------
    sibling : xarray.DataArray
        As it came; a face was seen in it, and seen to be gone.
    solid : Solid
        The patient in it.
    seen : Sighting
        Its face.
    lies : Alignment
        Of the volume against the sibling, with ``clear``.
    original, defaced : xarray.DataArray
        The volume as it came and as it is now, on the sibling's grid.
    """
    if lies.matrix is None or lies.clear < LEAST_CLEAR:
        return Replaced(sentence="it has too little in common with that to tell where its own head lies")
    points = face_skin(sibling, solid, seen)
    there = points @ lies.matrix[:3, :3].T + lies.matrix[:3, 3]
    far = float(np.linalg.norm(there - points, axis=1).max(initial=0.0))
    if far > MOST_MOVED:
        said = f"its own face lies {beside(far, MOST_MOVED, '.0f')} mm away from there (at most {MOST_MOVED:g} mm)"
        return Replaced(sentence=said)
    shows = _shows(original, solid)
    if shows is None:
        return Replaced(sentence="too little air is in view to tell noise from a face")
    kept, grid = _kept(original, defaced), geometry_of(original)
    index = grid.to_index(there)
    there = there[((index > -0.5) & (index < np.array(grid.shape) - 0.5)).all(axis=1)]
    if len(there) < LEAST_POINTS:
        return Replaced(points=len(there), sentence="the place of the face is not in its view")
    middle = lies.matrix[:3, :3] @ seen.centre + lies.matrix[:3, 3]
    outward = (there - middle) / np.linalg.norm(there - middle, axis=1, keepdims=True)
    left = np.logical_or.reduce([_most(kept, grid.to_index(there - mm * outward)) for mm in BELOW])
    stays = shows & resample(kept, grid, solid.grid, nearest=True)
    for mm in BEFORE:
        left |= _at(stays, solid.grid.to_index(there + mm * outward))
    share = float(1.0 - left.mean())
    rest = components(np.ascontiguousarray(stays & ~dilate(solid.body, round(OUTSIDE / SPACING))))
    sizes = np.bincount(rest.ravel())[1:]
    litres = float(sizes.max(initial=0)) * solid.grid.voxel_volume / 1000
    said = ""
    if share < LEAST_MOVED:
        said = (
            f"{beside(100 * share, 100 * LEAST_MOVED, '.0f')} % of the skin there was replaced "
            f"(at least {100 * LEAST_MOVED:.0f} % must be)"
        )
    elif litres > MOST_LEFT:
        said = (
            f"something of {beside(litres, MOST_LEFT, '.0f')} mL shows outside of the head and stays "
            f"(at most {MOST_LEFT:g} mL may): it may be a face that is shown again"
        )
    return Replaced(share, len(there), litres, said)


def _kept(original: xr.DataArray, defaced: xr.DataArray) -> np.ndarray:
    """Voxels that are as they were, and hold something."""
    return np.asarray(
        (original.values == defaced.values)
        & (real_values(original).values != air_of(original.attrs["modality"]))
    )


def _most(kept: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Whether most of a voxel and its six neighbours are as they were: noise may be replaced by the same value."""
    steps = np.vstack([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    return np.asarray(np.sum([_at(kept, index + step) for step in steps], axis=0) > len(steps) // 2)


def _at(mask: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values of a mask at some places (n, 3); False outside."""
    near = np.rint(index).astype(np.int64)
    inside = ((near >= 0) & (near < np.array(mask.shape))).all(axis=1)
    out = np.zeros(len(near), bool)
    out[inside] = mask[tuple(near[inside].T)]
    return out


def _shows(volume: xr.DataArray, solid: Solid) -> np.ndarray | None:
    """Where a volume shows something, on its sibling's small grid; None if there is no air to tell that by.

    Where air is dark it is what is brighter than the level of a body. In maps and phases air is noise: there it is
    what is smoother than that.
    """
    from scipy.ndimage import uniform_filter

    fine, source = reduced(volume, SPACING)
    level = material_level(fine, volume.attrs["modality"])
    values = resample(fine, source, solid.grid, outside=air_of(volume.attrs["modality"]))
    air = solid.view & ~dilate(solid.body, round(OUTSIDE / SPACING))
    if np.count_nonzero(air) < LEAST_AIR:
        return None
    mean = uniform_filter(values.astype(np.float64), 3)
    rough = np.sqrt(np.maximum(uniform_filter(values.astype(np.float64) ** 2, 3) - mean**2, 0.0))
    usual = float(np.median(rough[air]))
    if (values[air] > level).mean() > NOISY and usual > ROUGH * float(values[air].std()):
        return np.asarray((rough < 0.5 * usual) & solid.view)
    return np.asarray((values > level) & solid.view)

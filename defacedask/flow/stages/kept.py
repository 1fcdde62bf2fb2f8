"""What of a case must stay as it is, as masks; and the count, on the images themselves, of what changed in them.

The count takes nothing from a plan: masks as they were found or drawn, and the stored values before and after. It is
0 for every defacer, since the base class of plans keeps these voxels; anything else fails the case.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from defacedask.defacers.base import bits
from defacedask.defacers.protect import Protected
from defacedask.errors import StoreError
from defacedask.geometry import Geometry
from defacedask.io.store import writing
from defacedask.whole_files import write_whole

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Kept", "compare", "load_kept", "save_kept"]

#: Index steps within which a voxel's centre counts as that of a mask's voxel.
SAME = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """A structure that stays.

    Attributes
    ----------
    name : str
    mask : (z, y, x) bool array
    grid : Geometry
        Of the mask, in the frame of reference of the case.
    """

    name: str
    mask: np.ndarray
    grid: Geometry

    def protected(self, margin_mm: float) -> Protected:
        """What plans carry with them to keep it; see `Protected.of`."""
        return Protected.of(self.name, self.mask, self.grid, margin_mm=margin_mm)

    def inside(self, geometry: Geometry, index: np.ndarray) -> np.ndarray:
        """Which voxels of another grid lie in the mask with all of its voxels around them.

        On the mask's own grid these are the mask's voxels; on another, those between voxels of the mask alone, so
        that none counts which only touches it.

        Parameters
        ----------
        geometry : Geometry
        index : (n, 3) array
            z, y, x on ``geometry``.

        Returns
        -------
        (n,) bool array
        """
        place = self.grid.to_index(geometry.to_world(index))
        ends = (np.floor(place + SAME).astype(int), np.ceil(place - SAME).astype(int))
        last = np.array(self.mask.shape) - 1
        found: np.ndarray = np.all((ends[0] >= 0) & (ends[1] <= last), axis=1)
        low, high = ends[0][found], ends[1][found]
        within = np.ones(len(low), dtype=bool)
        for corner in range(8):
            at = [(high if corner >> axis & 1 else low)[:, axis] for axis in range(3)]
            within &= self.mask[tuple(at)]
        found[found] = within
        return found

    def count(self, changed: np.ndarray, geometry: Geometry) -> int:
        """Count the changed voxels of a block that lie inside.

        Parameters
        ----------
        changed : bool array
        geometry : Geometry
            Of the block.
        """
        near = geometry.to_index(self.grid.corners)
        low = np.maximum(np.floor(near.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(near.max(axis=0)) + 1, geometry.shape).astype(int)
        if (low >= high).any():
            return 0
        box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        inside = self._inside_block(geometry.block(low.tolist(), high.tolist()))
        if inside is not None:
            return int((changed[box] & inside).sum())
        at = np.argwhere(changed[box]) + low
        return int(self.inside(geometry, at).sum()) if len(at) else 0

    def _inside_block(self, block: Geometry) -> np.ndarray | None:
        """`inside` for all voxels of a block, axis by axis; None if its axes are not those of the mask's grid."""
        along = block.along(self.grid, 0.1 * SAME)
        if along is None:
            return None
        out = np.transpose(self.mask, [there for there, _ in along])
        for axis in np.argsort(block.shape).tolist():
            place = along[axis][1]
            ends = (np.floor(place + SAME).astype(int), np.ceil(place - SAME).astype(int))
            last = out.shape[axis] - 1
            seen = (ends[0] >= 0) & (ends[1] <= last)
            # of the eight voxels around one, those on both sides along each axis
            low, high = (np.clip(end, 0, last) for end in ends)
            out = out.take(low, axis=axis) & out.take(high, axis=axis)
            out &= seen.reshape([-1 if a == axis else 1 for a in range(3)])
        return out


def compare(
    before: xr.DataArray, after: xr.DataArray, geometry: Geometry, kept: Sequence[Kept]
) -> tuple[int, dict[str, int]]:
    """Compare stored values bit by bit, chunk by chunk along z.

    Parameters
    ----------
    before, after : xarray.DataArray
        Volumes on one grid, lazy or not.
    geometry : Geometry
        Theirs.
    kept : sequence of Kept

    Returns
    -------
    int
        Voxels that changed.
    dict
        Name of the structure -> voxels that changed in it.
    """
    total = 0
    inside = dict.fromkeys((one.name for one in kept), 0)
    chunks = before.chunksizes.get("z", (before.shape[0],))
    stops = np.cumsum(chunks).tolist()
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        old, new = (np.asarray(volume[start:stop].values) for volume in (before, after))
        changed = bits(old) != bits(new)
        number = int(changed.sum())
        if not number:
            continue
        total += number
        part = geometry.block((start, 0, 0), (stop, *geometry.shape[1:]))
        for one in kept:
            inside[one.name] += one.count(changed, part)
    return total, inside


def _path(plans: str | Path, case: str) -> Path:
    return Path(plans) / case / "kept.npz"


def save_kept(plans: str | Path, case: str, kept: Sequence[Kept]) -> None:
    """Leave the masks of a case beside its plans."""
    facts = [{"name": k.name, "shape": list(k.mask.shape), "grid": k.grid.to_dict()} for k in kept]
    packed = {f"mask{number}": np.packbits(one.mask) for number, one in enumerate(kept)}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, facts=np.array(json.dumps(facts)), **packed)
    with writing(f"what stays of {case}"):
        write_whole(_path(plans, case), content.getvalue())


def load_kept(plans: str | Path, case: str) -> list[Kept]:
    """Read what `save_kept` left.

    Raises
    ------
    StoreError
        If it is not there: without it nothing can be checked.
    """
    try:
        with np.load(_path(plans, case), allow_pickle=False) as content:
            facts = json.loads(str(content["facts"]))
            masks = [
                np.unpackbits(content[f"mask{number}"], count=int(np.prod(one["shape"]))).astype(bool)
                for number, one in enumerate(facts)
            ]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"the masks of what must stay of {case} cannot be read ({error}).",
            "Remove the case's plans and run again.",
        ) from None
    return [
        Kept(one["name"], mask.reshape(one["shape"]), Geometry.from_dict(one["grid"]))
        for one, mask in zip(facts, masks, strict=True)
    ]

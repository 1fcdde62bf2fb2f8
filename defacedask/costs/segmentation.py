"""Whether tools that look at the whole head still find the same: our own masks before and after, as a stand-in."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.anatomy.morphology import erode
from defacedask.volume import geometry_of, make_volume

if TYPE_CHECKING:
    import xarray as xr

    from defacedask.anatomy.head import Head
    from defacedask.geometry import Geometry

__all__ = ["HeadMasks", "compare_masks", "dice", "hd95"]

#: HU of bone, and of air inside the body.
BONE, AIR = 150.0, -400.0


@dataclasses.dataclass(frozen=True, eq=False)
class HeadMasks:
    """What our own methods find in the values of a head.

    Attributes
    ----------
    masks : dict
        Name -> (z, y, x) bool array: ``body``, ``brain``, and on CT ``bone`` (above 150 HU) and ``airway`` (below
        -400 HU, within the closed body).
    grid : Geometry
        Theirs, the head's working grid.
    """

    masks: dict[str, np.ndarray]
    grid: Geometry

    @classmethod
    def of(cls, head: Head) -> HeadMasks:
        """Find them."""
        body = np.asarray(head.body)
        found = {"body": body, "brain": np.asarray(head.brain)}
        if head.modality == "CT":
            values = np.asarray(head.values)
            found |= {"bone": (values > BONE) & body, "airway": (values < AIR) & body}
        return cls(found, head.grid)

    def volume(self) -> xr.DataArray:
        """All of them as one volume to keep: the first is bit 0, and so on; ``masks`` names them."""
        bits = np.zeros(self.grid.shape, dtype=np.uint8)
        for number, mask in enumerate(self.masks.values()):
            bits |= mask.astype(np.uint8) << number
        kept = make_volume(bits, self.grid, modality="SEG", units="")
        kept.attrs["masks"] = list(self.masks)
        return kept

    @classmethod
    def of_volume(cls, kept: xr.DataArray) -> HeadMasks:
        """Those that `volume` gave."""
        bits = np.asarray(kept.values)
        masks = {name: (bits >> number & 1) > 0 for number, name in enumerate(kept.attrs["masks"])}
        return cls(masks, geometry_of(kept))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two masks: 1 for equal ones, two empty ones among them."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * float((one & other).sum()) / total if total else 1.0


def hd95(one: np.ndarray, other: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Larger of the two 95th percentiles of distances from a mask's border to the other's border.

    Parameters
    ----------
    one, other : (z, y, x) bool arrays
    spacing : three float
        mm.

    Returns
    -------
    float
        mm between voxel centres; 0 for equal masks, NaN if one of two is empty. A border is what a mask loses when it
        shrinks by a voxel; at the edge of the image it ends.
    """
    from scipy.spatial import cKDTree

    if np.array_equal(one, other):
        return 0.0
    edges = [mask & ~erode(mask, 1) for mask in (one, other)]
    counts = [int(np.count_nonzero(edge)) for edge in edges]
    if not all(counts):
        return float("nan")
    shared = int(np.count_nonzero(edges[0] & edges[1]))
    away = []
    for (a, b), count in zip((edges, edges[::-1]), counts, strict=True):
        if np.ceil(0.95 * (count - 1)) < shared:
            # the percentile lies where both have a border, and there is no distance
            away.append(0.0)
            continue
        found = np.zeros(count)
        found[shared:] = cKDTree(_places(b, spacing)).query(_places(a & ~b, spacing))[0]
        away.append(np.percentile(found, 95))
    return float(max(away))


def _places(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """(n, 3) mm of the voxels of a mask; a third of `numpy.argwhere`'s time."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1) * np.array(spacing)


def compare_masks(before: HeadMasks, after: HeadMasks) -> list[dict[str, Any]]:
    """Volumes, overlap and distance of the masks of one head before and after.

    Parameters
    ----------
    before, after : HeadMasks
        Of one image, with the head at the same place.

    Returns
    -------
    list of dict
        structure (the mask), measure (``volume_ml``, ``dice``, ``hd95_mm``), original, defaced.
    """
    from defacedask.anatomy.grid import resample

    rows: list[dict[str, Any]] = []
    same = before.grid.close_to(after.grid)
    for name, mask in before.masks.items():
        other = after.masks[name]
        if not same:  # air that was cut away moves the crop of the working grid
            other = resample(other.astype(np.uint8), after.grid, before.grid, nearest=True) > 0
        found = {
            "volume_ml": (_ml(mask, before.grid), _ml(after.masks[name], after.grid)),
            "dice": (1.0, dice(mask, other)),
            "hd95_mm": (0.0, hd95(mask, other, before.grid.spacing)),
        }
        rows += [
            {"structure": name, "measure": measure, "original": a, "defaced": b}
            for measure, (a, b) in found.items()
        ]
    return rows


def _ml(mask: np.ndarray, grid: Geometry) -> float:
    return float(mask.sum()) * grid.voxel_volume / 1000.0

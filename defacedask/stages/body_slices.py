"""The body in the slices of an image: what contours of an outline are drawn anew from, and compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from defacedask.errors import DefacedaskError
from defacedask.stages.places import volume_path
from defacedask.store import CaseStore
from defacedask.volume import real_values

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SKIN_HU", "body_level", "body_slices"]

#: Real value above which a CT voxel belongs to the body.
SKIN_HU = -300.0


def body_level(volume: xr.DataArray) -> float | None:
    """Real value above which a voxel of an image belongs to the body; None where no such rule is known (PET)."""
    if volume.attrs["modality"] == "CT":
        return SKIN_HU
    if volume.attrs["modality"] == "MR":
        return 0.12 * float(np.percentile(real_values(volume[::4, ::4, ::4]).values, 99))
    return None


def body_slices(store: CaseStore, path: str, defacer: str) -> Callable[[int], np.ndarray | None]:
    """Give a function that tells the body in one slice of an image, without couch and headrest.

    Parameters
    ----------
    store : CaseStore
    path : str
        Of the image, such as ``images/CT``.
    defacer : str
        As which defacer left it; "" for the image as it came.

    Returns
    -------
    callable
        ``body(k)`` -> (row, column) bool array of slice k; None for a PET, whose body has no sharp edge. Slices are
        read a stored chunk at a time: to ask for them in their order reads each chunk once.
    """
    volume = store.volume(volume_path(defacer, path))
    level = body_level(volume)
    if level is None:
        return lambda k: None
    try:
        drop = store.volume(f"head/{path}")
    except DefacedaskError:
        drop = None
    depth = volume.chunksizes["z"][0]
    slope, intercept = (
        np.asarray(volume.coords[name].values, np.float32)[:, None, None] for name in ("slope", "intercept")
    )
    kept: dict[int, np.ndarray] = {}  # first slice -> body of the chunk that was asked for last

    def body(k: int) -> np.ndarray:
        first = k // depth * depth
        if first not in kept:
            rows = slice(first, first + depth)
            inside = volume.data[rows].compute().astype(np.float32) * slope[rows] + intercept[rows] > level
            if drop is not None:
                inside &= drop.data[rows].compute() == 0
            kept.clear()
            kept[first] = inside
        return kept[first][k - first].copy()

    return body

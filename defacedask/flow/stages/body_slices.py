"""The body in an image, by slices or whole: what contours of an outline are drawn anew from, and compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import DefacedaskError
from defacedask.flow.stages.layout import one_thread, volume_path
from defacedask.io.store import CaseStore
from defacedask.volume import real_values
from defacedask.volume.above import above

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SKIN_HU", "body_in", "body_level", "body_slices", "couch_of"]

#: Real value above which a CT voxel belongs to the body.
SKIN_HU = -300.0


def body_level(volume: xr.DataArray) -> float | None:
    """Real value above which a voxel of an image belongs to the body; None where no such rule is known (PET)."""
    if volume.attrs["modality"] == "CT":
        return SKIN_HU
    if volume.attrs["modality"] == "MR":
        return 0.12 * float(np.percentile(real_values(volume[::4, ::4, ::4]).values, 99))
    return None


def couch_of(store: CaseStore, path: str) -> xr.DataArray | None:
    """Couch and headrest in an image, not 0; None where they were not looked for."""
    try:
        return store.volume(f"head/{path}")
    except DefacedaskError:
        return None


def body_in(volume: xr.DataArray, drop: Any = None) -> np.ndarray | None:
    """Body in an image.

    Parameters
    ----------
    volume : xarray.DataArray
        Stored values of the whole image, lazy or not; read slab by slab.
    drop : (z, y, x) array, optional
        Couch and headrest, not 0.

    Returns
    -------
    (z, y, x) bool array or None
        None where no rule is known.
    """
    with one_thread():
        level = body_level(volume)
        if level is None:
            return None
        inside = np.empty(volume.shape, bool)
        for first in range(0, len(inside), _depth(volume)):
            rows = slice(first, first + _depth(volume))
            inside[rows] = _slab(volume, drop, level, rows)
    return inside


def body_slices(store: CaseStore, path: str, defacer: str) -> Callable[[int], np.ndarray | None]:
    """Give a function that tells the body in one slice of an image, without couch and headrest.

    Parameters
    ----------
    store : CaseStore
    path : str
        Of the image, such as ``images/CT``.
    defacer : str
        As which defacer left it; ``original`` for the image as it came.

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
    drop, depth = couch_of(store, path), _depth(volume)
    slope, intercept = (np.asarray(volume.coords[name].values, np.float32) for name in ("slope", "intercept"))
    kept: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}  # first slice -> the chunk asked for last

    def body(k: int) -> np.ndarray:
        first = k // depth * depth
        if first not in kept:
            kept.clear()
            rows = slice(first, first + depth)
            kept[first] = volume[rows].values, None if drop is None else drop[rows].values
        chunk, couch = kept[first]
        # as `real_values` has it, of one slice: few of a chunk are asked for
        inside = above(chunk[k - first][None], slope[k : k + 1], intercept[k : k + 1], level)[0]
        if couch is not None:
            inside &= couch[k - first] == 0
        return inside

    return body


def _depth(volume: xr.DataArray) -> int:
    """Slices that are read together."""
    return int(volume.chunksizes["z"][0]) if volume.chunks else 32


def _slab(volume: xr.DataArray, drop: Any, level: float, rows: slice) -> np.ndarray:
    inside: np.ndarray = real_values(volume[rows]).values > level
    if drop is not None:
        inside &= np.asarray(drop[rows]) == 0
    return inside

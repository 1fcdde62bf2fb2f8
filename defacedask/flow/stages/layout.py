"""Where in a store things lie, and how a stage computes lazy arrays."""

from __future__ import annotations

from typing import Any

import dask
import xarray as xr

from defacedask.io.store import join_url
from defacedask.volume import real_values

__all__ = [
    "KEPT",
    "MASKS",
    "ORIGINAL",
    "PLANS",
    "loaded",
    "one_thread",
    "series_key",
    "store_path",
    "volume_path",
]

#: Below the run's folder: plans, and finished results.
PLANS, KEPT = "store/plans", "store/results"
#: In the store: masks of the original's head.
MASKS = "masks"
#: In place of a defacer's name: the image as it came.
ORIGINAL = "original"


def store_path(root: str, case: str) -> str:
    """Address of a case's store."""
    return join_url(root, f"{case}.zarr")


def volume_path(defacer: str, path: str) -> str:
    """Where in the store the defaced twin of ``images/CT`` lies; the original's own path for ``original``."""
    return path if defacer == ORIGINAL else f"defaced/{defacer}/{path}"


def series_key(volume: xr.DataArray) -> str:
    """`Series.key` of the image that a volume of a store is."""
    return str(volume.attrs.get("series_key") or volume.attrs.get("series_uid"))


def one_thread() -> Any:
    """Compute lazy arrays here, in this task, and not as new tasks of the cluster that runs it."""
    return dask.config.set(scheduler="synchronous")


def loaded(volume: xr.DataArray) -> xr.DataArray:
    """Read a volume into memory in real units."""
    return real_values(volume).load()

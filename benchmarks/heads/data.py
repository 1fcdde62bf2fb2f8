"""Real heads in a folder of data beside the repository, each read as a volume.

The data are not part of the project; `named_heads` says which it knows and finds them by their folder's name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from defacedask.geometry import Geometry
from defacedask.volume import make_volume

__all__ = ["named_heads", "openkbp"]


def openkbp(path: Path) -> xr.DataArray:
    """One OpenKBP patient's CT: HU, array axes S, P, L."""
    with np.load(path) as file:
        raw = np.moveaxis(file["ct"].astype(np.int32), 2, 0)[::-1]
        dy, dx, dz = (float(v) for v in file["voxel_mm"])
    stored = np.where(raw == 0, -1024, raw - 1024).astype(np.int16)
    return make_volume(stored, Geometry.from_spacing(stored.shape, (dz, dy, dx)), modality="CT", units="HU")


def headsq(folder: Path) -> xr.DataArray:
    """VTK's head CT: raw slices, the first the most superior; 500 is skin and 1150 bone, so 1000 is water."""
    files = sorted(folder.glob("quarter.[0-9]*"), key=lambda p: int(p.suffix[1:]))
    stack = np.stack([np.fromfile(f, "<u2").reshape(64, 64) for f in files])[::-1].astype(np.int32)
    stored = np.clip(stack - 1024, -1024, 3071).astype(np.int16)
    return make_volume(
        stored, Geometry.from_spacing(stored.shape, (1.5, 3.2, 3.2)), modality="CT", units="HU"
    )


def scanned(folder: Path) -> xr.DataArray:
    """Largest image of the first case below a folder: DICOM, or a NIfTI file."""
    import defacedask as dd
    from defacedask.io.dicom.image import read_image

    return read_image(dd.scan(folder).cases[0].primary)


def named_heads(data: Path) -> Iterator[tuple[str, Callable[[], xr.DataArray]]]:
    """Name and reader of each head with a face, as far as its data are there."""
    split = data / "openkbp" / "split.json"
    if split.exists():
        names = json.loads(split.read_text())["face"]
        for name in sorted(names, key=lambda n: int(n.split("_")[1])):
            yield name, lambda name=name: openkbp(data / "openkbp" / f"{name}.npz")
    for folder, read in (
        ("ct_pycerr_hn", scanned),
        ("ct_headsq", headsq),
        ("mr_trio_b17", scanned),
        ("mr_ixi012", scanned),
    ):
        if (data / folder).exists():
            yield folder, lambda folder=folder, read=read: read(data / folder)

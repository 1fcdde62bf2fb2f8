"""Images in which there is no head: limbs, trunks, phantoms of physicists, an animal, an empty couch.

Made ones need no data; those cut from real patients are the parts of them in which no head is. None of them may be
defaced: each has to be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks.heads.data import named_heads
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume

__all__ = ["cut", "made", "non_heads"]

#: Voxels (z, y, x) and mm of what is made.
SHAPE, SPACING = (120, 128, 128), (2.5, 2.5, 2.5)


def _grid() -> tuple[Geometry, np.ndarray, np.ndarray, np.ndarray]:
    grid = Geometry.from_spacing(SHAPE, SPACING, -np.array(SHAPE[::-1]) * SPACING[0] / 2)
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    return grid, x, y, z


def _ct(values: np.ndarray, grid: Geometry, noise: float = 10.0) -> xr.DataArray:
    values = values + np.random.default_rng(0).normal(0, noise, values.shape)
    stored = np.rint(np.clip(values, -1024, 3071)).astype(np.int16)
    return make_volume(stored, grid, modality="CT", units="HU")


def _couch(values: np.ndarray, y: np.ndarray, at: float) -> None:
    values[(y > at) & (y < at + 12)] = -200.0


def cylinder() -> xr.DataArray:
    """Water in a shell like a skull's, with rods and a couch."""
    grid, x, y, z = _grid()
    r = np.hypot(x, y)
    values = np.full(SHAPE, -1000.0)
    values[(r < 92) & (np.abs(z) < 110)] = 900
    values[(r < 85) & (np.abs(z) < 103)] = 35
    for a in np.deg2rad(range(0, 360, 90)):
        values[(np.hypot(x - 50 * np.cos(a), y - 50 * np.sin(a)) < 10) & (np.abs(z) < 110)] = 300
    _couch(values, y, 100)
    return _ct(values, grid)


def lying_cylinder() -> xr.DataArray:
    """The same on its side, without rods."""
    grid, x, y, z = _grid()
    r = np.hypot(z, y)
    values = np.full(SHAPE, -1000.0)
    values[(r < 100) & (np.abs(x) < 90)] = 120
    values[(r < 94) & (np.abs(x) < 84)] = 0
    return _ct(values, grid)


def ball() -> xr.DataArray:
    """Soft tissue in a ball of bone under a skin: all that encloses a brain, but no face."""
    grid, x, y, z = _grid()
    r = np.sqrt(x**2 + y**2 + z**2)
    values = np.full(SHAPE, -1000.0)
    values[r < 92] = -60
    values[r < 86] = 900
    values[r < 79] = 35
    return _ct(values, grid)


def egg() -> xr.DataArray:
    """A skull's vault without a face: an egg of bone on a neck, with skin."""
    grid, x, y, z = _grid()
    r = np.sqrt((x / 75) ** 2 + (y / 95) ** 2 + ((z - 30) / 80) ** 2)
    neck = (np.hypot(x, y - 10) < 60) & (z < 0)
    values = np.full(SHAPE, -1000.0)
    values[neck | (r < 1.0)] = 40
    values[(r < 0.95) & (r > 0.88)] = 900
    values[(np.hypot(x, y - 20) < 15) & (z < -40)] = 700
    return _ct(values, grid)


def boxes() -> xr.DataArray:
    """Slabs of plastic with an ion chamber's hole."""
    grid, x, y, z = _grid()
    values = np.full(SHAPE, -1000.0)
    values[(np.abs(x) < 120) & (np.abs(y) < 75) & (np.abs(z) < 120)] = 20
    values[np.hypot(y, z) < 6] = -1000
    _couch(values, y, 80)
    return _ct(values, grid)


def couch() -> xr.DataArray:
    """Nothing on the couch."""
    grid, _, y, _ = _grid()
    values = np.full(SHAPE, -1000.0)
    _couch(values, y, 100)
    values[(y > 112) & (y < 116)] = 300
    return _ct(values, grid)


def animal() -> xr.DataArray:
    """A dog's head: a small brain case, a long snout, ears above."""
    grid, x, y, z = _grid()
    case = np.sqrt((x / 40) ** 2 + ((y - 30) / 50) ** 2 + ((z - 20) / 38) ** 2)
    snout = np.sqrt((x / 28) ** 2 + ((y + 60) / 80) ** 2 + ((z + 5) / 26) ** 2)
    body = (case < 1.25) | (snout < 1.0) | ((np.hypot(x, (z + 60) / 1.2) < 45) & (y > 30))
    for side in (-1, 1):
        body |= ((x - side * 45) ** 2 / 100 + (y - 40) ** 2 / 400 + (z - 75) ** 2 / 900) < 1
    values = np.full(SHAPE, -1000.0)
    values[body] = 30
    values[(case < 1.05) & (case > 0.9)] = 800
    values[case <= 0.9] = 35
    values[(snout < 0.6) & (np.abs(x) < 6)] = -900
    values[(snout < 0.85) & (snout > 0.7) & (z < 0)] = 900
    return _ct(values, grid)


def limb() -> xr.DataArray:
    """Two thighs with their bones."""
    grid, x, y, z = _grid()
    values = np.full(SHAPE, -1000.0)
    for side in (-70, 70):
        r = np.hypot(x - side, y)
        values[r < 62] = -90
        values[r < 52] = 50
        values[(r < 15) & (r > 8)] = 1200
    _couch(values, y, 70)
    return _ct(values + 0 * z, grid)


def pelvis() -> xr.DataArray:
    """Soft tissue in a ring of bone, open above and below."""
    grid, x, y, z = _grid()
    r = np.hypot(x / 150, y / 105)
    ring = np.hypot(x / 115, y / 75)
    values = np.full(SHAPE, -1000.0)
    values[r < 1] = -90
    values[r < 0.92] = 40
    values[(ring < 1) & (ring > 0.86) & (np.abs(z) < 80)] = 600
    return _ct(values, grid)


def mr_ball() -> xr.DataArray:
    """A bottle of doped water, as for a coil's daily test."""
    grid, x, y, z = _grid()
    values = np.zeros(SHAPE)
    values[np.sqrt(x**2 + y**2 + z**2) < 90] = 800
    values = np.abs(values * (1 - 0.002 * y) + np.random.default_rng(0).normal(0, 15, SHAPE))
    return make_volume(np.rint(values).astype(np.int16), grid, modality="MR", units="1")


def mr_bottle() -> xr.DataArray:
    """A structural phantom: a bottle with plates and balls."""
    grid, x, y, z = _grid()
    values = np.zeros(SHAPE)
    values[(np.hypot(x, y) < 95) & (np.abs(z) < 75)] = 700
    values[np.abs(z) < 4] = 60
    for a in np.deg2rad(range(0, 360, 60)):
        values[(x - 60 * np.cos(a)) ** 2 + (y - 60 * np.sin(a)) ** 2 + (z - 35) ** 2 < 144] = 250
    values = np.abs(values + np.random.default_rng(0).normal(0, 12, SHAPE))
    return make_volume(np.rint(values).astype(np.int16), grid, modality="MR", units="1")


made: dict[str, Callable[[], xr.DataArray]] = {
    "water cylinder on a couch": cylinder,
    "cylinder on its side": lying_cylinder,
    "ball of bone": ball,
    "vault without a face": egg,
    "plastic slabs": boxes,
    "empty couch": couch,
    "animal": animal,
    "thighs": limb,
    "pelvis": pelvis,
    "MR: ball of water": mr_ball,
    "MR: structural phantom": mr_bottle,
}


def cut(volume: xr.DataArray, head: object) -> xr.DataArray:
    """What lies 60 mm and more below the chin of an upright patient."""
    from defacedask.anatomy.head import Head

    assert isinstance(head, Head)
    grid = geometry_of(volume)
    menton = head.landmark("menton")
    last = int(np.clip(grid.to_index(menton - np.array([0, 0, 60.0]))[0], 1, grid.shape[0]))
    block = grid.block((0, 0, 0), (last, *grid.shape[1:]))
    part = Geometry(block.shape, block.affine, grid.frame_of_reference)
    values = volume.data[:last]
    extra = {name: volume.coords[name].values[:last] for name in ("slope", "intercept")}
    return make_volume(values, part, modality=volume.attrs["modality"], units=volume.attrs["units"], **extra)


def non_heads(data: Path, trunks: int = 6) -> Iterator[tuple[str, Callable[[], xr.DataArray]]]:
    """Name and maker of each: made ones, real limbs, and the trunks of planning CTs."""
    from defacedask.anatomy.head import Head
    from defacedask.io.dicom.catalogue import scan
    from defacedask.io.dicom.image import read_image

    yield from made.items()
    if (data / "rt_sts_001").exists():
        for case in scan(data / "rt_sts_001").cases:
            for series in case.images:
                yield f"rt_sts_001 {series.modality}", lambda s=series: read_image(s)
    count = 0
    for name, read in named_heads(data):
        if count == trunks or not name.startswith("pt_"):
            continue
        volume = read().load()
        head = Head(volume)
        low = geometry_of(volume).corners[:, 2].min()
        if not head.ok or head.landmark("menton")[2] - 60 - low < 100:
            continue  # no trunk to speak of
        count += 1
        yield f"trunk of {name}", lambda v=volume, h=head: cut(v, h)

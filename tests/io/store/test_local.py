"""On a disk a volume is written without xarray: file by file what xarray writes."""

from __future__ import annotations

from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr

from defacedask.geometry import Geometry
from defacedask.io.store import format as module
from defacedask.io.store import write_volume
from defacedask.volume import make_volume

SHAPE = (40, 6, 7)


def volume(dtype="int16", slope=1.0, intercept=0.0, lazy=False) -> xr.DataArray:
    turn = np.array(
        [[0.0, 0.1, 2.0, -9.0], [0.0, 2.0, -0.1, 4.0], [3.0, 0.0, 0.0, 5.5], [0.0, 0.0, 0.0, 1.0]]
    )
    values = np.random.default_rng(0).integers(0, 200, SHAPE).astype(dtype)
    if lazy:
        values = dask.array.from_array(values, chunks=(7, 6, 4))
    made = make_volume(
        values, Geometry(SHAPE, turn, "1.2"), modality="MR", units="1", slope=slope, intercept=intercept
    )
    return made.assign_attrs(description="a T1", number=np.float32(0.5), numbers=np.arange(3))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "made",
    [
        volume(),
        volume("uint8", lazy=True),
        volume("float32"),
        volume("float64", slope=2.0, intercept=-7.0),
        volume("uint32", slope=np.linspace(0.5, 2.0, SHAPE[0])),
        volume()[3:20, ::2, 1:],
    ],
    ids=["int16", "lazy", "float32", "rescaled", "a rescale a slice", "part"],
)
def test_it_is_what_xarray_writes(tmp_path, monkeypatch, made):
    write_volume(str(tmp_path / "ours.zarr"), "images/MR", made)
    monkeypatch.setattr(module, "is_plain", lambda volume: False)
    write_volume(str(tmp_path / "xarray.zarr"), "images/MR", made)
    ours, theirs = files(tmp_path / "ours.zarr"), files(tmp_path / "xarray.zarr")
    assert len(ours) >= 13
    assert ours == theirs


@pytest.mark.parametrize("odd", [np.zeros(SHAPE[1:]), np.zeros(SHAPE[1:], "int16"), 3.0])
def test_what_it_does_not_know_is_left_to_xarray(tmp_path, odd):
    dims = ("y", "x")[: np.ndim(odd)]
    write_volume(str(tmp_path / "a.zarr"), "images/MR", volume().assign_coords(odd=(dims, odd)))
    found = xr.open_zarr(tmp_path / "a.zarr", group="images/MR", consolidated=False)
    np.testing.assert_array_equal(found["odd"], odd)

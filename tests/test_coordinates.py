"""Coordinates in mm: true for every grid, and after whatever xarray does to a volume, or an error."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import geometries

from defacedask.coordinates import PATIENT, coordinates_of
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume, placed_anew, real_values

OBLIQUE = np.array([[0.1, -0.3, 0.9], [0.2, 0.9, 0.3], [2.0, -0.1, 0.2]])


def volume_on(grid, **more):
    stored = np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape)
    return make_volume(stored, grid, **{"modality": "CT", "units": "HU", **more})


@pytest.fixture
def ct():
    return volume_on(Geometry.from_spacing((8, 6, 4), (2.5, 1.0, 0.5), (10, -20, 30), "1.2"), intercept=-1024)


@pytest.fixture
def oblique():
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = OBLIQUE, (5, 6, 7)
    return volume_on(Geometry((5, 6, 7), affine, "1.2"))


def places(volume):
    """LPS mm of every voxel from the coordinates and their directions alone, as somebody without us would."""
    parts = [
        np.multiply.outer(np.asarray(volume[dim].attrs["direction"]), volume[dim].values) for dim in "zyx"
    ]
    z, y, x = parts
    return z[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :]


def true_places(grid):
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return np.moveaxis(np.einsum("ij,...j->...i", grid.affine[:3, :3], index) + grid.affine[:3, 3], -1, 0)


def test_a_straight_volume_has_the_patients_own_coordinates(ct):
    np.testing.assert_allclose(ct.z, 30 + 2.5 * np.arange(8))
    np.testing.assert_allclose(ct.y, -20 + 1.0 * np.arange(6))
    np.testing.assert_allclose(ct.x, 10 + 0.5 * np.arange(4))
    assert ct.z.attrs["units"] == "mm"
    assert "superior" in ct.z.attrs["long_name"]
    assert int(ct.sel(z=41, y=-17.2, x=10.9, method="nearest")) == int(ct[4, 3, 2])


def test_every_axis_order_and_sense_has_true_coordinates():
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        for signs in np.ndindex(2, 2, 2):
            steps = np.zeros((3, 3))
            for axis, row in enumerate(order):
                steps[row, axis] = (2.0, 1.0, 0.5)[axis] * (1 - 2 * signs[axis])
            grid = Geometry.from_steps((3, 4, 5), (-7, 11, 13), *steps.T)
            for axis, row in enumerate(order):
                along = coordinates_of(grid)["zyx"[axis]]
                end = grid.affine[row, 3] + steps[row, axis] * (grid.shape[axis] - 1)
                assert along.values[0] == (-7, 11, 13)[row]
                assert along.values[-1] == end
                assert ("left", "posterior", "superior")[row] in along.attrs["long_name"]


@given(geometries(max_size=6), st.data())
def test_coordinates_and_directions_give_the_place_of_every_voxel_of_any_part(geometry, data):
    part = volume_on(geometry)
    for _ in range(2):  # cut, and cut again
        cut = {}
        for dim, n in part.sizes.items():
            step = data.draw(st.sampled_from([1, 2, 3, -1, -2]))
            cut[dim] = slice(data.draw(st.integers(0, n - 1)), None, step)
        part = part.isel(cut)
    grid = geometry_of(part)
    assert grid.shape == part.shape
    np.testing.assert_allclose(places(part), true_places(grid), atol=1e-6)
    # the voxel that was numbered k lies where voxel k of the whole lies
    whole = true_places(geometry).reshape(3, -1)
    at = part.values.ravel()
    np.testing.assert_allclose(true_places(grid).reshape(3, -1), whole[:, at], atol=1e-6)


@given(geometries(max_size=5))
def test_the_grid_of_an_uncut_volume_is_the_same_to_the_last_bit(geometry):
    assert geometry_of(volume_on(geometry)) == geometry
    for mine, theirs in zip(geometry_of(volume_on(geometry)).positions(), geometry.positions(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


LAWFUL = {
    "slice": lambda v: v.isel(z=slice(1, 6)),
    "every second": lambda v: v[::2, :, ::-1],
    "one slice kept": lambda v: v.isel(z=[3]),
    "a list of neighbours": lambda v: v.isel(z=[2, 3, 4]),
    "by mm": lambda v: v.sel(z=slice(34, 44)),
    "nearest mm": lambda v: v.sel(z=[34.0, 39.0, 44.0], method="nearest"),
    "sorted the other way": lambda v: v.sortby("z", ascending=False),
    "where, with its empty border dropped": lambda v: v.where(v.z > 36, drop=True),
    "put together": lambda v: xr.concat([v[:3], v[3:]], "z"),
    "thin": lambda v: v.thin(z=2, y=3),
    "head": lambda v: v.head(z=3),
    "there and back": lambda v: v.transpose("x", "y", "z").transpose("z", "y", "x"),
    "float32": lambda v: v.astype("f4") * 2,
    "a dataset between": lambda v: v.to_dataset(name="a")["a"],
}


@pytest.mark.parametrize("name", LAWFUL)
def test_what_stays_on_the_grid_keeps_its_true_place(ct, name):
    numbers = ct.copy(data=np.arange(ct.size).reshape(ct.shape))
    part = LAWFUL[name](numbers)
    grid, kept = geometry_of(part), LAWFUL[name](numbers.astype("f8"))
    at = (kept.values / (2 if name == "float32" else 1)).astype(int).ravel()
    np.testing.assert_allclose(
        true_places(grid).reshape(3, -1), true_places(geometry_of(ct)).reshape(3, -1)[:, at], atol=1e-9
    )


LOST = {
    "coarsen": lambda v: v.coarsen(z=2).mean(),
    "coarsen by an odd number": lambda v: v.coarsen(y=4, x=2, boundary="trim").mean(),
    "interp": lambda v: v.interp(z=[31.0, 33.0, 35.0]),
    "gaps": lambda v: v.isel(z=[0, 1, 3]),
    "order": lambda v: v.isel(y=[2, 0, 1]),
    "twice": lambda v: v.isel(x=[1, 1, 1]),
    "padded": lambda v: v.pad(z=1),
    "empty": lambda v: v.isel(z=slice(0, 0)),
    "one dimension less": lambda v: v.isel(z=2),
    "mean over slices": lambda v: v.mean("z"),
    "other order of dimensions": lambda v: v.transpose("x", "y", "z"),
    "no coordinate": lambda v: v.drop_vars("y"),
    "numbers for mm": lambda v: v.assign_coords(z=np.arange(8)),
    "moved": lambda v: v.assign_coords(x=v.x + 0.2),
    "no attributes": lambda v: v.drop_attrs(),
    "parts with a gap between": lambda v: xr.concat([v[:3], v[4:]], "z"),
    "a mask": lambda v: v.where(v.y.isin([-20.0, -19.0, -16.0]), drop=True),
    "resampled mean": lambda v: v.rolling(z=2).construct("w").mean("w").isel(z=[1, 2, 4]),
    "damaged affine": lambda v: v.assign_attrs(affine=[1.0, 2.0]),
}


@pytest.mark.parametrize("name", LOST)
def test_what_has_left_the_grid_is_said(ct, name):
    with pytest.raises(InputError):
        geometry_of(LOST[name](ct))


@pytest.mark.parametrize("name", ["coarsen", "interp", "gaps", "padded", "no coordinate"])
def test_an_oblique_volume_that_has_left_its_grid_is_said(oblique, name):
    lost = {
        "coarsen": lambda v: v.coarsen(z=2, boundary="trim").mean(),
        "interp": lambda v: v.interp(y=v.y.values[:-1] + 0.4),
        "gaps": lambda v: v.isel(x=[0, 1, 4]),
        "padded": lambda v: v.pad(y=1),
        "no coordinate": lambda v: v.drop_vars("x"),
    }
    with pytest.raises(InputError):
        geometry_of(lost[name](oblique))


def test_a_part_becomes_a_whole(ct):
    part = ct[2:6, :, ::-1]
    anew = placed_anew(part, geometry_of(part))
    assert list(anew.attrs["grid_shape"]) == [4, 6, 4]
    assert geometry_of(anew).close_to(geometry_of(part))
    np.testing.assert_allclose(anew.x, part.x)
    with pytest.raises(InputError, match="fit"):
        placed_anew(ct, geometry_of(part))


def test_units_are_those_of_the_values(ct):
    assert "units" not in ct.attrs
    assert ct.attrs["real_units"] == "HU"
    hu = ct.defacedask.real()
    assert (hu.attrs["units"], ct.defacedask.units, hu.defacedask.units) == ("HU", "HU", "HU")
    np.testing.assert_array_equal(hu, ct.values.astype("f4") - 1024)
    # once is enough
    xr.testing.assert_identical(real_values(hu), hu)
    assert volume_on(geometry_of(ct)).attrs["units"] == "HU"


@pytest.mark.parametrize("cut", [np.s_[:], np.s_[1:, ::-1, ::2]])
def test_patient_coordinates_of_an_oblique_volume_come_from_an_affine_index(oblique, cut):
    lazy = oblique.copy(data=dask.array.from_array(oblique.values, chunks=2))
    part = lazy[cut].defacedask.patient()
    again = lazy.defacedask.patient()[cut]
    grid = geometry_of(lazy[cut])
    for one in (part, again):
        for row, name in enumerate(PATIENT):
            assert name in one.xindexes
            np.testing.assert_allclose(one[name], true_places(grid)[row], atol=1e-9)
    point = {n: xr.DataArray(v) for n, v in zip(PATIENT, grid.to_world((2, 3, 1)), strict=True)}
    assert int(again.sel(**point, method="nearest")) == int(lazy[cut][2, 3, 1])
    with pytest.raises(InputError, match="outside"):
        part.sel(**{n: xr.DataArray(900.0) for n in PATIENT}, method="nearest")


def test_a_single_slice_is_plotted_in_mm_and_in_true_units(ct):
    plt = pytest.importorskip("matplotlib.pyplot")
    drawn = ct.defacedask.real().isel(z=3).plot()
    axes = drawn.axes
    assert axes.get_xlabel() == "patient x, to the left [mm]"
    assert "HU" in drawn.colorbar.ax.get_ylabel()
    plt.close("all")


def test_netcdf_and_zarr_keep_values_place_and_units(tmp_path, ct, oblique):
    for volume in (ct[1:, ::-1], oblique):
        facts = volume.assign_attrs(series_uid="1.2.3", padding=-2000)
        facts.name = "ct"
        facts.to_netcdf(tmp_path / "a.nc", engine="scipy", format="NETCDF3_64BIT")
        with xr.open_dataarray(tmp_path / "a.nc", engine="scipy") as again:
            again = again.load()
        assert geometry_of(again) == geometry_of(volume)
        np.testing.assert_array_equal(again, volume)
        np.testing.assert_array_equal(real_values(again), real_values(volume))
        assert again.attrs["series_uid"] == "1.2.3"
        facts.chunk(2).to_zarr(tmp_path / "a.zarr", mode="w", consolidated=False)
        again = xr.open_dataarray(tmp_path / "a.zarr", engine="zarr", consolidated=False)
        assert geometry_of(again) == geometry_of(volume)
        np.testing.assert_array_equal(real_values(again), real_values(volume))

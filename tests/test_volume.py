from __future__ import annotations

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import geometries

from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import checked, geometry_of, make_volume, real_values, to_stored


@given(geometries(max_size=6), st.data())
def test_sliced_volumes_know_their_place(geometry, data):
    volume = make_volume(np.zeros(geometry.shape, np.int16), geometry, modality="CT", units="HU")
    assert geometry_of(volume) == geometry
    slices, first, last = {}, [], []
    for dim, n in zip("zyx", geometry.shape, strict=True):
        step = data.draw(st.sampled_from([1, 2, -1]))
        start = data.draw(st.integers(0, n - 1))
        slices[dim] = slice(start, None, step)
        kept = range(n)[slices[dim]]
        first.append(kept[0])
        last.append(kept[-1])
    part = volume.isel(slices)
    grid = geometry_of(part)
    assert grid.shape == part.shape
    np.testing.assert_allclose(grid.to_world((0, 0, 0)), geometry.to_world(first), atol=1e-6)
    np.testing.assert_allclose(grid.to_world(np.array(grid.shape) - 1), geometry.to_world(last), atol=1e-6)


def test_one_slope_a_slice():
    grid = Geometry.from_spacing((3, 2, 2), (2, 1, 1))
    stored = np.arange(12, dtype=np.int16).reshape(3, 2, 2)
    volume = make_volume(stored, grid, modality="PT", units="Bq/mL", slope=np.array([1, 2, 3.5]), intercept=1)
    expected = stored * np.array([1, 2, 3.5])[:, None, None] + 1
    np.testing.assert_allclose(real_values(volume), expected)
    np.testing.assert_allclose(real_values(volume.isel(z=[2])), expected[2:])
    lazy = real_values(volume.chunk({"z": 1}))
    assert isinstance(lazy.data, dask.array.Array)
    np.testing.assert_allclose(lazy, expected)


@given(st.sampled_from([np.int16, np.uint16, np.uint8]), st.floats(0.01, 4), st.floats(-1200, 10))
def test_stored_values_survive_the_way_to_real_and_back(dtype, slope, intercept):
    info = np.iinfo(dtype)
    stored = np.linspace(info.min, info.max, 501).astype(dtype)
    slope, intercept = np.float64(slope), np.float64(intercept)
    np.testing.assert_array_equal(
        to_stored(stored * slope + intercept, slope, intercept, np.dtype(dtype)), stored
    )


def test_values_that_do_not_fit_are_clipped_not_wrapped():
    stored = to_stored(np.array([-5000.0, 70000.0]), 1.0, 0.0, np.dtype(np.int16))
    assert stored.tolist() == [-5000, 32767]


def test_irregular_indexing_is_refused():
    volume = make_volume(
        np.zeros((4, 2, 2)), Geometry.from_spacing((4, 2, 2), (1, 1, 1)), modality="MR", units="1"
    )
    with pytest.raises(InputError, match="irregularly"):
        geometry_of(volume.isel(z=[0, 1, 3]))


def test_shape_and_units_are_checked():
    grid = Geometry.from_spacing((4, 2, 2), (1, 1, 1))
    with pytest.raises(InputError, match="fit"):
        make_volume(np.zeros((4, 2, 3)), grid, modality="MR", units="1")
    with pytest.raises(InputError, match="units"):
        make_volume(np.zeros((4, 2, 2)), grid, modality="MR", units="furlong")


@pytest.mark.parametrize("name", ["slope", "intercept"])
@pytest.mark.parametrize("wrong", ["nan", "inf", "one", "y", "text"])
def test_a_rescale_that_gives_no_real_values_is_said(name, wrong):
    """It was taken: what came out held whatever the machine makes of such numbers."""
    grid = Geometry.from_spacing((3, 4, 5), (1, 1, 1))
    volume = make_volume(np.zeros(grid.shape, np.int16), grid, modality="CT", units="HU")
    assert checked(volume) == grid
    values = {
        "nan": ("z", [1.0, np.nan, 1.0]),
        "inf": ("z", [1.0, np.inf, 1.0]),
        "one": 1.0,
        "y": ("y", np.ones(4)),
        "text": ("z", ["1", "1", "1"]),
    }[wrong]
    with pytest.raises(InputError, match=name):
        checked(volume.drop_vars(name).assign_coords({name: values}))


def test_a_slope_of_zero_is_said():
    grid = Geometry.from_spacing((3, 4, 5), (1, 1, 1))
    volume = make_volume(np.zeros(grid.shape, np.int16), grid, modality="CT", units="HU", slope=[1, 0, 1])
    with pytest.raises(InputError, match="0 or what is no finite number"):
        checked(volume)

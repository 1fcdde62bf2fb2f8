from __future__ import annotations

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import geometries

from defacedask.anatomy.grid import _percentiles, cropped_values, reduced, resample
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import make_volume, real_values


def ramp(grid: Geometry) -> np.ndarray:
    x, y, z = grid.positions(dtype=np.float64)
    return (0.5 * x - 0.25 * y + 2.0 * z + 7.0 + np.zeros(grid.shape)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(geometries(max_size=9, sheared=True))
def test_a_ramp_stays_a_ramp_on_any_grid(source):
    target = Geometry.from_spacing((3, 3, 3), (0.2, 0.2, 0.2), source.centre - 0.2)
    index = source.to_index(
        np.stack([a.ravel() for a in np.broadcast_arrays(*target.positions(dtype=float))], -1)
    )
    inside = ((index >= 0) & (index <= np.array(source.shape) - 1)).all(axis=1).reshape(target.shape)
    got = resample(ramp(source), source, target, outside=-9999.0)
    assert np.allclose(got[inside], ramp(target)[inside], rtol=1e-4, atol=0.05)


def test_a_matrix_moves_target_world_to_source_world():
    grid = Geometry.from_spacing((8, 9, 10), (1.0, 1.0, 1.0))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[2, 3, 4] = True
    matrix = np.eye(4)
    matrix[:3, 3] = (1.0, 0.0, -2.0)  # x + 1, z - 2
    moved = resample(mask, grid, grid, matrix=matrix, nearest=True)
    assert moved.dtype == bool
    assert np.argwhere(moved).tolist() == [[4, 3, 3]]


def test_fine_voxels_are_averaged_and_lazy_equals_eager():
    grid = Geometry.from_spacing((9, 10, 11), (2.0, 0.5, 1.0), (1.0, 2.0, 3.0))
    stored = np.random.default_rng(0).integers(0, 1000, grid.shape).astype(np.int16)
    volume = make_volume(
        stored, grid, modality="PT", units="g/mL", slope=np.linspace(0.1, 1, 9), intercept=-3.0
    )
    values, coarse = reduced(volume, 2.0)
    assert values.shape == (9, 2, 5)
    assert coarse.spacing == pytest.approx((2.0, 2.0, 2.0))
    real = real_values(volume).values
    assert values[4, 1, 2] == pytest.approx(real[4, 4:8, 4:6].mean(), rel=1e-5)
    assert coarse.to_world((0, 0, 0)) == pytest.approx(grid.to_world((0, 1.5, 0.5)))
    lazy = volume.copy(data=dask.array.from_array(stored, chunks=(2, 3, 4)))
    again, _ = reduced(lazy, 2.0)
    assert np.array_equal(again, values)


def test_the_working_grid_is_cropped_to_material_and_aligned():
    base = Geometry.from_spacing((40, 50, 60), (3.0, 2.0, 2.0))
    values = np.full(base.shape, -1000.0, dtype=np.float32)
    values[10:30, 20:30, 25:35] = 50.0
    got, grid = cropped_values(values, base, spacing=2.0, level=-300.0, air=-1000.0)
    assert got.shape == grid.shape
    assert grid.codes == "SPL"
    extent = np.array(grid.shape) * 2.0
    assert (extent < np.array([20 * 3, 10 * 2, 10 * 2]) + 48).all()
    assert (got > 0).sum() * 8 == pytest.approx(20 * 10 * 10 * 12, rel=0.25)


def test_values_that_are_no_numbers_are_refused():
    grid = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    bad = np.zeros(grid.shape, dtype=np.float32)
    bad[1, 1, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        reduced(make_volume(bad, grid, modality="MR", units="1"), 2.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=30).filter(any))
def test_percentiles_of_counts_are_those_of_the_positions(counts):
    at = (0.05, 30.0, 99.95)
    positions = np.repeat(np.arange(len(counts)), counts)
    np.testing.assert_allclose(_percentiles(np.array(counts), at), np.percentile(positions, at), atol=1e-9)

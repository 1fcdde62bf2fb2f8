from __future__ import annotations

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import geometries

from defacedask.anatomy import grid as grid_module
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


def by_itk(values, source, target, outside):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "_nearest_by_axis", lambda *_: None)
        return resample(values, source, target, outside=outside, nearest=True)


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(range(3)),
    st.lists(st.sampled_from([1.0, -1.0]), min_size=3, max_size=3),
    st.integers(0, 99),
)
def test_nearest_along_the_axes_is_what_itk_gives(order, signs, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, rng.integers(2, 9, 3)).astype(np.int16)
    source = Geometry.from_spacing(values.shape, rng.uniform(0.5, 3.0, 3).tolist())
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3)[list(order)] * signs)[:, ::-1] * rng.uniform(0.5, 3.0, 3)
    shape = tuple(rng.integers(1, 9, 3).tolist())
    target = Geometry(shape, affine, "")
    affine = affine.copy()
    affine[:3, 3] = source.centre - target.centre + rng.uniform(-3.0, 3.0, 3)
    target = Geometry(shape, affine, "")
    to_source = np.linalg.inv(source.affine) @ target.affine
    assert grid_module._nearest_by_axis(values, to_source, target.shape, -5) is not None
    found = resample(values, source, target, outside=-5, nearest=True)
    assert found.dtype == values.dtype
    assert np.array_equal(found, by_itk(values, source, target, -5))
    assert np.array_equal(
        resample(values > 4, source, target, nearest=True), by_itk(values > 4, source, target, 0)
    )


def test_what_lies_in_the_middle_between_voxels_is_left_to_itk():
    source = Geometry.from_spacing((4, 4, 4), (2.0, 2.0, 2.0))
    middle = Geometry.from_spacing((4, 4, 4), (2.0, 2.0, 2.0), (1.0, 0.2, 0.3))
    turned = middle.affine.copy()
    turned[:3, :3] @= np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    for affine in (middle.affine, turned):
        to_source = np.linalg.inv(source.affine) @ affine
        assert grid_module._nearest_by_axis(np.zeros((4, 4, 4), bool), to_source, (4, 4, 4), 0) is None


@pytest.mark.parametrize("chunk", [3, 4, 5, 12])
def test_each_chunk_of_a_lazy_volume_is_read_once(chunk):
    read = []

    def block(block_info=None):
        start, stop = block_info[None]["array-location"][0]
        read.append(start)
        return np.broadcast_to(np.arange(start, stop)[:, None, None], (stop - start, 5, 6)).astype(np.int16)

    data = dask.array.map_blocks(
        block, chunks=((chunk,) * (24 // chunk) + ((24 % chunk,) if 24 % chunk else ()), 5, 6), dtype=np.int16
    )
    grid = Geometry.from_spacing((24, 5, 6), (0.5, 2.0, 2.0))
    volume = make_volume(data, grid, modality="CT", units="HU")
    read.clear()
    lazy, _ = reduced(volume, 2.0)
    assert len(read) == len(set(read)) == -(-24 // chunk)
    assert np.array_equal(lazy, reduced(volume.load(), 2.0)[0])
    found = np.concatenate([part for _, part in grid_module.above_level(volume, 7, 11.5)])
    assert np.array_equal(found, real_values(volume).values > 11.5)

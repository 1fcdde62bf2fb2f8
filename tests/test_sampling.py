"""Fields are read between their elements with the same bits by SciPy and by single operations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from support.strategies import field_and_places

from defacedask.defacers.elementary import exp, exp2
from defacedask.geometry import Geometry
from defacedask.sampling import Between, sample_field
from defacedask.volume import to_stored


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([None, 0.0, -7.5]),
)
def test_single_operations_give_scipys_bits(shape, seed, dtype, outside):
    """Inside, on elements, on the edge, and beyond it on every side."""
    field, index = field_and_places(shape, seed, dtype, 400)
    mode, value = ("nearest", 0.0) if outside is None else ("constant", outside)
    expected = map_coordinates(field, index, order=1, mode=mode, cval=value, prefilter=False)
    places = Between(tuple(shape), index)
    ours = places.by_operations(field.astype(np.float64), outside).astype(dtype)
    assert np.array_equal(ours, expected)
    assert np.array_equal(places.read(field, outside=outside), expected)


def test_fields_are_read_alike_on_a_device(cupy, rng):
    grid = Geometry.from_spacing((8, 9, 10), (3.0, 2.0, 2.0), (-5, -6, -7), "1.2")
    field = rng.normal(size=grid.shape).astype(np.float32)
    other = Geometry(grid.shape, grid.affine @ np.diag([0.9, 1.2, 0.7, 1.0]))
    here = sample_field(field, grid, other.positions(dtype=np.float64), outside=3.0)
    there = sample_field(field, grid, other.positions(cupy, np.float64), outside=3.0, xp=cupy)
    assert isinstance(there, cupy.ndarray)
    assert there.dtype == here.dtype
    assert np.array_equal(there.get(), here)


def test_places_that_broadcast_are_read_as_if_they_were_written_out(rng):
    field = rng.normal(size=(5, 6))
    row, column = rng.uniform(-1, 6, (7, 1)), rng.uniform(-1, 7, (1, 8))
    ours = Between((5, 6), (row, column)).by_operations(field)
    full = np.stack(np.broadcast_arrays(row, column))
    assert np.array_equal(ours, map_coordinates(field, full, order=1, mode="nearest", prefilter=False))


def test_positions_are_the_same_on_a_device(cupy):
    turn = np.array([[1, 0.2, 0, 4], [-0.1, 1, 0.3, 5], [0, 0.4, 1, 6], [0, 0, 0, 1.0]])
    for affine in (np.diag([3.0, 2.0, 1.0, 1.0])[:, [2, 1, 0, 3]], turn):
        part = Geometry((7, 8, 9), affine).block((1, 0, 2), (6, 8, 9))
        for dtype in (np.float64, np.float32):
            for one, other in zip(part.positions(cupy, dtype), part.positions(dtype=dtype), strict=True):
                assert one.dtype == dtype
                assert one.shape == other.shape
                assert np.array_equal(one.get(), other)


@given(st.floats(-700, 700))
def test_powers_of_e_and_2_are_right_to_the_last_bits(value):
    assert exp2(np.array(value)) == pytest.approx(2.0**value, rel=6e-16)
    # of a product's rounding in the exponent
    assert exp(np.array(value)) == pytest.approx(math.exp(value), rel=4e-16 + 3e-16 * abs(value))


def test_powers_are_the_same_on_a_device(cupy, rng):
    values = rng.uniform(-30, 30, 5000)
    for function in (exp, exp2):
        assert np.array_equal(function(cupy.asarray(values), cupy).get(), function(values))
    assert exp2(np.array([-3.0, 0.0, 10.0])).tolist() == [0.125, 1.0, 1024.0]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_values_beyond_a_type_become_its_ends(dtype, cupy):
    """float32 does not hold the largest 32-bit numbers: the next one above would wrap, as each machine likes it."""
    info = np.iinfo(dtype)
    values = np.array([-1e12, 1e12, float(info.max), float(info.min), 3.5, 2.5], np.float32)
    one = np.float32(1)
    stored = to_stored(values, one, one * 0, np.dtype(dtype))
    assert stored[1] == stored[2] == np.max(stored)
    assert int(stored[1]) >= info.max - 2**8
    assert stored[0] == stored[3] == info.min
    assert stored[4:].tolist() == [4, 2]  # ties go to the even number
    assert np.array_equal(to_stored(cupy.asarray(values), one, one * 0, np.dtype(dtype), cupy).get(), stored)

"""What lies above a real value is the same by stored numbers as by real ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defacedask.volume.above import above

KINDS = ["int16", "uint16", "uint8", "int32", "uint32", "float32"]


def plainly(stored, slope, intercept, level):
    return stored.astype(slope.dtype) * slope[:, None, None] + intercept[:, None, None] > level


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(["float32", "float64"]),
    st.lists(st.floats(-2.0, 50.0, width=32), min_size=2, max_size=2),
    st.floats(-3000.0, 3000.0, width=32),
    st.floats(-2000.0, 70000.0),
    st.integers(0, 999),
)
def test_it_is_the_comparison_of_real_values(kind, real, slopes, intercept, level, seed):
    rng = np.random.default_rng(seed)
    slope, shift = np.array(slopes, real), np.full(2, intercept, real)
    if kind == "float32":
        stored = rng.normal(0, 2000, (2, 3, 40)).astype(kind)
        stored[0, 0, :3] = np.nan, np.inf, -np.inf
    else:
        info = np.iinfo(kind)
        stored = rng.integers(info.min, info.max, (2, 3, 40), endpoint=True).astype(kind)
        if slopes[0]:  # around the border itself
            near = np.clip((level - intercept) / slopes[0] + np.arange(-20, 20), info.min, info.max)
            stored[0, 1] = near.astype(kind)
        stored[0, 0, :2] = info.min, info.max
    with np.errstate(all="ignore"):
        assert np.array_equal(above(stored, slope, shift, level), plainly(stored, slope, shift, level))


@pytest.mark.parametrize("level", [-1e9, 1e9, np.nan])
def test_all_and_none(level):
    stored = np.array([[[-32768, 32767]]], np.int16)
    one, none = np.ones(1), np.zeros(1)
    assert np.array_equal(above(stored, one, none, level), plainly(stored, one, none, level))

"""Distances and neighbourhoods, against the distance transform that they stand in for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from defacedask.anatomy.distances import distance_to, distances_at, inner_distances, within

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (1.5, 0.98, 1.3), (0.6, 3.0, 2.0)]


def masks(seed: int, density: float, shape=(9, 20, 17)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < density


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("density", [0.001, 0.02, 0.6])
def test_both_are_the_distance_transform(spacing, density):
    mask = masks(1, density)
    mask[4, 10, 8] = True
    true = distance_transform_edt(~mask, sampling=spacing)
    assert np.abs(distance_to(mask, spacing) - true).max() < 1e-4
    for mm in (0.0, 0.7, 1.0, 2.6, 5.0, 8.0, 60.0):
        assert (within(mask, spacing, mm) == (true <= mm + 1e-6)).all(), mm


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(0.002, 0.5),
    st.tuples(*[st.integers(1, 12)] * 3),
    st.tuples(*[st.floats(0.4, 6.0)] * 3),
    st.floats(0.0, 20.0),
)
def test_any_grid_and_any_reach(seed, density, shape, spacing, mm):
    mask = masks(seed, density, shape)
    if not mask.any():
        assert not within(mask, spacing, mm).any()
        assert np.isinf(distance_to(mask, spacing)).all()
        return
    true = distance_transform_edt(~mask, sampling=spacing)
    # not where rounding decides
    clear = np.abs(true - mm) > 1e-4 * max(mm, 1.0)
    assert (within(mask, spacing, mm) == (true <= mm))[clear].all()


def test_the_mask_is_not_written_into():
    mask = masks(2, 0.1)
    before = mask.copy()
    within(mask, (1.0, 1.0, 1.0), 3.0)
    distance_to(mask, (1.0, 1.0, 1.0))
    assert (mask == before).all()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("density", [0.001, 0.3, 0.97])
def test_slice_by_slice_has_the_bits_of_scipy(spacing, density):
    mask = masks(2, density)
    mask[4, 10, 8], mask[0, 0, 0] = True, False
    true = distance_transform_edt(mask, sampling=spacing)
    assert inner_distances(mask, spacing).tobytes() == true.tobytes()
    assert inner_distances(mask, spacing, np.float32).tobytes() == true.astype(np.float32).tobytes()
    points = masks(3, 0.1)
    assert distances_at(~mask, points, spacing).tobytes() == true[points].tobytes()

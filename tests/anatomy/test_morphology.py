from __future__ import annotations

import numpy as np
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from defacedask.anatomy.morphology import (
    box_of,
    close,
    components,
    dilate,
    erode,
    fill_slices,
    largest,
    open_,
)

masks = arrays(bool, st.tuples(*[st.integers(1, 9)] * 3), elements=st.booleans())
CROSS = ndi.generate_binary_structure(3, 1)
CUBE = np.ones((3, 3, 3), dtype=bool)


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(0, 3))
def test_steps_are_those_of_structuring_elements(mask, n):
    grown, shrunk = mask, mask
    for k in range(n):
        element = CUBE if k % 2 else CROSS
        grown = ndi.binary_dilation(grown, element)
        shrunk = ndi.binary_erosion(shrunk, element, border_value=1)
    assert np.array_equal(dilate(mask, n), grown)
    assert np.array_equal(erode(mask, n), shrunk)


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(1, 3))
def test_opening_shrinks_closing_grows_and_the_input_stays(mask, n):
    before = mask.copy()
    assert not (open_(mask, n) & ~mask).any()
    assert not (mask & ~close(mask, n)).any()
    assert np.array_equal(mask, before)


def test_a_ball_is_round():
    point = np.zeros((15, 15, 15), dtype=bool)
    point[7, 7, 7] = True
    distance = np.sqrt(((np.indices(point.shape) - 7) ** 2).sum(axis=0))
    for n in (2, 3, 4):
        ball = dilate(point, n)
        assert distance[ball].max() <= n * 1.35
        assert distance[~ball].min() > n * 0.85


@settings(max_examples=60, deadline=None)
@given(masks)
def test_components_and_largest_agree_with_scipy(mask):
    labels, count = ndi.label(mask)
    ours = components(mask)
    assert ours.max() == count
    assert np.array_equal(ours > 0, mask)
    biggest = largest(mask)
    if count:
        assert biggest.sum() == np.bincount(labels.ravel())[1:].max()
        assert ndi.label(biggest)[1] == 1
    else:
        assert not biggest.any()


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(0, 2))
def test_filling_is_slice_by_slice(mask, axis):
    filled = np.stack([ndi.binary_fill_holes(s) for s in np.moveaxis(mask, axis, 0)])
    assert np.array_equal(fill_slices(mask, axis), np.moveaxis(filled, 0, axis))


@settings(max_examples=50, deadline=None)
@given(arrays(bool, (5, 6, 7)), st.integers(0, 3))
def test_a_box_is_the_smallest_around_what_is_set(mask, margin):
    box = box_of(mask, margin)
    outside = mask.copy()
    outside[box] = False
    assert not outside.any()
    if not mask.any():
        assert mask[box].size == 0
        return
    at = np.argwhere(mask)
    low = np.maximum(at.min(axis=0) - margin, 0)
    high = np.minimum(at.max(axis=0) + margin + 1, mask.shape)
    assert [(b.start, b.stop) for b in box] == list(zip(low, high, strict=True))

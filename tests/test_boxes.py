"""Boxes around what is set, and what of a mask lies in a box."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from defacedask.boxes import bounds, cut_out


@given(st.integers(0, 10_000), st.data())
def test_what_is_cut_out_is_what_the_whole_array_has_there(seed, data):
    rng = np.random.default_rng(seed)
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * data.draw(st.sampled_from([2, 3]))))
    spans = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape * 2]
    place, box = ([slice(a, b) for a, b in half] for half in (spans[: len(shape)], spans[len(shape) :]))
    mask = rng.random([s.stop - s.start for s in place]) < 0.5
    whole = np.zeros(shape, bool)
    whole[tuple(place)] = mask
    assert np.array_equal(cut_out(mask, [s.start for s in place], box), whole[tuple(box)])


@given(st.integers(0, 10_000), st.floats(0, 0.1))
def test_nothing_is_set_beyond_the_bounds_and_something_at_each(seed, share):
    mask = np.random.default_rng(seed).random((6, 7, 8)) < share
    box = bounds(mask)
    if box is None:
        assert not mask.any()
        return
    assert mask[box].sum() == mask.sum()
    for axis in range(3):
        ends = np.moveaxis(mask[box], axis, 0)
        assert ends[0].any()
        assert ends[-1].any()

"""A CT in which no head is found says what is likely wrong with its values, and nothing where they may be right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from defacedask.anatomy.head import Head
from defacedask.anatomy.hounsfield import likely_fault
from defacedask.errors import RefusedError
from defacedask.testing.subject import images
from defacedask.volume import geometry_of, make_volume


@pytest.fixture(scope="module")
def hounsfield():
    """Air, fat, soft tissue and bone, with noise; air of a scanner that reads a little too much."""
    rng = np.random.default_rng(3)
    parts = [(-980, 0.5), (-100, 0.1), (40, 0.3), (700, 0.1)]
    return np.concatenate([rng.normal(at, 25, int(8000 * part)) for at, part in parts])


@given(
    offset=st.sampled_from([1000, 1024, 2000, 2048]),
    more=st.integers(-60, 60),
    sign=st.sampled_from([-1, 1]),
    intercept=st.sampled_from([None, 0.0]),
)
def test_an_offset_is_named(hounsfield, offset, more, sign, intercept):
    text = likely_fault(hounsfield + sign * offset + more, intercept)
    assert ("too high" if sign > 0 else "too low") in text
    assert abs(int(text.split("about ")[1].split()[0]) - offset) < 200
    assert ("(0 in the header)" in text) == (intercept is not None)


@given(offset=st.integers(-60, 60), padding=st.sampled_from([-1024, -2000, -3024]), part=st.floats(0, 0.4))
def test_what_may_be_right_is_not_blamed(hounsfield, offset, padding, part):
    values = hounsfield + offset
    values = np.concatenate([values, np.full(int(part * values.size), padding)])
    assert likely_fault(values) == ""


@pytest.mark.parametrize("limits", [(-200, 3000), (-40, 3000), (-40, 120), (0, 255)])
def test_clipped_values_have_no_air(hounsfield, limits):
    assert likely_fault(np.clip(hounsfield, *limits)).startswith("None of it reads as air")


@pytest.mark.parametrize("background", [0, 500, -500])
def test_an_overwritten_background_is_named(background):
    """Nose and throat are air still."""
    values = images()["CT"].values.astype(np.float32)
    assert likely_fault(values) == ""
    wide = np.pad(values, ((0, 0), (8, 8), (8, 8)), constant_values=-1000)
    outside = label(wide < -300)[0]
    masked = np.where(outside == outside[0, 0, 0], np.float32(background), wide)
    assert likely_fault(masked).startswith(
        (f"What surrounds the patient reads {background} HU", "None of it")
    )


def test_nothing_finite_says_nothing():
    assert likely_fault(np.full(5, np.nan)) == ""


def test_the_refusal_says_it():
    """The real way: stored values with 1024 too much under an intercept that says nothing of it."""
    right = images()["CT"]
    wrong = make_volume(right.values + 1024, geometry_of(right), modality="CT", units="HU")
    with pytest.raises(RefusedError, match=r"too high: see to its RescaleIntercept \(0 in the header\)"):
        Head(wrong).require()

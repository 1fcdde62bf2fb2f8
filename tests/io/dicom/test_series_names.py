"""Numbers and descriptions of derived series: none of the source's, and what was done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from defacedask.io.dicom.export.series_names import LARGEST, derived_number, described, rename, says_so

NUMBERS = st.sets(
    st.one_of(st.integers(-20, 1200), st.integers(LARGEST - 9, LARGEST), st.integers(10**8, 10**9)),
    min_size=1,
    max_size=8,
)


@given(NUMBERS)
def test_no_number_of_the_source_and_no_number_twice(taken):
    new = [derived_number(number, taken, kind) for number in taken for kind in (1, 2)]
    assert not taken & set(new)
    assert len(set(new)) == 2 * len(taken)
    assert all(-(2**31) <= number <= LARGEST for number in new)


def test_the_number_tells_its_source():
    assert derived_number(3, {3, 4, 904}) == 1003
    assert derived_number(3, {3, 4, 904}, 2) == 2003
    assert derived_number(1, {1}) == 11


@given(st.text(max_size=80), st.sampled_from(["quickshear", "mri_reface", "x" * 70]))
def test_a_description_fits_and_says_what_was_done(before, defacer):
    dataset = Dataset()
    text = described(before, f"face removed: {defacer}")
    assert len(text) <= 64
    dataset.SeriesDescription = text
    assert says_so(dataset)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "T1 axial [face removed: quickshear]"),
        ({"visible": True}, "T1 axial [face left in: quickshear]"),
        ({"reversible": True}, "T1 axial [face covered: quickshear]"),
    ],
)
def test_it_says_the_truth(options, words):
    dataset = Dataset()
    dataset.SeriesDescription, dataset.SeriesNumber = "T1 axial ", "5"
    assert not says_so(dataset)
    rename(dataset, "quickshear", {5, 12}, **options)
    assert dataset.SeriesDescription == words
    assert dataset.SeriesNumber == 105


def test_a_series_without_a_number_stays_without():
    dataset = Dataset()
    dataset.SeriesNumber = None
    rename(dataset, "quickshear", {0})
    assert dataset.SeriesNumber is None
    assert dataset.SeriesDescription == "[face removed: quickshear]"

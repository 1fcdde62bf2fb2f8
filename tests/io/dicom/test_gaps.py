"""Why a stack is uneven: each kind of scan gets its own true clause, and what is missing is still said."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support import make

from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.gaps import uneven


def places(*blocks: tuple[int, float]) -> np.ndarray:
    """Positions of slices after so many gaps of so many mm."""
    return np.cumsum([0.0, *(step for count, step in blocks for _ in range(count))])


@given(
    st.integers(4, 40),
    st.integers(4, 40),
    st.sampled_from([1.0, 1.25, 3.0, 4.0]),
    st.sampled_from([1.5, 2.0, 2.5, 3.0]),
    st.booleans(),
)
def test_two_blocks_whose_thickness_says_so(first, second, thin, times, turned):
    along = places((first, thin), (second, thin * times))
    thick = np.where(np.arange(len(along)) < first, thin, thin * times)
    if turned:
        along, thick = (along[-1] - along)[::-1], thick[::-1]
    said = uneven(along, thick)
    assert "2 slice distances" in said
    assert f"of {thin:g} mm" in said
    assert f"of {thin * times:g} mm" in said
    assert "none is missing" in said
    assert "missing:" not in said


@given(st.integers(4, 30), st.integers(4, 30), st.integers(2, 4))
def test_slices_of_one_thickness_in_two_distances_may_be_missing(first, second, times):
    along = places((first, 2.0), (second, 2.0 * times))
    assert "some may be missing" in uneven(along, np.full(len(along), 2.0))
    assert "thickness of the slices is not known" in uneven(along)


@given(st.integers(5, 40), st.data(), st.sampled_from([None, 2.0]))
def test_missing_slices_are_missing(count, data, thickness):
    gone = data.draw(st.integers(1, 3))
    at = data.draw(st.integers(1, count - 2))
    along = places((at, 2.0), (1, 2.0 * (gone + 1)), (count - at, 2.0))
    thick = None if thickness is None else np.full(len(along), thickness)
    word = "slice is" if gone == 1 else "slices are"
    said = uneven(along, thick)
    assert said.startswith(f"{gone} {word} missing: a gap of {2 * (gone + 1)} mm after slice {at + 1} of")


def test_several_single_gaps_are_missing_slices():
    along = np.delete(np.arange(20) * 3.0, [4, 9, 10, 15])
    assert uneven(along, np.full(16, 3.0)).startswith("4 slices are missing")


@given(st.integers(4, 20), st.floats(0.15, 0.85).filter(lambda part: abs(part - 0.5) > 0.08))
def test_two_stacks_in_one_another(count, part):
    along = np.sort(np.concatenate([np.arange(count) * 5.0, np.arange(count) * 5.0 + 5.0 * part]))
    said = uneven(along, np.full(len(along), 5.0))
    assert "by turns: two stacks lie in one another" in said
    assert "each of slices 5 mm apart" in said


@given(st.integers(8, 60), st.floats(0.02, 0.1))
def test_a_drift_is_uneven(count, part):
    along = np.cumsum(3.0 + part * np.arange(count))
    said = uneven(along, np.full(count, 3.0))
    assert "unevenly spaced" in said or "slice distances" in said
    assert "missing:" not in said


def test_a_long_drift_changes_steadily():
    assert "changes steadily" in uneven(np.cumsum(np.linspace(2.0, 3.7, 40)))


def test_scan_says_it(tmp_path):
    """Thin slices below, thick ones above, as SliceThickness says."""
    grid = make.grid(shape=(16, 6, 7))

    def change(dataset, k):
        dataset.SliceThickness = "3" if k < 8 else "6"

    keep = [*range(8), *range(9, 16, 2)]
    make.write_series(tmp_path, make.ramp(grid.shape), grid, "CT", change=change, only=keep)
    (one,) = scan(tmp_path).skipped
    assert "2 slice distances (gaps in order: 7 of 3 mm, then 4 of 6 mm)" in one.reason
    assert "none is missing" in one.reason

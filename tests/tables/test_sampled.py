"""Numbers of many cases in bounded memory: the same however they come."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.tables.sampled import Numbers, Worst, case_hashes, grouped, kept_cases, pooled

numbers = st.lists(
    st.tuples(st.integers(0, 30), st.floats(-1e6, 1e6, allow_nan=False)), min_size=1, max_size=120
)


def cut(some, places):
    ends = sorted({place % (len(some) + 1) for place in places} | {len(some)})
    return [some[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


@given(numbers, st.lists(st.integers(0, 200), max_size=6), st.integers(1, 40))
def test_numbers_are_the_same_however_they_are_split(rows, places, most):
    def of(parts):
        found = Numbers(most)
        for part in parts:
            values = np.array([value for _, value in part])
            found.add(values, case_hashes(f"case {case}" for case, _ in part))
        return found

    whole, split = of([rows]), of(cut(rows, places))
    every = np.array([value for _, value in rows])
    for one in (whole, split):
        assert one.count == len(rows)
        assert (one.smallest, one.largest) == (every.min(), every.max())
        assert one.mean == pytest.approx(every.mean(), rel=1e-9, abs=1e-6)
    np.testing.assert_array_equal(whole.values, split.values)
    cases = {case for case, _ in rows}
    assert whole.sampled == split.sampled == (len(cases) > most)
    if not whole.sampled:
        np.testing.assert_array_equal(whole.values, every)
        assert (whole.median, whole.mean) == (np.median(every), every.mean())
        return
    # the sample holds whole cases, and so many of them
    kept = set(whole.hashes.tolist())
    assert len(kept) == most
    inside = [value for case, value in rows if int(case_hashes([f"case {case}"])[0]) in kept]
    np.testing.assert_array_equal(whole.values, inside)


def test_a_sample_is_drawn_evenly_and_its_median_is_near():
    rng = np.random.default_rng(3)
    values = rng.normal(5, 2, 20_000)
    found = Numbers(1000)
    for begin in range(0, 20_000, 100):
        cases = [f"PT-{k:05d}" for k in range(begin, begin + 100)]
        found.add(values[begin : begin + 100], case_hashes(cases))
    assert len(found.values) == 1000
    # the standard error of a median of a thousand is 0.08
    assert abs(found.median - np.median(values)) < 0.4
    assert abs(found.mean - values.mean()) < 1e-9


@given(st.integers(1, 9), st.integers(1, 9))
def test_pooled_numbers_are_of_the_cases_that_all_kept(first, second):
    """One kind has a value in all cases, the other in every third: neither may weigh more than it does in all."""
    kinds = []
    for most, step in ((first, 1), (second, 3)):
        one = Numbers(most)
        cases = [f"c{k}" for k in range(0, 30, step)]
        one.add(np.arange(0, 30, step), case_hashes(cases))
        kinds.append(one)
    values, sampled = pooled(kinds)
    assert sampled
    inside = set(kinds[0].values) & set(range(0, 30))
    assert set(values) <= inside | set(kinds[1].values)
    # each case that is in has all that it has
    for k in set(map(int, values)):
        assert (values == k).sum() == 1 + (k % 3 == 0)


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=30))
def test_groups_come_as_pandas_has_them(keys):
    rows = pd.DataFrame({"key": keys, "other": ["x"] * len(keys), "value": range(len(keys))})
    found = {key: rows["value"].to_numpy()[some].tolist() for key, some in grouped(rows, ["key", "other"])}
    known = {key: part["value"].tolist() for key, part in rows.groupby(["key", "other"], sort=False)}
    assert found == known
    assert list(found) == list(known)
    assert list(grouped(rows.iloc[:0], ["key"])) == []


def test_the_worst_is_the_first_of_equals_and_never_what_is_missing():
    worst = Worst()
    assert not worst
    worst.add([np.nan, np.nan], ["a", "b"])
    assert not worst
    worst.add([1.0, np.nan, 3.0], ["a", "b", "c"])
    worst.add([3.0, 2.0], ["d", "e"])
    assert (worst.size, worst.about) == (3.0, ("c",))


def test_few_cases_are_all_kept():
    inside, below = kept_cases(case_hashes(["a", "a", "b"]), 2)
    assert inside.all()
    assert below is None
    inside, below = kept_cases(case_hashes(["a", "a", "b"]), 1)
    assert inside.sum() in (1, 2)
    assert below is not None

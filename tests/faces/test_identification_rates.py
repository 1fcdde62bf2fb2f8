from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from defacedask.errors import InputError
from defacedask.faces.rates import (
    at_least,
    auc_and_tpr,
    bootstrap_interval,
    calibrate_threshold,
    cmc,
    exact_interval,
    roc,
    sweep,
    upper_bound,
)

some = st.lists(st.one_of(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.floats(0, 1)), min_size=1, max_size=30)


@pytest.mark.parametrize(("n", "bound"), [(119, 0.025), (62, 0.047), (8, 0.31)])
def test_nothing_in_n_still_leaves_a_bound(n, bound):
    assert upper_bound(0, n) == pytest.approx(bound, abs=0.005)
    assert upper_bound(0, n) == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-12)


@given(n=st.integers(1, 200), share=st.floats(0, 1))
def test_bounds_equal_scipys_exact_ones(n, share):
    count = round(share * n)
    one = binomtest(count, n, alternative="less").proportion_ci(0.95, method="exact")
    assert upper_bound(count, n) == pytest.approx(one.high, abs=1e-9)
    two = binomtest(count, n).proportion_ci(0.95, method="exact")
    assert exact_interval(count, n) == pytest.approx((two.low, two.high), abs=1e-9)


@given(n=st.integers(1, 200), share=st.floats(0, 1), rate=st.floats(0, 1))
def test_more_than_chance_equals_scipys_test(n, share, rate):
    count = round(share * n)
    expected = binomtest(count, n, rate, alternative="greater").pvalue
    assert at_least(count, n, rate) == pytest.approx(expected, abs=1e-9)


def test_no_trials_and_impossible_counts():
    assert math.isnan(upper_bound(0, 0))
    assert all(math.isnan(v) for v in exact_interval(0, 0))
    for count, n in ((-1, 4), (5, 4)):
        with pytest.raises(InputError, match="not a rate"):
            at_least(count, n, 0.5)
        with pytest.raises(InputError, match="not a rate"):
            upper_bound(count, n)


@settings(max_examples=60, deadline=None)
@given(genuine=some, impostor=some)
def test_roc_is_counting(genuine, impostor):
    curve = roc(genuine, impostor)
    wins = np.mean([(g < i) + 0.5 * (g == i) for g in genuine for i in impostor])
    assert curve.auc == pytest.approx(wins)
    for threshold, fpr, tpr in zip(curve.thresholds, curve.fpr, curve.tpr, strict=True):
        assert fpr == np.mean(np.array(impostor) <= threshold)
        assert tpr == np.mean(np.array(genuine) <= threshold)
    assert curve.fpr[0] == curve.tpr[0] == 0
    assert curve.fpr[-1] == curve.tpr[-1] == 1
    for rate in (0.001, 0.01, 0.3, 1.0):
        threshold = curve.threshold_at(rate)
        assert np.mean(np.array(impostor) <= threshold) <= rate
        assert curve.tpr_at(rate) <= np.mean(np.array(genuine) <= threshold) + 1e-12


unseen = st.lists(
    st.one_of(st.sampled_from([0.1, 0.2, 0.3, math.nan]), st.floats(0, 1)), min_size=1, max_size=30
)


@given(
    unseen, unseen, st.lists(st.one_of(st.sampled_from([0.0, 0.01, 0.1, 1.0]), st.floats(0, 1)), max_size=4)
)
def test_without_its_curve_a_roc_is_the_same_to_the_last_bit(genuine, impostor, fprs):
    curve = roc(genuine, impostor)
    assert auc_and_tpr(genuine, impostor, fprs) == [curve.auc, *map(curve.tpr_at, fprs)]


@pytest.mark.parametrize("n", [7, 100, 300])
def test_as_many_impostors_as_a_rate_allows_lie_below_the_threshold(n):
    """Rates that are a number of impostors, which a floating quotient may miss."""
    rng = np.random.default_rng(n)
    genuine, impostor = rng.random(50), rng.random(n)
    fprs = [k / n for k in range(n + 1)]
    assert auc_and_tpr(genuine, impostor, fprs)[1:] == [roc(genuine, impostor).tpr_at(f) for f in fprs]


def test_faces_that_were_not_there_never_match():
    curve = roc([0.1, math.nan], [0.5, math.nan])
    assert curve.tpr[-1] == 0.5
    assert curve.auc == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert sweep([0.2, math.nan], [0.1, 0.3, 9.0]).tolist() == [0, 0.5, 0.5]
    assert cmc([1, 3, math.nan, 0], 3).tolist() == [0.25, 0.25, 0.5]


def test_calibration_on_known_distributions():
    rng = np.random.default_rng(1)
    genuine, impostor = rng.normal(0.2, 0.05, 4000), rng.normal(0.6, 0.1, 4000)
    found = calibrate_threshold(genuine, impostor, 0.01)
    assert found.threshold == pytest.approx(0.6 - 2.326 * 0.1, abs=0.02)
    assert np.mean(impostor <= found.threshold) <= 0.01
    assert found.tpr > 0.99
    # both normal: the equal error rate is where (t - 0.2)/0.05 = (0.6 - t)/0.1
    assert found.eer_threshold == pytest.approx(1 / 3, abs=0.02)
    assert found.eer == pytest.approx(0.0038, abs=0.003)
    assert found.reason == ""


def test_calibration_with_too_little_says_so():
    none = calibrate_threshold([0.1], [])
    assert math.isnan(none.threshold)
    assert "two persons" in none.reason
    assert "two pictures" in calibrate_threshold([], [0.5]).reason
    few = calibrate_threshold([0.1, 0.2], [0.5, 0.6])
    assert "only 2 impostor" in few.reason
    assert 0.2 < few.threshold <= 0.5


def test_bootstrap_draws_persons():
    rng = np.random.default_rng(2)
    values = rng.normal(0, 1, 40)
    groups = np.repeat(np.arange(40), 25)
    repeated = np.repeat(values, 25)  # 25 equal pictures a person: no more is known than from 40 values
    low, high = bootstrap_interval(lambda rows: float(repeated[rows].mean()), groups, seed=3)
    assert (high - low) == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.15)
    assert low < values.mean() < high
    assert (low, high) == bootstrap_interval(lambda rows: float(repeated[rows].mean()), groups, seed=3)
    assert math.isnan(bootstrap_interval(lambda rows: 1.0, ["one", "one"])[0])
    assert math.isnan(bootstrap_interval(lambda rows: math.nan, ["a", "b"])[0])

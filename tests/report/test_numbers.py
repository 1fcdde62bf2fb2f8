"""Numbers are written with what they carry: no false zero, no rounded-down bound."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.report import numbers
from defacedask.report.counts import median_interval


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0"),
        (0.0, "0"),
        (1.234, "1.23"),
        (-45.72, "−45.7"),
        (-1038.97, "−1\u202f039"),
        (3e-5, "3e−5"),
        (-0.004, "−4e−3"),
        (12345678.0, "1.23e7"),
        (math.inf, "∞"),
        (math.nan, "–"),
        (None, "–"),
        (pd.NA, "–"),
    ],
)
def test_percent(number, written):
    assert numbers.percent(number) == written


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != 0))
def test_only_zero_is_written_as_zero_and_the_sign_stays(number):
    written = numbers.percent(number)
    assert float(written.replace("−", "-").replace("\u202f", "")) != 0
    assert (written[0] == "−") == (number < 0)


@given(st.integers(1, 400))
def test_bounds_are_never_rounded_down(n):
    exact = 1 - 0.05 ** (1 / n)
    assert float(numbers.bound(exact).removesuffix("\u202f%")) >= 100 * exact - 1e-6


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [(0, 0.1323, "0 to 14"), (0.8677, 1, "86 to 100"), (0.0103, 0.27, "1 to 27"), (0, 0.00123, "0.0 to 0.2")],
)
def test_intervals_are_rounded_outwards(low, high, written):
    assert numbers.interval(low, high) == f"{written}\u202f%"


def test_few_cases_have_no_decimals():
    assert [numbers.rate(24 / 26, n) for n in (26, 260, None)] == ["92\u202f%", "92.3\u202f%", "92.3\u202f%"]
    assert numbers.rate(1 / 26, 26) == "4\u202f%"


def test_known_bounds():
    assert [numbers.bound(1 - 0.05 ** (1 / n)) for n in (119, 62, 8)] == [
        "2.5\u202f%",
        "4.8\u202f%",
        "32\u202f%",
    ]


@pytest.mark.parametrize(
    ("number", "written"), [(0.3333333, "0.3333"), (1234567.0, "1.235e6"), (-70.05, "−70.05")]
)
def test_value(number, written):
    assert numbers.value(number) == written


def test_the_interval_of_a_median_covers_as_often_as_it_says():
    """Skewed values, nine of them: order statistics must cover the true median in at least 95 % of draws."""
    draws = np.random.default_rng(1).lognormal(0, 2, (4000, 9))
    covered = [low <= 1.0 <= high for _, low, high in map(median_interval, draws)]
    assert 0.95 <= np.mean(covered) <= 0.985  # the next narrower pair would cover 82 %


def test_too_few_for_an_interval():
    middle, low, high = median_interval(np.array([1.0, 2, 3, 4, 5]))
    assert middle == 3
    assert math.isnan(low)
    assert math.isnan(high)
    assert median_interval(np.arange(6.0))[1:] == (0.0, 5.0)

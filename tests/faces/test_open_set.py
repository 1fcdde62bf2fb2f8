"""Open-set rates, a gallery of a million and paired differences, where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from defacedask.faces.million import rank_one_among
from defacedask.faces.open_set import Searches, nearest_stranger, open_set
from defacedask.faces.paired import area, auc_difference, auc_interval
from defacedask.faces.rates import roc
from defacedask.faces.verification import BestScores


def some(count, seed, apart, *, hubs=0.3):
    """One case a person; distances normal, the own one ``apart`` deviations nearer, each probe at its own mean."""
    rng = np.random.default_rng(seed)
    names = tuple(f"p{k:03d}" for k in range(count))
    values = rng.normal(size=(count, count))
    values[np.diag_indices(count)] -= apart
    values += hubs * rng.normal(size=(count, 1))
    return BestScores(names, names, names, 10.0 + values)


def in_a_million(apart):
    def named(x):
        return math.exp(999_999 * math.log1p(-min(norm.cdf(x), 1 - 1e-15))) * norm.pdf(x + apart)

    return quad(named, -12, 8, limit=500)[0]


def test_fnir_counts_what_is_missed_at_the_limit_of_the_strangers():
    # ten searches of strangers: the nearest two lie at 1 and 2; one in ten may be named, so the limit is below 2
    stranger = np.array([1.0, 2, 3, 3, 3, 3, 3, 3, 3, 3])
    own = np.array([0.5, 1.9, 2.0, 2.5, math.nan, 1.5, 1.5, 1.5, 1.5, 1.5])
    first = np.ones(10, bool)
    first[5] = False  # another person is nearer than the own
    one = Searches(tuple("abcdefghij"), own, first, stranger)
    found = open_set(one, repeats=50)
    assert found["fnir_at_0.1"] == pytest.approx(0.4)  # 2.0, 2.5, no face, and not the first
    assert found["fnir_at_0.1_low"] <= 0.4 <= found["fnir_at_0.1_high"]
    assert math.isnan(found["fnir_at_0.01"])
    assert "FNIR at 1 % FPIR cannot be told from 10 non-mate searches (at least 100 needed)" in found["note"]


def test_nobody_and_everybody_missed_have_exact_intervals():
    far, near = np.full(100, 5.0), np.full(100, 0.1)
    names = tuple(f"{k}" for k in range(100))
    yes = open_set(Searches(names, near, np.ones(100, bool), far), repeats=20)
    no = open_set(Searches(names, np.full(100, math.nan), np.zeros(100, bool), far), repeats=20)
    assert (yes["fnir_at_0.01"], yes["fnir_at_0.01_low"]) == (0, 0)
    assert yes["fnir_at_0.01_high"] == pytest.approx(1 - 0.025 ** (1 / 100))
    assert (no["fnir_at_0.01"], no["fnir_at_0.01_high"]) == (1, 1)
    empty = open_set(Searches((), np.zeros(0), np.zeros(0, bool), np.zeros(0)))
    assert math.isnan(empty["fnir_at_0.1"])


def test_fnir_of_known_distributions():
    """Own distances ``apart`` below the others: the rate lies within its interval in nearly all cohorts."""
    apart, count = 4.0, 200
    # named if below the lowest tenth of minima of 199 others, and the nearest: the limit decides
    limit = norm.ppf(1 - 0.9 ** (1 / (count - 1)))
    truth = 1 - norm.cdf(limit + apart)
    held = 0
    for seed in range(12):
        best = some(count, seed, apart, hubs=0.0)
        found = open_set(Searches.of(best), repeats=60)
        held += found["fnir_at_0.1_low"] <= truth <= found["fnir_at_0.1_high"]
    assert held >= 9


def test_the_nearest_stranger_is_nobody_where_there_is_nothing():
    nan = math.nan
    best = BestScores(tuple("xyz"), tuple("abc"), ("a", "b"), np.array([[0.1, 0.7], [nan, 0.2], [0.3, 0.6]]))
    assert np.array_equal(nearest_stranger(best), [0.7, nan, 0.3], equal_nan=True)


@pytest.mark.parametrize("apart", [0.0, 3.5, 6.5])
def test_a_million_is_told_from_normal_distances(apart):
    truth = in_a_million(apart)
    found = rank_one_among(some(100, 3, apart), repeats=40)
    assert found["rank_1_million_low"] <= truth <= found["rank_1_million_high"]
    assert found["rank_1_million"] == pytest.approx(truth, abs=0.08)
    # a hundred cases of which none is named still allow some
    assert found["rank_1_million_high"] >= 1 - 0.025 ** (1 / 100) - 1e-9


def test_a_million_is_not_told_from_few():
    found = rank_one_among(some(9, 0, 5.0))
    assert math.isnan(found["rank_1_million"])
    assert "from 9 persons" in found["note"]
    assert "too few comparisons" in rank_one_among(some(12, 0, 5.0), repeats=20)["note"]
    wide = rank_one_among(some(24, 0, 5.0), repeats=60)
    assert wide["rank_1_million_high"] - wide["rank_1_million_low"] > 0.5  # and it says so


def test_a_pair_cancels_what_both_share():
    """Persons of whom some are easy for both: the difference is nearer than the two AUCs allow by themselves."""
    count = 60
    rng = np.random.default_rng(1)
    names = tuple(f"p{k:02d}" for k in range(count))
    easy = 3.0 * rng.random(count)
    noise = rng.normal(size=(count, count))

    def cases(less):
        values = noise + 0.2 * rng.normal(size=(count, count))
        values[np.diag_indices(count)] -= easy - less
        return BestScores(names, names, names, values)

    one, other, same = cases(0.0), cases(1.0), cases(0.0)
    found = auc_difference(one, other, repeats=200)
    assert found["difference"] == pytest.approx(found["auc"] - found["auc_other"])
    assert found["difference_low"] > 0
    nothing = auc_difference(one, same, repeats=200)
    assert nothing["difference_low"] < 0 < nothing["difference_high"]
    # drawn apart, the same difference is as uncertain as two cohorts of strangers
    apart = auc_difference(one, BestScores(names, names, names, cases(0.0).values[::-1, ::-1]), repeats=200)
    assert nothing["difference_high"] - nothing["difference_low"] < 0.7 * (
        apart["difference_high"] - apart["difference_low"]
    )


def test_only_cases_that_both_have_are_paired():
    one = some(8, 0, 2.0)
    fewer = BestScores(one.cases[:7], one.own[:7], one.persons, one.values[:7])
    assert auc_difference(one, fewer, repeats=20)["pairs"] == 7
    assert auc_difference(one, fewer, repeats=20)["difference"] == 0
    tiny = BestScores(one.cases[:5], one.own[:5], one.persons, one.values[:5])
    assert math.isnan(auc_difference(one, tiny, repeats=20)["difference_low"])


def test_the_area_is_that_of_the_curve():
    rng = np.random.default_rng(2)
    same, other = rng.integers(0, 9, 30).astype(float), rng.integers(2, 12, 70).astype(float)
    same[3] = other[5] = math.nan
    assert area(same, other) == pytest.approx(roc(same, other).auc)
    assert math.isnan(area(same, np.zeros(0)))


def test_intervals_of_an_area_hold_the_truth():
    """Of normal distances: AUC is the normal distribution's value at their distance over the root of two."""
    truth = norm.cdf(1.5 / math.sqrt(2))
    spans = [auc_interval(some(40, seed, 1.5, hubs=0.0), repeats=100)[1:] for seed in range(20)]
    assert sum(low <= truth <= high for low, high in spans) >= 16

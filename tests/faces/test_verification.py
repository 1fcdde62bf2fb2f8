"""Cases, not pictures: the best of all tries, against what as many tries give by chance."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from defacedask.faces.identification import Scores, Sighting
from defacedask.faces.rates import roc
from defacedask.faces.verification import BestScores, best_scores, curves, join, measurable, verification


def some(n: int, seed: int = 0, near: float = 0.35, far: float = 0.55) -> BestScores:
    """Cases of n persons: distances of about ``near`` to their own, ``far`` to the others."""
    rng = np.random.default_rng(seed)
    values = rng.normal(far, 0.07, (n, n))
    values[np.arange(n), np.arange(n)] = rng.normal(near, 0.07, n)
    names = tuple(f"p{k:02d}" for k in range(n))
    return BestScores(tuple(f"case {p}" for p in names), names, names, values)


def test_a_case_is_its_best_picture():
    probes = tuple(
        Sighting(person, view, None, facts={"case": case})
        for person, case in (("a", "a1"), ("a", "a2"), ("b", "b1"))
        for view in ("front", "side")
    )
    nan = math.nan
    values = np.array([[0.4, 0.9], [0.3, 0.8], [nan, 0.2], [nan, nan], [0.5, 0.5], [nan, 0.1]])
    best = best_scores(Scores(probes, ("a", "b"), values))
    assert best.cases == ("a1", "a2", "b1")
    assert np.array_equal(best.values, [[0.3, 0.8], [nan, 0.2], [0.5, 0.1]], equal_nan=True)
    assert np.array_equal(best.genuine, [0.3, nan, 0.1], equal_nan=True)
    assert np.array_equal(best.ranks, [1, nan, 1], equal_nan=True)
    assert best.chance(0.5) == pytest.approx(2 / 3)
    found = verification(best, limit=0.3, tolerance=0.25, repeats=20)
    assert (found["cases"], found["judged"], found["with_face"], found["rank_1"]) == (3, 3, 3, 2)
    assert (found["matched"], found["matched_tolerance"]) == (2, 1)


def test_a_person_that_the_gallery_lacks_is_not_judged():
    best = BestScores(("x", "y"), ("a", "z"), ("a", "b"), np.array([[0.1, 0.6], [0.2, 0.7]]))
    found = verification(best, limit=0.3, repeats=20)
    assert (found["cases"], found["judged"], found["matched"], found["impostor"]) == (2, 1, 1, 3)
    assert found["chance"] == pytest.approx(1 / 3)
    # b's only picture could not be compared with b; another image of a says nothing about that
    one = BestScores(
        ("x", "y"), ("a", "b"), ("a", "b"), np.array([[0.1, 0.6], [0.7, math.nan]]), frozenset("y")
    )
    both = join([one, BestScores(("x",), ("a",), ("a", "b"), np.array([[0.3, 0.2]]))])
    assert verification(both, limit=0.3, repeats=20)["judged"] == 1


def test_rates_that_so_few_comparisons_cannot_show_are_not_told():
    few, more, many = (verification(some(n), limit=0.4, repeats=20) for n in (10, 11, 33))
    assert math.isnan(few["tpr_at_0.01"])
    assert "1 % FPR cannot be told from 90 impostor comparisons (at least 100 needed)" in few["note"]
    assert "0.1 % FPR cannot be told" in few["note"]
    assert 0 <= more["tpr_at_0.01"] <= 1
    assert math.isnan(more["tpr_at_0.001"])
    assert math.isnan(more["tpr_at_0.001_low"])
    assert many["note"] == ""
    assert many["tpr_at_0.001"] <= many["tpr_at_0.01"]
    assert measurable(0.001, 1000)
    assert not measurable(0.001, 999)


def test_intervals_hold_the_estimate_and_shrink_with_cases():
    widths = []
    for n in (12, 48):
        found = verification(some(n, near=0.45), limit=0.4, repeats=200)
        for name in ("auc", "tpr_at_0.01"):
            assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
        widths.append(found["auc_high"] - found["auc_low"])
    assert widths[1] < widths[0]
    assert verification(some(12), limit=0.4, seed=1) == verification(some(12), limit=0.4, seed=1)
    alone = verification(some(1), limit=0.4)
    assert math.isnan(alone["auc"])
    assert alone["note"] == "nobody else in the gallery to compare with"


def test_nobody_and_everybody_have_intervals_too():
    """A bootstrap of 26 times nothing is nothing, which 26 persons do not show."""
    near, far = (verification(some(26, near=at, far=9.0), limit=0.4, repeats=40) for at in (0.1, 30.0))
    exact = 1 - 0.025 ** (1 / 26)
    assert (near["tpr_at_0.01"], near["tpr_at_0.01_low"], near["tpr_at_0.01_high"]) == (
        1,
        pytest.approx(1 - exact),
        1,
    )
    assert (far["tpr_at_0.01"], far["tpr_at_0.01_low"]) == (0, 0)
    assert far["tpr_at_0.01_high"] == pytest.approx(exact)
    assert near["auc"] == 1
    assert math.isnan(near["auc_low"])
    assert math.isnan(verification(some(5, near=0.5), limit=0.4, repeats=40)["auc_low"])
    many = some(30, near=0.5)
    blind = frozenset(many.cases[4:])  # probes of thirty, of whom the gallery shows four
    assert math.isnan(verification(dataclasses.replace(many, absent=blind), limit=0.4, repeats=40)["auc_low"])
    assert not math.isnan(verification(some(6, near=0.5), limit=0.4, repeats=40)["auc_low"])


def test_a_large_cohort_is_thinned_for_the_interval_only():
    best = some(120, near=0.45)
    found = verification(best, limit=0.4, repeats=60)
    assert found["impostor"] == 120 * 119
    assert found["auc"] == roc(best.genuine, best.values[best.others]).auc
    assert found["auc_low"] < found["auc"] < found["auc_high"]


def test_more_tries_find_more_strangers():
    tries = [some(20, seed=k, near=0.55) for k in range(8)]  # nobody is anybody
    one, all_of_them = tries[0], join(tries)
    assert (all_of_them.values <= one.values).all()
    first, last = (verification(b, limit=0.42, repeats=20) for b in (one, all_of_them))
    assert last["matched"] > first["matched"]
    assert last["chance"] > 4 * first["chance"]  # so the matches prove nothing
    assert last["matched"] / 20 == pytest.approx(last["chance"], abs=0.25)


def test_joined_recognisers_count_each_by_its_own_limit():
    names = ("a", "b")
    first = BestScores(names, names, names, np.array([[0.2, 0.5], [0.6, 0.5]]))
    second = BestScores(("b",), ("b",), ("b", "c"), np.array([[0.9, 2.0]]))
    both = join([first, second], [0.4, 1.0])
    assert both.persons == ("a", "b", "c")
    assert both.genuine.tolist() == [0.5, 0.9]
    assert verification(both, limit=1.0, tolerance=math.nan, repeats=20)["matched"] == 2
    assert math.isnan(verification(both, limit=1.0, tolerance=math.nan, repeats=20)["chance_tolerance"])


def test_curves_rise_from_nothing_to_all():
    best = some(40, near=0.45)
    found = curves(best)
    fpr, tpr = found["roc"]
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    assert (fpr[-1], tpr[-1]) == (1, 1)
    line = roc(best.genuine, best.values[best.others])
    for wanted in (0.0, 0.01, 0.1, 0.5):  # a staircase read to the left loses nothing
        assert tpr[np.flatnonzero(fpr <= wanted)[-1]] == line.tpr_at(wanted)
    rank, share = found["cmc"]
    assert rank.tolist() == list(range(1, 41))
    assert share[0] == pytest.approx((best.ranks == 1).mean())
    assert share[-1] == 1
    blind = BestScores(best.cases, best.own, best.persons, np.full((40, 40), np.nan))
    assert curves(blind)["roc"][1][:-1].max() == 0
    assert (curves(blind)["cmc"][1] == 0).all()

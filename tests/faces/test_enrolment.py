"""Enrolment on made encodings: persons at known places, a defacer that moves everybody to one place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from defacedask.errors import InputError
from defacedask.faces.enrolment import Classifier, Enrolled, Scale, centres, enrolled, train
from defacedask.faces.identification import Sighting
from defacedask.faces.rates import roc

LENGTH, MANY = 32, 12


def pictures(person, count, seed, *, kept=1.0, noise=0.1, case="", gone=0.0):
    """Pictures of a person: ``kept`` of the own place, ``gone`` towards a place that is the same for all."""
    own = np.random.default_rng(int(person[1:])).normal(size=LENGTH)
    rng = np.random.default_rng([seed, int(person[1:])])
    away = np.random.default_rng(999).normal(size=LENGTH)
    return [
        Sighting(
            person,
            f"v{k}",
            kept * own + gone * away + noise * rng.normal(size=LENGTH),
            True,
            {"case": case or person, "attack": f"gone {gone} kept {kept}"},
        )
        for k in range(count)
    ]


def cohort(count, views, seed, **options):
    return [one for k in range(count) for one in pictures(f"p{k:02d}", views, seed, **options)]


def made(count=MANY, **options):
    return enrolled(cohort(count, 25, 1), cohort(count, 4, 2), threshold=0.4, stranger=0.6, **options)


def auc(one, probes):
    scores, _ = one.score(probes)
    return roc(scores.genuine, scores.impostor).auc


def test_a_classifier_is_the_weighted_ridge_regression_of_each_person():
    rng = np.random.default_rng(0)
    owners = ["a"] * 3 + ["b"] * 7 + ["c"] * 5
    codes = rng.normal(size=(15, 6)) + np.repeat(rng.normal(size=(3, 6)), [3, 7, 5], axis=0)
    found = train(codes, owners, strength=0.5)
    # the same by another way: least squares of rows, with the penalty as more rows and the constant free
    weight = np.array([1 / (3 * owners.count(o)) for o in owners])
    middle = weight @ codes
    away = codes - middle
    penalty = 0.5 * np.trace((weight[:, None] * away).T @ away) / 6
    new = rng.normal(size=(4, 6))
    for column, person in enumerate(found.persons):
        wanted = np.array([o == person for o in owners], float)
        rows = np.vstack([np.sqrt(weight)[:, None] * away, np.sqrt(penalty) * np.eye(6)])
        fit = np.linalg.lstsq(
            rows, np.append(np.sqrt(weight) * (wanted - weight @ wanted), np.zeros(6)), rcond=None
        )[0]
        assert found.scores(new - found.middle)[:, column] == pytest.approx((new - middle) @ fit)
    with pytest.raises(InputError, match="two persons"):
        train(codes[:3], owners[:3])


def test_how_far_a_score_stands_out_is_of_the_others_alone():
    one = Classifier(tuple("abcd"), np.array([[1.0], [2.0], [4.0], [9.0]]), np.zeros(1))
    others = np.array([1.0, 2.0, 4.0])
    assert one.outstanding(np.ones((1, 1)))[0, 3] == pytest.approx((9 - others.mean()) / others.std(ddof=1))


def test_originals_at_unseen_views_are_named_and_strangers_are_not():
    one = made()
    probes = cohort(MANY, 4, 3)
    scores, strange = one.score(probes)
    assert (scores.genuine < 0.4).all()
    assert auc(one, probes) == 1
    # whoever is not enrolled is nobody: at the limit of 1 % of comparisons, few pictures are near anyone
    assert (strange < 0.4).mean() < 0.2
    assert (scores.impostor < 0.4).mean() < 0.03
    assert np.median(one.strangers(probes)) < 1


def test_a_weak_defacer_is_seen_through_and_a_strong_one_is_not():
    """Pictures that keep a fifth of a person, and such as keep nothing, both far from where anybody is enrolled."""
    weak = cohort(MANY, 4, 4, kept=0.2, gone=3.0)
    strong = cohort(MANY, 4, 4, kept=0.0, gone=3.0)
    one, blind = made(middles=centres([*weak, *strong, *cohort(MANY, 4, 2)])), made()
    near = {p.person: p.encoding for p in cohort(MANY, 1, 1)}
    nearest = np.array([[np.linalg.norm(w.encoding - code) for code in near.values()] for w in weak])
    own = np.array([list(near).index(w.person) for w in weak])
    rows = np.arange(len(weak))
    others = np.ones_like(nearest, bool)
    others[rows, own] = False
    assert auc(one, weak) > 0.9
    assert auc(blind, weak) < auc(one, weak)  # what all of them have in common names one person for all
    assert auc(one, weak) > roc(nearest[rows, own], nearest[others]).auc
    assert abs(auc(one, strong) - 0.5) < 0.1


def test_the_scale_meets_threshold_and_median_and_stays_positive():
    rng = np.random.default_rng(5)
    same, other = rng.normal(6, 1, 200), rng.normal(0, 1, 20_000)
    scale = Scale.of(same, other, 0.4, 0.6, 0.01)
    assert (scale(other) <= 0.4).mean() == pytest.approx(0.01, abs=1e-3)
    assert np.median(scale(other)) == pytest.approx(0.6)
    assert (np.diff(scale(np.linspace(-400, 400, 99))) <= 0).all()
    assert scale(1e9) >= 0
    for threshold, stranger in ((math.nan, 0.6), (0.0, 0.6), (0.6, 0.4)):
        assert Scale.of(same, other, threshold, stranger, 0.01) is None
    assert Scale.of(same, np.zeros(0), 0.4, 0.6, 0.01) is None


def test_too_few_persons_and_faceless_pictures():
    assert made(3) is None
    blind = [
        Sighting("p00", "v", None, False, {"case": "p00"}),
        Sighting("p01", "v", "face id", True, {"case": "p01"}),
    ]
    scores, strange = made().score(blind)
    assert np.isnan(scores.values).all()
    assert np.isnan(strange).all()


def test_a_second_scan_is_named_without_the_first():
    """Everybody was scanned twice but the last; each scan has a mark of its own, which must not be learnt."""
    both, numbers = [], {}
    for k in range(8):
        for scan in (1, 2) if k < 7 else (1,):
            case = f"p{k:02d}-{scan}"
            numbers[f"p{k:02d}", case] = scan
            mark = np.random.default_rng([k, scan]).normal(size=LENGTH)
            for one in pictures(f"p{k:02d}", 12, scan, kept=0.0, case=case):
                both.append(Sighting(one.person, one.view, one.encoding + mark, True, one.facts))
    one = enrolled(both, both, threshold=0.4, stranger=0.6, numbers=numbers)
    raw = Enrolled(one.whole, one.without, numbers) if one else None
    if raw is None:  # nothing but marks: no threshold need come of it
        raw = enrolled(both, both, threshold=0.4, stranger=0.6, numbers=None)
        raw = Enrolled({k: train(*_without(both, numbers, k)) for k in (1, 2)}, {}, numbers)
    scores, _ = raw.score(both)
    known = ~np.isnan(scores.genuine)
    assert not known[np.array([p.person == "p07" for p in both])].any()
    assert 0.2 < roc(scores.genuine[known], scores.impostor).auc < 0.8


def _without(both, numbers, left):
    some = [p for p in both if p.person == "p07" or numbers[p.person, p.facts["case"]] != left]
    return np.array([p.encoding for p in some]), [p.person for p in some]


def test_a_probe_meets_no_classifier_that_saw_its_own_scan():
    """Whatever the probe's own scan shows changes nothing of how it is named; its other scan does."""

    def named(first, second):
        both, numbers = [], {}
        for k in range(MANY):
            for scan, kept in ((1, first), (2, second)):
                case = f"c{k:02d}-{scan}"
                numbers[f"p{k:02d}", case] = scan
                both += pictures(f"p{k:02d}", 25, scan, case=case, kept=kept if k == 3 else 1.0)
        probe = pictures("p03", 1, 9, case="c03-1")
        one = enrolled(both, both, threshold=0.4, stranger=0.6, numbers=numbers)
        return Enrolled(one.whole, one.without, numbers).score(probe)[0].values

    true = named(1.0, 1.0)
    np.testing.assert_array_equal(true, named(-2.0, 1.0))
    assert np.abs(true - named(1.0, -2.0)).max() > 0.1


def test_a_head_that_is_another_persons_is_named_after_that_one_in_second_scans():
    both, probes, numbers = [], [], {}
    for k in range(MANY):
        for scan in (1, 2):
            case, person = f"c{k:02d}-{scan}", f"p{k:02d}"
            numbers[person, case] = scan
            both += pictures(person, 25, scan, case=case)
            probes += [
                Sighting(person, one.view, one.encoding, True, {**one.facts, "case": case})
                for one in pictures(f"p{(k + 5) % MANY:02d}", 2, 9)
            ]
    one = enrolled(both, both, threshold=0.4, stranger=0.6, numbers=numbers)
    scores, _ = one.score(probes)
    nearest = [scores.persons[k] for k in np.argmin(scores.values, axis=1)]
    assert nearest == [f"p{(int(p.person[1:]) + 5) % MANY:02d}" for p in probes]

"""From views to cases, and what the positive control is worth."""

from __future__ import annotations

import pytest

from defacedask.tables import evidence
from defacedask.tables.derive import derive_tables, faces_detected
from defacedask.tables.evidence import Control, Rate
from defacedask.tables.files import as_table, empty_table

#: Tolerance of the recogniser of these rows.
OWN = {"r": 0.3}


def look(case="a", defacer="quickshear", attack="plain", distance=None, rank=None, **more):
    return {
        "case": case,
        "defacer": defacer,
        "modality": "CT",
        "recogniser": "r",
        "attack": attack,
        "view": "front",
        "level": 0.0,
        "detected": distance is not None,
        "distance_to_own": distance,
        "rank_of_own": rank,
        "gallery_size": 4,
    } | more


def table(*rows):
    return as_table("recognition", rows)


def test_one_view_is_enough_and_a_case_counts_once():
    rows = table(look(distance=0.5), look(view="side", distance=0.2), look("b"), look("b", view="side"))
    found = evidence.by_case(rows, OWN).set_index("case")
    assert found.matched.tolist() == [True, False]
    assert found.detected.tolist() == [True, False]
    assert found.distance["a"] == 0.2


def test_a_missing_distance_never_matches():
    assert not evidence.by_case(table(look(detected=True)), {"r": 9.0}).matched.any()


def test_the_larger_of_tolerance_and_calibrated_threshold_counts():
    rows = table(look(distance=0.35), look("b", distance=0.29))
    for threshold, expected in ((0.4, [True, True]), (0.2, [False, True]), (float("nan"), [False, True])):
        controls = as_table("controls", [control_row(threshold=threshold)])
        found = evidence.by_case(rows, OWN, evidence.limits(controls, OWN))
        assert found.matched.tolist() == expected


def control_row(**more):
    return {
        "modality": "CT",
        "recogniser": "r",
        "persons": 4,
        "persons_detected": 4,
        "positive_n": 4,
        "positive_matches": 4,
        "threshold": 0.4,
        "holds": True,
    } | more


def test_faces_detected_counts_attacks_apart_from_plain_views():
    rows = table(
        look(distance=0.6),
        look(attack="forced_crop", distance=0.1, detected=False),
        look("b", distance=0.2),
        look("b", attack="forced_crop", distance=0.7),
        look("c"),
    )
    row = faces_detected(rows, OWN).iloc[0]
    assert (row.cases, row.faces_detected, row.matches, row.matches_any_attack, row.attacks) == (
        3,
        2,
        1,
        2,
        2,
    )
    assert row.upper_bound_95 == pytest.approx(Rate(1, 3).upper)


def test_zero_of_n():
    rows = table(*(look(str(i), distance=0.9) for i in range(62)))
    assert faces_detected(rows, OWN).upper_bound_95[0] == pytest.approx(1 - 0.05 ** (1 / 62))


@pytest.mark.parametrize(
    ("detected", "matched", "calibrated", "state"),
    [
        ((10, 10), (10, 10), True, "ok"),
        ((10, 10), (7, 10), True, "weak"),
        ((10, 10), (4, 10), True, "void"),
        ((4, 10), (4, 4), True, "void"),
        ((1, 1), (1, 1), False, "weak"),
        ((0, 10), (0, 0), True, "void"),
    ],
)
def test_states_of_the_positive_control(detected, matched, calibrated, state):
    assert Control("r", "CT", Rate(*detected), Rate(*matched), 0.3, calibrated).state == state


def test_the_positive_control_from_rows_alone():
    rows = table(
        *(look(c, "original", distance=d) for c, d in (("a", 0.2), ("b", 0.5))), look("c", "original")
    )
    (found,) = evidence.positive_controls(evidence.originals(evidence.by_case(rows, OWN)), OWN)
    assert (found.detected, found.matched) == (Rate(2, 3), Rate(1, 2))


def test_one_person_alone_is_judged_at_the_tolerance():
    """Nobody else to calibrate on: the control is weak, not void, if the face matches itself."""
    row = control_row(
        persons=1,
        persons_detected=1,
        positive_n=1,
        positive_matches=0,
        threshold=None,
        holds=False,
        reason="one",
    )
    controls = as_table("controls", [row | {"positive_matches_at_tolerance": 1}])
    (found,) = evidence.positive_controls(table(), OWN, controls)
    assert (found.matched, found.limit, found.state) == (Rate(1, 1), 0.3, "weak")


def test_rank_one_weighs_cases_and_not_views():
    rows = table(
        look("a", distance=0.1, rank=1), *(look("b", view=str(i), distance=0.5, rank=3) for i in range(9))
    )
    share, chance, cases = evidence.rank_one(rows)
    assert (share, chance, cases) == (0.5, 0.25, 2)


def test_derived_tables_of_nothing_are_empty_tables():
    empty = {name: empty_table(name) for name in ("recognition", "radiomics", "controls")}
    for name, found in derive_tables(empty, OWN).items():
        assert list(found.columns) == list(empty_table(name).columns)
        assert not len(found)

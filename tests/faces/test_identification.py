from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from defacedask.faces.controls import controls
from defacedask.faces.detection import detection_table
from defacedask.faces.identification import Sighting, distances, identify, score
from defacedask.faces.rates import upper_bound
from defacedask.faces.verification import best_scores, verification

VIEWS = ("front", "left", "right")


def person_codes(n: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    """Persons about 0.7 apart, as dlib's encodings are."""
    rng = np.random.default_rng(seed)
    return {f"p{k:02d}": rng.normal(0, 0.7 / np.sqrt(2 * 128), 128) for k in range(n)}


def pictures(codes, noise=0.1, seed=1, detected=True, **facts) -> list[Sighting]:
    rng = np.random.default_rng(seed)
    return [
        Sighting(
            name, view, code + rng.normal(0, noise / np.sqrt(2 * 128), 128), detected, {"case": name, **facts}
        )
        for name, code in codes.items()
        for view in VIEWS
    ]


def test_distances_are_euclidean_or_the_recognisers_own():
    a, b = [np.array([0.0, 0]), None], [np.array([3.0, 4]), np.array([0.0, 1]), None]
    found = distances(a, b)
    assert found[0, :2].tolist() == [5, 1]
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 2]).all()
    assert distances(["kitten"], ["mitten", None], lambda x, y: float(x != y))[0, 0] == 1


def test_a_picture_is_scored_by_the_nearest_of_a_persons_pictures():
    known = [
        Sighting("a", "front", np.array([0.0])),
        Sighting("a", "left", np.array([10.0])),
        Sighting("b", "front", np.array([6.0])),
        Sighting("c", "front", None),
    ]
    probe = Sighting("a", "front", np.array([7.0]), True, {"defacer": "x"})
    scores = score([probe], known)
    assert scores.persons == ("a", "b")
    assert scores.values.tolist() == [[3.0, 1.0]]
    assert identify(scores) == [
        {
            "defacer": "x",
            "view": "front",
            "detected": True,
            "distance_to_own": 3.0,
            "rank_of_own": 2,
            "nearest_other": 1.0,
            "gallery_size": 2,
        }
    ]
    # compared with other views only: b has none left
    assert np.array_equal(score([probe], known, same_view=False).values, [[3.0, math.nan]], equal_nan=True)


def test_probe_without_a_face_or_without_its_person():
    known = [Sighting("a", "front", np.array([0.0])), Sighting("b", "front", np.array([1.0]))]
    blank, stranger = Sighting("a", "front", None), Sighting("z", "front", np.array([0.2]), True)
    rows = identify(score([blank, stranger], known))
    assert rows[0]["distance_to_own"] is rows[0]["rank_of_own"] is None
    assert rows[1]["distance_to_own"] is None
    assert rows[1]["nearest_other"] == pytest.approx(0.2)
    scores = score([blank, stranger], known)
    assert len(scores.genuine) == 1
    assert len(scores.impostor) == 3


def test_originals_never_meet_themselves():
    shots = pictures(person_codes())
    scores = score(shots, shots)
    assert np.nanmin(scores.genuine) > 0.02
    assert np.nanmin(score(shots, list(shots)).genuine) == 0  # what would happen without the rule


def test_controls_hold_where_people_can_be_told_apart():
    found = controls(pictures(person_codes()), tolerance=0.3)
    assert found["holds"]
    assert found["positive_matches"] == found["positive_rank_1"] == found["positive_n"] == 12
    assert found["negative_rate"] == 0
    assert 0.15 < found["calibration"].threshold < 0.7
    assert found["calibration"].auc > 0.999


def test_controls_fail_where_the_attack_does_not_work():
    codes = person_codes()
    # pictures that have nothing to do with the person
    rng = np.random.default_rng(5)
    noise = [Sighting(name, v, rng.normal(0, 0.06, 128), True) for name in codes for v in VIEWS]
    found = controls(noise)
    assert not found["holds"]
    assert "match themselves" in found["reason"]
    blind = [Sighting(name, v, None, False) for name in codes for v in VIEWS]
    assert "detected on 0 of 12" in controls(blind)["reason"]
    one = pictures({"only": np.zeros(128)})
    assert "no threshold" in controls(one)["reason"]


def test_planted_defacers_end_where_they_must():
    codes = person_codes()
    originals = pictures(codes, defacer="original")
    threshold = controls(originals)["calibration"].threshold
    identity = score(pictures(codes, seed=1, defacer="identity"), originals)
    blur = score(pictures(codes, noise=0.2, seed=8), originals)
    strangers = person_codes(seed=99)
    swapped = score(pictures(dict(zip(codes, strangers.values(), strict=True)), seed=9), originals)
    blank = score([Sighting(p, v, None) for p in codes for v in VIEWS], originals)
    rates = [np.mean(np.nan_to_num(s.genuine, nan=9) <= threshold) for s in (identity, blur, swapped, blank)]
    assert rates[0] == 1
    assert rates[1] > 0.95
    assert rates[2] < 0.05
    assert rates[3] == 0
    found = [
        verification(best_scores(s), limit=threshold, repeats=50) for s in (identity, blur, swapped, blank)
    ]
    assert [f["matched"] for f in found[:2]] == [12, 12]
    assert found[0]["tpr_at_0.01"] == 1
    assert found[2]["auc"] == pytest.approx(0.5, abs=0.2)
    assert found[2]["matched"] <= 1
    assert (found[3]["tpr_at_0.01"], found[3]["auc"]) == (0, 0.5)
    assert (found[3]["with_face"], found[3]["judged"], found[3]["rank_1"]) == (0, 12, 0)


def test_the_studys_table():
    rows = [
        # case, defacer, attack, view, detected, distance, rank
        ("a", "blur", "plain", "front", True, 0.25, 1),
        ("a", "blur", "plain", "left", True, 0.40, 1),
        ("b", "blur", "plain", "front", False, None, None),
        ("b", "blur", "forced_crop", "front", False, 0.20, 1),
        ("c", "blur", "plain", "front", True, 0.45, 2),
        ("a", "blank", "plain", "front", False, None, None),
        ("b", "blank", "plain", "front", False, None, None),
        ("c", "blank", "plain", "front", False, None, None),
    ]
    names = ["case", "defacer", "attack", "view", "detected", "distance_to_own", "rank_of_own"]
    table = pd.DataFrame(rows, columns=names).assign(modality="CT", recogniser="face_recognition")
    found = detection_table(table, tolerance=0.3, threshold=0.42).set_index("defacer")
    blur, blank = found.loc["blur"], found.loc["blank"]
    assert (blur["cases"], blur["faces_detected"], blur["matches"], blur["rank_1"]) == (3, 2, 1, 1)
    assert blur["matches_calibrated"] == 1
    assert (blur["matches_any_attack"], blur["attacks"]) == (2, 2)
    assert blur["upper_bound_95"] == upper_bound(1, 3)
    assert (blank["cases"], blank["faces_detected"], blank["matches"]) == (3, 0, 0)
    assert blank["upper_bound_95"] == pytest.approx(1 - 0.05 ** (1 / 3))
    uncalibrated = detection_table(table).set_index("defacer")
    assert uncalibrated["matches_calibrated"].isna().all()

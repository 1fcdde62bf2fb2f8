"""The forced crop in both forms: a crop that carries the person shows in the one and not in the other."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from defacedask.errors import ConfigError
from defacedask.faces.crops import Known, crop_distances
from defacedask.faces.recognition import Box
from defacedask.flow.result import TaskResult
from defacedask.flow.stages.crops import read_known, write_known
from defacedask.io.dicom.model import Case
from defacedask.report.run import read_run
from defacedask.report.sections.crops import crops_table, crops_words
from defacedask.runs.crops import _known
from defacedask.runs.face_settings import check_matrix
from defacedask.tables.crops import matrix_rows
from defacedask.tables.files import write_tables

PERSONS = [f"P{k}" for k in range(8)]
VIEWS = ("front", "up")


class Eye:
    """Encodes what it is told to look at: the crop alone, or the picture alone."""

    name, remote, tolerance = "eye", False, math.nan

    def __init__(self, sees):
        self.sees, self.asked = sees, 0

    def encode(self, image, boxes, landmarks=None):
        self.asked += len(boxes)
        crop = [np.asarray(points, float).ravel() for points in landmarks]
        seen = [np.array([float(image.mean())]) for _ in boxes]
        return crop if self.sees == "crop" else seen

    def distance(self, a, b):
        return float(np.abs(np.asarray(a) - np.asarray(b)).sum())


def marks(k):
    """Landmarks of one person: no two persons' eyes are equally far apart."""
    return np.array([[50.0, 60.0], [60.0 + k, 60.0]])


def picture(k):
    return np.full((80, 80, 3), 10 * k, np.uint8)


def gallery(eye):
    return {
        person: {
            view: Known((10, 70, 70, 10), marks(k), eye.encode(picture(k), [Box(0, 1, 1, 0)], [marks(k)])[0])
            for view in VIEWS
        }
        for k, person in enumerate(PERSONS)
    }


def results(eye, probes):
    """What the stage leaves of heads whose pictures are given."""
    known = gallery(eye)
    out = []
    for k, person in enumerate(PERSONS):
        matrix, plain = crop_distances(eye, dict.fromkeys(VIEWS, probes[k]), known, person)
        crops = {"modality": "CT", "recogniser": "eye", "person": person, "matrix": matrix, "plain": plain}
        out.append(TaskResult("crops", f"c{k}", "cut", "k", facts=json.loads(json.dumps({"crops": [crops]}))))
    return out


def judged(eye, probes):
    (row,) = matrix_rows(results(eye, probes), {("CT", "eye"): 0.5}, len(PERSONS), 0, repeats=20)
    return row


def test_a_crop_that_carries_the_person_is_no_recognition():
    """All heads are one blank picture: nothing of anybody is left, but where the own original's eyes were."""
    row = judged(Eye("crop"), [picture(0)] * len(PERSONS))
    assert (row["plain_auc"], row["plain_rank_1"], row["plain_chance"]) == (1.0, 8, 0.0)
    assert (row["auc"], row["chance"]) == (0.5, 1.0)
    assert row["matched"] == row["cases"] == 8


def test_what_the_picture_shows_is_found_by_both_forms():
    row = judged(Eye("picture"), [picture(k) for k in range(len(PERSONS))])
    assert (row["auc"], row["plain_auc"], row["rank_1"], row["plain_rank_1"]) == (1.0, 1.0, 8, 8)
    assert row["chance"] == row["plain_chance"] == 0


def test_a_blank_picture_shows_nobody_in_either_form():
    row = judged(Eye("picture"), [picture(0)] * len(PERSONS))
    assert row["auc"] == row["plain_auc"] == 0.5


def test_heads_that_could_not_be_compared_are_said():
    found = results(Eye("picture"), [picture(k) for k in range(len(PERSONS))])
    found[2] = TaskResult("crops", "c2", "cut", "k", "failed", "it broke.")
    (row,) = matrix_rows(found, {("CT", "eye"): 0.5}, 8, 0, repeats=20)
    assert (row["cases"], row["persons"]) == (7, 8)
    assert row["note"].startswith("1 of the persons drawn could not be compared")


@pytest.mark.parametrize("sees", ["crop", "picture"])
def test_the_own_distance_is_the_same_and_each_pair_costs_one_encoding(sees):
    eye = Eye(sees)
    known = gallery(eye)
    eye.asked = 0
    matrix, plain = crop_distances(eye, dict.fromkeys(VIEWS, picture(3)), known, "P5")
    assert matrix["P5"] == plain["P5"]
    assert eye.asked == len(PERSONS) * len(VIEWS)
    assert set(matrix) == set(plain) == set(PERSONS)


def test_only_views_in_which_the_own_original_shows_a_face_count():
    eye = Eye("picture")
    known = gallery(eye)
    del known["P5"]["up"]
    del known["P1"]["front"]
    matrix, plain = crop_distances(eye, dict.fromkeys(VIEWS, picture(5)), known, "P5")
    assert set(matrix) == set(plain) == set(PERSONS) - {"P1"}
    assert crop_distances(eye, {"up": picture(5)}, known, "P5") == ({}, {})
    assert crop_distances(eye, {"up": picture(5)}, known, "nobody") == ({}, {})


def look(person, view="front", **more):
    k = PERSONS.index(person)
    return {
        "modality": "CT",
        "recogniser": "eye",
        "view": view,
        "attack": "plain",
        "detected": True,
        "box": [10, 70, 70, 10],
        "landmarks": marks(k).tolist(),
        "encoding": [float(k)],
    } | more


def test_the_sample_is_drawn_of_those_with_a_face_and_does_not_depend_on_the_order():
    cases = [Case(f"c{k}", person, "", ()) for k, person in enumerate(PERSONS)]
    blind = {"encoding": None, "detected": False, "box": None}
    originals = {case: [look(case.patient_id, **(blind if k < 2 else {}))] for k, case in enumerate(cases)}
    faces, chosen = _known(cases, originals.get, 4)
    again, others = _known(cases[::-1], originals.get, 4)
    assert [case.id for case in chosen] == [case.id for case in others]
    assert write_known(faces) == write_known(again)
    assert len(chosen) == len(faces["CT"]["eye"]) == 4
    everybody = _known(cases, originals.get, 99)[1]
    assert {case.id for case in everybody} == {f"c{k}" for k in range(2, 8)}
    forced = {cases[7]: [look("P7", attack="forced_crop")]}
    assert _known(cases[7:], forced.get, 4) == ({}, [])


def test_a_second_scans_faces_are_put_on_the_first():
    """The probe is one scan, and whatever is known of its person comes from the other."""
    cases = [Case(f"c{k}-{scan}", person, "", ()) for k, person in enumerate(PERSONS) for scan in (1, 2)]
    looks = {
        case: [look(case.patient_id, encoding=[100.0 * int(case.id[-1]) + int(case.id[1])])] for case in cases
    }
    alone = [case for case in cases if case.id != "c3-2"]
    faces, chosen = _known(alone, looks.get, 99, "second-scan")
    assert {case.id for case in chosen} == {f"c{k}-1" for k in range(8) if k != 3}
    known = {person: views["front"].encoding for person, views in faces["CT"]["eye"].items()}
    assert known == {person: [200.0 + k] for k, person in enumerate(PERSONS) if k != 3}


def test_the_file_of_faces_comes_back(tmp_path):
    eye = Eye("crop")
    known = gallery(eye)
    known["P0"]["front"] = Known((1, 2, 3, 0), None, np.array([1.0]))
    (tmp_path / "known.json").write_text(write_known({"CT": {"eye": known}}))
    found = read_known(tmp_path / "known.json")["CT"]["eye"]
    assert found["P0"]["front"].landmarks is None
    for person in PERSONS[1:]:
        for view in VIEWS:
            one, same = found[person][view], known[person][view]
            assert one.box == same.box
            assert np.array_equal(one.landmarks, same.landmarks)
            assert np.array_equal(one.encoding, same.encoding)


def test_the_report_shows_both_and_says_which_the_verdict_uses(tmp_path):
    rows = matrix_rows(
        results(Eye("crop"), [picture(0)] * len(PERSONS)), {("CT", "eye"): 0.5}, 8, 0, repeats=20
    )
    write_tables(tmp_path, {"forced_matrix": rows, "recognition": []})
    (tmp_path / "config.yaml").write_text("settings:\n  defacers: {none: {}, cut: {}}\n")
    run = read_run(tmp_path)
    (said,) = crops_words(run)
    assert "on 8 persons" in said
    assert "cut 0.50 (own landmarks alone 1.00)" in said
    assert "the verdict’s matches are, too. Its chance, ranks and AUC are of the own landmarks" in said
    table = crops_table(run)
    assert [c.text for c in table.rows[0]][-2:] == ["1.00", "0.50"]
    write_tables(tmp_path, {"forced_matrix": []})
    assert crops_words(read_run(tmp_path)) == []
    assert crops_table(read_run(tmp_path)) is None


@pytest.mark.parametrize(("persons", "gallery"), [(1, "originals"), (1, "second-scan"), (5, "photographs/")])
def test_what_cannot_be_compared_is_refused(persons, gallery):
    with pytest.raises(ConfigError):
        check_matrix(persons, gallery)
    assert check_matrix(0, gallery) == 0
    if not gallery.endswith("/"):
        assert check_matrix(24, gallery) == 24

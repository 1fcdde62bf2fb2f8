"""What learns from everybody, in an attack on somebody else's files: the study's stages on balls for heads."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.cohort_kit import series
from support.made_heads import HEAD, around, balls

from defacedask.attacks.examination import Shown
from defacedask.attacks.pairing import Pair, Pairing
from defacedask.faces.recognition.base import Box, Face
from defacedask.flow.result import Outcome
from defacedask.flow.settings import Settings
from defacedask.flow.stages.attacked import head_boxes
from defacedask.flow.stages.layout import ORIGINAL, store_path
from defacedask.io.dicom.model import Case, Scan
from defacedask.report.run import read_run
from defacedask.report.sections.tried import tried_lines
from defacedask.runs import attack as attacking
from defacedask.runs.preparing import RUN_FOLDERS, make_output, write_config

PATH, NAME, PAIRS = "images/CT", "theirs", 3


class Eye:
    """Sees a face in every picture: what its middle looks like."""

    name, remote = "face_recognition", False

    def analyse(self, images):
        return [[Face(Box(10, 50, 50, 10), self._code(image), np.ones((5, 2)), 1.0)] for image in images]

    def encode(self, image, boxes, landmarks=None):
        return [self._code(image) for _ in boxes]

    def distance(self, one, other):
        return float(np.linalg.norm(np.asarray(one) - np.asarray(other)))

    @staticmethod
    def _code(image):
        return image[12:52:8, 12:52:8].mean(axis=-1).ravel() / 255.0


def looked(**arguments):
    """Stands for the look at a pair: nobody is found, two balls are laid down, the one without its nose."""
    number = int(arguments["original"]["case"][1:])
    (skull, width), nose, ear = HEAD
    wide, grid = (skull, width + number), around(10.0)
    heads = {ORIGINAL: balls(grid, (wide, nose, ear)), NAME: balls(grid, (wide, ear))}
    if arguments["defaced"] is None:
        del heads[NAME]
    with head_boxes(arguments["store"], f"c{number}", f"k{number}") as boxes:
        for who, values in heads.items():
            boxes.place(who, np.eye(4), np.eye(4))
            boxes.lay(who, Shown(PATH, "CT", values, grid, -300.0), np.eye(4), "HU")
    rng = np.random.default_rng(number)
    look = {"path": PATH, "modality": "CT", "recogniser": Eye.name, "variant": "", "level": -300.0}
    looks = [
        {**look, "view": view, "attack": "plain", "forced": False, "detected": True}
        | {
            "box": [10, 50, 50, 10],
            "landmarks": np.ones((5, 2)).tolist(),
            "encoding": rng.random(25).tolist(),
        }
        for view in ("yaw+0_pitch-10", "yaw+0_pitch+00")
    ]
    return Outcome(
        facts={
            "original": looks,
            "defaced": looks if NAME in heads else [],
            "notes": [],
            "recognisers": {Eye.name: Eye.name},
            "levels": {PATH: -300.0},
            "store": store_path(arguments["store"], f"c{number}"),
            "places": boxes.places,
        }
    )


@pytest.fixture(autouse=True)
def made(monkeypatch):
    monkeypatch.setattr(attacking, "attack_case", looked)
    monkeypatch.setattr(attacking, "_arguments", named(attacking._arguments))
    monkeypatch.setattr(attacking, "input_state", lambda case: case.id)
    for module in ("crops", "inversion"):
        monkeypatch.setattr(f"defacedask.flow.stages.{module}.recognisers_of", lambda settings: [Eye()])


def named(arguments):
    """Cases here have no files to be read from a dict."""

    def plain(run, job):
        there = arguments(run, job)
        return {**there, "original": {"case": job.id}, "defaced": there["defaced"] and {"case": job.id}}

    return plain


def run(folder, pairs=PAIRS, matrix=0, attacks=("plain", "inversion")):
    """Pairs of persons, and one original that nothing belongs to."""
    cases = [Case(f"c{k}", f"P{k}", "1.2", (series(f"c{k}"),)) for k in range(pairs + 1)]
    faces = {
        "recognisers": [Eye.name],
        "attacks": list(attacks),
        "size": 64,
        "yaws": [0],
        "pitches": [-10, 0],
        "modalities": ["CT"],
    }
    settings = Settings({NAME: {}}, Eye.name, {}, faces, {}, False, forced_matrix=matrix)
    make_output(folder, *RUN_FOLDERS)
    write_config(folder, settings)
    pairing = Pairing(tuple(Pair(case, case, "name") for case in cases[:-1]), (cases[-1],), ())
    scan = Scan(tuple(cases))
    prepared = attacking.PreparedAttack(folder, NAME, scan, scan, pairing, settings)
    return attacking.run_attack(prepared), prepared


def test_everybody_is_predicted_from_all_others_and_compared_with_everybody(tmp_path, monkeypatch):
    for module in ("flow.stages.inversion", "attacks.inversion.regression"):
        monkeypatch.setattr(f"defacedask.{module}.LEAST_PERSONS", PAIRS - 1)
    result, prepared = run(tmp_path, matrix=9)
    assert result.tables["cases"]["status"].tolist() == ["done"] * (PAIRS + 1)
    rows = result.tables["inversion"]
    own = rows[rows["planted"].fillna("") == ""]
    # nothing is learnt of who has no defaced head
    assert own["case"].tolist() == [f"c{k}" for k in range(PAIRS)]
    assert (own["persons"] == PAIRS - 1).all()
    # the positive control stands beside it
    assert set(rows.loc[rows["defacer"] == ORIGINAL, "planted"]) >= {"constant cut"}
    tried = result.tables["verification"].query("attack == 'inversion'")
    assert tried["defacer"].tolist() == [NAME]
    assert tried["judged"].tolist() == [PAIRS]
    matrix = result.tables["forced_matrix"].set_index("defacer")
    assert matrix["persons"].tolist() == [PAIRS + 1] * 2
    assert matrix["cases"].to_dict() == {ORIGINAL: PAIRS + 1, NAME: PAIRS}
    assert prepared.notes == []
    page = result.report.read_text(encoding="utf-8")
    assert "The forced crop: the own landmarks for everybody" in page
    # a second run finds all of it
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "store" / "results").rglob("*.json")}
    run(tmp_path, matrix=9)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "store" / "results").rglob("*.json")} == kept


def test_too_few_persons_are_one_sentence_and_no_number(tmp_path):
    result, prepared = run(tmp_path, pairs=1)
    assert prepared.notes == [
        "Learned inversion was not tried on theirs: nobody is learnt from when they are predicted themselves, and "
        "fewer than 8 persons have both versions of an image."
    ]
    assert not len(result.tables["inversion"])
    assert "inversion" not in set(result.tables["verification"]["attack"])
    assert "fewer than 8 persons have both versions of an image" in tried_lines(read_run(tmp_path))[-1]


def test_a_matrix_of_one_person_is_one_sentence_and_no_number(tmp_path, monkeypatch):
    monkeypatch.setattr(attacking.AttackRun, "looks_at", lambda self, job: [])
    result, prepared = run(tmp_path, pairs=1, matrix=9, attacks=("plain",))
    assert prepared.notes == [attacking._NO_MATRIX]
    assert not len(result.tables["forced_matrix"])


def test_what_fails_after_the_look_is_told_of_its_case(tmp_path, monkeypatch):
    def broken(*results, **arguments):
        raise ValueError("no rays")

    monkeypatch.setattr(attacking, "attacked_depths", broken)
    cases = run(tmp_path, pairs=1)[0].tables["cases"].set_index("case")
    assert cases.loc["c0", "status"] == "failed"
    assert "no rays" in cases.loc["c0", "reason"]
    assert cases.loc["c1", "status"] == "done"
    assert pd.notna(cases.loc["c0", "notes"])


def test_nothing_of_a_head_is_kept_where_nothing_comes_later(tmp_path):
    with head_boxes("", "c0", "k") as boxes:
        boxes.place(ORIGINAL, np.eye(4), np.eye(4))
        boxes.lay(ORIGINAL, Shown(PATH, "CT", np.zeros((2, 2, 2)), around(110.0), 0.0), np.eye(4), "HU")
    assert not list(tmp_path.iterdir())

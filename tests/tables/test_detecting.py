"""A recogniser that only finds faces: its rows in the tables, and in nobody's comparison."""

from __future__ import annotations

import pytest
from support.cohort_kit import SETTINGS, cohort_results
from support.plugged import install

from defacedask.faces import recognition
from defacedask.report.run import read_run
from defacedask.report.sections.controls import control_table
from defacedask.report.sections.privacy import detector_words, faces_table
from defacedask.tables import face_scores
from defacedask.tables.cohort import collect
from defacedask.tables.evidence import detectors, positive_controls

FINDER = """
import math

class it:
    name, tolerance, remote, compares = "finder", math.nan, False, False

    def detect(self, image): return []
    def encode(self, image, boxes=None, landmarks=None): return []
    def distance(self, a, b): return math.nan
    def analyse(self, images, boxes=None): return [[] for _ in images]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    import sys

    folder = tmp_path / "plug"
    monkeypatch.syspath_prepend(folder)
    install(folder, FINDER, name="brought", point="finder = {module}:it", group=recognition.GROUP)
    face_scores._opened.cache_clear()
    yield tmp_path
    face_scores._opened.cache_clear()
    sys.modules.pop("brought", None)


def with_finder(results, found):
    """Every picture was shown to the finder too; it finds a face in those of some defacers."""
    for result in results:
        if result.stage != "faces":
            continue
        result.facts["recognisers"] = {"face_recognition": "face_recognition", "finder": "finder"}
        for look in list(result.facts["looks"]):
            look["recogniser"] = "face_recognition"
            seen = result.defacer in found
            result.facts["looks"].append({**look, "recogniser": "finder", "encoding": None, "detected": seen})
    return results


def tables_of(folder, found, count=14):
    (folder / "pictures").mkdir(parents=True)
    cases, results = cohort_results(count)
    if found is not None:
        results = with_finder(results, found)
    return collect(folder, cases, [], results, SETTINGS)


def test_faces_are_counted_and_nothing_else_changes(place):
    alone = tables_of(place / "alone", None)
    both = tables_of(place / "both", ("original", "none"))
    rows = both["faces_detected"].query("recogniser == 'finder'").set_index("defacer")
    assert rows["faces_detected"].to_dict() == {"original": 14, "none": 14, "quickshear": 0}
    assert rows["judged"].tolist() == [0, 0, 0]
    assert rows[["matches", "matches_calibrated"]].isna().all(axis=None)
    (modality, name, seen) = detectors(both["controls"])[0]
    assert (modality, name, seen.hits, seen.cases) == ("CT", "finder", 12, 12)
    assert [c.recogniser for c in positive_controls(None, {}, both["controls"])] == ["face_recognition"]
    for table in ("verification", "curves", "agreement", "open_set"):
        mine = both[table]
        assert mine.equals(alone[table]), table
    for table in ("controls", "faces_detected", "recognition"):
        mine = both[table].loc[both[table]["recogniser"] != "finder"].reset_index(drop=True)
        assert mine.drop(columns=mine.columns[mine.isna().all()]).equals(
            alone[table].drop(columns=alone[table].columns[alone[table].isna().all()])
        ), table


@pytest.mark.parametrize(("found", "word"), [(("original", "none"), "pass"), ((), "fail")])
def test_the_page_says_who_finds_a_face(place, found, word):
    tables_of(place / "run", found)
    run = read_run(place / "run")
    (said,) = detector_words(run)
    count = "14 of 14" if found else "0 of 14"
    assert f"CT by finder: found in {count} originals".replace("\u00a0", " ") in said.replace("\u00a0", " ")
    assert "quickshear 0" in said
    assert "none" not in said
    cells = [[cell.text for cell in row] for row in control_table(run).rows]
    (mine,) = [row for row in cells if row[0] == "positive: faces in originals, CT by finder"]
    assert mine[-1] == word
    table = faces_table(run)
    rows = [[cell.text for cell in row] for row in table.rows]
    assert sum("finds faces only" in row for row in rows) == 3
    assert len({len(row) for row in rows}) == 1
    assert len(rows[0]) == len(table.heads)

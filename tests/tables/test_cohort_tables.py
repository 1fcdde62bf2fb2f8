from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from defacedask.errors import StoreError
from defacedask.flow.result import Outcome, Piece, run_piece
from defacedask.io.dicom.model import Case, Series, Skipped
from defacedask.runs.preparing import Settings
from defacedask.tables.cohort import collect, export_rows, slim, table_of
from defacedask.tables.files import read_tables


def series(uid):
    return Series(uid, "CT", "", "P" + uid, "", "", "", 1, ("f",), ("i",))


CASES = [Case(name, "P" + name, "1.2", (series(name),)) for name in "abc"]
SETTINGS = Settings({"none": {}, "quickshear": {}}, "face_recognition", 0.3, {}, {}, True)


def look(view, vector, attack="plain"):
    detected = vector is not None
    return {
        "path": "images/CT",
        "modality": "CT",
        "view": view,
        "level": -300.0,
        "attack": attack,
        "detected": detected,
        "encoding": vector,
    }


def faces(case, defacer, looks):
    facts = {
        "looks": looks,
        "recogniser": "face_recognition",
        "pictures": [{"file": f"{case}/{defacer}.png"}],
    }
    return Piece("faces", case, defacer, "k", seconds=2, peak_rss_mb=100, facts=facts)


@pytest.fixture
def pieces():
    # two persons that lie 1 apart; each at two views 0.1 apart
    out = []
    for k, case in enumerate("ab"):
        base = np.zeros(128)
        base[k] = 1 / np.sqrt(2)
        turned = base.copy()
        turned[9] = 0.1
        out += [
            Piece("ingest", case, "", "k", seconds=1, facts={"notes": []}),
            Piece("look", case, "", "k", seconds=3),
            faces(case, "original", [look("front", base.tolist()), look("turned", turned.tolist())]),
            faces(case, "none", [look("front", base.tolist()), look("turned", turned.tolist())]),
            faces(case, "quickshear", [look("front", None), look("turned", None)]),
            Piece("apply", case, "none", "k", seconds=1),
            Piece("apply", case, "quickshear", "k", seconds=1),
        ]
    out.append(Piece("look", "c", "", "k", "refused", "no head."))
    out.append(Piece("apply", "c", "quickshear", "", "refused", "no head.", upstream=True))
    return out


def test_tables(tmp_path, pieces):
    (tmp_path / "pictures").mkdir()
    skipped = [Skipped("x/readme", "it is not a DICOM file")]
    collect(tmp_path, CASES, skipped, pieces[::-1], SETTINGS)
    tables = read_tables(tmp_path)
    cases = tables["cases"].set_index("case")
    assert cases["status"].to_dict() == {"a": "done", "b": "done", "c": "refused"}
    assert cases.loc["c", "reason"] == "no head."
    assert cases.loc["a", "seconds_apply"] == 2
    found = tables["recognition"].set_index(["case", "defacer", "view"])
    # the original at another view; the untouched copy at the same one
    assert found.loc[("a", "original", "front"), "distance_to_own"] == pytest.approx(0.1)
    assert found.loc[("a", "none", "front"), "distance_to_own"] == 0
    assert np.isnan(found.loc[("a", "quickshear", "front"), "distance_to_own"])
    assert (found["gallery_size"] == 2).all()
    table = tables["faces_detected"].set_index("defacer")
    assert table.loc["none", ["cases", "faces_detected", "matches"]].tolist() == [2, 2, 2]
    assert table.loc["quickshear", ["cases", "faces_detected", "matches"]].tolist() == [2, 0, 0]
    assert table.loc["quickshear", "upper_bound_95"] == pytest.approx(1 - 0.05 ** (1 / 2))
    assert tables["controls"]["holds"].tolist() == [True]
    assert tables["skipped"]["path"].tolist() == ["x/readme"]
    pictures = json.loads((tmp_path / "pictures" / "index.json").read_text())
    assert {p["patient"] for p in pictures} == {"Pa", "Pb"}


def test_whose_original_shows_no_face_is_not_judged(tmp_path, pieces):
    """Zero matches of faces that were never found would be a bound that nothing stands behind."""
    (tmp_path / "pictures").mkdir()
    pieces = [p for p in pieces if p.case != "c"]
    for defacer in ("original", "none", "quickshear"):
        pieces.append(faces("c", defacer, [look("front", None), look("turned", None)]))
    tables = collect(tmp_path, CASES, [], pieces, SETTINGS)
    counts = tables["faces_detected"].set_index("defacer")[["cases", "judged", "upper_bound_95"]]
    assert counts.loc["quickshear"].tolist() == [3, 2, pytest.approx(1 - 0.05 ** (1 / 2))]
    assert counts.loc["original", "judged"] == 3  # there it counts as not recognised
    everything = tables["verification"].query("modality == 'any'").set_index("defacer")
    assert everything["judged"].tolist() == [2, 2, 2]
    assert tables["controls"]["not_in_gallery"].tolist() == ["Pc"]


def test_a_failed_stage_makes_a_failed_case_with_its_reason(tmp_path, pieces):
    (tmp_path / "pictures").mkdir()
    pieces.append(Piece("radiomics", "a", "none", "k", "failed", "radiomics: ValueError: x"))
    pieces.append(Piece("look2", "b", "quickshear", "k", "refused", "too little face."))
    cases = collect(tmp_path, CASES, [], pieces, SETTINGS)["cases"].set_index("case")
    assert cases.loc["a", "status"] == "failed"
    assert cases.loc["a", "reason"] == "none: radiomics: ValueError: x"
    assert cases.loc["b", "status"] == "done"
    assert cases.loc["b", "reason"] == "quickshear: too little face."


def test_nobody_left(tmp_path):
    (tmp_path / "pictures").mkdir()
    tables = collect(tmp_path, CASES[2:], [], [Piece("look", "c", "", "k", "refused", "no head.")], SETTINGS)
    assert len(tables["recognition"]) == 0
    assert tables["cases"]["status"].tolist() == ["refused"]


def test_tables_of_slim_results_are_those_of_whole_ones(tmp_path, pieces):
    def features(case):
        row = {"structure": "Brain", "feature": "Mean", "original": 1.0, "defaced": 2.0, "percent": -100.0}
        rows = [{"case": case, "defacer": "none", "modality": "CT", "voxels": 5, "voxels_changed": 1, **row}]
        return run_piece(
            lambda: Outcome({"radiomics": rows}, {"features": ["long"] * 1000}),
            {},
            folder=str(tmp_path / "whole" / "store" / "pieces"),
            stage="radiomics",
            case=case,
            defacer="none",
        )

    pieces = [*pieces, features("a"), features("b")]
    small = [slim(piece) for piece in pieces]
    assert all("features" not in piece.facts for piece in small)
    tables = {}
    for name, some in (("whole", pieces), ("slim", small)):
        folder = tmp_path / "whole" if name == "slim" else tmp_path / "other"
        for part in ("tables", "pictures"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        tables[name] = collect(folder, CASES, [], some, SETTINGS)
    assert len(tables["slim"]["radiomics"]) == 2
    for name, table in tables["whole"].items():
        pd.testing.assert_frame_equal(table, tables["slim"][name])
    (tmp_path / "whole" / "store" / "pieces" / "b" / "radiomics-none.json").unlink()
    with pytest.raises(StoreError, match="radiomics of b has gone"):
        table_of(tmp_path / "whole" / "store" / "pieces", small, "radiomics")


def test_encodings_that_are_no_numbers_stay_as_they_are():
    small = slim(
        faces("a", "none", [look("front", "face-id"), look("turned", None), look("up", [0.5, 0.25])])
    )
    assert [type(one["encoding"]) for one in small.facts["looks"]] == [str, type(None), np.ndarray]


def test_what_was_written_is_a_table_slim_or_not(pieces):
    facts = {
        "written": {"CT": 3, "RTDOSE": 1},
        "held_back": [{"what": "f", "reason": "r"}] * 2,
        "face_moved": 0.98,
    }
    done = Piece("export", "a", "quickshear", "k", facts={**facts, "targets": ["PTV: 1 contours clipped"]})
    refused = Piece("export", "b", "quickshear", "k", "refused", "the face is still visible.")
    rows = export_rows([*pieces, done, refused])
    assert rows == export_rows(map(slim, [*pieces, done, refused]))
    assert [(r["case"], r["status"], r["instances"], r["held_back"]) for r in rows] == [
        ("a", "done", 4, 2),
        ("b", "refused", 0, 0),
    ]
    assert rows[0]["targets"] == "PTV: 1 contours clipped"
    assert rows[1]["reason"] == "the face is still visible."


def test_a_dose_difference_that_was_kept_with_another_sign_is_made_anew(tmp_path, pieces):
    row = {"case": "a", "defacer": "quickshear", "structure": "Target", "metric": "Dmean"}
    row |= {"original": 70.0, "defaced": 60.0, "difference": -10.0}
    (tmp_path / "pictures").mkdir()
    kept = Piece("dose", "a", "quickshear", "k", rows={"dose": [row]})
    tables = collect(tmp_path, CASES, [], [*pieces, kept], SETTINGS)
    assert tables["dose"]["difference"].tolist() == [10.0]

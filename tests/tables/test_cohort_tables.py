from __future__ import annotations

import json
import shutil

import dask
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cohort_kit import CASES, SETTINGS, cohort_results, faces, look

from defacedask.cluster import connect
from defacedask.errors import StoreError
from defacedask.flow.executors import DaskExecutor
from defacedask.flow.result import Outcome, TaskResult, receipt
from defacedask.flow.worker import run_task
from defacedask.io.dicom.model import Skipped
from defacedask.tables import cohort as cohort_tables
from defacedask.tables import parts as table_parts
from defacedask.tables import radiomics_parts
from defacedask.tables.cohort import Cohort, collect
from defacedask.tables.faces import _others
from defacedask.tables.files import read_tables
from defacedask.tables.rows import About, export_rows
from defacedask.tables.sampled import case_hashes


@pytest.fixture
def results():
    # two persons that lie 1 apart; each at two views 0.1 apart
    out = []
    for k, case in enumerate("ab"):
        base = np.zeros(128)
        base[k] = 1 / np.sqrt(2)
        turned = base.copy()
        turned[9] = 0.1
        out += [
            TaskResult("ingest", case, "", "k", seconds=1, facts={"notes": []}),
            TaskResult("plan", case, "", "k", seconds=3),
            faces(case, "original", [look("front", base.tolist()), look("turned", turned.tolist())]),
            faces(case, "none", [look("front", base.tolist()), look("turned", turned.tolist())]),
            faces(case, "quickshear", [look("front", None), look("turned", None)]),
            TaskResult("apply", case, "none", "k", seconds=1),
            TaskResult("apply", case, "quickshear", "k", seconds=1),
        ]
    out.append(TaskResult("plan", "c", "", "k", "refused", "no head."))
    out.append(TaskResult("apply", "c", "quickshear", "", "refused", "no head.", upstream=True))
    return out


def test_tables(tmp_path, results):
    (tmp_path / "pictures").mkdir()
    skipped = [Skipped("x/readme", "it is not a DICOM file")]
    collect(tmp_path, CASES, skipped, results[::-1], SETTINGS)
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


def test_whose_original_shows_no_face_is_not_judged(tmp_path, results):
    """Zero matches of faces that were never found would be a bound that nothing stands behind."""
    (tmp_path / "pictures").mkdir()
    results = [p for p in results if p.case != "c"]
    for defacer in ("original", "none", "quickshear"):
        results.append(faces("c", defacer, [look("front", None), look("turned", None)]))
    tables = collect(tmp_path, CASES, [], results, SETTINGS)
    counts = tables["faces_detected"].set_index("defacer")[["cases", "judged", "upper_bound_95"]]
    assert counts.loc["quickshear"].tolist() == [3, 2, pytest.approx(1 - 0.05 ** (1 / 2))]
    assert counts.loc["original", "judged"] == 3  # there it counts as not recognised
    everything = tables["verification"].query("modality == 'any'").set_index("defacer")
    assert everything["judged"].tolist() == [2, 2, 2]
    assert tables["controls"]["not_in_gallery"].tolist() == ["Pc"]


def test_a_failed_stage_makes_a_failed_case_with_its_reason(tmp_path, results):
    (tmp_path / "pictures").mkdir()
    results.append(TaskResult("radiomics", "a", "none", "k", "failed", "radiomics: ValueError: x"))
    results.append(TaskResult("look2", "b", "quickshear", "k", "refused", "too little face."))
    cases = collect(tmp_path, CASES, [], results, SETTINGS)["cases"].set_index("case")
    assert cases.loc["a", "status"] == "failed"
    assert cases.loc["a", "reason"] == "none: radiomics: ValueError: x"
    assert cases.loc["b", "status"] == "done"
    assert cases.loc["b", "reason"] == "quickshear: too little face."


def test_nobody_left(tmp_path):
    (tmp_path / "pictures").mkdir()
    tables = collect(
        tmp_path, CASES[2:], [], [TaskResult("plan", "c", "", "k", "refused", "no head.")], SETTINGS
    )
    assert len(tables["recognition"]) == 0
    assert tables["cases"]["status"].tolist() == ["refused"]


def test_tables_of_receipts_are_those_of_whole_results(tmp_path, results):
    def features(case):
        row = {"structure": "Brain", "feature": "Mean", "original": 1.0, "defaced": 2.0, "percent": -100.0}
        rows = [{"case": case, "defacer": "none", "modality": "CT", "voxels": 5, "voxels_changed": 1, **row}]
        return run_task(
            lambda: Outcome({"radiomics": rows}, {"features": ["long"] * 1000}),
            {},
            folder=str(tmp_path / "kept" / "store" / "results"),
            stage="radiomics",
            case=case,
            defacer="none",
        )

    results = [*results, features("a"), features("b")]
    small = [receipt(result) if result.stage == "radiomics" else result for result in results]
    assert not any(result.facts or result.rows for result in small if result.stage == "radiomics")
    tables = {}
    for name, some in (("whole", results), ("kept", small)):
        tables[name] = collect(tmp_path / name, CASES, [], some, SETTINGS)
    assert len(tables["kept"]["radiomics"]) == 2
    for name, table in tables["whole"].items():
        pd.testing.assert_frame_equal(table, tables["kept"][name])
    (tmp_path / "kept" / "store" / "results" / "b" / "radiomics-none.json").unlink()
    shutil.rmtree(tmp_path / "kept" / "store" / "rows")
    with pytest.raises(StoreError, match="radiomics of b has gone"):
        collect(tmp_path / "kept", CASES, [], small, SETTINGS)


def lines(folder):
    return {p.name: sorted(p.read_text().splitlines()) for p in (folder / "tables").glob("*.csv")}


def test_tables_do_not_depend_on_the_size_of_the_parts(tmp_path, monkeypatch):
    cases, results = cohort_results(13)
    whole = lines(collect(tmp_path / "whole", cases, [], results, SETTINGS) and tmp_path / "whole")
    monkeypatch.setattr(cohort_tables, "AT_ONCE", 3)
    monkeypatch.setattr(radiomics_parts, "MOST_ROWS", 10)
    collect(tmp_path / "parts", cases, [], results, SETTINGS)
    parts = lines(tmp_path / "parts")
    assert len(list((tmp_path / "parts" / "store" / "rows").iterdir())) == 2 * 5
    assert len(whole["recognition.csv"]) == 1 + 13 * (2 + 3 + 3)
    assert whole == parts
    # a second run finds its parts, and makes none anew
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "parts" / "store" / "rows").rglob("*"))
    collect(tmp_path / "parts", cases, [], results, SETTINGS)
    assert before == sorted(
        (p, p.stat().st_mtime_ns) for p in (tmp_path / "parts" / "store" / "rows").rglob("*")
    )


def test_a_large_gallery_is_a_sample_and_the_own_person(tmp_path, monkeypatch):
    cases, results = cohort_results(25)
    whole = collect(tmp_path / "whole", cases, [], results, SETTINGS)
    monkeypatch.setattr(cohort_tables, "AT_ONCE", 6)
    with dask.config.set({"defacedask.recognition.gallery-most": 10}):
        some = collect(tmp_path / "some", cases, [], results, SETTINGS)
    key = ["case", "defacer", "modality", "recogniser", "attack", "view", "variant"]
    a, b = (t["recognition"].set_index(key).sort_index() for t in (whole, some))
    # whoever is sampled: the distance to the own original is the same, of the others some are met
    np.testing.assert_array_equal(a["distance_to_own"], b["distance_to_own"])
    np.testing.assert_array_equal(a["comparable"], b["comparable"])
    assert set(b["gallery_size"]) == {10, 11}
    assert (b["rank_of_own"].dropna() <= a["rank_of_own"].dropna()).all()
    assert (b["rank_of_own"].dropna() > 1).any()
    told = ["cases", "judged", "with_face", "genuine", "matched_tolerance"]
    for table in (whole, some):
        table["verification"] = table["verification"].set_index(
            ["defacer", "modality", "recogniser", "attack"]
        )
    a, b = whole["verification"].sort_index(), some["verification"].sort_index()
    pd.testing.assert_frame_equal(a[told], b[told])
    assert (b["impostor"] < a["impostor"]).all()
    assert b["note"].str.contains(r"a sample of 10 \(seed 0\)").all()
    assert not a["note"].str.contains("sample").any()
    assert some["controls"]["persons"].tolist() == [10]
    # the same again
    with dask.config.set({"defacedask.recognition.gallery-most": 10}):
        collect(tmp_path / "again", cases, [], results, SETTINGS)
    assert lines(tmp_path / "again")["verification.csv"] == lines(tmp_path / "some")["verification.csv"]


@pytest.mark.slow
def test_workers_make_the_same_tables(tmp_path, monkeypatch):
    """Processes of their own: parts, galleries and comparisons travel as files."""
    cases, results = cohort_results(12)
    collect(tmp_path / "here", cases, [], results, SETTINGS)
    monkeypatch.setattr(cohort_tables, "AT_ONCE", 5)
    with connect("local", 1) as client:
        executor = DaskExecutor(client)
        cohort = Cohort(tmp_path / "there", [case.id for case in cases], SETTINGS, executor)
        for case in cases[::-1]:
            cohort.add(About.of(case), [result for result in results if result.case == case.id])
        cohort.finish([])
        groups = client.run_on_scheduler(lambda dask_scheduler: set(dask_scheduler.task_prefixes))
    assert {"tabulate", "identify"} <= groups
    assert lines(tmp_path / "here") == lines(tmp_path / "there")


def test_a_table_that_nobody_can_open_is_parquet_alone(tmp_path, monkeypatch):
    cases, results = cohort_results(4)
    monkeypatch.setattr(table_parts, "MOST_LINES", 12)
    collect(tmp_path, cases, [], results, SETTINGS)
    there = {p.name for p in (tmp_path / "tables").iterdir()}
    assert "recognition.parquet" in there
    assert "recognition.csv" not in there  # 32 rows
    assert {"cases.csv", "radiomics.csv"} <= there
    assert len(read_tables(tmp_path)["recognition"]) == 32


def test_what_was_written_is_a_table(results):
    facts = {
        "written": {"CT": 3, "RTDOSE": 1},
        "held_back": [{"what": "f", "reason": "r"}] * 2,
        "face_moved": 0.98,
    }
    done = TaskResult(
        "export", "a", "quickshear", "k", facts={**facts, "targets": ["PTV: 1 contour clipped"]}
    )
    refused = TaskResult("export", "b", "quickshear", "k", "refused", "the face is still visible.")
    rows = export_rows([*results, done, refused])
    assert [(r["case"], r["status"], r["instances"], r["held_back"]) for r in rows] == [
        ("a", "done", 4, 2),
        ("b", "refused", 0, 0),
    ]
    assert rows[0]["targets"] == "PTV: 1 contour clipped"
    assert rows[1]["reason"] == "the face is still visible."


def test_a_dose_difference_that_was_kept_with_another_sign_is_made_anew(tmp_path, results):
    row = {"case": "a", "defacer": "quickshear", "structure": "Target", "metric": "Dmean"}
    row |= {"original": 70.0, "defaced": 60.0, "difference": -10.0}
    (tmp_path / "pictures").mkdir()
    kept = TaskResult("dose", "a", "quickshear", "k", rows={"dose": [row]})
    tables = collect(tmp_path, CASES, [], [*results, kept], SETTINGS)
    assert tables["dose"]["difference"].tolist() == [10.0]


@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=25),
    sample=st.sets(st.integers(0, 6)),
)
def test_parts_beside_are_those_that_share_somebody_outside_the_sample(pairs, sample):
    parts = {(f"p{person}", part) for person, part in pairs}
    hashes = np.array(
        [[int(case_hashes([name])[0]) for name, _ in parts], [part for _, part in parts]], dtype=np.uint64
    )
    found = _others(hashes.reshape(2, -1), frozenset(f"p{k}" for k in sample))
    for part in range(5):
        mine = {name for name, other in parts if other == part and int(name[1:]) not in sample}
        others = {other for name, other in parts if name in mine and other != part}
        assert found.get(part, set()) - {part} == others

"""Tables that learn of files written after them are those that one pass over all results makes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from support.cohort_kit import CASES, SETTINGS, cohort_results, faces, look

from defacedask.flow.executors import HereExecutor
from defacedask.flow.result import TaskResult
from defacedask.tables import cohort as cohort_tables
from defacedask.tables.cohort import Cohort, collect
from defacedask.tables.files import as_table, read_tables
from defacedask.tables.rows import About, with_exports
from defacedask.tables.written import Written


def exported(case, defacer, status="done", reason="", **options):
    facts = {
        "written": {"CT": 3},
        "held_back": [],
        "face_moved": 0.9,
        "visible": False,
        "reversible": False,
        "targets": ["PTV: 1 contour clipped"],
    }
    options.setdefault("facts", facts if status == "done" else {})
    return TaskResult("export", case, defacer, "k", status, reason, seconds=0.5, peak_rss_mb=700, **options)


def in_two_steps(folder, cases, results, exports):
    """First all but the files, as a study does, then what became of these; cases come in any order."""
    cohort = Cohort(folder, [case.id for case in cases], SETTINGS, HereExecutor())
    for case in cases[::-1]:
        cohort.add(About.of(case), [result for result in results if result.case == case.id])
    cohort.finish([])
    written = Written(cohort, HereExecutor())
    for case in cases[::2] + cases[1::2]:
        written.add(case.id, [result for result in exports if result.case == case.id])
    written.finish()
    return written


def some_exports(cases):
    """Written, refused, recognised, failed, and none at all."""
    out = []
    for k, case in enumerate(cases):
        kind = k % 5
        if kind == 0:
            out.append(exported(case.id, "quickshear"))
        elif kind == 1:
            out.append(exported(case.id, "quickshear", "refused", "the face is still visible."))
        elif kind == 2:
            found = {"recognised": True}
            out.append(
                dataclasses.replace(
                    exported(case.id, "quickshear", "refused", "people were recognised.", facts=found),
                    seconds=0.0,
                    peak_rss_mb=0.0,
                )
            )
        elif kind == 3:
            out.append(exported(case.id, "quickshear", "failed", "export: ValueError: x"))
    return out


@pytest.mark.parametrize("at_once", [4, 100])
def test_they_are_those_of_one_pass(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(cohort_tables, "AT_ONCE", at_once)
    cases, results = cohort_results(15)
    for result in results:  # one case had its reason before, and one had failed
        if result.stage == "apply" and result.defacer == "quickshear" and result.case in ("c001", "c003"):
            result.status = {"c001": "refused", "c003": "failed"}[result.case]
            result.reason = "too little face."
    exports = some_exports(cases)
    collect(tmp_path / "one", cases, [], [*results, *exports], SETTINGS)
    in_two_steps(tmp_path / "two", cases, results, exports)
    one, two = read_tables(tmp_path / "one"), read_tables(tmp_path / "two")
    for name, table in one.items():
        pd.testing.assert_frame_equal(two[name], table, obj=name)
    assert len(two["exports"]) == 12
    statuses = two["cases"].set_index("case")["status"]
    assert statuses["c003"] == "failed"
    assert statuses["c008"] == "failed"
    assert statuses["c000"] == "done"
    rows = two["cases"].set_index("case")
    assert rows.loc["c001", "reason"] == "quickshear: too little face. quickshear: the face is still visible."
    assert rows.loc["c000", "seconds_export"] == 0.5
    assert np.isnan(rows.loc["c004", "seconds_export"])
    assert two["exports"].set_index("case").loc["c002", "recognised"]
    assert set(two["timing"].query("stage == 'export'")["case"]) == {p.case for p in exports}


def test_without_exports_nothing_is_made_anew(tmp_path):
    cases, results = cohort_results(4)
    written = in_two_steps(tmp_path, cases, results, [])
    assert [part.parent.name for part in written.parts()] == ["rows"]
    assert not (tmp_path / "store" / "written").exists()


def test_a_second_run_finds_its_parts_and_others_are_cleared_away(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort_tables, "AT_ONCE", 4)
    cases, results = cohort_results(7)
    exports = some_exports(cases)

    def parts():
        return {p.name: p.stat().st_mtime_ns for p in (tmp_path / "store" / "written").iterdir()}

    first = in_two_steps(tmp_path, cases, results, exports).parts()
    before = parts()
    assert len(before) == 2
    assert in_two_steps(tmp_path, cases, results, exports).parts() == first
    assert parts() == before
    exports[0] = dataclasses.replace(exports[0], facts={**exports[0].facts, "visible": True})
    again = in_two_steps(tmp_path, cases, results, exports).parts()
    assert again[0] != first[0]
    assert again[1] == first[1]
    assert set(parts()) == {part.name for part in again}
    assert read_tables(tmp_path)["exports"]["visible"].iloc[0]


def test_what_did_not_run_costs_nothing_and_gives_no_reason():
    rows = as_table("cases", [{"case": "a", "status": "done", "reason": "", "peak_rss_mb": 5.0}])
    lost = exported("a", "quickshear", "refused", "no head.", upstream=True)
    pd.testing.assert_frame_equal(with_exports(rows, [dataclasses.replace(lost, peak_rss_mb=0.0)]), rows)


def test_reasons_that_are_the_same_are_told_once(tmp_path):
    rows = as_table("cases", [{"case": "a", "status": "done", "reason": "none: x."}])
    found = with_exports(
        rows,
        [exported("a", "quickshear", "refused", "seen."), exported("a", "carina", "refused", "seen.")],
    )
    assert found["reason"].tolist() == ["none: x. quickshear, carina: seen."]
    assert found["status"].tolist() == ["done"]
    assert found["seconds_export"].tolist() == [1.0]
    assert found["peak_rss_mb"].tolist() == [700.0]
    assert "seconds_export" not in rows


def test_of_a_case_that_nobody_defaced_nothing_was_written(tmp_path):
    """The case has no row of its own among the exports that follow."""
    results = [
        TaskResult("plan", "c", "", "k", "refused", "no head."),
        TaskResult("export", "c", "quickshear", "", "refused", "no head.", upstream=True),
        faces("a", "original", [look("front", np.zeros(128).tolist())]),
        TaskResult("apply", "a", "quickshear", "k"),
    ]
    in_two_steps(tmp_path, [CASES[0], CASES[2]], results, [exported("a", "quickshear")])
    rows = read_tables(tmp_path)["exports"][["case", "status", "reason"]].to_numpy().tolist()
    assert rows == [["a", "done", ""], ["c", "refused", "no head."]]
    assert read_tables(tmp_path)["cases"]["status"].tolist() == ["done", "refused"]

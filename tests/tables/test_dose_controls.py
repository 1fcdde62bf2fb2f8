"""The positive control of dose grids: whom it counts, and what is said where there is nobody."""

from __future__ import annotations

import numpy as np
import pytest
from support.cohort_kit import SETTINGS, look, series

from defacedask.attacks.dose_face import AT_FACE, NOT_AT_FACE
from defacedask.flow.result import TaskResult
from defacedask.io.dicom.model import Case
from defacedask.report.run import read_run
from defacedask.report.sections.controls import control_table
from defacedask.tables.cohort import collect
from defacedask.tables.evidence import positive_controls

COUNT = 12


def dose_look(view, vector, **more):
    return {**look(view, vector), "path": "doses/RTDOSE", "modality": "RTDOSE", **more}


def tables_of(folder, at_face, planted_seen=True):
    """Persons whose image is recognised; their dose is where it is at the face, and elsewhere shows nothing."""
    (folder / "pictures").mkdir(parents=True)
    cases, results = [], []
    for k in range(COUNT):
        name = f"c{k:02d}"
        cases.append(Case(name, f"P{k}", "1.2", (series(name),)))
        own, rng = np.random.default_rng(k).normal(size=8), np.random.default_rng([k, 1])

        def seen(shows, own=own, rng=rng):
            return (own + 0.05 * rng.normal(size=8)).tolist() if shows else None

        dosed = k in at_face
        looks = [look(view, seen(True)) for view in ("front", "turned")]
        looks += [dose_look(view, seen(dosed)) for view in ("front", "turned")]
        facts = {"looks": looks, "recogniser": "face_recognition"}
        about = {"attack": "dose_at_face", "variant": AT_FACE if dosed else NOT_AT_FACE}
        facts["planted"] = [dose_look(view, seen(planted_seen), **about) for view in ("front", "turned")]
        results.append(TaskResult("faces", name, "original", "k", facts=facts))
        for defacer in ("none", "quickshear"):
            results.append(TaskResult("faces", name, defacer, "k", facts={**facts, "planted": []}))
            results.append(TaskResult("apply", name, defacer, "k"))
    return collect(folder, cases, [], results, SETTINGS)


def row_of(tables, modality="RTDOSE"):
    return tables["controls"].query(f"modality == '{modality}'").iloc[0]


def lines_of(folder):
    table = control_table(read_run(folder))
    return {line[0].text: line[-1].text for line in table.rows}, " ".join(table.notes)


def test_a_dose_at_nobodys_face_is_not_judged_and_did_not_fail(tmp_path):
    tables = tables_of(tmp_path, at_face=())
    row = row_of(tables)
    assert (row["not_judged"], row["persons"], row["positive_n"]) == (COUNT, 0, 0)
    assert not row["holds"]
    assert "none of 12 persons" in row["reason"]
    assert (row["planted"], row["planted_detected"], row["planted_matches"]) == (COUNT, COUNT, COUNT)
    (dose,) = (c for c in positive_controls({}, {}, tables["controls"]) if c.modality == "RTDOSE")
    assert dose.apart
    assert dose.state == "void"  # still: nothing can be concluded


def test_who_has_dose_at_the_face_is_counted_and_nobody_else(tmp_path):
    some = range(0, COUNT, 2)
    row = row_of(tables_of(tmp_path, at_face=some))
    assert (row["not_judged"], row["persons"], row["persons_detected"]) == (6, 6, 6)
    assert row["positive_matches"] == 6
    assert row["holds"], row["reason"]
    assert row_of(tables_of(tmp_path / "all", at_face=range(COUNT)))["not_judged"] == 0


def test_images_have_no_such_control(tmp_path):
    tables = tables_of(tmp_path, at_face=())
    assert row_of(tables, "CT")[["not_judged", "planted"]].isna().all()
    assert row_of(tables, "CT")["persons"] == COUNT
    # and nothing of what was planted is anybody's recognition
    for name in ("recognition", "verification"):
        assert "dose_at_face" not in set(tables[name]["attack"])


@pytest.mark.parametrize("works", [True, False], ids=["works", "sees nothing"])
def test_the_planted_control_is_a_line_of_its_own(tmp_path, works):
    tables = tables_of(tmp_path, at_face=(), planted_seen=works)
    assert row_of(tables)["planted_matches"] == (COUNT if works else 0)
    lines, notes = lines_of(tmp_path)
    by = {words.split(",")[0]: said for words, said in lines.items() if "RTDOSE" in words}
    assert by["positive: originals"] == "not judged"
    assert by["positive: a dose planted on all of the head"] == ("pass" if works else "fails, aside")
    assert "no patient’s dose is at the face" in notes
    assert "hardly recognise anybody" not in notes

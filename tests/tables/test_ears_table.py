"""The table of ears: whom they are compared with, and its controls; ears drawn from noise."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter
from support.cohort_kit import SETTINGS, faces, look, series

from defacedask.attacks.ear_relief import _window, packed
from defacedask.flow.result import TaskResult
from defacedask.io.dicom.model import Case
from defacedask.report.run import read_run
from defacedask.report.sections.ears import ear_lines, ears_table
from defacedask.tables.cohort import collect
from defacedask.tables.ears import ears_table as compared
from defacedask.tables.parts import write_parts

PERSONS = 10


def ear(person, scan):
    shape = [len(axis) for axis in _window("left")]
    own = gaussian_filter(np.random.default_rng(person).standard_normal(shape), 2.5)
    return 85.0 + 3.0 * own / own.std() + 0.5 * np.random.default_rng([person, scan]).normal(size=shape)


def skin(case, person, scan, defacer):
    gone = np.full(ear(0, 0).shape, np.nan)
    own = {"left": packed(ear(person, scan))}
    kept = own if defacer == "none" else {"left": packed(gone)}
    facts = {"ears": {"images/CT": {"modality": "CT", "original": own, "defaced": kept}}}
    return TaskResult("skin", case, defacer, "k", facts=facts)


def tables_of(folder, scans, gallery):
    (folder / "pictures").mkdir(parents=True)
    cases, results = [], []
    for person in range(PERSONS):
        for scan in range(scans):
            name = f"c{person}-{scan}"
            one = dataclasses.replace(series(name), patient_id=f"P{person}")
            cases.append(Case(name, f"P{person}", "1.2", (one,)))
            for who in ("original", "none", "quickshear"):
                results.append(faces(name, who, [look("front", [1.0, float(person)])]))
            results += [skin(name, person, scan, defacer) for defacer in ("none", "quickshear")]
    return collect(folder, cases, [], results, dataclasses.replace(SETTINGS, gallery=gallery))


def test_ears_are_told_in_another_scan_and_gone_ears_are_not(tmp_path):
    tables = tables_of(tmp_path, 2, "second-scan")
    rows = tables["ears"].set_index("defacer")
    assert rows.index.tolist() == ["original", "none", "quickshear"]
    assert (rows["judged"] == 2 * PERSONS).all()
    assert (rows["persons"] == PERSONS).all()
    for name in ("original", "none"):
        assert rows.loc[name, "auc_low"] > 0.9
        assert rows.loc[name, "rank_1"] == 2 * PERSONS
        assert rows.loc[name, "exchanged_low"] <= 0.5 <= rows.loc[name, "exchanged_high"]
    assert rows.loc["quickshear", "auc"] == 0.5
    run = read_run(tmp_path)
    lines = {line.control: line.passed for line in ear_lines(run)}
    assert lines == {"positive: ears, CT": True, "negative: ears, CT": True}
    assert [line[0].text for line in ears_table(run).rows] == ["original", "none", "quickshear"]


def test_an_original_is_not_compared_with_itself(tmp_path):
    tables = tables_of(tmp_path, 1, "originals")
    rows = tables["ears"].set_index("defacer")
    assert rows.loc["original", "judged"] == 0
    assert np.isnan(rows.loc["original", "auc"])
    assert "second scan" in rows.loc["original", "note"]
    assert rows.loc["none", "auc"] == 1.0
    lines = {line.control: line.passed for line in ear_lines(read_run(tmp_path))}
    assert lines["positive: ears, CT"] is None
    assert lines["negative: ears, CT"] is True


def test_without_ears_there_is_an_empty_table(tmp_path):
    write_parts(tmp_path / "part", {})
    found = compared([tmp_path / "part"], "originals", ["none"])
    assert len(found) == 0
    assert "auc_low" in found

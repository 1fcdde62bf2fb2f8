"""The report's lines on second scans and on masks say what the tables say."""

from __future__ import annotations

from support import small_run

from defacedask.costs.agreement import RESCAN
from defacedask.report.run import read_run
from defacedask.report.sections.rescan import masks_table, rescan_table


def row(structure, measure, share, icc):
    about = {"defacer": "tidy", "modality": "CT", "structure": structure, "measure": measure}
    known = {"cases": 4, "persons": 2, "share": share, "icc": icc, "concordance": icc - 0.1}
    return {**dict.fromkeys(RESCAN, 0.5), **about, **known}


def mask(case, defacer, name, was, now, dice, apart):
    values = {"volume_ml": (was, now), "dice": (1.0, dice), "hd95_mm": (0.0, apart)}
    about = {"case": case, "defacer": defacer, "modality": "CT", "structure": name}
    return [{**about, "measure": m, "original": a, "defaced": b} for m, (a, b) in values.items()]


def test_shares_are_told_by_structure_and_what_is_unchanged_in_one_line(tmp_path):
    rows = small_run.tables()
    rows["rescan"] = [
        row("Eye_L", "Median", 0.4, 0.91),
        row("Eye_L", "Energy", 2.5, 0.62),
        row("Brain", "Median", 0.0, 1.0),
        row("Parotid_L", "Median", float("nan"), 0.5),
    ]
    table = rescan_table(read_run(small_run.write(tmp_path, rows)))
    lines = [[cell.text for cell in line] for line in table.rows]
    assert lines[0][:3] == ["tidy", "CT", "1 other structure: exactly unchanged"]
    assert lines[1] == ["tidy", "CT", "Eye_L", "2", "4", "1.4", "2.5", "0.62", "0.52", "50\u202f%"]
    assert table.rows[1][6].small == "Energy"
    assert len(lines) == 2


def test_masks_are_told_by_median_and_worst(tmp_path):
    rows = small_run.tables()
    rows["utility"] = [
        *mask("a", "tidy", "body", 100.0, 90.0, 0.9, 3.0),
        *mask("b", "tidy", "body", 100.0, 70.0, 0.8, 9.0),
        *mask("a", "none", "body", 100.0, 100.0, 1.0, 0.0),
    ]
    (line,) = masks_table(read_run(small_run.write(tmp_path, rows))).rows
    assert [cell.text for cell in line] == ["body", "CT", "tidy", "2", "0.850", "6.0", "20.0"]
    assert [cell.small for cell in line[4:]] == ["0.800", "9.0", "30.0"]


def test_nothing_is_said_where_nothing_was_measured(tmp_path):
    run = read_run(small_run.write(tmp_path, small_run.tables()))
    assert rescan_table(run) is None
    assert masks_table(run) is None

"""The summary in the terminal says what the page says first."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner
from support.small_run import GOOD, tables, write

from defacedask.cli.deface import _summary
from defacedask.cli.running import UndoneLines, finish, retry_option
from defacedask.config import option
from defacedask.flow.result import FAILED, REFUSED, TaskResult
from defacedask.runs.deface import DefaceResult
from defacedask.runs.study import StudyResult
from defacedask.tables.derive import derive_tables
from defacedask.tables.files import read_tables, write_tables


def test_a_void_result_is_said_before_its_numbers(tmp_path, capsys):
    """One case, of whose original no face was found: zero matches must not look like a result."""
    about = {"case": "a", "modality": "PT", "recogniser": "r", "attack": "plain", "view": "v", "level": 0.1}
    looks = [
        {**about, "defacer": defacer, "detected": False, "distance_to_own": None, "comparable": own}
        for defacer, own in (("original", True), ("none", False), ("quickshear", False))
    ]
    control = {"modality": "PT", "recogniser": "r", "persons": 1, "persons_detected": 0, "positive_n": 0}
    control |= {"positive_matches": 0, "holds": False, "reason": "no face.", "not_in_gallery": "P"}
    case = {"case": "a", "patient": "P", "modality": "PT", "status": "done", "reason": ""}
    write_tables(tmp_path, {"recognition": looks, "controls": [control], "cases": [case]})
    tables = read_tables(tmp_path)
    tables |= derive_tables(tables, {"r": 0.3})
    finish(StudyResult(tmp_path, tables, tmp_path / "report" / "index.html"))
    said = capsys.readouterr().out
    assert said.startswith("The privacy result is void: the originals themselves are not recognised")
    assert "Not judged: 1 of 1 cases" in said
    assert "no structure was measured" in said
    (line,) = [text for text in said.splitlines() if "quickshear" in text]
    assert "not judged" in line
    assert "%" not in line  # no bound that nothing stands behind


def test_the_table_counts_as_the_first_line_does_and_touched_targets_are_said_in_red(
    tmp_path, capsys, monkeypatch
):
    """A match above the study's tolerance and within the calibrated threshold, by an attack alone."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    rows = tables()
    for row in rows["recognition"]:
        if (row["case"], row["defacer"], row["attack"]) == ("c03", GOOD, "unmasked"):
            row["distance_to_own"] = 0.36
    rows["geometry"][0].update(region_ml=6.0, region_percent=20.0)
    rows["dose"][0]["defaced"] = 17.5
    for row in rows["cases"]:
        row["virtual"] = True
    write(tmp_path, rows)
    found = read_tables(tmp_path)
    found |= derive_tables(found, {"r": 0.3})
    finish(StudyResult(tmp_path, found, tmp_path / "report" / "index.html"))
    said = capsys.readouterr().out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert f"{GOOD} 1\u00a0of\u00a040" in plain.splitlines()[0]
    assert "All 40 patients are virtual" in plain.splitlines()[1]
    assert "within 0.37 by any attack" in plain
    (line,) = [text for text in plain.splitlines() if text.split()[:2] == [GOOD, "CT"]]
    assert line.split()[5] == "1"  # matched
    red = [text for text in said.splitlines() if text.startswith("\x1b[1;31m")]
    assert len(red) == 1
    assert "Target is cut in 1 of 40 cases, by up to 20" in red[0]
    assert "Target Dmean 2.50\u00a0Gy less in c00" in red[0]


def test_nothing_is_red_where_no_target_was_touched(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    write(tmp_path, tables())
    found = read_tables(tmp_path)
    found |= derive_tables(found, {"r": 0.3})
    finish(StudyResult(tmp_path, found, tmp_path / "report" / "index.html"))
    assert "31m" not in capsys.readouterr().out


def test_clipped_targets_of_deface_are_red_and_in_the_last_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    clipped = "PTV70: 39 contours clipped, 2 removed, 41 left"
    other = "Parotid_L: 3 contours clipped, 0 removed, 30 left"

    def case(name, notes, targets):
        about = {
            "case": name,
            "status": "done",
            "reason": "",
            "written": {"CT": 4},
            "held_back": [],
            "seconds": 1.0,
        }
        return {**about, "notes": notes, "targets": targets, "reversible": False}

    rows = [case("a", [f"RTSTRUCT: {clipped}", f"RTSTRUCT: {other}"], [clipped]), case("b", [], [])]
    _summary(DefaceResult(tmp_path, tmp_path / "audit.jsonl", rows, [], False, "quickshear"), tmp_path)
    said = capsys.readouterr().out
    red = [text for text in said.splitlines() if text.startswith("\x1b[1;31m")]
    assert len(red) == 2
    assert f"a: target clipped: RTSTRUCT: {clipped}" in red[0]
    assert "Targets were clipped in 1 of 2 cases: PTV70." in red[1]
    assert said.index(red[1]) > said.index("Parotid_L")


@pytest.mark.parametrize(
    ("given", "retried"), [([], True), (["--no-retry-failed"], False), (["--retry-failed"], True)]
)
def test_whether_failures_are_tried_again_holds_for_one_command(given, retried):
    @click.command()
    @retry_option
    def command():
        click.echo(option("cluster.retry-failed"))

    assert CliRunner().invoke(command, given).output.strip() == str(retried)
    assert option("cluster.retry-failed") is True


def test_a_reason_that_many_cases_share_is_told_once():
    undone = UndoneLines()

    def lines(*results):
        return [undone.line(TaskResult("s", case, by, "", status, why)) for case, by, status, why in results]

    assert lines(
        ("a", "carina", REFUSED, "it covers."),
        ("b", "carina", REFUSED, "it covers."),
        ("c", "quickshear", REFUSED, "it covers."),
        ("d", "", FAILED, "no room."),
        ("d", "", FAILED, "no room."),
    ) == [
        "a by carina: refused: it covers.",
        "b by carina: refused, for the same reason as a",
        "c by quickshear: refused: it covers.",
        "d: failed: no room.",
        "d: failed: no room.",
    ]


def test_only_so_many_reasons_are_remembered():
    undone = UndoneLines()
    for k in range(2 * undone.MOST):
        undone.line(TaskResult("s", f"case {k}", "", "", FAILED, f"reason {k}"))
    assert undone.line(TaskResult("s", "x", "", "", FAILED, "reason 0")) == "x: failed: reason 0"
    assert "same reason" in undone.line(TaskResult("s", "x", "", "", FAILED, f"reason {2 * undone.MOST - 1}"))

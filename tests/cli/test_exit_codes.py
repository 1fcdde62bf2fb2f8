"""Exit codes: of a study 0 only if every case was done and no file of the input is damaged; 1 if interrupted."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from support.small_run import tables, write

from defacedask.cli import program
from defacedask.cli.running import finish
from defacedask.flow import status
from defacedask.runs import asked
from defacedask.runs.study import StudyResult
from defacedask.tables.derive import derive_tables
from defacedask.tables.files import read_tables


def ended(folder, rows):
    """Exit code of the summary of a small run."""
    write(folder, rows)
    found = read_tables(folder)
    found |= derive_tables(found, {"r": 0.3})
    try:
        finish(StudyResult(folder, found, folder / "report" / "index.html"))
    except click.exceptions.Exit as left:
        return left.exit_code
    return 0


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("refused", 1), ("failed", 1)])
def test_a_case(tmp_path, capsys, status, code):
    rows = tables()
    rows["cases"][3].update(status=status, reason="" if status == "done" else "its head was not found.")
    assert ended(tmp_path, rows) == code
    assert ("its head was not found." in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize(("damaged", "code"), [(True, 1), (False, 0)])
def test_a_file_that_was_left_out(tmp_path, capsys, damaged, code):
    rows = tables()
    rows["skipped"] = [{"path": "in/CT.dcm", "reason": "it is cut off", "damaged": damaged}]
    assert ended(tmp_path, rows) == code
    assert ("damaged: in/CT.dcm: it is cut off" in capsys.readouterr().out) == damaged


@pytest.mark.parametrize(
    ("call", "place", "goes_on"),
    [
        (["deface", "in", "--defacer", "quickshear", "--out", "out"], (asked, "resolve"), True),
        (["status", "out"], (status, "status_of"), False),
    ],
)
def test_an_interrupted_command(monkeypatch, call, place, goes_on):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(*place, interrupted)
    found = CliRunner().invoke(program, call, obj={})
    assert found.exit_code == 1
    assert "Interrupted." in found.output
    assert ("goes on from there" in found.output) == goes_on

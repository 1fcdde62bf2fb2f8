"""``defacedask scan``: what a person reads, what a program reads, and the exit code."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support import make

from defacedask.cli import main
from defacedask.cli.scan import command
from defacedask.io.dicom.model import Case

GRID = make.grid()


def run(*arguments, width="200"):
    return CliRunner(env={"COLUMNS": width}).invoke(command, [str(a) for a in arguments])


@pytest.fixture
def folder(tmp_path):
    make.write_series(tmp_path / "ct", make.ramp(GRID.shape), GRID, series="planning CT")
    make.write_series(tmp_path / "pet", make.ramp(GRID.shape), GRID, "PT", series="PET")
    make.write_struct(tmp_path / "rs.dcm", ["Brain", "Eye_L", "[bold]odd[/]"], frame=GRID.frame_of_reference)
    make.write_series(tmp_path / "bad", make.ramp(GRID.shape), GRID, patient="P2", only=[0, 1, 4])
    (tmp_path / "readme.txt").write_text("not an image")
    (tmp_path / "notes.txt").write_text("neither")
    return tmp_path


def test_tables(folder):
    result = run(folder)
    assert result.exit_code == 0
    text = result.output
    for words in (
        "planning CT",
        "5 x 6 x 7, 3 x 1.5 x 1.25 mm, SPL",
        "3 structures",
        "CT *",
        "2 slices are missing: a gap of 9 mm after slice 2 of 3",
        "it is not a DICOM file",
        "1 case of 1 patient (1 CT, 1 PT, 1 RTSTRUCT).",
    ):
        assert words in text, text
    # loose files of one reason share a line
    assert text.count("not a DICOM file") == 1


def test_narrow_terminal(folder):
    result = run(folder, width="60")
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 60


def test_json(folder):
    result = run(folder, "--json")
    facts = json.loads(result.output)
    assert result.exit_code == 0
    (case,) = [Case.from_dict(c) for c in facts["cases"]]
    assert case.primary.description == "planning CT"
    assert {s["files"] for s in facts["skipped"]} == {1, 3}


def test_nothing_usable(folder, tmp_path_factory):
    result = run(folder / "bad")
    assert result.exit_code == 1
    assert "Nothing here can be defaced" in result.output
    assert "2 slices are missing" in result.output
    empty = tmp_path_factory.mktemp("empty")
    result = run(empty)
    assert result.exit_code == 1
    assert json.loads(run(empty, "--json").output)["cases"] == []


def test_mistakes_are_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["scan", str(tmp_path / "nowhere")])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert "does not exist" in error
    assert len(error.strip().splitlines()) == 1


def test_help_has_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "defacedask scan ~/data" in result.output

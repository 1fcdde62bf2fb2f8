import pytest
from click.testing import CliRunner

from defacedask.cli import main, program


def test_help_has_an_example_and_command_writes(tmp_path):
    runner = CliRunner()
    shown = runner.invoke(program, ["phantom", "--help"])
    assert "Example: defacedask phantom" in shown.output
    out = tmp_path / "cohort"
    done = runner.invoke(
        program, ["phantom", "--subjects", "1", "--out", str(out), "--size", "coarse", "--modality", "PT"]
    )
    assert done.exit_code == 0, done.output
    assert len(list((out / "VP-0001" / "STUDY-1" / "PT").iterdir())) == 60


def test_unwritable_output_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(["phantom", "--subjects", "1", "--out", str(tmp_path / "file" / "x"), "--size", "coarse"])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: cannot write")
    assert "Traceback" not in error

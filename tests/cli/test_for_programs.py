"""What a program, a pipe and a log file get of the commands; and what is wrong is said before a cluster starts."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from defacedask import cli, cluster
from defacedask.cli import COMMANDS, program
from defacedask.errors import ConfigError, InputError


def run(*arguments: object):
    return CliRunner().invoke(program, [str(one) for one in arguments], obj={})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_more_and_logs(name):
    command = program.get_command(None, name)
    for one in [command, *getattr(command, "commands", {}).values()]:
        if not hasattr(one, "commands"):
            # asked for twice, an option is there once
            program.get_command(None, name)
            assert [p.name for p in one.params].count("verbose") == 1
            assert [p.name for p in one.params].count("log") == 1


def test_no_word_is_broken_in_a_pipe(virtual_patients, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    ids = [case["id"] for case in json.loads(run("scan", virtual_patients, "--json").output)["cases"]]
    assert ids
    shown = run("scan", virtual_patients).output
    assert all(name in shown for name in ids)
    monkeypatch.setenv("COLUMNS", "40")
    assert any(name not in run("scan", virtual_patients).output for name in ids)


def test_a_log_has_where_an_error_came_from(tmp_path, capsys):
    log = tmp_path / "log"
    with pytest.raises(SystemExit):
        cli.main(["status", str(tmp_path / "nothing"), "--log", str(log)])
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "Traceback" in log.read_text()
    assert run("status", tmp_path, "--log", tmp_path / "no" / "log").exit_code == 2


def test_verify_as_json(tmp_path):
    (tmp_path / "audit.jsonl").write_text("")
    found = run("verify", tmp_path, "--json")
    facts = json.loads(found.output)
    assert facts["ok"] == (not facts["problems"])
    assert found.exit_code == (0 if facts["ok"] else 1)


def test_verify_names_some_files_of_one_problem_and_counts_the_others(tmp_path):
    (tmp_path / "audit.jsonl").write_text("")
    for number in range(25):
        (tmp_path / f"{number:02d}.dcm").write_text("")
    lines = run("verify", tmp_path).output.splitlines()
    stray = [line for line in lines if line.endswith("record: it is not on record")]
    assert len(stray) == 20
    assert "5 more files: record: it is not on record (--json names each)" in lines
    named = [one["file"] for one in json.loads(run("verify", tmp_path, "--json").output)["problems"]]
    assert sum(name.endswith(".dcm") for name in named) == 25


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--deidentify", "--map", "nobody.csv"], InputError),
        (["--trial", "sponsor=x"], ConfigError),
        (["--defacer", "quickshear:bufer=3"], ConfigError),
        (["--margin-mm", "99"], ConfigError),
    ],
)
def test_what_is_wrong_is_said_before_a_cluster_starts(
    virtual_patients, tmp_path, monkeypatch, options, error
):
    def start(*_: object):
        raise AssertionError("a cluster was started")

    monkeypatch.setattr(cluster, "connect", start)
    given = ["--defacer", "quickshear", *options, "--out", tmp_path / "out"]
    found = run("deface", virtual_patients / "VP-0001", *given)
    assert isinstance(found.exception, error)
    # and it is the cluster that comes next
    found = run("deface", virtual_patients / "VP-0001", "--defacer", "quickshear", "--out", tmp_path / "out")
    assert "a cluster was started" in str(found.exception)


def test_a_template_too_is_looked_at_before_a_cluster_starts(virtual_patients, tmp_path, monkeypatch):
    def start(*_: object):
        raise AssertionError("a cluster was started")

    monkeypatch.setattr(cluster, "connect", start)
    given = ["template", "build", virtual_patients, "--out", tmp_path / "out"]
    assert isinstance(run(*given, "--spacing", "99").exception, ConfigError)
    assert isinstance(run(*given, "--iterations", "0").exception, ConfigError)
    found = run(*given, "--force")
    assert "a cluster was started" in str(found.exception)


@pytest.mark.parametrize("word", ["st", "ver"])
def test_the_shell_completes(word, monkeypatch, capsys):
    monkeypatch.setenv("_DEFACEDASK_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"defacedask {word}")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        cli.main([])
    found = [line.removeprefix("plain,") for line in capsys.readouterr().out.split()]
    assert found == [name for name in COMMANDS if name.startswith(word)]


@pytest.mark.parametrize(("pattern", "cases"), [("Foo*", 0), ("Target,Foo*", 0), ("Target, brain", 1)])
def test_a_dry_run_says_what_would_not_be_protected(virtual_patients, tmp_path, pattern, cases):
    given = [virtual_patients / "VP-0001", "--out", tmp_path / "out", "--protect", pattern, "--dry-run"]
    found = run("deface", *given, "--defacer", "quickshear")
    assert f"{cases} cases would be defaced" in found.output
    assert found.exit_code == (0 if cases else 1)
    assert ("no structure is called Foo*" in found.output) == (not cases)
    found = run("study", *given)
    assert ("no structure is called Foo*" in found.output) == (not cases)
    assert found.exit_code == (0 if cases else 1)
    assert not (tmp_path / "out").exists()

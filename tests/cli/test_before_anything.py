"""What is wrong with a call is said before anything is made, whichever command it is of."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from defacedask.cli import program
from defacedask.errors import ConfigError, DefacedaskError

COMMANDS = {
    "deface": ["in", "--defacer", "quickshear", "--out"],
    "study": ["in", "--out"],
    "attack": ["in", "in", "--out"],
    "template build": ["in", "--out"],
    "demo": ["--out"],
}
CLUSTERS = ["nonsense", "tcp://host", "tcp://", "tls://host:port", "foo://host:8786", "://"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The current folder holds an empty folder of input, and a file."""
    (tmp_path / "in").mkdir()
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)
    yield
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "file", tmp_path / "in"]


def run(command, out, *more):
    return CliRunner().invoke(program, [*command.split(), *COMMANDS[command], out, *more], obj={})


def refused(found):
    assert isinstance(found.exception, DefacedaskError) or found.exit_code == 2, found.output
    return str(found.exception) if isinstance(found.exception, DefacedaskError) else found.output


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_no_cluster(command, cluster):
    told = refused(run(command, "out", "--cluster", cluster))
    assert "cluster" in told or "scheduler" in told or "addresses" in told


@pytest.mark.parametrize("cluster", ["local", "here", "tcp://host:8786", "tls://[::1]:8786/", "ws://host:80"])
def test_clusters_that_may_be_are_taken(cluster):
    """The positive control: what is refused is the empty input."""
    assert "no image series" in refused(run("deface", "out", "--cluster", cluster))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["", " "])
def test_no_output_folder(command, out):
    assert "it is empty" in refused(run(command, out))


@pytest.mark.parametrize("command", ["study", "attack", "template build"])
@pytest.mark.parametrize("out", ["in", "in/out", "file/../in/deeper/out"])
def test_an_output_folder_in_the_input(command, out):
    assert "lies in, the input" in refused(run(command, out))


@pytest.mark.parametrize("command", ["deface", "study", "attack", "demo"])
def test_a_file_that_could_not_be_written_at_the_end(command):
    assert "no folder" in refused(run(command, "out", "--performance-report", "nowhere/report.html"))


@pytest.mark.parametrize(
    "address", ["nonsense", "ftp://host/x", "file:///x", "dimse://host", "https://u:p@host/x"]
)
def test_no_archive(address):
    assert "address" in refused(run("deface", "out", "--store-to", address))


ARMS = ["a=no-such-program {input} {output}", "a=nowhere", "a", "quickshear=cp {input} {output}"]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("command", ["study", "demo"])
def test_no_arm(command, arm):
    assert isinstance(run(command, "out", "--arm", arm).exception, ConfigError)


OPTIONS = [["--work", "work"], ["--defacers", "quickshare"], ["--defacers", ","]]


@pytest.mark.parametrize("options", OPTIONS)
def test_options_of_a_study(options):
    assert isinstance(run("study", "out", *options).exception, ConfigError)


@pytest.mark.parametrize("cluster", ["local", "here"])
def test_no_service(cluster, monkeypatch):
    """The workers of this machine have its environment; a cluster elsewhere has another."""
    for name in ("AZURE_FACE_ENDPOINT", "AZURE_FACE_KEY"):
        monkeypatch.delenv(name, raising=False)
    options = ("--recogniser", "face_recognition,azure", "--allow-upload", "--cluster")
    assert "AZURE_FACE_KEY" in refused(run("attack", "out", *options, cluster))
    assert "AZURE_FACE_KEY" not in refused(run("attack", "out", *options, "tcp://host:8786"))


def test_no_published_tables():
    assert "no published table" in refused(run("study", "out", "--reference", "in"))


@pytest.mark.parametrize("command", ["deface", "study"])
def test_no_name_to_protect(command):
    (error,) = [run(command, "out", "--protect", ",").exception]
    assert isinstance(error, DefacedaskError)


@pytest.mark.parametrize("options", [["--subjects", "0"], ["--subjects", "x"], ["--seed", "-1"]])
def test_no_virtual_patients(options):
    assert run("demo", "out", *options).exit_code == 2


def test_every_command_with_a_cluster_is_tried_here():
    """A command that comes to take ``--cluster`` belongs into the list above."""

    def names(group, before=""):
        for name in group.list_commands(click.Context(group)):
            one = group.get_command(click.Context(group), name)
            if isinstance(one, click.Group):
                yield from names(one, f"{before}{name} ")
            elif any(option.name == "cluster" for option in one.params):
                yield before + name

    assert set(names(program)) == {*COMMANDS}

"""What a user types and gets of `study` and `demo`; as a program of its own where the process matters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings

import pytest
from click.testing import CliRunner
from support import plugged

from defacedask.cli import COMMANDS, main
from defacedask.cli import program as commands


def program(*arguments, timeout=300):
    code = "import sys; from defacedask.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture
def typed(capsys):
    """The program's `main` in this process; what it leaves is told as of a process."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, left.value.code or 0, said.out, said.err)

    return run


def one_sentence(done, *words):
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("Error: ")]
    for word in words:
        assert word in line


@pytest.fixture(scope="module")
def patient(virtual_patients):
    return virtual_patients / "VP-0001"


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"template"}))
def test_help_has_an_example(command):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # such as one that an option is declared twice
        done = CliRunner().invoke(commands, [command, "--help"])
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    check_examples(done.stdout)


def check_examples(text):
    """As they are typed: a line each."""
    assert "\\b" not in text
    lines = text.split("Example:", 1)[1].split("\n\n")[0].strip().splitlines()
    assert lines
    assert all(line.strip().startswith("defacedask ") for line in lines)


@pytest.mark.parametrize("part", ["build", "show"])
def test_help_of_subcommands_has_an_example_too(part):
    check_examples(CliRunner().invoke(commands, ["template", part, "--help"]).stdout)


def test_help_as_a_program_says_nothing_else():
    done = program("study", "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["study", "--help"], ["demo", "--help"], ["deface", "--help"]]
)
def test_help_waits_for_no_heavy_package(arguments):
    code = f"import sys; sys.argv[1:] = {arguments!r}\nfrom defacedask.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=False
    )
    assert "Usage: defacedask" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "defacedask.cli" in imported  # the list is what it seems to be
    assert not imported & {"numpy", "pandas", "dask.array", "zarr", "pydicom", "SimpleITK"}


def test_every_command_is_listed_in_one_line():
    done = CliRunner().invoke(commands, ["--help"], terminal_width=80)
    for name, what in COMMANDS.items():
        assert any(line.split() == [name, *what.split()] for line in done.stdout.splitlines())


@pytest.mark.slow
def test_a_study_on_a_cluster_of_two_processes(patient, tmp_path):
    options = ("--defacers", "quickshear", "--attacks", "basic", "--workers", "2")
    done = plugged.started(tmp_path, "study", patient, "--out", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    assert "1 done" in done.stdout
    assert "Dask dashboard" in done.stderr
    assert (tmp_path / "out" / "report" / "index.html").exists()


def test_dry_run_does_nothing(patient, tmp_path, typed):
    done = typed("study", patient, "--out", tmp_path / "out", "--defacers", "quickshear", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "VP-0001" in done.stdout
    assert "none, quickshear" in done.stdout
    assert not (tmp_path / "out").exists()


STUDY, DEFACE = ("study",), ("deface", "--defacer", "quickshear")


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        (STUDY, ("--tolerance", "abc"), "no tolerance"),
        (STUDY, ("--recogniser", "nobody"), "no recogniser"),
        (STUDY, ("--gallery", "nowhere"), "no gallery"),
        (STUDY, ("--attacks", "rumour"), "no attack"),
        (STUDY, ("--feature-classes", "mood"), "no feature class"),
        (("deface", "--defacer", "none"), (), "leaves the face in"),
        (DEFACE, ("--already-defaced", "copy", "--deidentify"), "does not go with"),
        *(
            (command, more, said)
            for command in (STUDY, DEFACE)
            for more, said in [
                (("--margin-mm", "-3"), "margin"),
                (("--trial", "mood=good", "--deidentify"), "can be said of a trial"),
                (("--map", "nowhere.csv", "--deidentify"), "cannot be read"),
                (("--map", "nowhere.csv"), "Add --deidentify"),
            ]
        ),
    ],
)
def test_a_dry_run_says_what_the_run_would_say(patient, tmp_path, typed, command, more, said):
    out = ("--out", tmp_path / "out", "--dry-run")
    one_sentence(typed(command[0], patient, *command[1:], *out, *more), said)
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(tmp_path):
    (tmp_path / "in").mkdir()
    one_sentence(program("study", tmp_path / "in", "--out", tmp_path / "out"), "no image series to work on")
    assert not (tmp_path / "out").exists()


def test_files_that_are_not_dicom(tmp_path, typed):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "letter.txt").write_text("Dear radiologist")
    done = typed("study", tmp_path / "in", "--out", tmp_path / "out")
    one_sentence(done, "no image series", "it is not a DICOM file")


def test_truncated_files(patient, tmp_path, typed):
    (tmp_path / "in").mkdir()
    for k, path in enumerate(sorted(patient.rglob("CT/*.dcm"))[:12]):
        (tmp_path / "in" / f"{k}.dcm").write_bytes(path.read_bytes()[:1500])
    one_sentence(typed("study", tmp_path / "in", "--out", tmp_path / "out"), "truncated")


def test_no_such_input(tmp_path, typed):
    one_sentence(typed("study", tmp_path / "nowhere", "--out", tmp_path / "out"), "does not exist")


@pytest.fixture
def mounted(tmp_path):
    """Mount a small file system of memory; only root may."""
    places = []

    def mount(options):
        place = tmp_path / f"mount{len(places)}"
        place.mkdir()
        tool = shutil.which("mount")
        if tool is None or os.getuid() != 0:
            pytest.skip("mounting a file system needs root")
        done = subprocess.run(
            [tool, "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here ({done.stderr.decode().strip()})")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", place], check=False)


def test_a_read_only_output(patient, mounted, typed):
    done = typed("study", patient, "--out", mounted("ro") / "out", "--defacers", "quickshear")
    one_sentence(done, "cannot write the output folder", "Read-only file system")


@pytest.mark.slow
def test_a_full_disk(patient, mounted):
    place = mounted("size=1m")
    done = program("study", patient, "--out", place / "out", "--defacers", "quickshear", "--workers", "1")
    one_sentence(done, "No space left on device")
    left = [p.name for p in place.rglob("*")]
    assert not [name for name in left if "partial" in name]
    assert not [name for name in left if name.endswith(".zarr")]
    assert not list((place / "out" / "tables").iterdir())

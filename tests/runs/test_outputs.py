"""Output at an address: the same as in a folder, verified before it is copied, with nothing of the original."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from pydicom import dcmread
from support.export_kit import (  # noqa: F401
    geometry,
    half_space,
    head_ct,
    judge_as,
    stub_plan,
    tree,
    write_patient,
)
from support.faulty_store import memory  # noqa: F401
from support.make import write_series
from support.object_store import s3  # noqa: F401

from defacedask.cli import program
from defacedask.errors import ConfigError, OutputError, RefusedError, RemoteError
from defacedask.flow.stages import witnessing
from defacedask.io.remote import dicomweb
from defacedask.io.remote.parts import MARKS, Parts
from defacedask.io.remote.publish import MANIFEST
from defacedask.runs import deface_stages
from defacedask.runs.deface import deface
from defacedask.runs.outputs import Output, local_folder, output_of
from defacedask.runs.preparing import RUN_FOLDERS, make_output, prepare
from defacedask.runs.sending import send

KEY = bytes(range(32))


@pytest.fixture
def patient(tmp_path, monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)
    monkeypatch.chdir(tmp_path)
    write_patient(tmp_path / "in")
    (tmp_path / "key").write_text(KEY.hex())
    return tmp_path / "in"


def run(*arguments: object):
    done = CliRunner().invoke(program, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.mark.usefixtures("half_space")
def test_defaced_files_at_an_address_are_those_of_a_folder(s3, patient, tmp_path):  # noqa: F811
    s3.mkdir("bucket")
    common = ("deface", patient, "--defacer", "half_space", "--cluster", "here", "--key", tmp_path / "key")
    assert run(*common, "--out", tmp_path / "local").exit_code == 0
    done = run(*common, "--out", "s3://bucket/trial", "--work", tmp_path / "w")
    assert done.exit_code == 0, done.output
    assert (
        "s3://bucket/trial: 18 files sent, 0 unchanged, 0 removed; originals and keys stay in" in done.output
    )
    s3.get("bucket/trial", str(tmp_path / "back"), recursive=True)
    (tmp_path / "back" / MANIFEST).unlink()
    shutil.rmtree(tmp_path / "back" / MARKS)
    assert tree(tmp_path / "back") == tree(tmp_path / "local")
    # here nothing is left of it but the record
    assert sorted(path.name for path in (tmp_path / "w/out").rglob("*")) == ["audit.jsonl", "audit.seal.json"]
    assert not list(tmp_path.glob("s3:*"))
    # the copy is checked where it lies
    seen = run("verify", "s3://bucket/trial", "--key", tmp_path / "key", "--json")
    assert (seen.exit_code, json.loads(seen.output)["written"]) == (0, 16)
    again = run(*common, "--out", "s3://bucket/trial", "--work", tmp_path / "w")
    assert "0 files sent, 18 unchanged, 0 removed" in again.output
    # other files under the same names
    for path in sorted((patient / "CT").glob("*.dcm"))[:3]:
        dataset = dcmread(path)
        dataset.InstitutionName = "Elsewhere"
        dataset.save_as(path)
    for place in (("--out", tmp_path / "local"), ("--out", "s3://bucket/trial", "--work", tmp_path / "w")):
        assert run(*common, *place).exit_code == 0
    s3.invalidate_cache()
    s3.get("bucket/trial", str(tmp_path / "second"), recursive=True)
    (tmp_path / "second" / MANIFEST).unlink()
    shutil.rmtree(tmp_path / "second" / MARKS)
    assert tree(tmp_path / "second") == tree(tmp_path / "local") != tree(tmp_path / "back")
    # a file that was exchanged there is found
    one = next(name for name in s3.find("bucket/trial") if name.endswith(".dcm"))
    s3.pipe_file(one, s3.cat_file(one) + b"x")
    wrong = CliRunner().invoke(program, ["verify", "s3://bucket/trial"])
    assert isinstance(wrong.exception, RemoteError)
    assert "is not what was copied" in str(wrong.exception)


@pytest.mark.usefixtures("half_space")
def test_what_is_no_longer_written_leaves_the_address(patient, tmp_path, monkeypatch):
    fs = fsspec.filesystem("memory")
    try:
        common = {"work": tmp_path / "w", "key": KEY}
        deface(patient, "memory://trial", "half_space", **common)
        assert [name for name in fs.find("/trial") if name.endswith(".dcm")]
        # the face is seen this time
        monkeypatch.setattr(witnessing, "judge", judge_as(0.1))
        assert not deface(patient, "memory://trial", "half_space", private="drop", **common).ok
        assert not [name for name in fs.find("/trial") if name.endswith(".dcm")]
        assert {name.rsplit("/", 1)[1] for name in fs.find("/trial")} == {
            "audit.jsonl",
            "audit.seal.json",
            MANIFEST,
        }
    finally:
        fs.store.clear()


@pytest.mark.usefixtures("half_space")
def test_one_case_at_a_time_is_here(tmp_path, monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)
    grid = geometry()
    for name in ("one", "two", "three"):
        files = write_series(tmp_path / "in" / name, head_ct(grid), grid, "CT", patient=name)
    fs = fsspec.filesystem("memory")
    real, here = Parts.deliver, []

    def deliver(self, part, folder, files, *rest):
        here.append(len([*tmp_path.glob("w/**/*.dcm")]))
        return real(self, part, folder, files, *rest)

    monkeypatch.setattr(Parts, "deliver", deliver)
    try:
        done = deface(tmp_path / "in", "memory://trial", "half_space", work=tmp_path / "w", key=KEY)
        assert done.ok, done.cases
        assert here == 3 * [len(files)]
        assert not [*tmp_path.glob("w/**/*.dcm")]
        assert len([name for name in fs.find("/trial") if name.endswith(".dcm")]) == sum(here)
        # what somebody took away there is made again, and nothing else
        gone = next(name for name in fs.find("/trial") if name.endswith(".dcm"))
        content = fs.cat_file(gone)
        fs.rm_file(gone)
        said: list[str] = []
        assert deface(
            tmp_path / "in", "memory://trial", "half_space", work=tmp_path / "w", key=KEY, say=said.append
        ).ok
        assert fs.cat_file(gone) == content
        assert len(here) == 4
        # neither another key's run nor another defacer's writes among them
        with pytest.raises(ConfigError, match="of a run with another key"):
            deface(tmp_path / "in", "memory://trial", "half_space", work=tmp_path / "x", key=bytes(32))
        with pytest.raises(ConfigError, match="holds what another defacer left"):
            deface(tmp_path / "in", "memory://trial", "quickshear", work=tmp_path / "y", key=KEY)
        # a run that knows one of them only does not take away the others
        with pytest.raises(RefusedError, match="is not on record"):
            deface(tmp_path / "in/one", "memory://trial", "half_space", work=tmp_path / "w", key=KEY)
        assert len([name for name in fs.find("/trial") if name.endswith(".dcm")]) == sum(here[:3])
    finally:
        fs.store.clear()


@pytest.mark.usefixtures("half_space", "memory")
def test_what_lies_at_an_address_goes_to_an_archive_from_there(patient, tmp_path, monkeypatch):
    monkeypatch.setattr(witnessing, "judge", judge_as(1.0))
    here = deface(patient, tmp_path / "local", "half_space", key=KEY)
    deface(patient, "memory://trial", "half_space", work=tmp_path / "w", key=KEY)
    got = {}

    def store(address, files, say):
        got.update({path.name: path.read_bytes() for path in files})
        return len(files)

    monkeypatch.setattr(dicomweb, "store", store)
    assert send("memory://trial", "https://archive/dicom-web") == 16
    assert got == {path.name: path.read_bytes() for path in here.out.rglob("*.dcm")}


@pytest.mark.usefixtures("half_space", "memory")
def test_who_may_not_write_there_is_told_so_at_once(patient, tmp_path, monkeypatch):
    def shut(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(witnessing, "judge", judge_as(1.0))
    monkeypatch.setattr(Parts, "deliver", lambda self, *_: self.objects._do("cannot be written", shut))
    with pytest.raises(OutputError, match="does not let us in"):
        deface(patient, "memory://trial", "half_space", work=tmp_path / "w", key=KEY)
    assert not [*tmp_path.glob("w/**/*.dcm")]


def test_what_does_not_pass_is_not_copied_and_the_store_never(tmp_path):
    fs = fsspec.filesystem("memory")
    try:
        output = output_of("memory://trial", tmp_path / "w")
        for name in ("tables/cases.csv", "report/index.html", "store/run.key", "store/case/zarr.json"):
            (output.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (output.folder / name).write_text(name)
        said: list[str] = []
        output.publish(say=said.append)
        assert {name.removeprefix("/trial/") for name in fs.find("/trial")} == {
            "tables/cases.csv",
            "report/index.html",
            MANIFEST,
        }
        assert said == [
            f"memory://trial: 2 files sent, 0 unchanged, 0 removed; originals and keys stay in {tmp_path / 'w'}."
        ]
        line = {"status": "written", "file": "defaced/1.dcm", "modality": "CT", "output_sha256": "0" * 64}
        (output.folder / "audit.jsonl").write_text(json.dumps(line) + "\n")
        with pytest.raises(RefusedError, match="did not pass its verification"):
            output.publish()
        assert not fs.exists("/trial/audit.jsonl")
    finally:
        fs.store.clear()


def test_folders_are_told_from_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output_of("out") == Output(tmp_path / "out", None)
    assert output_of(tmp_path / "out", "w") == Output(tmp_path / "out", tmp_path / "w")
    try:
        some = output_of("memory://b/my trial/")
        assert (some.folder, some.work) == (tmp_path / "my_trial.work/out", tmp_path / "my_trial.work")
    finally:
        fsspec.filesystem("memory").store.clear()
    with pytest.raises(ConfigError, match="is an address"):
        local_folder("s3://bucket/x")
    with pytest.raises(ConfigError, match="is an address"):
        prepare([], "s3://bucket/x")


@pytest.mark.parametrize(
    "arguments",
    [("attack", "a", "b"), ("demo",), ("phantom",), ("template", "build", "a")],
    ids=lambda some: some[0],
)
def test_commands_that_need_a_folder_say_so(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments, "--out", "s3://bucket/x")
    assert done.exit_code == 2
    assert "s3://bucket/x is an address. Name a folder of this machine." in done.output
    assert not list(Path.cwd().iterdir())


def test_originals_and_pictures_lie_in_folders_of_their_owners_alone(tmp_path):
    """The input may lie where nobody else may look; what was made of it lay open to all users of the machine."""
    before = os.umask(0o022)
    try:
        make_output(tmp_path / "out", tmp_path / "out.work", *RUN_FOLDERS)
        (tmp_path / "shared").mkdir(mode=0o755)
        make_output(tmp_path / "out", tmp_path / "shared")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in [*tmp_path.iterdir(), *(tmp_path / "out").iterdir()]}
    private = dict.fromkeys(("out.work", "store", "report", "pictures"), 0o700)
    assert modes == {"out": 0o755, "tables": 0o755, "shared": 0o755, **private}

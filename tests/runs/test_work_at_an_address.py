"""`deface` whose own data lie on an object store: the same files as with a folder, from workers that share none."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner
from support import forked
from support.elsewhere import reads, set_up
from support.export_kit import half_space, judge_as, stub_plan, tree, write_patient  # noqa: F401
from support.faulty_store import Killed, Watched, memory  # noqa: F401
from support.object_store import s3  # noqa: F401

from defacedask.cli import program
from defacedask.cluster import connect
from defacedask.errors import ConfigError, OutputError
from defacedask.flow import away as aways
from defacedask.flow.executors import DaskExecutor
from defacedask.flow.stages import delivering, witnessing
from defacedask.io.remote import publish
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.publish import manifest_of
from defacedask.runs import deface_stages, outbox
from defacedask.runs.deface import DefaceResult, deface

KEY = bytes(range(32))


@pytest.fixture
def patients(tmp_path, monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)
    monkeypatch.chdir(tmp_path)
    write_patient(tmp_path / "in")
    yield tmp_path / "in"
    aways._FREE.clear()
    aways._objects.cache_clear()


def away(patients: Path, scheme: str, **options: Any) -> DefaceResult:
    addresses = {"out": f"{scheme}://bucket/out", "work": f"{scheme}://bucket/run"}
    return deface(patients, addresses["out"], "half_space", work=addresses["work"], key=KEY, **options)


def output(folder: Path) -> dict[str, Any]:
    """What lies in a copy of the address, but for what says that all is there."""
    return {name: content for name, content in tree(folder).items() if not name.startswith("defacedask-")}


def never() -> None:
    raise AssertionError("a cluster was asked for")


@pytest.mark.usefixtures("half_space")
def test_workers_that_share_no_folder_leave_what_those_do_that_share_one(
    s3,  # noqa: F811
    patients,
    tmp_path,
    monkeypatch,
):
    s3.mkdir("bucket")
    here = deface(patients, tmp_path / "local", "half_space", key=KEY, work=tmp_path / "w")
    assert here.ok
    with forked.workers(), connect("local", 2) as client:
        # the input, too; that it is there they would see all the same
        ours = [str(tmp_path / name) for name in ("in", "local", "w", "run.local")]
        monkeypatch.setattr(DaskExecutor, "blind", lambda self, path: ["a worker"])
        assert len(set(client.run(set_up, ours, deface_stages, {"plan_protected": stub_plan}).values())) == 2
        # the positive control: a worker that looks at our folders is stopped
        assert set(client.run(reads, str(tmp_path / "local")).values()) == {False}
        assert reads(str(tmp_path / "local"))
        done = away(patients, "s3", client=client)
        assert done.ok, done.cases
        assert [(c["case"], c["written"]) for c in done.cases] == [
            (c["case"], c["written"]) for c in here.cases
        ]
    s3.get("bucket/out", str(tmp_path / "back"), recursive=True)
    assert output(tmp_path / "back") == tree(tmp_path / "local")
    assert not [*tmp_path.glob("run.local/**/*.dcm"), *tmp_path.glob("run.local/**/*.tar")]
    # nor does this machine hold plans, or did the files pass the other address
    assert not [*tmp_path.glob("run.local/plans/*")]
    assert not [name for name in s3.find("bucket/run") if name.endswith("files.tar")]
    # no originals are left, and what is secret is not with what may be passed on
    names = [str(name) for name in s3.find("bucket/run")]
    assert names
    assert not [name for name in names if "voxels" in name or "inputs/" in name]
    # a second run does nothing, also on another machine
    (tmp_path / "elsewhere").mkdir()
    for folder in (tmp_path, tmp_path / "elsewhere"):
        os.chdir(folder)
        before = s3.find("bucket", detail=True)
        again = away(patients, "s3", client=never)
        assert again.ok
        after = s3.find("bucket", detail=True)
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        assert {name.split("/", 2)[1:][0] for name in changed} <= {"run", "out"}
        assert all("/lease/" in name or name.endswith("defacedask-out.json") for name in changed)
    assert sorted(tree(tmp_path / "elsewhere/run.local/out")) == ["audit.jsonl", "audit.seal.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("half_space", "memory")
def test_a_run_that_is_killed_at_any_time_is_gone_on_with(patients, tmp_path, monkeypatch):
    assert deface(patients, tmp_path / "local", "half_space", key=KEY, work=tmp_path / "w").ok
    fs = fsspec.filesystem("memory")
    watch: dict[str, int] = {"at": -1}

    def die(number: int, when: str) -> None:
        if number == watch["at"] and when == "after":
            raise Killed

    shared = Watched(fs, die)

    class Dying(Objects):
        def __init__(self, address: str) -> None:
            super().__init__(address)
            self.fs = shared

    for module in (aways, sys.modules["defacedask.flow.depot"], delivering, outbox, publish):
        monkeypatch.setattr(module, "Objects", Dying)
    # what a dead process would leave: its hold, of a process that is gone
    monkeypatch.setattr("defacedask.io.remote.lease._gone", lambda who: True)
    assert away(patients, "memory").ok
    writes = shared.count
    assert writes > 20
    for at in range(3, writes, 5):
        fs.store.clear()
        aways._FREE.clear()
        folder = tmp_path / f"at-{at}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        shared.count, watch["at"] = 0, at
        with pytest.raises(Killed):
            away(patients, "memory")
        watch["at"] = -1
        # on another machine, that has nothing
        aways._FREE.clear()
        (folder / "next").mkdir()
        monkeypatch.chdir(folder / "next")
        assert away(patients, "memory").ok
        fs.get("/bucket/out", str(folder / "back"), recursive=True)
        assert manifest_of(Objects("memory://bucket/out"))
        assert output(folder / "back") == tree(tmp_path / "local")
        assert not [name for name in fs.find("/bucket/run") if "voxels" in name or "begun" in name]


@pytest.mark.usefixtures("half_space", "memory")
def test_the_key_stays_with_the_run_and_is_the_same_everywhere(patients, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        done = deface(patients, "memory://bucket/out", "half_space", work="memory://bucket/run")
        assert done.ok
    keys = {path.read_text() for path in tmp_path.glob("*/run.local/run.key")}
    assert len(keys) == 1
    (text,) = keys
    fs = fsspec.filesystem("memory")
    assert fs.cat_file("/bucket/run/run.key").decode() == text
    held = [name for name in fs.find("/bucket") if text.strip().encode() in fs.cat_file(name)]
    assert held == ["/bucket/run/run.key"]


@pytest.mark.usefixtures("half_space", "memory")
def test_what_is_refused_the_second_time_is_taken_back(patients, tmp_path, monkeypatch):
    fs = fsspec.filesystem("memory")
    assert away(patients, "memory").ok
    assert [name for name in fs.find("/bucket") if name.endswith(("files.tar", ".dcm"))]
    # the face is seen this time
    monkeypatch.setattr(witnessing, "judge", judge_as(0.1))
    assert not away(patients, "memory", private="drop").ok
    assert not [name for name in fs.find("/bucket") if name.endswith(("files.tar", ".dcm"))]


@pytest.mark.usefixtures("half_space", "memory")
def test_output_in_a_folder_and_somebody_elses_file_in_it(patients, tmp_path):
    out = tmp_path / "out"
    first = deface(patients, out, "half_space", work="memory://bucket/run", key=KEY)
    assert first.ok
    assert tree(out) == tree(Path(deface(patients, tmp_path / "local", "half_space", key=KEY).out))
    other = tmp_path / "other"
    name = next(path.relative_to(out) for path in out.rglob("*.dcm"))
    (other / name).parent.mkdir(parents=True)
    (other / name).write_text("mine")
    with pytest.raises(OutputError, match="is already in the output folder and not of an earlier run"):
        deface(patients, other, "half_space", work="memory://bucket/run", key=KEY)
    assert (other / name).read_text() == "mine"


@pytest.mark.usefixtures("memory")
def test_addresses_that_lie_within_each_other_are_refused(patients):
    for out, work in (("b/run/out", "b/run"), ("b/run", "b/run/work"), ("b/run", "b/run")):
        with pytest.raises(ConfigError, match="lie within each other"):
            deface(patients, f"memory://{out}", "quickshear", work=f"memory://{work}")


@pytest.mark.usefixtures("memory")
def test_a_folder_of_something_else_is_left_alone(patients, tmp_path):
    (tmp_path / "run.local").mkdir()
    (tmp_path / "run.local" / "mine").write_text("")
    with pytest.raises(ConfigError, match=r"which is to stand for memory://bucket/run here, is not empty"):
        away(patients, "memory")


@pytest.mark.usefixtures("half_space", "memory")
def test_on_the_command_line(patients, tmp_path):
    (tmp_path / "key").write_text(KEY.hex())
    options = ["--defacer", "half_space", "--cluster", "here", "--key", "key"]
    done = CliRunner().invoke(
        program,
        ["deface", str(patients), *options, "--out", "memory://bucket/out", "--work", "memory://bucket/run"],
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert "originals and keys stay in memory://bucket/run." in done.output
    assert "The output of all cases" not in done.output
    # a folder of this machine must have room for all: that is said before anything is done
    done = CliRunner().invoke(
        program, ["deface", str(patients), *options, "--out", "out", "--work", "memory://bucket/second"]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    told = re.search(r"The output of all cases, about ([\d.]+ [kM]B), lies in \S+ until", done.output)
    assert told
    assert done.output.index(told[0]) < done.output.index("cases written")
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.dcm"))
    amount = float(told[1].split()[0]) * {"kB": 1e3, "MB": 1e6}[told[1].split()[1]]
    assert 0.5 * size < amount < 1.5 * size

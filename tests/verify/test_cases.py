"""`verify` at an address, a case at a time: what is found there is what would be found in a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import fsspec
import pytest
from pydicom import dcmread
from support.export_kit import half_space, judge_as, stub_plan, write_patient  # noqa: F401
from support.faulty_store import memory  # noqa: F401

from defacedask.errors import DefacedaskError, RemoteError
from defacedask.flow.stages.delivering import deliver
from defacedask.io.remote.parts import MARKS
from defacedask.runs import deface_stages
from defacedask.runs.deface import deface
from defacedask.verify import verify
from defacedask.verify.cases import verify_address, verify_part

KEY = bytes(range(32))
ADDRESS = "memory://bucket/out"


@pytest.fixture
def both(tmp_path, monkeypatch, memory):  # noqa: F811
    """The same output in a folder, and at `ADDRESS`."""
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)
    monkeypatch.setattr("defacedask.flow.stages.witnessing.judge", judge_as(1.0))
    source = tmp_path / "in"
    write_patient(source)
    for out, work in ((tmp_path / "out", "folder-work"), (ADDRESS, "address-work")):
        assert deface(source, out, "half_space", work=tmp_path / work, key=KEY).ok
    return tmp_path / "out"


def exchange(folder: Path, name: str, content: bytes) -> None:
    """Put another file in the place of one, in both, so that only the record can tell."""
    (folder / name).write_bytes(content)
    fs = fsspec.filesystem("memory")
    fs.pipe_file(f"/bucket/out/{name}", content)
    (path,) = fs.glob(f"/bucket/out/{MARKS}/*.json")
    mark = json.loads(fs.cat_file(path))
    mark["files"][name] = [hashlib.sha256(content).hexdigest(), len(content)]
    fs.pipe_file(path, json.dumps(mark).encode())


@pytest.mark.usefixtures("half_space")
def test_an_address_is_judged_as_a_folder_is(both, tmp_path):
    here, there = verify(both, key=KEY), verify_address(ADDRESS, key=KEY)
    assert here.ok
    assert (there.written, there.refused, there.counts, there.unseen) == (
        here.written,
        here.refused,
        here.counts,
        here.unseen,
    )
    assert there.ok, there.problems
    assert verify_address(ADDRESS, key=KEY, source=tmp_path / "in").ok
    assert "the holder of this key" in verify_address(ADDRESS, key=bytes(32)).problems[0].what
    # a planted fault: a file that says nothing of what was done, and one that carries a UID of the source
    name = next(path.relative_to(both).as_posix() for path in sorted((both / "CT").rglob("*.dcm")))
    dataset = dcmread(both / name)
    source = str(dataset.SourceImageSequence[0].ReferencedSOPInstanceUID)
    del dataset.DeidentificationMethod
    dataset.PatientComments = source
    dataset.save_as(tmp_path / "changed.dcm")
    exchange(both, name, (tmp_path / "changed.dcm").read_bytes())
    found = verify(both, key=KEY).problems
    assert {problem.check for problem in found} >= {"hash"}
    assert verify_address(ADDRESS, key=KEY).problems == found
    # and one that no line of the record names
    exchange(both, "CT/more.dcm", b"x")
    assert verify_address(ADDRESS, key=KEY).problems == verify(both, key=KEY).problems != found


@pytest.mark.usefixtures("half_space")
def test_what_is_not_finished_or_exchanged_is_no_result(both):
    fs = fsspec.filesystem("memory")
    (path,) = fs.glob(f"/bucket/out/{MARKS}/*.json")
    mark = fs.cat_file(path)
    fs.pipe_file(path, mark.replace(b'"complete": true', b'"complete": false'))
    with pytest.raises(RemoteError, match="was not finished"):
        verify_address(ADDRESS)
    fs.pipe_file(path, mark.replace(b'"CT/', b'"../CT/'))
    with pytest.raises(RemoteError, match="outside"):
        verify_address(ADDRESS)


@pytest.mark.usefixtures("half_space", "memory")
def test_what_does_not_pass_is_not_sent(both, tmp_path):
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    (record,) = tmp_path.glob("folder-work/record/*/half_space.jsonl")
    folder = tmp_path / "copy"
    shutil.copytree(both, folder)
    name = next(path.relative_to(both).as_posix() for path in sorted((both / "CT").rglob("*.dcm")))
    (folder / name).write_bytes((folder / name).read_bytes() + b"\0\0")
    to = {"address": ADDRESS, "token": "x", "run": "r", "part": "p"}
    with pytest.raises(DefacedaskError, match="did not pass its verification"):
        deliver(record, folder, to)
    assert not fs.find("/bucket/out")
    assert (folder / name).exists()
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    written = [line for line in lines if line["status"] == "written"]
    assert {problem.check for problem in verify_part(folder, written)} >= {"hash"}
    assert not verify_part(both, written)
    (folder / name).unlink()
    assert {problem.check for problem in verify_part(folder, written)} >= {"record"}

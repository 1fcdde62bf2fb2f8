"""Files behind fsspec addresses: an object store, memory, a list of web addresses."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import fsspec
import pytest
from support.export_kit import tree, write_patient
from support.object_store import s3  # noqa: F401

from defacedask.errors import ConfigError, RemoteError
from defacedask.io.dicom.catalogue import scan
from defacedask.io.remote import localise
from defacedask.io.remote.files import _inside, _last


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient")
    write_patient(folder)
    return folder


def test_memory(patient, tmp_path):
    fs = fsspec.filesystem("memory")
    fs.put(str(patient), "/cohort", recursive=True)
    try:
        lines: list[str] = []
        (place,) = localise(["memory://cohort"], tmp_path, say=lines.append)
        assert tree(Path(place)) == tree(patient)
        assert lines == ["16 files fetched from memory://cohort"]
        before = {p: p.stat().st_mtime_ns for p in Path(place).rglob("*.dcm")}
        localise(["memory://cohort"], tmp_path)
        assert before == {p: p.stat().st_mtime_ns for p in Path(place).rglob("*.dcm")}
        (one,) = localise(["memory://cohort/RS.dcm"], tmp_path)
        assert Path(one).read_bytes() == (patient / "RS.dcm").read_bytes()
        with pytest.raises(RemoteError, match="nothing at"):
            localise(["memory://cohort/none"], tmp_path)
    finally:
        fs.rm("/cohort", recursive=True)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("/site/a/b.dcm", "a/b.dcm"),
        ("/site/../../etc/passwd", "etc/passwd"),
        ("/site//x\0y", "x_y"),
        ("/site/..\\..\\x", "x"),
        ("/site", "file"),
    ],
)
def test_no_name_leads_out(name, inside):
    assert _inside(name, "/site").as_posix() == inside
    assert _last("https://h/../..//.hidden?x=/../y") == "hidden"


def test_unknown_addresses(tmp_path):
    with pytest.raises(ConfigError, match="no kind of address"):
        localise(["nonsense://x"], tmp_path)
    with pytest.raises(ConfigError, match="local file"):
        localise(["file:///etc/passwd"], tmp_path)


def test_a_list_of_web_addresses(patient, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    files = sorted(patient.rglob("*.dcm"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        root = f"http://127.0.0.1:{server.server_port}/site"
        for number, path in enumerate(files):
            (site / f"{number}.dcm").write_bytes(path.read_bytes())
        lines = [f"{root}/{number}.dcm" for number in range(len(files))]
        (site / "list.txt").write_text("# all of it\n" + "\n".join(lines))
        (place,) = localise([f"{root}/list.txt"], tmp_path / "in")
        found = scan(place)
        assert len(found.cases) == 1
        assert sum(len(s.files) for s in found.cases[0].series) == 16
        (site / "list.txt").write_text(f"{root}/absent.dcm")
        with pytest.raises(RemoteError, match="nothing at"):
            localise([f"{root}/list.txt"], tmp_path / "again")
    finally:
        server.shutdown()
        server.server_close()


def test_object_store(s3, patient, tmp_path):  # noqa: F811
    s3.mkdir("cohort")
    for path in patient.rglob("*.dcm"):
        s3.put(str(path), f"cohort/one/{path.relative_to(patient).as_posix()}")
    (place,) = localise(["s3://cohort/one"], tmp_path)
    assert tree(Path(place)) == tree(patient)
    with pytest.raises(RemoteError):
        localise(["s3://cohort/two"], tmp_path)

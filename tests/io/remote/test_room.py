"""A fault of this machine's disk is told as such wherever something comes from an address or goes there."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sys
from pathlib import Path

import fsspec
import pytest

from defacedask.errors import InputError, OutputError, RemoteError
from defacedask.io.remote import localise
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.publish import Target
from defacedask.io.remote.room import fetching, need_room, sending

#: Bytes of a file that comes, and of the largest that the disk takes.
SIZE, MOST = 50_000, 20_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and files of Linux")


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/there/a.dcm", b"x" * SIZE)
    fs.pipe_file("/list.txt", b"memory://there/a.dcm\n")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("defacedask.io.remote.objects.WAITS", (0.0,))


@contextlib.contextmanager
def small_files():
    """The disk takes no file beyond some size: EFBIG, as a real disk says it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def by_objects(folder):
    Objects("memory://there").fetch("a.dcm", folder / "a.dcm")


WAYS = {
    "a folder": lambda folder: localise(["memory://there"], folder),
    "a file": lambda folder: localise(["memory://there/a.dcm"], folder),
    "a list": lambda folder: localise(["memory://list.txt"], folder),
    "an object": by_objects,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_disk_that_does_not_take_what_comes_is_not_the_address_s_fault(memory, tmp_path, way):
    with small_files(), pytest.raises(OutputError, match=r"cannot write what was fetched.*File too large"):
        WAYS[way](tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    # the control: with room it comes
    WAYS[way](tmp_path)
    assert [p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()] == [SIZE]


@pytest.mark.parametrize("way", WAYS)
def test_a_service_that_breaks_off_is_not_the_disk_s_fault(memory, tmp_path, monkeypatch, way):
    def cut(self, name, path, **_):
        Path(path).write_bytes(b"x" * (SIZE // 2))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(memory), "get_file", cut)
    with pytest.raises(RemoteError, match=r"memory://there\S* cannot be read \(OSError: .*Input/output"):
        WAYS[way](tmp_path)


def test_a_full_disk_is_believed_at_once(tmp_path):
    with pytest.raises(OutputError, match="No space left") as told, fetching(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert told.value.fatal


def test_a_disk_that_has_no_room_is_told_before_anything_comes(memory, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=SIZE - 1))
    monkeypatch.setattr(type(memory), "get_file", lambda *_, **__: pytest.fail("it was fetched"))
    with pytest.raises(OutputError, match=r"files at memory://there need 50\.0 kB, and .* has 50\.0 kB free"):
        localise(["memory://there"], tmp_path / "not" / "yet")
    need_room("the files", SIZE - 1, tmp_path)


def unreadable(folder):
    path = folder / "a.dcm"
    path.symlink_to("/proc/self/mem")  # EIO at its first byte
    return path


def test_a_file_that_cannot_be_read_is_not_the_address_s_fault(memory, tmp_path):
    with pytest.raises(InputError, match=r"a\.dcm cannot be read on this machine \(Input/output error\)"):
        Objects("memory://there").send(unreadable(tmp_path), "a.dcm")
    with pytest.raises(InputError, match="cannot be read on this machine"):
        Target("memory://new").publish(tmp_path)
    assert not memory.exists("/new/a.dcm")
    # the control: of a file that can be read the service's own word stays
    (tmp_path / "fine").write_text("")
    with pytest.raises(ConnectionResetError), sending([tmp_path / "fine"]):
        raise ConnectionResetError

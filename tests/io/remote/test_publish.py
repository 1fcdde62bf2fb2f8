"""A folder copied to an object store: equal, finished or said not to be, and nobody else's files touched."""

from __future__ import annotations

import json
import shutil

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.export_kit import tree
from support.object_store import s3  # noqa: F401

from defacedask.errors import ConfigError, RemoteError
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.publish import MANIFEST, Published, Target, fetch_sent, manifest_of


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "out"
    for name in ("audit.jsonl", "defaced/a/1.dcm", "defaced/a/2.dcm", "store/run.key"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"content of {name}")
    return root


def held(fs, root):
    return {name.rsplit(f"{root}/", 1)[1]: fs.cat_file(name) for name in fs.find(root)}


def local(root, *leave):
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: content for name, content in files.items() if name.split("/")[0] not in leave}


def without_manifest(found):
    return {name: content for name, content in found.items() if name != MANIFEST}


def test_an_object_store_holds_what_the_folder_does(s3, folder, tmp_path):  # noqa: F811
    s3.mkdir("bucket")
    target = Target("s3://bucket/trial/")
    assert target.publish(folder, ["store"]) == Published(3, 0, 0)
    assert without_manifest(held(s3, "bucket/trial")) == local(folder, "store")
    # again, in another process's place: nothing is sent
    assert Target("s3://bucket/trial").publish(folder, ["store"]) == Published(0, 3, 0)
    (folder / "defaced/a/2.dcm").unlink()
    (folder / "audit.jsonl").write_text("content of audit.jsonL")  # of the same size
    assert Target("s3://bucket/trial").publish(folder, ["store"]) == Published(1, 1, 1)
    assert without_manifest(held(s3, "bucket/trial")) == local(folder, "store")
    objects = Objects("s3://bucket/trial")
    fetch_sent(objects, manifest_of(objects)["files"], tmp_path / "back")
    shutil.rmtree(folder / "store")
    assert tree(tmp_path / "back") == tree(folder)


def test_what_cannot_be_written_is_said_at_once(s3):  # noqa: F811
    with pytest.raises(RemoteError, match="no-bucket"):
        Target("s3://no-bucket/trial")
    with pytest.raises(ConfigError, match="no kind of address"):
        Target("nonsense://x")


def test_files_of_somebody_else_are_never_touched(memory, folder):
    memory.pipe_file("/theirs/photo.jpg", b"x")
    with pytest.raises(ConfigError, match=r"holds files that no run .*photo\.jpg"):
        Target("memory://theirs")
    assert held(memory, "theirs") == {"photo.jpg": b"x"}
    target = Target("memory://ours")
    target.publish(folder)
    memory.pipe_file("/ours/note.txt", b"y")
    (folder / "defaced/a/1.dcm").unlink()
    Target("memory://ours").publish(folder)
    assert without_manifest(held(memory, "ours")) == {**local(folder), "note.txt": b"y"}


def test_of_two_runs_the_second_to_write_is_stopped(memory, folder):
    one, two = Target("memory://ours"), Target("memory://ours")
    one.publish(folder)
    with pytest.raises(RemoteError, match="another run has written"):
        two.publish(folder)


def test_an_unfinished_copy_says_so(memory, folder, monkeypatch):
    Target("memory://ours").publish(folder)
    (folder / "defaced/a/1.dcm").write_text("changed")
    target = Target("memory://ours")
    monkeypatch.setattr(target._fs, "put", lambda *_: (_ for _ in ()).throw(OSError("cut off")))
    with pytest.raises(RemoteError, match=r"did not take all files \(OSError: cut off\)"):
        target.publish(folder)
    monkeypatch.undo()
    with pytest.raises(RemoteError, match="was not finished"):
        manifest_of(Objects("memory://ours"))
    Target("memory://ours").publish(folder)
    assert without_manifest(held(memory, "ours")) == local(folder)


def test_another_file_under_the_same_name_is_seen(memory, folder, tmp_path):
    Target("memory://ours").publish(folder)
    memory.pipe_file("/ours/defaced/a/1.dcm", b"content of defaced/a/9.dcm")
    objects = Objects("memory://ours")
    with pytest.raises(RemoteError, match=r"a/1\.dcm is not what was copied"):
        fetch_sent(objects, manifest_of(objects)["files"], tmp_path / "back")


NAMES = ("a", "b", "c/d", "c/e")
CONTENTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["one", "two", "other"]))


@settings(max_examples=40)
@given(runs=st.lists(st.tuples(CONTENTS, st.integers(0, 4)), min_size=1, max_size=5))
def test_whatever_runs_came_before_and_wherever_they_broke_off_the_last_is_what_is_there(
    runs, tmp_path_factory
):
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    root = tmp_path_factory.mktemp("out")
    for number, (content, breaks) in enumerate([*runs, (runs[-1][0], 99)]):
        folder = root / str(number)
        folder.mkdir()
        for name, text in content.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        target = Target("memory://ours")
        done, real = [0], target._fs.put

        def put(paths, names, done=done, real=real, breaks=breaks):
            for path, name in zip(paths, names, strict=True):
                if done[0] == breaks:
                    raise OSError("cut off")
                real([path], [name])
                done[0] += 1

        target._fs.put = put
        try:
            target.publish(folder)
        except RemoteError:
            assert not json.loads(fs.cat_file(f"/ours/{MANIFEST}"))["complete"]
        finally:
            del target._fs.put
    assert without_manifest(held(fs, "ours")) == local(folder)
    assert json.loads(fs.cat_file(f"/ours/{MANIFEST}"))["complete"]
    fs.store.clear()

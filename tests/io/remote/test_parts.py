"""Parts at an address: earlier files or later ones, wherever a writer was interrupted, and a mark that tells."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support.faulty_store import ADDRESS, Killed, Watched, memory  # noqa: F401

from defacedask.errors import InputError, OutputError, RemoteError
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.parts import ASIDE, MARKS, Mark, Parts, digest_of
from defacedask.io.remote.publish import Target, require

FIRST = {"p/1.dcm": "one", "p/2.dcm": "two", "p/3.dcm": "three"}
SECOND = {"p/1.dcm": "one", "p/2.dcm": "another two", "q/4.dcm": "four"}


def written(folder: Path, content: dict[str, str]) -> dict[str, str]:
    """Write files; gives their hashes."""
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in content.items()}


def held(objects: Objects) -> dict[str, str]:
    """Files of parts that are there."""
    names = [name for name in objects.names() if not name.startswith((MARKS, ASIDE))]
    return {name: (objects.read(name) or b"").decode() for name in names}


@pytest.mark.usefixtures("memory")
def test_a_part_comes_is_renewed_and_goes(tmp_path):
    objects = Objects(ADDRESS)
    parts = Parts(objects, "run")
    files = written(tmp_path, FIRST)
    assert parts.deliver("a", tmp_path, files) == 3
    assert held(objects) == FIRST
    assert parts.deliver("a", tmp_path, files) == 0
    objects.write("p/theirs.txt", b"x")
    assert parts.deliver("a", tmp_path, written(tmp_path, SECOND)) == 2
    assert held(objects) == {**SECOND, "p/theirs.txt": "x"}
    assert [(part, mark.complete, whole) for part, mark, whole in parts.looked_at()] == [("a", True, True)]
    assert next(parts.looked_at())[1].digest == digest_of(written(tmp_path, SECOND))
    # one that was taken away by somebody is missed, and comes again
    objects.remove(["q/4.dcm"])
    assert [whole for *_, whole in parts.looked_at()] == [False]
    parts.doubt("a")
    assert parts.deliver("a", tmp_path, written(tmp_path, SECOND)) == 3
    assert [(mark.complete, whole) for _, mark, whole in parts.looked_at()] == [(True, True)]
    parts.take_back("a")
    assert held(objects) == {"p/theirs.txt": "x"}
    assert not [*parts.marks(), *objects.names(ASIDE)]
    assert parts.deliver("a", tmp_path, {}) == 0
    assert not list(parts.marks())


def test_wherever_a_writer_is_interrupted_the_earlier_files_stay_or_the_mark_tells(tmp_path, memory):  # noqa: F811
    seen = set()
    at, writes = 0, 1
    while at < writes:
        memory.store.clear()
        objects = Objects(ADDRESS)
        Parts(objects, "run").deliver("a", tmp_path / "1", written(tmp_path / "1", FIRST))
        files = written(tmp_path / "2", SECOND)

        def die(number: int, when: str, at: int = at) -> None:
            if (number, when) == (at, "after"):
                raise Killed

        objects.fs = Watched(objects.fs, die)
        with pytest.raises(Killed):
            Parts(objects, "run").deliver("a", tmp_path / "2", files)
        writes = at + 2
        objects = Objects(ADDRESS)
        parts = Parts(objects, "run")
        mark = parts.mark("a")
        assert mark
        if mark.complete:
            # all of one, or all of the other
            assert {name: held(objects)[name] for name in mark.files} in (FIRST, SECOND)
            assert mark.files.keys() in (FIRST.keys(), SECOND.keys())
        else:
            assert set(held(objects)) <= mark.names
        seen.add((mark.complete, "p/3.dcm" in held(objects)))
        parts.deliver("a", tmp_path / "2", files)
        parts.take_back("b")
        assert held(objects) == SECOND
        at += 1
        if mark.complete and mark.files.keys() == SECOND.keys():
            break
    # while files were on their way, the earlier ones stayed; then they changed; then they were the later ones
    assert seen == {(True, True), (False, True), (False, False), (True, False)}


@pytest.mark.usefixtures("memory")
def test_what_cannot_be_sent_leaves_what_is_there(tmp_path, monkeypatch):
    objects = Objects(ADDRESS)
    parts = Parts(objects, "run")
    parts.deliver("a", tmp_path, written(tmp_path, FIRST))
    files = written(tmp_path, SECOND)
    monkeypatch.setattr(
        objects.fs, "put", lambda *_: (_ for _ in ()).throw(OSError("cut off")), raising=False
    )
    with pytest.raises(RemoteError, match="cut off"):
        parts.deliver("a", tmp_path, files)
    assert held(objects) == FIRST
    (tmp_path / "p/2.dcm").unlink()
    with pytest.raises(InputError, match=r"2\.dcm cannot be read"):
        parts.deliver("a", tmp_path, files)
    assert parts.mark("a").complete


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("folder", ["", "p/"])
def test_a_file_of_something_else_is_left_alone(tmp_path, folder):
    objects = Objects(ADDRESS)
    objects.write(f"{folder}2.dcm", b"mine")
    files = written(tmp_path, {f"{folder}{name}.dcm": str(name) for name in range(4)})
    with pytest.raises(OutputError, match=r"2\.dcm is already at .* and not of an earlier run of this case"):
        Parts(objects, "run").deliver("a", tmp_path, files)
    assert objects.names() == {f"{folder}2.dcm": 4}
    # of another part, too
    objects.remove([f"{folder}2.dcm"])
    Parts(objects, "run").deliver("a", tmp_path, files)
    with pytest.raises(OutputError, match="is already at"):
        Parts(objects, "run").deliver("b", tmp_path, files)
    assert Parts(objects, "run").mark("b") is None


@pytest.mark.usefixtures("memory")
def test_a_damaged_mark_says_nothing():
    objects = Objects(ADDRESS)
    objects.write(f"{MARKS}/a.json", b"{")
    assert Parts(objects, "run").mark("a") == Mark("", False)
    assert [(mark.run, whole) for _, mark, whole in Parts(objects, "run").looked_at()] == [("", False)]


@pytest.mark.usefixtures("memory")
def test_a_run_in_whose_place_another_writes_is_stopped():
    one = Target(ADDRESS).claim()
    require(ADDRESS, one)
    two = Target(ADDRESS).claim()
    with pytest.raises(RemoteError, match="another run writes to"):
        require(ADDRESS, one)
    require(ADDRESS, two)

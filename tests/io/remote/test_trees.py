"""A tree of objects is what it was or what it becomes, wherever a writer is interrupted, and whoever else writes."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from support.faulty_store import Desk, Killed, held_by, memory, watched  # noqa: F401

from defacedask.errors import OutputError, RemoteError, StoreError
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.trees import Layer, State, Tree

OLD = {
    "voxels/c0": "old",
    "voxels/c1": "old",
    "small/piece.json": "old",
    "files/a.dcm": "old",
    "small/stays": "1",
}
#: A file of each kind anew, one gone, one more.
NEW = {
    "voxels/c0": "new",
    "voxels/c2": "new",
    "small/piece.json": "new",
    "files/b.dcm": "new",
    "small/stays": "1",
}


class Done(Exception):
    """What was to be done was done."""


pytestmark = pytest.mark.usefixtures("memory")


def begun(tmp_path, address: Objects, name: str = "writer") -> Desk:
    """A store that holds `OLD`, and a desk where it has become `NEW`."""
    first = Desk(tmp_path / f"{name}-first")
    first.bring()
    first.write(OLD)
    first.checkout.push(1)
    desk = Desk(tmp_path / name, address)
    assert desk.bring() == OLD
    desk.write(NEW)
    return desk


def number_of_writes(tmp_path, memory) -> int:  # noqa: F811
    address = watched(lambda *_: None)
    begun(tmp_path, address, "counted").checkout.push(1)
    memory.store.clear()
    return address.fs.count


def test_wherever_a_writer_is_killed_the_tree_is_old_or_new(tmp_path, memory):  # noqa: F811
    writes = number_of_writes(tmp_path, memory)
    assert writes >= 3 + 1 + 2  # layers, the commit, what is removed
    seen = []
    for number, when in itertools.product(range(writes), ("before", "after")):
        memory.store.clear()

        def die(at: int, now: str, number=number, when=when) -> None:
            if (at, now) == (number, when):
                raise Killed

        name = f"{number}{when}"
        desk = begun(tmp_path, watched(die), name)
        with pytest.raises(Killed):
            desk.checkout.push(1)
        found = Desk(tmp_path / f"{name}-reader").bring()
        assert found in (OLD, NEW), (number, when)
        seen.append(found == NEW)
        # the next run cleans up, and does the same again, also on the machine that died
        there = Objects(desk.objects.address)
        Tree(there, "cases/one").sweep(there.names("cases/one"), 2)
        assert set(there.names()) == held_by(there)
        again = Desk(tmp_path / name)
        assert again.bring(strict=True) == found
        again.write(NEW)
        again.checkout.push(2)
        assert Desk(tmp_path / f"{name}-last").bring() == NEW
        assert set(there.names()) == held_by(there)
    # old until the commit, new from then on
    assert seen == sorted(seen)
    assert set(seen) == {False, True}


def test_the_check_finds_a_writer_that_overwrites(tmp_path, memory):  # noqa: F811
    """The positive control: files that are put one by one, as objects of their own names."""

    def put(files: dict[str, str]) -> None:
        for name, text in sorted(files.items()):
            memory.pipe_file(f"/bucket/plain/{name}", text.encode())

    put(OLD)
    put(dict(sorted(NEW.items())[:2]))  # and died
    found = {
        str(name).removeprefix("/bucket/plain/"): memory.cat_file(name).decode()
        for name in memory.find("/bucket/plain")
    }
    assert found not in (OLD, NEW)


def test_a_fault_that_passes_is_none(tmp_path, memory):  # noqa: F811
    writes = number_of_writes(tmp_path, memory)
    for number, when in itertools.product(range(writes), ("before", "after")):
        memory.store.clear()

        def fail(at: int, now: str, number=number, when=when) -> None:
            if (at, now) == (number, when):
                raise OSError(5, "SlowDown")

        name = f"{number}{when}"
        desk = begun(tmp_path, watched(fail), name)
        desk.checkout.push(1)
        assert Desk(tmp_path / f"{name}-reader").bring() == NEW
        assert set(desk.objects.names()) == held_by(Objects(desk.objects.address))


def test_a_fault_that_stays_is_one_sentence(tmp_path):
    def fail(at: int, now: str) -> None:
        raise OSError(5, "SlowDown")

    with pytest.raises(
        RemoteError, match=r"memory://bucket/run cannot be written \(OSError: .*SlowDown\)\. Run"
    ):
        begun(tmp_path, watched(fail)).checkout.push(1)
    assert Desk(tmp_path / "reader").bring() == OLD


def test_of_two_writers_at_any_time_neither_loses_anything(tmp_path, memory):  # noqa: F811
    """Two stages of one case, on two workers: the other one begins and ends within any step of this one."""
    writes = number_of_writes(tmp_path, memory)
    for number, when in itertools.product(range(writes), ("before", "after")):
        memory.store.clear()
        name = f"{number}{when}"

        def other(at: int, now: str, number=number, when=when, name=name) -> None:
            if (at, now) == (number, when):
                desk = Desk(tmp_path / f"{name}-other")
                found = desk.bring()
                desk.write({**found, "voxels/theirs": "theirs"})
                desk.checkout.push(1)
                # once more, so that the number which this one takes next has been used and removed
                desk.write({**desk.bring(), "small/theirs.json": "theirs"})
                desk.checkout.push(1)

        begun(tmp_path, watched(other), name).checkout.push(1)
        found = Desk(tmp_path / f"{name}-reader").bring()
        assert found == {**NEW, "voxels/theirs": "theirs", "small/theirs.json": "theirs"}, (number, when)
        address = Objects("memory://bucket/run")
        assert set(address.names()) == held_by(address)


def test_a_worker_of_a_run_that_was_taken_for_dead_changes_nothing(tmp_path, memory):  # noqa: F811
    writes = number_of_writes(tmp_path, memory)
    late = []
    for number in range(writes):
        memory.store.clear()

        def next_run(at: int, now: str, number=number) -> None:
            if (at, now) == (number, "before"):
                there = Objects("memory://bucket/run")
                tree = Tree(there, "cases/one")
                tree.sweep(there.names("cases/one"), 2)
                desk = Desk(tmp_path / f"{number}-next")
                desk.write({**desk.bring(), "small/later": "2"})
                desk.checkout.push(2)

        desk = begun(tmp_path, watched(next_run), str(number))
        with contextlib.ExitStack() as stack:
            caught = stack.enter_context(pytest.raises((OutputError, Done), match=r"taken for dead|"))
            desk.checkout.push(1)
            raise Done
        late.append(caught.type is OutputError)
        found = Desk(tmp_path / f"{number}-reader").bring()
        assert found in ({**OLD, "small/later": "2"}, {**NEW, "small/later": "2"}), number
        assert (found["voxels/c0"] == "old") is late[-1]
    assert late == sorted(late, reverse=True)
    assert set(late) == {False, True}


def test_who_did_the_same_first_is_right(tmp_path):
    """A worker that was cut off and came back, when its task had been done by another."""
    desks = [Desk(tmp_path / name) for name in ("one", "two")]
    for desk in desks:
        desk.bring()
        desk.write({"small/piece.json": f"of {desk.root}", "voxels/c0": "same"})
    assert not desks[0].checkout.push(1).other
    assert desks[1].checkout.push(1).other
    assert Desk(tmp_path / "reader").bring() == desks[0].files()
    assert set(desks[0].objects.names()) == held_by(desks[0].objects)


def test_only_what_is_wanted_comes_and_what_is_known_does_not_come_again(tmp_path):
    first = Desk(tmp_path / "first")
    first.bring()
    first.write(OLD)
    first.checkout.push(1)
    desk = Desk(tmp_path / "second")
    assert set(desk.bring("small")) == {"small/piece.json", "small/stays"}
    fetched = desk.objects.moved["bytes_fetched"]
    assert desk.bring("small")
    assert not desk.checkout.push(1).merged
    assert desk.objects.moved["bytes_fetched"] - fetched < 1000  # the commit
    # what was not brought is not missed, unless it is to go
    desk.write({"small/piece.json": "old", "small/stays": "1"})
    desk.checkout.push(1)
    assert Desk(tmp_path / "third").bring() == OLD
    desk.checkout.push(1, drop=("voxels",))
    assert Desk(tmp_path / "fourth").bring() == {k: v for k, v in OLD.items() if not k.startswith("voxels/")}
    assert not [name for name in desk.objects.names() if "voxels" in name]


def test_what_is_damaged_is_said(tmp_path, memory):  # noqa: F811
    first = Desk(tmp_path / "first")
    first.bring()
    first.write(OLD)
    first.checkout.push(1)
    (layer,) = [name for name in memory.find("/bucket/run") if "voxels" in name]
    content = memory.cat_file(layer)
    memory.pipe_file(layer, content[:-1] + b"x")
    with pytest.raises(StoreError, match="is not what was put there"):
        Desk(tmp_path / "second").bring()
    memory.rm_file(layer)
    with pytest.raises(StoreError, match="changes all the time"):
        Desk(tmp_path / "third").bring()
    (commit,) = [name for name in memory.find("/bucket/run") if "commit" in name]
    memory.pipe_file(commit, b"no")
    with pytest.raises(StoreError, match="its commit 1 is damaged"):
        Desk(tmp_path / "fourth").bring()


def test_no_path_of_a_commit_leads_elsewhere():
    state = State(1, 1, {"../../etc/passwd": "a.tar"}, {"a.tar": Layer(1, "", "small")})
    with pytest.raises(ValueError, match="leads elsewhere"):
        State.from_bytes(1, state.to_bytes())

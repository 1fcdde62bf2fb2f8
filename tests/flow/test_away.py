"""Stages of a run whose folder is objects: each on a folder of its own, as if it were the run's."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from support.faulty_store import ADDRESS, memory  # noqa: F401

from defacedask.errors import RefusedError
from defacedask.flow import away as aways
from defacedask.flow.away import Away, part_of
from defacedask.flow.begun_away import BegunAway
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.worker import run_task
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.trees import Tree
from defacedask.io.store import consolidate

pytestmark = pytest.mark.usefixtures("memory")


@pytest.fixture
def away(tmp_path):
    return Away(ADDRESS, 1, "results", ((str(tmp_path / "here"), ADDRESS),), str(tmp_path / "scratch"))


@pytest.fixture(autouse=True)
def _nothing_kept():
    yield
    aways._FREE.clear()
    aways._objects.cache_clear()


def run(away, function, *before: TaskResult, stage: str, **arguments) -> TaskResult:
    options = {"folder": "nowhere", "stage": stage, "case": "one", "defacer": "", "token": "t", "away": away}
    return run_task(function, away.outward(arguments), *before, **options)


def make(*, root: str) -> Outcome:
    place = Path(root) / "store" / "one.zarr" / "c"
    place.mkdir(parents=True)
    (place / "0").write_bytes(b"voxels")
    return Outcome(facts={"store": f"{root}/store/one.zarr"}, rows={"t": [{"file": f"{root}/x"}]})


def make_plans(made: TaskResult, *, plans: str) -> Outcome:
    (Path(plans) / "one").mkdir(parents=True)
    (Path(plans) / "one" / "plan.json").write_text("{}")
    return Outcome(facts={"read": (Path(made.facts["store"]) / "c" / "0").read_text()})


def somewhere_else(away: Away) -> Away:
    """A worker that has nothing yet."""
    for free in aways._FREE.values():
        for here in free:
            here.remove()
    aways._FREE.clear()
    return dataclasses.replace(away, scratch=f"{away.scratch}-other")


def test_a_stage_finds_on_any_worker_what_another_left(away, tmp_path):
    root = tmp_path / "here"
    made = run(away, make, stage="ingest", root=str(root))
    assert made.ok, made.reason
    # what is handed on means the same everywhere
    assert made.facts["store"] == f"{ADDRESS}/store/one.zarr"
    planned = run(somewhere_else(away), make_plans, made, stage="plan", plans=str(root / "plans"))
    assert planned.facts == {"read": "voxels"}, planned.reason
    state = Tree(Objects(ADDRESS), "cases/one").latest()
    assert {path: state.part_of(path) for path in state.files} == {
        "results/one/ingest.json": "small",
        "results/one/plan.json": "small",
        "plans/one/plan.json": "plans",
        "store/one.zarr/c/0": "voxels",
    }
    assert not root.exists()
    kept = [p.read_text() for p in tmp_path.rglob("results/one/*.json")]
    assert kept
    assert not any(str(tmp_path) in text for text in kept)


def test_what_is_kept_is_not_run_again_and_no_voxels_come_for_it(away, tmp_path):
    first = run(away, make, stage="ingest", root=str(tmp_path / "here"))
    elsewhere = somewhere_else(away)
    aways._objects.cache_clear()

    def never(**_):
        raise AssertionError

    again = run(elsewhere, never, stage="ingest", root=str(tmp_path / "here"))
    assert (again.key, again.status) == (first.key, "done")
    assert not list(Path(elsewhere.scratch).rglob("*.zarr"))
    assert aways._objects(ADDRESS).moved["sent"] == 0


def test_a_refusal_names_no_folder_of_the_worker(away, tmp_path):
    def refuse(*, root: str):
        raise RefusedError(f"{root}/store holds no head.", "Look.")

    result = run(away, refuse, stage="ingest", root=str(tmp_path / "here"))
    assert (result.status, result.reason) == ("refused", f"{ADDRESS}/store holds no head. Look.")
    assert result.reason in next(tmp_path.rglob("ingest.json")).read_text()


def test_who_dies_twice_is_not_begun_a_third_time_on_any_worker(away, tmp_path):
    for _ in range(2):
        tree = Tree(Objects(ADDRESS), "cases/one")
        begun = BegunAway(tree, tmp_path / "notes", tmp_path / "nowhere/ingest.json", "t")
        assert not begun.died()
        begun._end = lambda: None  # the process ends: nothing takes the sign away
        with begun.watched():
            pass
    result = run(somewhere_else(away), make, stage="ingest", root=str(tmp_path / "here"))
    assert (result.status, result.reason) == (
        "failed",
        "ingest: its process died 2 times; it may lack memory, see the worker's log.",
    )
    # the next run, with another token, tries again
    assert run_task(make, {"root": ADDRESS}, folder="", stage="ingest", case="one", token="new", away=away).ok
    assert not [name for name in Objects(ADDRESS).names() if "begun" in name]


def test_one_that_was_too_slow_is_told_from_one_that_died(away, tmp_path):
    tree = Tree(Objects(ADDRESS), "cases/one")
    for _ in range(2):
        begun = BegunAway(tree, tmp_path / "notes", tmp_path / "nowhere/ingest.json", "t")
        begun._end = lambda: None
        with begun.watched(limit=7.0):
            begun._say_late()
    tree.objects.write(
        "cases/one/begun/ingest", json.dumps({"token": "t", "times": 2, "limit": 7.0}).encode()
    )
    result = run(away, make, stage="ingest", root=str(tmp_path / "here"))
    assert result.reason == "ingest: it took longer than 7 seconds, and was ended 2 times."


HOLDING = """
import re, sys
from pathlib import Path
from defacedask.flow import faults
from defacedask.flow.begun_away import BegunAway
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.trees import Tree

faults._alone_on_a_worker = lambda: True
tree = Tree(Objects("memory://elsewhere"), "cases/one")  # what is said there nobody hears
begun = BegunAway(tree, Path(sys.argv[1]), Path(sys.argv[1], "ingest.json"), "t")
with begun.watched(limit=0.5):
    if sys.argv[2] == "late":
        re.match("(a+)+$", "a" * 64 + "b")  # in C, with the interpreter's lock
    else:
        import os
        os.abort()
"""


@pytest.mark.parametrize("how", ["late", "died"])
def test_one_that_held_the_interpreter_until_its_time_was_up_is_told_from_one_that_died(away, tmp_path, how):
    ended = subprocess.run([sys.executable, "-c", HOLDING, str(away._notes()), how], check=False)
    assert ended.returncode == (1 if how == "late" else -signal.SIGABRT)
    sign = {"token": "t", "times": 2, "limit": 0.5}
    Objects(ADDRESS).write("cases/one/begun/ingest", json.dumps(sign).encode())
    result = run(away, make, stage="ingest", root=str(tmp_path / "here"))
    late = "it took longer than 0.5 seconds, and was ended 2 times."
    died = "its process died 2 times; it may lack memory, see the worker's log."
    assert result.reason == f"ingest: {late if how == 'late' else died}"
    assert not list(away._notes().glob("*.late")) or how == "died"


def twin(name: str):
    def write(made: TaskResult, *, root: str) -> Outcome:
        group = zarr.open_group(made.facts["store"], mode="a")
        array = group.require_group("defaced").create_array(name, shape=(4,), dtype="i2", chunks=(2,))
        array[:] = np.arange(1, 5)
        if name == "b":
            # the other stage begins and ends within this one, on another worker
            inner = run(
                dataclasses.replace(OTHER[0]), twin("a"), made_away(made), stage="apply-a", root=ADDRESS
            )
            assert inner.ok, inner.reason
        consolidate(made.facts["store"])
        return Outcome()

    return write


OTHER: list[Away] = []


def made_away(made: TaskResult) -> TaskResult:
    return dataclasses.replace(made, facts={"store": f"{ADDRESS}/store/one.zarr"})


def start(*, root: str) -> Outcome:
    zarr.open_group(f"{root}/store/one.zarr", mode="w", zarr_format=3)
    consolidate(f"{root}/store/one.zarr")
    return Outcome(facts={"store": f"{root}/store/one.zarr"})


def test_two_stages_of_a_case_at_a_time_leave_a_store_that_tells_of_both(away, tmp_path):
    made = run(away, start, stage="ingest", root=ADDRESS)
    OTHER[:] = [dataclasses.replace(away, scratch=str(tmp_path / "other"))]
    assert run(away, twin("b"), made, stage="apply-b", root=ADDRESS).ok
    last = somewhere_else(away)
    seen = {}

    def read(made: TaskResult, *, root: str) -> Outcome:
        group = zarr.open_group(made.facts["store"], mode="r", use_consolidated=True)
        seen.update({name: group[f"defaced/{name}"][:].tolist() for name in "ab"})
        return Outcome()

    assert run(last, read, made, stage="read", root=ADDRESS).ok
    assert seen == {"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}


def test_a_file_of_no_case_comes_to_who_is_given_its_name(away, tmp_path):
    Objects(ADDRESS).write("shared/abc", b"lesson")
    known = dataclasses.replace(away, shared=((f"{ADDRESS}/store/lesson.npz", "shared/abc"),))

    def learn(*, lessons: dict[str, str]) -> Outcome:
        return Outcome(facts={"read": Path(lessons["x"]).read_text()})

    result = run(known, learn, stage="learn", lessons={"x": str(tmp_path / "here/store/lesson.npz")})
    assert result.facts == {"read": "lesson"}, result.reason


def test_a_service_that_is_away_ends_the_run(away, memory, monkeypatch):  # noqa: F811
    def no(*_, **__):
        raise PermissionError("AccessDenied")

    monkeypatch.setattr(type(memory), "pipe_file", no)
    result = run(away, make, stage="ingest", root=ADDRESS)
    assert (result.status, result.fatal) == ("failed", True)
    assert result.reason.startswith(f"{ADDRESS} does not let us in. Set the credentials")


def test_a_process_keeps_few_cases(away, tmp_path):
    for k in range(aways.KEPT_CASES + 2):
        options = {"folder": "", "stage": "ingest", "defacer": "", "away": away, "case": f"case{k}"}
        assert run_task(make, {"root": ADDRESS}, **options).ok
    assert len(list(Path(away.scratch).rglob("run"))) == aways.KEPT_CASES
    away.let_go(f"case{aways.KEPT_CASES + 1}")
    assert len(list(Path(away.scratch).rglob("run"))) == aways.KEPT_CASES - 1
    assert next(Path(away.scratch).iterdir()).stat().st_mode & 0o77 == 0


def test_a_case_that_has_no_room_is_told_before_it_comes_and_others_go_first(away, tmp_path, monkeypatch):
    made = run(away, make, stage="ingest", root=str(tmp_path / "here"))
    elsewhere = somewhere_else(away)
    options = {"folder": "", "stage": "ingest", "defacer": "", "away": elsewhere, "case": "another"}
    assert run_task(make, {"root": ADDRESS}, **options).ok
    assert list(Path(elsewhere.scratch).rglob("*.zarr"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    monkeypatch.setattr(Tree, "fetch", lambda *_: pytest.fail("it came"))
    result = run(elsewhere, make_plans, made, stage="plan", plans=str(tmp_path / "plans"))
    assert (result.status, result.fatal) == ("failed", True)
    assert re.match(r"the files of one need .*, and .* free\. Give the workers more room", result.reason)
    assert not list(Path(elsewhere.scratch).rglob("*.zarr"))


def test_kinds_of_files():
    assert [
        part_of(p) for p in ("store/A.zarr/zarr.json", "out/A/1.dcm", "defaced/q/1.dcm", "store/plans/A/p")
    ] == [
        "voxels",
        "files",
        "files",
        "plans",
    ]

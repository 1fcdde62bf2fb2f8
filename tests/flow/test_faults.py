from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from pathlib import Path

import dask
import pytest

from defacedask import patience
from defacedask.cluster import connect
from defacedask.errors import OutputError, RefusedError
from defacedask.flow import run
from defacedask.flow.executors import DaskExecutor
from defacedask.flow.faults import Begun
from defacedask.flow.flow import Flow
from defacedask.flow.result import Outcome
from defacedask.flow.run import run_cases
from defacedask.flow.stage import Stage
from defacedask.flow.worker import run_task
from defacedask.patience import patiently

#: A dozen workers are killed here.
pytestmark = pytest.mark.usefixtures("forked_workers")


class Flaky:
    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def wrapped(cause):
    error = OutputError("cannot be written.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "I/O error"),
        OSError(errno.ESTALE, "stale handle"),
        ConnectionResetError("reset"),
        TimeoutError("late"),
        wrapped(OSError(errno.EIO, "I/O error")),
    ],
)
def test_what_may_pass_is_tried_again(error):
    work = Flaky(error, error)
    assert patiently(work, (0.0, 0.0)) == "done"
    assert work.calls == 3
    with pytest.raises(type(error)):
        patiently(Flaky(error, error, error), (0.0, 0.0))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "disk full"),
        FileNotFoundError(errno.ENOENT, "gone"),
        ValueError("wrong"),
        RefusedError("no head."),
        MemoryError(),
        wrapped(OSError(errno.EROFS, "read-only")),
    ],
)
def test_what_cannot_pass_is_not(error):
    work = Flaky(error)
    with pytest.raises(type(error)):
        patiently(work, (0.0, 0.0))
    assert work.calls == 1


def test_a_stage_that_takes_its_process_down_is_given_up_in_this_run_alone(tmp_path):
    result = tmp_path / "case" / "plan.json"

    def dies(token):
        begun = Begun(result, token)
        if why := begun.died():
            return why
        with begun.watched(100.0):
            kept = begun.path.read_text()
        begun.path.write_text(kept)  # as if the process had ended before
        return ""

    assert [bool(dies("one")) for _ in range(4)] == [False, False, True, False]
    assert not dies("two")
    assert "its process died 2 times" in [dies("two"), dies("two")][1]
    begun = Begun(result, "three")
    assert not begun.died()
    with begun.watched():
        pass
    assert not begun.path.exists()


def fine(**arguments):
    return Outcome(facts={"pid": os.getpid()})


def poison(ingested, *, how, **arguments):
    if how == "abort":
        ctypes.CDLL(None).abort()
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "loop":
        while True:
            pass
    if how == "sleep":
        time.sleep(600)
    return Outcome()


def flow():
    return (
        Stage("ingest", fine, lambda task: {}),
        Stage("plan", poison, lambda task: {"how": task.case}, needs=("ingest",), seconds=4.0),
        Stage("after", poison, lambda task: {"how": ""}, needs=("plan",)),
    )


@pytest.mark.slow
def test_a_poisonous_case_costs_itself_alone_and_its_row_names_the_stage(tmp_path, monkeypatch):
    """On a scheduler that would let one task kill four workers, as it stands outside our own configuration."""
    monkeypatch.setattr(run, "CHANCES", 1)  # each more costs workers that start anew
    cases = ["good 1", "abort", "good 2", "segfault", "loop", "good 3", "sleep", "kill", "good 4"]
    with connect("local", 2) as client, dask.config.set({"distributed.scheduler.allowed-failures": 3}):
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 3))
        executor = DaskExecutor(client)
        stages = Flow(flow(), executor, tmp_path, token="run")

        def submit(case, priority, chance):
            return stages.submit(None, case, case, (), priority, chance)

        found = dict(run_cases(cases, submit, executor, case_id=str))
    for case, results in found.items():
        results = {result.stage: result for result in results}
        assert results["ingest"].ok, results
        if case.startswith("good"):
            assert results["after"].ok
            continue
        why = results["plan"].reason
        assert results["plan"].status == "failed"
        assert "plan: " in why
        late = case in ("loop", "sleep")
        assert ("it took longer than 4 seconds" if late else "its process died 2 times") in why, case
        assert results["after"].upstream
        assert results["after"].reason == why


def killed(ingested, *, deaths, folder):
    """Killed from outside in its first so many tries."""
    with Path(folder, "deaths").open("a") as file:
        file.write("x")
    if Path(folder, "deaths").stat().st_size <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome()


@pytest.mark.slow
def test_a_stage_that_others_kill_is_not_taken_for_poisonous(tmp_path):
    """A stage is given up after two deaths; its case is not, before all its chances are gone."""
    stages = (
        Stage("ingest", fine, lambda task: {}),
        Stage("plan", killed, lambda task: {"deaths": 3, "folder": str(tmp_path)}, needs=("ingest",)),
    )
    with connect("local", 1) as client:
        flow = Flow(stages, DaskExecutor(client), tmp_path / "results")
        ((_, results),) = flow.run(None, ["case"], (), case_id=str)
    assert [result.status for result in results] == ["done", "done"]
    assert (tmp_path / "deaths").stat().st_size == 4


def test_a_stage_with_passing_trouble_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "WAITS", (0.0, 0.0))
    work = Flaky(OSError(errno.EIO, "I/O error"))
    result = run_task(
        lambda: Outcome(facts={"said": work()}), {}, folder=str(tmp_path), stage="plan", case="c", token="run"
    )
    assert result.facts == {"said": "done"}

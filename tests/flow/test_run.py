from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from defacedask.cluster import connect
from defacedask.errors import OutputError
from defacedask.flow.executors import DaskExecutor, HereExecutor
from defacedask.flow.result import TaskResult
from defacedask.flow.run import CHANCES, run_cases

pytestmark = pytest.mark.usefixtures("forked_workers")


def work(name, mode):
    if mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(mode, Path) and not mode.exists():  # dies the first time only
        mode.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return TaskResult(*name, "key", fatal=mode == "fatal", reason="disk full." if mode == "fatal" else "")


def submitter(executor):
    def submit(case, priority, chance):
        name = ("stage", case[0], "")
        return {name: executor.submit(work, name, case[1], name=name, priority=priority)}

    return submit


def outcomes(cases, submit, executor, progress=None):
    return [
        result
        for _, results in run_cases(cases, submit, executor, progress, case_id=lambda case: case[0])
        for result in results
    ]


@pytest.mark.slow
def test_who_kills_its_worker_fails_alone(tmp_path):
    cases = [(f"good{k}", None) for k in range(6)] + [("bad", "kill")] + [("unlucky", tmp_path / "once")]
    seen = []
    with connect("local", 2) as client:
        executor = DaskExecutor(client)
        results = outcomes(
            cases, submitter(executor), executor, lambda n, total, result: seen.append((n, total))
        )
    status = {result.case: result.status for result in results}
    assert status == {**{name: "done" for name, _ in cases}, "bad": "failed"}
    (reason,) = [result.reason for result in results if result.case == "bad"]
    assert "worker process was lost in each of 3 tries" in reason
    assert seen[-1] == (8, 8)


@pytest.mark.parametrize("deaths", range(5))
def test_who_was_unlucky_gets_another_chance_at_the_end_and_no_more_than_so_many(deaths):
    """Case b dies in its first so many tries, whoever was at fault."""
    executor = HereExecutor()
    tries, seen = [], []

    def submit(case, priority, chance):
        tries.append((case[0], chance))
        died = case[0] == "b" and chance < deaths
        names = [("first", case[0], ""), ("last", case[0], "")]
        results = [
            TaskResult(*names[0], "key"),
            TaskResult(*names[1], "key", "failed" if died else "done", "it died." if died else "", died=died),
        ]
        return {
            name: executor.submit(lambda result=result: result, name=name)
            for name, result in zip(names, results, strict=True)
        }

    cases = [("a", None), ("b", None), ("c", None)]
    results = outcomes(cases, submit, executor, lambda n, total, result: seen.append((n, total)))
    chances = min(deaths, CHANCES)
    assert tries == [("a", 0), ("b", 0), ("c", 0), *(("b", k + 1) for k in range(chances))]
    assert len(results) == 6
    assert {p.case: p.status for p in results if p.stage == "last"} == {
        "a": "done",
        "b": "done" if deaths <= CHANCES else "failed",
        "c": "done",
    }
    assert seen[-1] == (6, 6)


def test_a_fatal_result_ends_the_run():
    executor = HereExecutor()
    with pytest.raises(OutputError, match=r"disk full\. What was finished stays"):
        outcomes([("a", None), ("b", "fatal")], submitter(executor), executor)


def test_every_outcome_comes_home():
    executor = HereExecutor()
    results = outcomes([("a", None), ("b", None)], submitter(executor), executor)
    assert [result.case for result in results] == ["a", "b"]


def test_a_case_that_cannot_be_submitted_is_a_result():
    executor = HereExecutor()
    submit = submitter(executor)

    def odd(case, priority, chance):
        if case[0] == "bad":
            raise ValueError("no such thing")
        return submit(case, priority, chance)

    seen = []
    cases = [("a", None), ("bad", None), ("b", None)]
    results = outcomes(cases, odd, executor, lambda n, total, result: seen.append((n, total)))
    assert {p.case: p.status for p in results} == {"a": "done", "b": "done", "bad": "failed"}
    (reason,) = [p.reason for p in results if p.case == "bad"]
    assert "could not be started: ValueError: no such thing" in reason
    assert seen[-1] == (3, 3)

    def full(case, priority, chance):
        raise OutputError("the disk is full.", fatal=True)

    with pytest.raises(OutputError, match="disk is full"):
        outcomes(cases, full, executor)


class Slow(HereExecutor):
    """Two cases at a time, and a look at how many are in flight."""

    window = 2

    def __init__(self):
        super().__init__()
        self.most = 0

    def submit(self, *args, **kwargs):
        done = super().submit(*args, **kwargs)
        self.most = max(self.most, len(self._waiting))
        return done


def test_only_a_window_of_cases_is_in_flight_and_nothing_is_kept():
    executor = Slow()
    flow = run_cases(
        [(f"c{k}", None) for k in range(9)], submitter(executor), executor, case_id=lambda c: c[0]
    )
    seen = [case[0] for case, _ in flow]
    assert sorted(seen) == sorted(f"c{k}" for k in range(9))
    assert executor.most <= 2


def test_who_stops_listening_cancels_the_rest():
    executor = Slow()
    flow = run_cases(
        [(f"c{k}", None) for k in range(9)], submitter(executor), executor, case_id=lambda c: c[0]
    )
    next(flow)
    assert executor._waiting
    flow.close()
    assert not executor._waiting

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from defacedask.cluster import connect
from defacedask.errors import OutputError
from defacedask.flow.executors import DaskExecutor, HereExecutor
from defacedask.flow.result import Piece
from defacedask.flow.run import run_cases


def work(name, mode):
    if mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(mode, Path) and not mode.exists():  # dies the first time only
        mode.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return Piece(*name, "key", fatal=mode == "fatal", reason="disk full." if mode == "fatal" else "")


def submitter(executor):
    def submit(case, priority):
        name = ("stage", case[0], "")
        return {name: executor.submit(work, name, case[1], label="x", priority=priority)}

    return submit


@pytest.mark.slow
def test_who_kills_its_worker_fails_alone(tmp_path):
    cases = [(f"good{k}", None) for k in range(6)] + [("bad", "kill")] + [("unlucky", tmp_path / "once")]
    seen = []
    with connect("local", 2) as client:
        executor = DaskExecutor(client)
        pieces = run_cases(
            cases, submitter(executor), executor, lambda n, total, piece: seen.append((n, total))
        )
    status = {piece.case: piece.status for piece in pieces}
    assert status == {**{name: "done" for name, _ in cases}, "bad": "failed"}
    (reason,) = [piece.reason for piece in pieces if piece.case == "bad"]
    assert "worker process was lost twice" in reason
    assert seen[-1] == (8, 8)


def test_a_fatal_piece_ends_the_run():
    executor = HereExecutor()
    with pytest.raises(OutputError, match=r"disk full\. What was finished stays"):
        run_cases([("a", None), ("b", "fatal")], submitter(executor), executor)


def test_every_outcome_comes_home():
    executor = HereExecutor()
    pieces = run_cases([("a", None), ("b", None)], submitter(executor), executor)
    assert [piece.case for piece in pieces] == ["a", "b"]


def test_a_case_that_cannot_be_submitted_is_a_piece():
    executor = HereExecutor()
    submit = submitter(executor)

    def odd(case, priority):
        if case[0] == "bad":
            raise ValueError("no such thing")
        return submit(case, priority)

    seen = []
    cases = [("a", None), ("bad", None), ("b", None)]
    pieces = run_cases(
        cases, odd, executor, lambda n, total, piece: seen.append((n, total)), lambda case: case[0]
    )
    assert {p.case: p.status for p in pieces} == {"a": "done", "b": "done", "bad": "failed"}
    (reason,) = [p.reason for p in pieces if p.case == "bad"]
    assert "could not be started: ValueError: no such thing" in reason
    assert seen[-1] == (3, 3)

    def full(case, priority):
        raise OutputError("the disk is full.", fatal=True)

    with pytest.raises(OutputError, match="disk is full"):
        run_cases(cases, full, executor, None, lambda case: case[0])

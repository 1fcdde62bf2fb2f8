from __future__ import annotations

import dask
import pytest

from defacedask.flow.executors import HereExecutor
from defacedask.flow.flow import Flow
from defacedask.flow.result import Outcome
from defacedask.flow.stage import EACH_DEFACER, HOUR, Stage

calls = []


def do(*before, **arguments):
    calls.append((tuple((p.stage, p.defacer) for p in before), arguments))
    return Outcome(facts=arguments)


def flow():
    return (
        Stage("read", do, lambda task: {"case": task.case}),
        Stage("own", do, lambda task: {"run": task.run}, needs=("read",), each="original"),
        Stage("cut", do, lambda task: {"defacer": task.defacer}, needs=("read",), each=EACH_DEFACER),
        Stage(
            "judge",
            do,
            lambda task: {},
            lambda task: [task.run, task.defacer],
            needs=("read", ("own", "original"), "cut"),
            each=EACH_DEFACER,
        ),
        Stage("never", do, lambda task: {}, when=lambda task: task.run == "other"),
        Stage("some", do, lambda task: {}, each=EACH_DEFACER, when=lambda task: task.defacer == "b"),
    )


def submit(tmp_path, run="run"):
    calls.clear()
    graph = Flow(flow(), HereExecutor(), tmp_path).submit(run, "data", "case", ("a", "b"))
    return {name: future.result() for name, future in graph.items()}


def test_a_list_of_stages_becomes_tasks_that_know_what_they_build_on(tmp_path):
    found = submit(tmp_path)
    assert list(found) == [
        ("read", "case", ""),
        ("own", "case", "original"),
        ("cut", "case", "a"),
        ("cut", "case", "b"),
        ("judge", "case", "a"),
        ("judge", "case", "b"),
        ("some", "case", "b"),
    ]
    assert all(result.ok for result in found.values())
    judged = [before for before, arguments in calls if len(before) == 3]
    assert judged == [(("read", ""), ("own", "original"), ("cut", name)) for name in ("a", "b")]
    assert found["own", "case", "original"].facts == {"run": "run"}
    assert found["cut", "case", "b"].facts == {"defacer": "b"}


def test_only_what_depends_on_something_new_runs_again(tmp_path):
    submit(tmp_path)
    submit(tmp_path)
    assert calls == []
    submit(tmp_path, run="another")
    assert (
        len(calls) == 2
    )  # the judges; what is given to a stage is no part of its key, what it depends on is


@pytest.mark.parametrize("patience", [1, 0.5, 0])
def test_a_slow_machine_may_ask_for_patience(tmp_path, monkeypatch, patience):
    limits = []
    monkeypatch.setattr("defacedask.flow.flow.run_task", lambda *before, limit, **other: limits.append(limit))
    with dask.config.set({"defacedask.cluster.patience": patience}):
        Flow(flow(), HereExecutor(), tmp_path).submit("run", "data", "case", ("a", "b"))
    assert set(limits) == {patience * 2 * HOUR}


def test_what_failed_is_left_alone_where_the_configuration_says_so(tmp_path):
    tries = []

    def fails(*before, **arguments):
        tries.append(1)
        raise RuntimeError("no luck")

    stages = (Stage("bad", fails, lambda task: {}), Stage("after", do, lambda task: {}, needs=("bad",)))

    def run(retry):
        with dask.config.set({"defacedask.cluster.retry-failed": retry}):
            graph = Flow(stages, HereExecutor(), tmp_path).submit("run", "data", "case", ())
        return [future.result() for future in graph.values()]

    first = run(True)
    assert run(False) == first
    assert len(tries) == 1
    assert [result.upstream for result in first] == [False, True]
    run(True)
    assert len(tries) == 2

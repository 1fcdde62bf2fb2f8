"""A cluster is opened with the first stage that must run; many cases are one task each."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from support import forked

from defacedask.cluster import connect, connect_later
from defacedask.errors import ConfigError, RefusedError
from defacedask.flow.executors import DaskExecutor, HereExecutor, LaterExecutor, executor_for
from defacedask.flow.flow import Flow, flow_on
from defacedask.flow.result import Outcome, Receipt, forget, receipt, whole
from defacedask.flow.stage import EACH_DEFACER, Stage

pytestmark = pytest.mark.usefixtures("forked_workers")

QUIET = {"processes": False, "dashboard_address": None, "silence_logs": 50, "threads_per_worker": 1}


def fine(*before, **arguments):
    return Outcome({"table": [{"a": 1}]}, {"pid": os.getpid(), "before": [p.facts["pid"] for p in before]})


def maybe(*before, case, **arguments):
    if case == "refused":
        raise RefusedError("no head.")
    if isinstance(case, str) and case.startswith("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(facts={"pid": os.getpid()})


def stages(**resources):
    return (
        Stage("ingest", fine, lambda task: {}),
        Stage("plan", maybe, lambda task: {"case": task.case}, needs=("ingest",), resources=resources),
        Stage("apply", fine, lambda task: {}, needs=("ingest", "plan"), each=EACH_DEFACER),
    )


def outcomes(flow, cases):
    """(stage, case, defacer) -> result."""
    return {
        (result.stage, result.case, result.defacer): result
        for _, results in flow.run(None, cases, ("a", "b"), case_id=str)
        for result in results
    }


@pytest.fixture
def opening():
    """A callable that opens a small cluster, and how often it did."""
    made = []

    def opened():
        cluster = LocalCluster(n_workers=1, **QUIET)
        client = Client(cluster, set_as_default=False)
        made.append((client, cluster))
        return client

    yield opened, made
    for client, cluster in made:
        client.close()
        cluster.close()


def test_nothing_is_opened_where_everything_is_done(tmp_path, opening):
    opened, made = opening
    cases = ["one", "refused", "two"]
    with flow_on(tmp_path, stages(), opened, command="study", cases=3) as flow:
        assert isinstance(flow.executor, LaterExecutor)
        first = outcomes(flow, cases)
    assert len(made) == 1
    assert first["plan", "refused", ""].status == "refused"
    with flow_on(tmp_path, stages(), opened, command="study", cases=3) as flow:
        assert outcomes(flow, cases) == first
        assert isinstance(flow.executor.beside(), HereExecutor)
    assert len(made) == 1
    # one result in the middle is missing: what comes before it is known here, and goes along
    forget(tmp_path / "results", "refused", "plan")
    forget(tmp_path / "results", "two", "apply", "b")
    with flow_on(tmp_path, stages(), opened, command="study", cases=3) as flow:
        again = outcomes(flow, cases)
        assert isinstance(flow.executor.beside(), DaskExecutor)
    assert len(made) == 2
    assert {name: result.status for name, result in again.items()} == {n: p.status for n, p in first.items()}


def test_what_is_checked_of_a_cluster_is_checked_when_it_is_opened(tmp_path, opening):
    opened, made = opening
    with (
        flow_on(tmp_path, stages(GPU=1), opened, command="study", cases=1) as flow,
        pytest.raises(ConfigError, match=r"the stage plan needs \(GPU=1\)"),
    ):
        outcomes(flow, ["one"])
    assert len(made) == 1


def test_an_unknown_cluster_is_said_at_once():
    with pytest.raises(ConfigError, match="unknown cluster"), connect_later("pbs"):
        pass


def test_a_client_is_no_callable_that_opens_one(opening):
    client = opening[0]()
    assert isinstance(executor_for(client), DaskExecutor)


def test_many_cases_are_a_task_each_and_few_a_task_a_stage(tmp_path, opening):
    client = opening[0]()
    executor = DaskExecutor(client)
    submitted = []

    class Watched(DaskExecutor):
        def submit(self, *args, name, **kwargs):
            submitted.append(name)
            return super().submit(*args, name=name, **kwargs)

    executor = Watched(client)
    flow = Flow(stages(), executor, tmp_path / "many", brief=receipt)
    found = outcomes(flow, [f"c{k}" for k in range(5)])
    assert len(found) == 5 * 4
    assert all(isinstance(result, Receipt) for result in found.values())
    whole_cases = [name for name in submitted if name[0] == "case"]
    assert whole_cases == [("case", f"c{k}", "") for k in range(4)]
    # of the last there are no more than tasks that run at a time
    assert [n[:2] for n in submitted if n[0] != "case"] == [
        (stage, "c4") for stage in ("ingest", "plan", "apply", "apply")
    ]
    one = whole(tmp_path / "many", found["apply", "c0", "b"])
    assert one.rows == {"table": [{"a": 1}]}
    assert len(one.facts["before"]) == 2
    # the same by stages alone
    here = outcomes(Flow(stages(), HereExecutor(), tmp_path / "here"), [f"c{k}" for k in range(5)])
    assert {n: (p.status, p.key) for n, p in here.items()} == {n: (p.status, p.key) for n, p in found.items()}


def test_a_stage_with_a_resource_is_a_task_of_its_own(tmp_path):
    submitted = []

    class Watched(HereExecutor):
        threads = 1

        def submit(self, *args, name, resources=None, **kwargs):
            submitted.append((name[0], resources))
            return super().submit(*args, name=name, **kwargs)

    flow = Flow(stages(GPU=1), Watched(), tmp_path)
    found = outcomes(flow, ["a", "b"])
    assert submitted[:3] == [("case", {}), ("case", {"GPU": 1}), ("case", {})]
    assert [len(found["apply", case, "a"].facts["before"]) for case in ("a", "b")] == [2, 2]


@pytest.mark.slow
def test_a_deadly_case_among_whole_ones_costs_itself_alone(tmp_path):
    cases = ["c0", "c1", "deadly", "c2", "c3", "deadly too", "c4", "c5"]
    with connect("local", 2) as client:
        found = outcomes(Flow(stages(), DaskExecutor(client), tmp_path, brief=receipt), cases)
    assert len(found) == 4 * len(cases)
    for (stage, case, _), result in found.items():
        if case.startswith("deadly") and stage != "ingest":
            assert result.status == "failed"
            assert "plan: its process died 2 times" in result.reason
        else:
            assert result.ok, result


def seen():
    return os.environ.get("SAID_TO_WORKERS"), "defacedask.runs.study" in sys.modules


def test_workers_of_these_tests_are_forked_with_the_stages_and_the_environment_of_now(monkeypatch):
    for said in ("one", "another"):
        monkeypatch.setenv("SAID_TO_WORKERS", said)
        with forked.workers(), connect("local", 1) as client:
            assert client.submit(seen, pure=False).result() == (said, True)


def test_a_performance_report_is_written(tmp_path):
    with connect_later("local", 1, report=tmp_path / "report.html") as opened:
        assert opened().submit(abs, -1).result() == 1
    assert "<html" in Path(tmp_path / "report.html").read_text().lower()

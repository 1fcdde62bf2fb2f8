from __future__ import annotations

import os

import dask
import psutil
import pytest
from distributed import Client

from defacedask.cluster import _unless_chosen, connect
from defacedask.cluster.specs import SLOW_TICKS
from defacedask.errors import ConfigError
from defacedask.flow.executors import DaskExecutor, HereExecutor, executor_for
from defacedask.flow.stage import Stage, check_resources


def add(a, b=0):
    return a + b


def thread_limit():
    return os.environ.get("OMP_NUM_THREADS"), os.getpid()


@pytest.fixture(scope="module")
def client():
    with connect("local", 2) as client:
        yield client


def test_workers_are_processes_with_one_thread_each(client):
    answers = client.run(thread_limit)
    assert len({pid for _, pid in answers.values()} | {os.getpid()}) == 3
    assert {threads for threads, _ in answers.values()} == {"1"}


def test_work_that_is_done_survives_a_worker_that_ends_badly(caplog):
    """A nanny that raises when it is closed, as distributed's does while a dead worker's successor starts."""

    async def raising(**options):
        raise AssertionError("can only join a started process")

    caplog.set_level("INFO", logger="defacedask.cluster")
    with connect("local", 1) as client:
        assert client.submit(add, 1).result() == 1
        (nanny,) = client.cluster.workers.values()
        nanny.process.kill = raising
        (worker,) = map(psutil.Process, client.run(os.getpid).values())
        address = client.scheduler.address
    assert "did not end well (AssertionError: can only join" in caplog.text
    worker.wait(10)
    with pytest.raises(OSError, match="Timed out"):
        Client(address, timeout=1, set_as_default=False)


def ticks():
    return {name: dask.config.get(name) for name in SLOW_TICKS}


def test_workers_look_at_themselves_seldom(client):
    assert list(client.run(ticks).values()) == [SLOW_TICKS] * 2


def test_what_somebody_chose_stays():
    name = "distributed.worker.profile.interval"
    with dask.config.set(dask.config.merge(*dask.config.defaults)):
        assert _unless_chosen(SLOW_TICKS) == SLOW_TICKS
        dask.config.set({name: "50ms"})
        assert _unless_chosen(SLOW_TICKS) == {k: v for k, v in SLOW_TICKS.items() if k != name}


@pytest.mark.parametrize("kind", ["dask", "here"])
def test_both_executors_pass_futures_on(client, kind):
    executor = executor_for(client) if kind == "dask" else HereExecutor()
    assert isinstance(executor, DaskExecutor if kind == "dask" else HereExecutor)
    one = executor.submit(add, 1, name=("one", "case", ""))
    two = executor.submit(add, one, b=1, name=("two", "case", "defacer"), priority=3)
    found = {executor.finished(), executor.finished()}
    assert found == {one, two}
    assert sorted(future.result() for future in found) == [1, 2]
    assert executor.window == (6 if kind == "dask" else 1)


def test_the_dashboard_groups_by_stage(client):
    executor = DaskExecutor(client)
    for case in ("pt_1", "pt_2"):
        executor.submit(add, 1, name=("plan", case, "quickshear"))
        executor.finished()
    groups = client.run_on_scheduler(lambda dask_scheduler: set(dask_scheduler.task_prefixes))
    assert "plan" in groups
    assert not any("pt" in group for group in groups)


def test_an_address_is_used():
    with connect("local", 1) as first, connect(first.scheduler.address) as second:
        assert second.submit(add, 1, b=2).result() == 3


def test_what_cannot_be_reached_or_is_not_known():
    with pytest.raises(ConfigError, match="unknown cluster"), connect("pbs"):
        pass
    with pytest.raises(ConfigError, match="at least one worker"), connect("local", 0):
        pass


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tls://127.0.0.1:9", "certificates"),
        ("nothing://127.0.0.1:9", "knows no addresses of the kind nothing:"),
    ],
)
def test_an_address_that_no_client_can_use_is_one_sentence_and_leaves_dask_as_it_was(address, why):
    before = dask.config.get("scheduler", None)
    with pytest.raises(ConfigError, match=why), connect(address):
        pass
    assert dask.config.get("scheduler", None) == before
    # Dask computes here, and not through a client that never was
    assert dask.delayed(add)(1, b=2).compute() == 3


def test_no_scheduler_at_the_address():
    soon = dask.config.set({"defacedask.cluster.wait": "0.5s"})
    with soon, pytest.raises(ConfigError, match="no Dask scheduler answers"), connect("tcp://127.0.0.1:9"):
        pass


def test_an_active_client_is_used_and_its_workers_see_what_is_shared(client, tmp_path):
    executor = executor_for(None)
    assert isinstance(executor, DaskExecutor)
    assert executor.client is client
    (tmp_path / "there").touch()
    assert executor.blind(tmp_path / "there") == []
    assert len(executor.blind(tmp_path / "gone")) == 2


def stage(name, **resources):
    return Stage(name, add, lambda task: {}, resources=resources)


def test_what_no_worker_offers_is_said_before_anything_runs(client):
    check_resources([stage("read"), stage("cut")], executor_for(client))
    soon = dask.config.set({"defacedask.cluster.wait": "0.5s"})
    with soon, pytest.raises(ConfigError, match=r"the stage cut needs \(GPU=1\)"):
        check_resources([stage("read"), stage("cut", GPU=1)], executor_for(client))
    check_resources([stage("cut", GPU=1)], HereExecutor())


def test_one_worker_must_offer_all_that_a_stage_needs():
    from distributed import Client, LocalCluster

    quiet = {"processes": False, "dashboard_address": None, "silence_logs": 50, "threads_per_worker": 1}
    with LocalCluster(n_workers=1, resources={"GPU": 1}, **quiet) as cluster, Client(cluster) as client:
        check_resources([stage("read"), stage("cut", GPU=1)], DaskExecutor(client))
        with dask.config.set({"defacedask.cluster.wait": "0.5s"}):
            with pytest.raises(ConfigError, match="render=1"):
                check_resources([stage("cut", GPU=1, render=1)], DaskExecutor(client))
            with pytest.raises(ConfigError, match="GPU=2"):
                check_resources([stage("cut", GPU=2)], DaskExecutor(client))


def test_a_worker_with_a_card_may_come_after_the_others():
    from distributed import Client, LocalCluster, Worker

    quiet = {"processes": False, "dashboard_address": None, "silence_logs": 50, "threads_per_worker": 1}
    with LocalCluster(n_workers=1, **quiet) as cluster, Client(cluster) as client:
        late = {"cls": Worker, "options": {"nthreads": 1, "resources": {"GPU": 1}}}
        client.loop.call_later(1.0, lambda: (cluster.worker_spec.update(late=late), cluster.scale(2)))
        check_resources([stage("cut", GPU=1)], DaskExecutor(client))


def test_without_workers_nothing_is_known():
    from distributed import Client, LocalCluster

    quiet = {"processes": False, "dashboard_address": None, "silence_logs": 50}
    with (
        LocalCluster(n_workers=0, **quiet) as cluster,
        Client(cluster) as client,
        dask.config.set({"defacedask.cluster.wait": "200ms"}),
    ):
        check_resources([stage("cut", GPU=1)], DaskExecutor(client))

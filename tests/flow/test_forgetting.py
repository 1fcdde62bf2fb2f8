"""What a scheduler keeps of finished work is dropped."""

import subprocess
import sys

import pytest
from dask.utils import key_split

from defacedask.flow import executors, forgetting


def _kept(dask_scheduler=None):
    spans = dask_scheduler.extensions["spans"].spans.values()
    return key_split.cache_info().currsize, sum(len(s.metadata["collections"]) for s in spans if s.metadata)


def _tasks(executor, count):
    for k in range(count):
        executor.submit(int, k, name=("stage", f"case-{k}", ""))
    return sum(executor.finished().result() for _ in range(count))


@pytest.fixture
def client():
    """A scheduler and a worker in this process: what they keep can be looked at."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_scheduler_keeps_names_and_kinds_of_tasks_that_are_gone(client, monkeypatch):
    """The fault itself: without the request both grow with every task."""
    monkeypatch.setattr(executors, "EVERY", 10**9)
    before = client.run_on_scheduler(_kept)
    assert _tasks(executors.DaskExecutor(client), 50) == sum(range(50))
    after = client.run_on_scheduler(_kept)
    assert after[0] - before[0] >= 50
    assert after[1] - before[1] >= 50


def test_scheduler_forgets_them_between_submissions(client, monkeypatch):
    monkeypatch.setattr(executors, "EVERY", 10)
    executor = executors.DaskExecutor(client)
    for _ in range(10):
        assert _tasks(executor, 10) == 45
    names, kinds = client.run_on_scheduler(_kept)
    assert names <= 25
    assert kinds <= 25


def test_scheduler_without_the_package_can_forget(tmp_path):
    """What is sent is sent by value, not as a name that the scheduler would look up."""
    from distributed.protocol.pickle import dumps

    (tmp_path / "forget.pkl").write_bytes(dumps(forgetting._forgetting()))
    elsewhere = (
        "import sys, pickle, types\n"
        "sys.modules['defacedask'] = None\n"
        "forget = pickle.load(open('forget.pkl', 'rb'))\n"
        "from dask.utils import key_split\n"
        "key_split('a-1'), key_split('b-1')\n"
        "assert forget(types.SimpleNamespace(extensions={})) >= 2\n"
        "assert key_split.cache_info().currsize == 0\n"
    )
    subprocess.run([sys.executable, "-c", elsewhere], cwd=tmp_path, check=True)


def test_scheduler_that_runs_no_functions_does_not_stop_the_run():
    class Refuses:
        def run_on_scheduler(self, function):
            raise ValueError(
                "Cannot run function as the scheduler has been explicitly disallowed from deserializing"
            )

    forgetting.ask_to_forget(Refuses())

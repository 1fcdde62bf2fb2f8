from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
from support.faulty_store import ADDRESS, memory  # noqa: F401

from defacedask.errors import ConfigError, OutputError
from defacedask.io.remote.lease import Lease
from defacedask.io.remote.objects import Objects

pytestmark = pytest.mark.usefixtures("memory")


def leases() -> dict[str, dict]:
    address = Objects(ADDRESS)
    return {name: json.loads(address.read(name) or b"{}") for name in address.names("lease")}


def rewrite(**facts) -> None:
    """Let the last run be another one."""
    address = Objects(ADDRESS)
    for name, known in leases().items():
        address.write(name, json.dumps({**known, **facts}).encode())


def test_a_second_run_is_refused_and_one_that_ended_is_no_obstacle():
    with Lease(Objects(ADDRESS)).held() as first:
        with (
            pytest.raises(
                ConfigError,
                match=rf"another run is at work at {ADDRESS} \(process {os.getpid()} on .*, last heard of 0 s ago",
            ),
            Lease(Objects(ADDRESS)).held(),
        ):
            pass
        first.require()
    with Lease(Objects(ADDRESS)).held() as second:
        assert second.number == first.number + 1
    assert list(leases()) == [f"lease/{second.number:08d}"]


def test_of_many_at_once_one_has_it():
    ready, done = threading.Barrier(8), threading.Barrier(8)
    got, refused = [], []

    def run() -> None:
        ready.wait()
        try:
            with Lease(Objects(ADDRESS)).held() as one:
                got.append(one.number)
                done.wait()
        except ConfigError:
            refused.append(1)
            done.wait()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (got, len(refused)) == ([1], 7)


def test_a_dead_process_of_this_machine_holds_nothing():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    Lease(Objects(ADDRESS))._take()
    rewrite(process=dead.pid)
    with Lease(Objects(ADDRESS)).held() as lease:
        assert lease.number == 2
    # of another machine nobody knows
    rewrite(process=dead.pid, host="elsewhere", released=False)
    with pytest.raises(ConfigError, match=f"process {dead.pid} on elsewhere"), Lease(Objects(ADDRESS)).held():
        pass


def test_a_silent_run_is_taken_for_dead_and_learns_of_it():
    first = Lease(Objects(ADDRESS), seconds=0.2)
    first._take()
    rewrite(host="elsewhere")
    # it gives no sign of life: no thread was started
    threading.Event().wait(0.4)
    with Lease(Objects(ADDRESS), seconds=0.2).held() as second:
        assert second.number == 2
        first.require()
        first.renew()
        with pytest.raises(OutputError, match="another one goes on at") as caught:
            first.require()
        assert caught.value.fatal
        second.renew()
        second.require()


def test_signs_of_life_keep_it():
    with Lease(Objects(ADDRESS), seconds=0.6).held():
        rewrite(host="elsewhere")
        for _ in range(4):
            threading.Event().wait(0.3)
            with pytest.raises(ConfigError, match="another run is at work"):
                Lease(Objects(ADDRESS), seconds=0.6)._take()


def test_a_service_that_overwrites_is_refused(monkeypatch):
    address = Objects(ADDRESS)
    address.check()
    assert address.names() == {}
    put = address.fs.pipe_file
    monkeypatch.setattr(address.fs, "pipe_file", lambda name, content, mode="": put(name, content))
    with pytest.raises(ConfigError, match="does not keep an object from being overwritten"):
        address.check()

"""The variables and arguments of the TLS component, tried with a real scheduler and worker."""

from __future__ import annotations

import os
import subprocess
import sys

import dask
import pytest
from distributed import Client, Security
from support.deploy_kit import DEPLOY, build

from defacedask.cluster import connect
from defacedask.errors import ConfigError


def container(found, kind, *way):
    [manifest] = [m for m in found if m["kind"] == kind]
    spec = manifest["spec"]
    for step in way:
        spec = spec[step]
    return spec["spec"]["containers"][0]


def variables(container, place):
    """Those of TLS, with the folder of the certificates here."""
    names = {v["name"]: v["value"].replace("/tls/", f"{place}/") for v in container["env"]}
    return {name: value for name, value in names.items() if "__COMM__" in name}


@pytest.fixture
def certificates(tmp_path):
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    made = Security.temporary().get_tls_config_for_role("client")
    for name, part in (("ca.crt", "ca_file"), ("tls.crt", "cert"), ("tls.key", "key")):
        (tmp_path / name).write_text(made[part])
    return tmp_path


@pytest.fixture
def start(monkeypatch):
    running = []

    def start(arguments, environment):
        command = [sys.executable, "-m", "dask", *arguments]
        out = subprocess.DEVNULL
        running.append(subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out))

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait()


def test_all_parts_speak_tls_and_nothing_else(certificates, start):
    pytest.importorskip("jsonpatch")
    found = build(DEPLOY / "kubernetes" / "overlays" / "cpu", ("../../tls",))
    scheduler, worker = (container(found, "DaskCluster", part) for part in ("scheduler", "worker"))
    run = container(found, "Job", "template")
    port = 20000 + hash(str(certificates)) % 20000
    place = f"127.0.0.1:{port}"
    more = ["--host", "127.0.0.1", "--port", str(port), "--dashboard-address", "127.0.0.1:0"]
    start([*scheduler["args"][1:], *more], variables(scheduler, certificates))
    address = {v["name"]: v["value"] for v in worker["env"]}["DASK_SCHEDULER_ADDRESS"]
    assert address == run["args"][-1] == "tls://defacedask-scheduler:8786"
    where = {"DASK_SCHEDULER_ADDRESS": f"tls://{place}", "DASK_WORKER_NAME": "one"}
    arguments = [a.replace("$(DASK_WORKER_NAME)", "one") for a in worker["args"][1:]]
    start(arguments, {**variables(worker, certificates), **where})

    mine = {
        name.removeprefix("DASK_").lower().replace("__", "."): dask.config.interpret_value(value)
        for name, value in variables(run, certificates).items()
    }
    with dask.config.set({**mine, "defacedask.cluster.wait": "60s"}), connect(f"tls://{place}") as client:
        assert client.submit(sum, [1, 2]).result(60) == 3
        [who] = client.scheduler_info()["workers"]
        assert who.startswith("tls://")
    with pytest.raises(ConfigError, match="no Dask scheduler answers"), connect(f"tcp://{place}"):
        pass
    # one without a certificate, and one with somebody else's
    with pytest.raises(TypeError, match="ssl_context"):
        Client(f"tls://{place}", timeout="2s", security=Security(), set_as_default=False)
    with pytest.raises(OSError, match="certificate does not match"):
        Client(f"tls://{place}", timeout="2s", security=Security.temporary(), set_as_default=False)

"""Clusters whose workers have a card: the stand-in is found by their processes where CuPy would be."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import forked, once
from support.export_kit import applied_on, tree

from defacedask.cluster import connect
from defacedask.runs.deface import deface
from defacedask.testing.strict_cupy import strict_cupy

KEY = bytes(range(32))


@pytest.fixture
def workers_have_it(monkeypatch):
    """Processes that are started find the stand-in where CuPy would be; this one, too."""
    folder = Path(__file__).with_name("stand_in")
    monkeypatch.syspath_prepend(folder)  # which they inherit
    with strict_cupy():
        yield


def seen():
    import os

    from defacedask.devices import card

    return card() is not None, os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_local_cluster_has_a_worker_a_card(workers_have_it):
    with connect("local", 3, "cuda") as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert sorted(worker["resources"].get("GPU", 0) for worker in workers) == [0, 0, 1]
        assert {worker["nthreads"] for worker in workers} == {1}
        assert client.submit(seen, resources={"GPU": 1}, pure=False).result() == (True, None)


def test_with_dask_cuda_its_workers_have_the_cards(workers_have_it, monkeypatch):
    from distributed import LocalCluster

    asked = {}

    class LocalCUDACluster(LocalCluster):
        def __init__(self, **options):
            asked.update(options)
            super().__init__(**options)

    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=LocalCUDACluster))
    with connect("local", 2, "cuda") as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert sorted(worker["resources"].get("GPU", 0) for worker in workers) == [0, 1]
    assert asked["n_workers"] == 1
    assert asked["resources"] == {"GPU": 1}


@pytest.mark.slow
def test_a_virtual_patient_on_a_cluster_with_a_card_gives_the_same_files(
    virtual_patients, tmp_path, workers_have_it
):
    """The whole way on processes of their own: every stage that applies goes to the worker that offers the card."""
    patient = virtual_patients / "VP-0001"
    assert deface(patient, tmp_path / "cpu", "quickshear", key=KEY, device="cpu").ok
    with once.in_workers(), forked.workers(), connect("local", 2, "cuda") as client:
        assert deface(patient, tmp_path / "cuda", "quickshear", key=KEY, device="cuda", client=client).ok
    assert applied_on(tmp_path / "cpu.work") == {"cpu"}
    assert applied_on(tmp_path / "cuda.work") == {"cuda"}
    assert tree(tmp_path / "cpu") == tree(tmp_path / "cuda")

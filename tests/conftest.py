"""Fixtures for all tests."""

from __future__ import annotations

import fcntl
import gc
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
from hypothesis import settings
from support import cpu_log, forked, once
from support.linked import linked

from defacedask.defacers import plan_types
from defacedask.devices import card
from defacedask.testing.strict_cupy import strict_cupy
from defacedask.testing.strict_kernels import FOLDER as KERNELS

# times vary widely on shared machines; and a failure must be the same tomorrow
settings.register_profile("defacedask", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("defacedask")

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real heads that may lie beside the repository."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(
            f"the real heads are not there (no folder {folder.relative_to(REPOSITORY.parent)} beside the repository)"
        )
    return folder


@pytest.fixture(scope="session")
def shared_tools() -> Path:
    """Folder of the tools that write real patients as DICOM."""
    folder = REPOSITORY.parent / "shared" / "tools"
    if not folder.is_dir():
        pytest.skip(
            "the tools that write real patients as DICOM are not there (shared/tools beside the repository)"
        )
    return folder


@pytest.fixture(params=["stand-in", *(["card"] if card() else [])])
def cupy(request: pytest.FixtureRequest) -> Iterator[types.ModuleType]:
    """CuPy on the card, where there is one; and always the stand-in, which is as strict and needs none."""
    if request.param == "card":
        yield pytest.importorskip("cupy")
    else:
        with strict_cupy() as stand_in:
            yield stand_in


@pytest.fixture(scope="module")
def forked_workers() -> Iterator[None]:
    """Worker processes of local clusters are forked: see `support.forked`."""
    with forked.workers():
        yield


@pytest.fixture
def plans_forgotten(tmp_path: Path) -> Iterator[None]:
    """Plug-ins that the test typed or wrote are forgotten afterwards, so that another test may write them again."""
    before = dict(plan_types)
    yield
    ours = {n for n, m in sys.modules.items() if str(getattr(m, "__file__", "")).startswith(str(tmp_path))}
    for name, kind in list(plan_types.items()):
        if kind is not before.get(name) and kind.__module__ in {"__main__", *ours}:
            del plan_types[name]
    for name in ours:
        del sys.modules[name]


def pytest_configure(config: pytest.Config) -> None:
    """CPU seconds of each test are written if `support.cpu_log` is asked to."""
    cpu_log.start(config)
    gc.disable()  # what is collected now lives to the end; looking through it took a quarter of the time


def pytest_collection_finish() -> None:
    """Garbage of tests is looked for among what tests make, not among modules and four thousand tests."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: one that starts last keeps one core busy and the others idle."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where a head lies is found anew by the tests of just that."""
    once.now(str(item.path.relative_to(TESTS)) if item.path.is_relative_to(TESTS) else "")


@pytest.fixture(scope="session", autouse=True)
def _once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is dear and depends on its arguments alone is computed once for all workers, see `support.once`."""
    folder = _of_all_workers(tmp_path_factory) / "once"
    folder.mkdir(exist_ok=True)
    compiled = _of_all_workers(tmp_path_factory) / "kernels"
    compiled.mkdir(exist_ok=True)
    os.environ[once.FOLDER] = str(folder)
    os.environ.setdefault(KERNELS, str(compiled))
    once.start()
    yield
    del os.environ[once.FOLDER]


def _of_all_workers(factory: pytest.TempPathFactory) -> Path:
    place = factory.getbasetemp()
    return (
        place.parent if place.name.startswith("popen-") else place
    )  # a worker's own is below that of the run


@pytest.fixture(autouse=True)
def _no_dead_client_in_the_configuration() -> Iterator[None]:
    """A client that dies while it starts stays Dask's default: then every later test of lazy arrays fails."""
    yield
    if dask.config.get("scheduler", None) == "dask.distributed":
        from distributed import default_client

        try:
            alive = default_client().status == "running"
        except ValueError:
            alive = False
        if not alive:
            dask.config.set(scheduler=None)
            pytest.fail("this test left Dask's configuration with a client that does not run")


def _for_all_workers(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], object]) -> Path:
    """A folder that the first worker that asks for it writes: it appears complete or not at all."""
    place = _of_all_workers(factory)
    folder = place / name
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            write(folder)
    return folder


@pytest.fixture(scope="session")
def virtual_cohort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two coarse virtual patients (the second has a brain tumour), two scans each, in all modalities.

    All workers share it, and it is to be read alone; so are the parts of it below, which are links.
    """
    from defacedask.phantom import write_phantom

    def write(folder: Path) -> object:
        return write_phantom(folder, 2, seed=5, scans=2, size="coarse")

    folder = _for_all_workers(tmp_path_factory, "virtual_cohort", write)
    before = _times(folder)
    yield folder
    assert _times(folder) == before, "a test wrote into the virtual patients that all tests read"


def _times(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="session")
def virtual_patients(virtual_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VP-0001 and VP-0002 with the CT of their first scan, its structures and dose; to be read alone."""
    return _for_all_workers(
        tmp_path_factory,
        "virtual_patients",
        lambda folder: linked(virtual_cohort, folder, "VP-*/STUDY-1/CT/*", "VP-*/STUDY-1/RT/*"),
    )


@pytest.fixture(scope="session")
def patient_of_three(virtual_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VP-0001 with the same CT, an MR and a PET; to be read alone."""
    return _for_all_workers(
        tmp_path_factory,
        "patient_of_three",
        lambda folder: linked(virtual_cohort, folder, "VP-0001/STUDY-1/*/*"),
    )


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20260101)

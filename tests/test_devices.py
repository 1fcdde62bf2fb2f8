"""The device that kernels run on: how it is chosen, what is said where there is none, and that it changes nothing."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import dask
import dask.array
import numpy as np
import pytest
from click.testing import CliRunner
from support.export_kit import HalfSpace, applied_on, geometry, half_space, stub_plan, tree, write_patient  # noqa: F401

from defacedask.backend import namespace
from defacedask.cli.deface import command
from defacedask.cluster import connect
from defacedask.devices import (
    cards,
    chosen_device,
    offers_gpu,
    require_card,
    resources_of,
    space_of,
)
from defacedask.errors import ConfigError, MissingExtraError
from defacedask.io.store import CaseStore, create_case, write_volume
from defacedask.runs import deface_stages
from defacedask.runs.deface import deface
from defacedask.runs.study import prepare
from defacedask.runs.study_stages import stages as study_stages
from defacedask.testing.strict_cupy import counted, strict_cupy
from defacedask.volume import make_volume, on_host, real_values

KEY = bytes(range(32))


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture
def no_card(monkeypatch):
    """CuPy is installed, and there is no card: so it is on most machines."""
    with strict_cupy() as stand_in:
        cuda = SimpleNamespace(**{**vars(stand_in.cuda), "is_available": lambda: False})
        monkeypatch.setattr(stand_in, "cuda", cuda)
        yield


@pytest.fixture
def volume(rng):
    stored = rng.integers(-1000, 2000, geometry().shape, dtype=np.int16)
    return make_volume(stored, geometry(), modality="CT", units="HU", slope=1.5, intercept=-4.0)


def test_as_given_else_as_configured():
    assert chosen_device() == "auto"
    assert chosen_device("cpu") == "cpu"
    with dask.config.set({"defacedask.device": "cuda"}):
        assert chosen_device() == "cuda"
        assert chosen_device("auto") == "auto"
    for wrong in ("gpu", "", "CUDA"):
        with pytest.raises(ConfigError, match=r"the device is .*auto, cpu, cuda"):
            chosen_device(wrong)


def test_auto_is_the_processor_where_there_is_no_card(no_cupy):
    assert space_of("auto") is np
    assert space_of("cpu") is np
    assert space_of(None) is None
    assert cards() == 0
    with pytest.raises(MissingExtraError, match=r"not installed.*defacedask\[gpu\]"):
        space_of("cuda")


def test_cupy_without_a_card(no_card):
    assert space_of("auto") is np
    assert cards() == 0
    with pytest.raises(ConfigError, match="CuPy sees none"):
        require_card()


def test_with_a_card_auto_takes_it(cupy):
    assert space_of("auto") is space_of("cuda") is require_card() is cupy
    assert space_of("cpu") is np
    assert cards() >= 1


def test_a_broken_driver_is_no_card(monkeypatch):
    def broken():
        raise RuntimeError("cudaErrorInsufficientDriver")

    with strict_cupy() as stand_in:
        monkeypatch.setattr(stand_in, "cuda", SimpleNamespace(is_available=broken))
        assert space_of("auto") is np
        with pytest.raises(ConfigError, match="CuPy sees none"):
            space_of("cuda")


def test_only_cuda_asks_for_a_worker_with_a_card():
    assert resources_of("auto") == resources_of("cpu") == {}
    for stages in (study_stages, deface_stages.stages):
        asked = [(stage.name, dict(stage.resources)) for stage in stages("cuda") if stage.resources]
        assert asked == [("apply", {"GPU": 1})]  # somebody else's defacer asks for nothing
        assert not any(stage.resources for stage in stages("auto"))


@pytest.mark.parametrize("offered", [None, "", "MEM=3", "NOGPU=1"])
def test_a_cluster_without_cards_is_said_before_it_is_started(offered):
    with pytest.raises(ConfigError, match=r"slurm\.worker-resources"):
        offers_gpu("slurm", {"worker-resources": offered})
    for kind in ("kubernetes", "slurm"):
        settings = {f"defacedask.{kind}.worker-resources": offered}
        with (
            dask.config.set(settings),
            pytest.raises(ConfigError, match="offer a GPU"),
            connect(kind, 1, "cuda"),
        ):
            pass


def test_a_cluster_with_cards():
    for offered in ("GPU=1", "MEM=3,GPU=1", "MEM=3 GPU=2"):
        offers_gpu("kubernetes", {"worker-resources": offered})


@pytest.mark.parametrize("lacking", ["no_cupy", "no_card"])
def test_without_a_card_nothing_is_begun(lacking, request, tmp_path, monkeypatch):
    request.getfixturevalue(lacking)
    write_patient(tmp_path / "in")
    out = tmp_path / "out"
    with pytest.raises(ConfigError if lacking == "no_card" else MissingExtraError, match="the device cuda"):
        deface(tmp_path / "in", out, "half_space", device="cuda")
    with (
        pytest.raises((ConfigError, MissingExtraError), match="the device cuda"),
        connect("local", 1, "cuda"),
    ):
        pass
    for cluster in ("here", "local"):
        given = [tmp_path / "in", "--out", out, "--defacer", "half_space", "--cluster", cluster]
        done = CliRunner().invoke(command, [*map(str, given), "--device", "cuda"])
        assert isinstance(done.exception, (ConfigError, MissingExtraError))
    assert not out.exists()
    assert not (tmp_path / "out.work").exists()


def test_both_commands_have_the_same_option():
    from defacedask.cli.study import command as study

    for one in (command, study):
        [device] = [option for option in one.params if option.name == "device"]
        assert list(device.type.choices) == ["auto", "cpu", "cuda"]


def test_a_study_keeps_what_it_was_asked_for(virtual_patients, tmp_path):
    ready = prepare(virtual_patients, tmp_path / "out", defacers="quickshear", device="cuda")
    assert ready.settings.device == "cuda"
    assert "device: cuda" in (tmp_path / "out" / "config.yaml").read_text()
    with pytest.raises(ConfigError, match="the device is"):
        prepare(virtual_patients, tmp_path / "out", defacers="quickshear", device="gpu")


def test_volumes_on_a_device_are_stored_and_read(tmp_path, volume, cupy):
    url = str(tmp_path / "case.zarr")
    there = volume.copy(data=cupy.asarray(volume.values))
    lazy = dask.array.from_array(volume.values, chunks=(5, -1, -1)).map_blocks(
        cupy.asarray, meta=cupy.empty((0, 0, 0), dtype=np.int16)
    )
    with create_case(url, key="k", facts={}) as writer:
        writer.volume("images/CT", there)
    with dask.config.set(scheduler="synchronous"):
        write_volume(url, "images/again", volume.copy(data=lazy))
        for name in ("CT", "again"):
            assert np.array_equal(CaseStore(url).volume(f"images/{name}").values, volume.values)
        for one in (there, volume.copy(data=lazy)):
            assert isinstance(on_host(one).values, np.ndarray)
            assert np.array_equal(real_values(one).values, real_values(volume).values)
            assert np.array_equal(real_values(one[2:5]).values, real_values(volume[2:5]).values)


def test_blocks_go_to_the_device_and_come_back(volume, cupy):
    plan = HalfSpace(-2.0)
    expected = plan.apply(volume)
    assert (expected.values != volume.values).any()
    lazy = volume.copy(data=dask.array.from_array(volume.values, chunks=(4, 9, -1)))
    with counted() as asked, dask.config.set(scheduler="synchronous"):
        for given in (volume, lazy):
            done = plan.apply(given, device="cuda")
            assert np.array_equal(done.values, expected.values)
            assert isinstance(done.data, type(given.data))
    if getattr(cupy, "STAND_IN", False):
        assert asked.bytes_down >= 2 * volume.nbytes
    # what lies on a device stays there, unless it is asked for here
    there = volume.copy(data=cupy.asarray(volume.values))
    assert namespace(plan.apply(there).data) is cupy
    assert isinstance(plan.apply(there, device="cpu").data, np.ndarray)


def test_deface_writes_the_same_files(tmp_path, monkeypatch, cupy):
    """CT and dose, with a half-space instead of a head; and nothing is done again for another device."""
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)
    write_patient(tmp_path / "in")
    trees = {}
    for device in ("cpu", "cuda", "auto"):
        out = tmp_path / device
        with counted() as asked:
            done = deface(tmp_path / "in", out, "half_space", key=KEY, device=device, client=None)
        assert done.ok
        trees[device] = tree(out)
        assert applied_on(tmp_path / f"{device}.work") == {"cpu" if device == "cpu" else "cuda"}
        if getattr(cupy, "STAND_IN", False):
            assert (asked.uploads > 0) == (device != "cpu")
    assert trees["cpu"] == trees["cuda"] == trees["auto"]
    assert len(trees["cpu"]) > 10
    begun = (tmp_path / "cpu.work/results").rglob("apply-*.json")
    before = {path: path.stat().st_mtime_ns for path in begun}
    assert deface(tmp_path / "in", tmp_path / "cpu", "half_space", key=KEY, device="cuda").ok
    assert before == {path: path.stat().st_mtime_ns for path in before}

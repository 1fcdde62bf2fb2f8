"""The contract of plans: serialisation, lazy application, what stays bit-identical."""

from __future__ import annotations

import dataclasses
import json
from typing import ClassVar

import dask.array
import numpy as np
import pytest

from defacedask.defacers import defacer_names, get_defacer, plan_from_dict
from defacedask.defacers.base import Plan, air_of, plan_types
from defacedask.defacers.protect import Protected
from defacedask.errors import ConfigError, ContractError, InputError
from defacedask.geometry import Geometry
from defacedask.volume import make_volume


@dataclasses.dataclass(frozen=True, eq=False)
class Above(Plan):
    """Removes what lies above a height."""

    defacer: ClassVar[str] = "test_above"
    secret: ClassVar[tuple[str, ...]] = ("key",)

    height: float
    key: bytes = b"\x01\x02"
    table: np.ndarray = dataclasses.field(default_factory=lambda: np.arange(6, dtype=np.int16).reshape(2, 3))
    where: Geometry | None = None
    kept: tuple[Protected, ...] = ()

    def wanted(self, geometry, xp=np):
        return xp.broadcast_to(geometry.positions(xp, np.float64)[2] > self.height, geometry.shape)


@pytest.fixture
def volume():
    grid = Geometry.from_spacing((10, 12, 14), (3.0, 1.0, 2.0), (5.0, -7.0, 100.0))
    stored = np.random.default_rng(0).integers(-1000, 2000, grid.shape).astype(np.int16)
    return make_volume(stored, grid, modality="CT", units="HU", slope=2.0, intercept=-24.0)


def test_only_the_region_changes_and_becomes_air(volume):
    new = Above(115.0).apply(volume)
    assert new.dtype == volume.dtype
    assert np.array_equal(new[:6], volume[:6])
    assert (new[6:] * 2 - 24 == -1000).all()
    assert {k: v for k, v in new.attrs.items() if k in volume.attrs} == volume.attrs


def test_lazy_in_lazy_out_and_equal(volume):
    lazy = volume.copy(data=dask.array.from_array(volume.values, chunks=(4, 5, 6)))
    new = Above(112.0).apply(lazy)
    assert isinstance(new.data, dask.array.Array)
    assert np.array_equal(new.compute(scheduler="synchronous"), Above(112.0).apply(volume))


def test_per_slice_slopes_are_used():
    grid = Geometry.from_spacing((3, 2, 2), (1.0, 1.0, 1.0))
    stored = np.full(grid.shape, 100, dtype=np.uint16)
    pet = make_volume(stored, grid, modality="PT", units="g/mL", slope=np.array([1.0, 0.5, 2.0]))
    assert (Above(0.5).apply(pet).values[1:] == 0).all()


def test_a_plan_survives_json_with_everything_it_holds(monkeypatch):
    monkeypatch.setattr("defacedask.defacers.get_plan_type", lambda name: plan_types[name])
    grid = Geometry.from_spacing((6, 6, 6), (2.0, 2.0, 2.0))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[2:4, 2:4, 2:4] = True
    plan = Above(12.5, where=grid, kept=(Protected.of("Eye_L", mask, grid),))
    again = plan_from_dict(json.loads(json.dumps(plan.to_dict())))
    assert isinstance(again, Above)
    assert again.digest == plan.digest
    assert again.key == plan.key
    assert np.array_equal(again.table, plan.table)
    assert again.table.dtype == plan.table.dtype
    assert again.where == grid
    assert np.array_equal(again.kept[0].keep(grid), plan.kept[0].keep(grid))
    assert Above(12.6).digest != Above(12.5).digest


def test_the_summary_names_structures_and_hides_keys():
    grid = Geometry.from_spacing((6, 6, 6), (2.0, 2.0, 2.0))
    plan = Above(1.0, kept=(Protected.of("Eye_L", np.ones(grid.shape, bool), grid, margin_mm=3),))
    facts = json.dumps(plan.summary())
    assert '"Eye_L"' in facts
    assert "key_sha256" in facts
    assert repr(plan.key) not in facts
    assert "table" not in facts


def test_air_is_never_guessed(volume):
    assert air_of("CT") == -1000
    with pytest.raises(InputError, match="US"):
        air_of("US")
    with pytest.raises(InputError, match="fill value"):
        Above(0.0).apply(volume.assign_attrs(modality="XA"))


def test_unknown_names_and_options_list_the_known_ones():
    with pytest.raises(ConfigError, match="quickshear"):
        get_defacer("quickshare")
    with pytest.raises(ConfigError, match="buffer_mm"):
        get_defacer("quickshear", bufer=3)
    assert defacer_names()[0] == "none"


def test_a_class_typed_at_a_prompt_gives_its_name_to_the_one_that_is_written_after_it(plans_forgotten):
    def written(module, called):
        body = {"defacer": "drafted", "__module__": module, "wanted": Above.wanted, "fill": Above.fill}
        return type(called, (Plan,), body)

    written("__main__", "Draft")
    kept = written("a_package", "Kept")
    try:
        assert plan_types["drafted"] is kept
        with pytest.raises(ContractError, match=r"a_package\.Kept"):
            written("__main__", "Draft")
        with pytest.raises(ContractError, match=r"a_package\.Kept"):
            written("another_package", "Kept")
    finally:
        del plan_types["drafted"]

"""What belongs to the base: no subclass takes it over, and what is protected stays whatever its hooks do."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import ClassVar

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.defacers import Defacer, Plan, get_plan_type
from defacedask.defacers.protect import Protected
from defacedask.errors import ContractError, RefusedError
from defacedask.geometry import Geometry
from defacedask.volume import make_volume

GRID = Geometry.from_spacing((20, 24, 28), (3.0, 2.0, 2.0), (-27.0, -23.0, 40.0))


def ball(at: tuple[float, float, float], radius: float) -> np.ndarray:
    x, y, z = GRID.positions(dtype=np.float64)
    return np.broadcast_to((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 <= radius**2, GRID.shape)


HEAD = SimpleNamespace(brain=ball((0.0, 0.0, 70.0), 10.0), grid=GRID)
EYE = ball((-15.0, -12.0, 60.0), 5.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Greedy(Plan):
    """Wants everything."""

    def wanted(self, geometry, xp=np):
        return xp.ones(geometry.shape, dtype=bool)


def made(name: str, **body) -> Plan:
    """Plan of a defacer whose plans have this body, with brain and eye protected."""
    plans = type(f"P_{name}", (Greedy,), {"defacer": name, **body})
    plans = dataclasses.dataclass(frozen=True, eq=False)(plans)
    maker = type(
        f"D_{name}", (Defacer,), {"name": name, "propose": lambda self, head, *, key, protected: plans()}
    )
    return maker().plan(HEAD, protected=[Protected.of("Eye", EYE, GRID, margin_mm=1.0)])


def volume(dtype=np.int16):
    stored = np.random.default_rng(3).integers(100, 900, GRID.shape).astype(dtype)
    if np.dtype(dtype).kind == "f":
        stored[::3, ::4, ::5] = np.nan
    return make_volume(stored, GRID, modality="CT", units="HU")


def all_air(self, stored, geometry, slope, intercept, modality):
    return stored * 0 + stored.dtype.type(-7)


def tuned_bare(self, volume):
    return dataclasses.replace(self, protected=())


def region_grows(self, values, region, geometry, modality, xp=np):
    region[:] = True
    return values * 0 - 5


def negative_zero(self, stored, geometry, slope, intercept, modality):
    out = stored.copy()
    out[...] = -out
    return out


CARELESS = {
    "wants all": {},
    "a kernel that looks at nothing": {"change_block": all_air},
    "tuning that forgets what is protected": {"tuned": tuned_bare},
    "a fill that widens the region": {"fill": region_grows},
    "a sign": {"change_block": negative_zero},
}


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("body", CARELESS.values(), ids=CARELESS)
def test_what_is_protected_keeps_its_bits(body, dtype):
    name = f"careless_{abs(hash((tuple(body), np.dtype(dtype).name, *map(id, body.values()))))}"
    plan = made(name, **body)
    before = volume(dtype)
    lazy = before.copy(data=dask.array.from_array(before.values, chunks=(7, 9, 11)))
    for after in (plan.apply(before).values, plan.apply(lazy).compute(scheduler="synchronous").values):
        for mask in (HEAD.brain, EYE):
            assert after[mask].tobytes() == before.values[mask].tobytes()
        assert np.mean(after != before.values) > 0.8
    assert not plan.region(GRID)[HEAD.brain | EYE].any()
    assert plan.withheld(GRID)["Brain"] >= HEAD.brain.sum()
    assert plan.withheld(GRID)["Eye"] >= EYE.sum()
    # the original is as it was
    assert before.values.tobytes() == volume(dtype).values.tobytes()


def test_a_kernel_cannot_write_on_the_original():
    def in_place(self, stored, geometry, slope, intercept, modality):
        stored[...] = 0
        return stored

    with pytest.raises(ValueError, match="read-only"):
        made("in_place", change_block=in_place).apply(volume())


@pytest.mark.parametrize("answer", [lambda s: s.astype(np.float64), lambda s: s[:-1], lambda s: s.tolist()])
def test_a_kernel_gives_what_it_was_given(answer):
    plan = made("other_type", change_block=lambda self, stored, *_: answer(stored))
    with pytest.raises(ContractError, match="another library, shape or type"):
        plan.apply(volume())


@pytest.mark.parametrize(
    "answer", [lambda g: np.ones(g.shape), lambda g: np.ones((1, 1, 1), bool), lambda g: None]
)
def test_what_is_wanted_is_a_mask_of_the_grid(answer):
    plan = made("no_mask", wanted=lambda self, geometry, xp=np: answer(geometry))
    with pytest.raises(ContractError, match="no bool array of the grid's shape"):
        plan.region(GRID)


@pytest.mark.parametrize(
    ("name", "instead"),
    [("region", "wanted"), ("deface_block", "change_block"), ("apply", "change_block"), ("region_of", "placed"),
     ("to_dict", "Leave it out"), ("digest", "Leave it out"), ("withheld", "Leave it out")],
)  # fmt: skip
def test_a_plan_that_takes_over_the_base_is_told(name, instead):
    with pytest.raises(ContractError, match=f"'{name}' of its own.*{instead}"):
        type("Taken", (Greedy,), {name: lambda self, *_: None})
    mixed = type("Mixed", (), {name: lambda self, *_: None})
    with pytest.raises(ContractError, match="Mixed has a"):
        type("Taken", (mixed, Greedy), {})
    with pytest.raises(ContractError, match=name):
        type("Field", (Greedy,), {"__annotations__": {name: "object"}})


def test_a_plan_that_holds_protected_itself_is_told():
    with pytest.raises(ContractError, match="'protected' of its own"):
        type("Held", (Greedy,), {"__annotations__": {"protected": "tuple"}, "protected": ()})


def test_a_defacer_that_takes_over_planning_is_told():
    with pytest.raises(ContractError, match=r"'plan' of its own.*Write propose instead"):
        type("Taken", (Defacer,), {"plan": lambda self, head, **_: None})


def test_two_classes_of_plans_cannot_have_one_name():
    get_plan_type("quickshear")
    with pytest.raises(ContractError, match=r"which defacedask.defacers.quickshear.QuickshearPlan has"):
        type("Mine", (Greedy,), {"defacer": "quickshear"})


def test_a_proposal_of_another_defacer_is_no_plan():
    other = made("its_own")
    maker = type("Borrower", (Defacer,), {"name": "borrower", "propose": lambda self, head, **_: other})
    with pytest.raises(ContractError, match="same word"):
        maker().plan(HEAD)


def test_without_a_brain_there_is_no_plan():
    maker = type("Any", (Defacer,), {"name": "its_own", "propose": lambda self, head, **_: made("its_own")})
    with pytest.raises(RefusedError, match="no brain was found"):
        maker().plan(SimpleNamespace(brain=np.zeros(GRID.shape, bool), grid=GRID))


def test_the_protection_is_part_of_the_plan_and_comes_back_with_it():
    class Kept(Greedy):
        defacer: ClassVar[str] = "comes_back"

    plan = Kept().protecting([Protected.of("Eye", EYE, GRID)])
    facts = plan.to_dict()
    from defacedask.defacers.codec import decode

    again = Kept(**{name: decode(value) for name, value in facts["fields"].items()})
    assert again.digest == plan.digest != Kept().digest
    assert np.array_equal(again.region(GRID), plan.region(GRID))


@given(
    st.tuples(*[st.integers(0, n - 4) for n in GRID.shape]),
    st.tuples(*[st.integers(1, 12) for _ in range(3)]),
    st.integers(0, 2**32 - 1),
)
def test_any_block_keeps_what_is_protected(start, size, seed):
    plan = made("any_block", change_block=all_air)
    stop = [min(a + n, m) for a, n, m in zip(start, size, GRID.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    stored = np.random.default_rng(seed).integers(0, 99, GRID.shape).astype(np.int16)[box]
    one = np.ones((stored.shape[0], 1, 1))
    new = plan.deface_block(stored, GRID.block(start, stop), one, 0 * one, "CT")
    keep = plan.protected[0].keep(GRID)[box] | plan.protected[1].keep(GRID)[box]
    assert np.array_equal(new, np.where(keep, stored, -7))

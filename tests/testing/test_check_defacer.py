"""The contract as a third party runs it: a sound plug-in passes, and each planted fault is named, and it alone."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, ClassVar

import numpy as np
import pytest

from defacedask.defacers import Defacer, Plan, get_defacer
from defacedask.defacers.noise import NoiseField
from defacedask.errors import ContractError, DefacedaskError
from defacedask.testing import check_defacer
from defacedask.testing.clauses import CLAUSES


@dataclasses.dataclass(frozen=True, eq=False)
class Front(Plan):
    """Noise in all that lies in front of a coronal plane of the head."""

    secret: ClassVar[tuple[str, ...]] = ("key",)

    y: float
    key: bytes
    lattice: np.ndarray = dataclasses.field(default_factory=lambda: np.diag([3.0, 3.0, 3.0, 1.0]))

    def wanted(self, geometry, xp=np):
        return xp.broadcast_to(geometry.positions(xp, np.float64)[1] < self.y, geometry.shape)

    def noise(self, geometry, xp):
        return 50 + 10 * NoiseField(self.key, self.lattice).at(geometry.positions(xp, np.float64), xp)

    def fill(self, values, region, geometry, modality, xp=np):
        return self.noise(geometry, xp)


@dataclasses.dataclass(frozen=True)
class FrontDefacer(Defacer):
    """Noise in front of the ears."""

    behind_mm: float = 10.0

    plans: ClassVar[type[Plan]]

    def propose(self, head, *, key, protected):
        return self.plans(float(head.landmark("nose_tip")[1]) + 60 + self.behind_mm, key)


def plug_in(plans: type[Plan], **body: Any) -> type[Defacer]:
    """A defacer that makes these plans."""
    plans.__qualname__ = plans.__name__ = plans.defacer
    made = {"name": plans.defacer, "plans": plans, "__doc__": "Planted.", "__module__": __name__, **body}
    return dataclasses.dataclass(frozen=True)(type(f"Makes_{plans.defacer}", (FrontDefacer,), made))


def planned(name: str, base: type[Plan] = Front, **body: Any) -> type[Plan]:
    made = {"defacer": name, "__module__": __name__, "__annotations__": body.pop("fields", {}), **body}
    plans = dataclasses.dataclass(frozen=True, eq=False)(type(name, (base,), made))
    globals()[name] = plans  # where a pickle looks for it
    return plans


def sound():
    return plug_in(planned("sound"))


# --- planted faults: each breaks the clause whose name it has


def named():
    """A name that is no file name."""
    return plug_in(planned("my/defacer"))


def optioned():
    """An option that no task's key can hold."""
    return plug_in(
        planned("optioned"),
        levels=dataclasses.field(default_factory=list),
        __annotations__={"levels": "list"},
    )


def protecting():
    """The base's own kernel is put out of action after the class was made: the brain goes."""
    plans = planned("protecting")

    def everything_protected_too(self, stored, geometry, slope, intercept, modality):
        bare = dataclasses.replace(self, protected=())
        return bare.change_block(stored, geometry, slope, intercept, modality)

    plans.deface_block = everything_protected_too
    return plug_in(plans)


def bounded():
    """One slab behind the plane changes too."""

    def change_block(self, stored, geometry, slope, intercept, modality):
        from defacedask.backend import namespace

        xp = namespace(stored)
        out = Front.change_block(self, stored, geometry, slope, intercept, modality)
        y = geometry.positions(xp, np.float64)[1]
        slab = xp.broadcast_to((y > self.y + 100) & (y < self.y + 110), geometry.shape)
        xp.copyto(out, out + xp.ones((1, 1, 1), dtype=out.dtype), where=slab)
        return out

    return plug_in(planned("bounded", change_block=change_block))


def blockwise():
    """The fill is the mean of whatever block it gets."""

    def fill(self, values, region, geometry, modality, xp=np):
        return xp.full_like(values, float(values.mean()) + self.key[0])

    return plug_in(planned("blockwise", fill=fill))


def written():
    """A table with numbers as keys, which JSON turns to text."""

    def fill(self, values, region, geometry, modality, xp=np):
        return xp.full_like(values, self.table.get(1, 40.0))

    table = dataclasses.field(default_factory=lambda: {1: 90.0})
    return plug_in(planned("written", fields={"table": "dict"}, table=table, fill=fill))


def pickled():
    """A state that leaves out where the plane is."""
    return plug_in(planned("pickled", __getstate__=lambda self: {**vars(self), "y": self.y - 30}))


def neutral():
    """NumPy's own where, whatever the block is."""

    def fill(self, values, region, geometry, modality, xp=np):
        return np.array(values) * 0 + 50

    return plug_in(planned("neutral", fill=fill))


def steady():
    """Numbers that nobody can draw again."""

    def propose(self, head, *, key, protected):
        return self.plans(float(head.landmark("nose_tip")[1]) + 60, os.urandom(32))

    return plug_in(planned("steady"), propose=propose)


def unspoiled():
    """The original gets a mark where the cut goes anyway."""

    def tuned(self, volume):
        if isinstance(volume.data, np.ndarray):
            volume.data[0, 0, 0] += 1
        return self

    # in reversed and oblique grids the first voxel need not lie in front: then it is `bounded` that notices
    def wanted(self, geometry, xp=np):
        return xp.ones(geometry.shape, dtype=bool)

    return plug_in(planned("unspoiled", tuned=tuned, wanted=wanted))


def discreet():
    """The key as text, in a field that is not named as secret."""

    def propose(self, head, *, key, protected):
        return self.plans(float(head.landmark("nose_tip")[1]) + 60, key, shown=key.hex())

    return plug_in(planned("discreet", fields={"shown": "str"}, shown=""), propose=propose)


def traced():
    """Code that lies in no file."""
    return plug_in(planned("traced"), __module__="typed_at_a_prompt")


def keyed():
    """A key that is no part of the plan."""
    last = []

    def propose(self, head, *, key, protected):
        last[:] = [key]
        return self.plans(float(head.landmark("nose_tip")[1]) + 60, b"")

    def fill(self, values, region, geometry, modality, xp=np):
        return xp.full_like(values, 10 + last[0][0])

    return plug_in(planned("keyed", fill=fill), propose=propose)


FAULTS = (
    named,
    optioned,
    protecting,
    bounded,
    blockwise,
    written,
    pickled,
    neutral,
    steady,
    unspoiled,
    discreet,
    traced,
    keyed,
)


def clauses_of(error: BaseException) -> set[str]:
    return {line[2:].partition(":")[0] for line in str(error).splitlines() if line.startswith("- ")}


def test_a_sound_plug_in_passes():
    assert check_defacer(sound()) is None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_planted_fault_is_named_and_it_alone(fault):
    with pytest.raises(ContractError) as caught:
        check_defacer(fault())
    assert clauses_of(caught.value) == {fault.__name__}, caught.value
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, DefacedaskError)


def test_every_clause_has_its_planted_fault():
    assert {fault.__name__ for fault in FAULTS} == set(CLAUSES)


def test_all_broken_clauses_are_in_one_report():
    def propose(self, head, *, key, protected):
        return self.plans(float(head.landmark("nose_tip")[1]) + 60, os.urandom(32), shown=key.hex())

    both = plug_in(planned("both", fields={"shown": "str"}, shown=""), propose=propose)
    with pytest.raises(ContractError, match=r"(?s)steady: .*discreet: the key is in the summary"):
        check_defacer(both)


def test_what_makes_no_plan_is_told_with_its_reason():
    def fill(self, values, region, geometry, modality, xp=np):
        raise ZeroDivisionError("no dose today")

    with pytest.raises(ContractError, match=r"working: .*ZeroDivisionError: no dose today"):
        check_defacer(plug_in(planned("working", fill=fill)))
    with pytest.raises(ContractError, match="no subclass"):
        check_defacer("quickshear")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("none", {}),
        ("quickshear", {}),
        ("quickshear", {"form": "published"}),
        ("biometric_mask", {"fill": "shuffle"}),
        ("biometric_mask_strict", {}),
        pytest.param("carina", {}, marks=pytest.mark.slow),
        pytest.param("mri_reface", {}, marks=pytest.mark.slow),
        pytest.param("surrogate", {}, marks=pytest.mark.slow),
    ],
)
def test_our_own_keep_the_contract(name, options):
    check_defacer(type(get_defacer(name)), **options)


def test_the_one_in_the_documentation_keeps_it(tmp_path, monkeypatch, plans_forgotten):
    import doctest
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "readers" / "plugins.md").read_text(encoding="utf-8")
    shown = text[: text.index("It works as it stands")]
    (tmp_path / "shown_plug_in.py").write_text(
        "".join(one.source for one in doctest.DocTestParser().get_examples(shown))
    )
    monkeypatch.syspath_prepend(tmp_path)
    from shown_plug_in import Curtain

    check_defacer(Curtain)

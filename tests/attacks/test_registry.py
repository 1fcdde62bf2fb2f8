"""Attacks by name: built in, from other packages, and such as cannot be used."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from support.made_heads import around, balls
from support.plugged import install

from defacedask.attacks import (
    ATTACK_SETS,
    BUILT_IN,
    GROUP,
    Attack,
    Attempt,
    Target,
    attack_names,
    attempts,
    get_attack,
    resolve_attacks,
)
from defacedask.attacks.examination import Examination
from defacedask.cli import program
from defacedask.errors import ConfigError
from defacedask.runs.face_settings import face_settings

CODE = """
from defacedask.attacks import Attack, Attempt

def inverted(target):
    return [Attempt({name!r}, "all", -target.values, target.level)]

RECORD = Attack("inverted", "dark is bright", inverted, views=3)
"""


GOOD = CODE.format(name="inverted")


def plug(place, code=GOOD, point="inverted = {module}:RECORD", name="upside"):
    return install(place, code, name=name, point=point, group=GROUP)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder on the path; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [
        n for n, m in sys.modules.items() if str(getattr(m, "__file__", "")).startswith(str(tmp_path))
    ]:
        del sys.modules[name]


def ball():
    geometry = around(8.0, half=60)
    return Target(balls(geometry, [((0, 0, 0), 40.0)]), geometry, "CT", -300.0, np.eye(4))


def test_makers_of_all_built_in_attacks_can_be_imported():
    assert all(callable(one.function) for one in BUILT_IN.values() if one.makes)
    assert [name for name, one in BUILT_IN.items() if not one.makes] == [
        "plain",
        "forced_crop",
        "enrolment",
        "inversion",
        "body_contour",
        "dose_grid",
        "pet_skin",
    ]


def test_a_plug_in_joins_by_name_and_in_no_set(place):
    module = plug(place)
    assert attack_names() == [*BUILT_IN, "inverted"]
    assert resolve_attacks("basic,inverted") == ("plain", "forced_crop", "inverted")
    assert "inverted" not in resolve_attacks("all") == ATTACK_SETS["all"]
    (made,) = attempts(ball(), ["inverted"])
    assert made.attack == "inverted"
    assert made.values.max() == -ball().values.min()
    examination = Examination(attacks=resolve_attacks("basic,inverted"))
    assert examination.attempts("CT") == ["inverted"]
    # its code is part of what a result depends on
    before = face_settings("face_recognition", "inverted", False, place)["plug_ins"]["inverted"]
    module.write_text(GOOD + "# edited\n")
    del sys.modules["upside"]
    from defacedask.defacers.sources import source_hash

    assert len(before) == 64
    assert source_hash(get_attack("inverted").function) != before
    assert "plug_ins" not in face_settings("face_recognition", "all", False, place)


SPOILING = """
from defacedask.attacks import Attack, Attempt

def inverted(target):
    made = Attempt("inverted", "all", target.values.copy(), target.level)
    for array in (target.values, target.fine[0], target.mask, target.pose, target.to_template):
        array[:] = 0
    return [made]

RECORD = Attack("inverted", "all is air", inverted)
"""


def test_what_a_plug_in_does_to_its_target_is_not_seen_by_others(place):
    """What is tried after it would find no face any more, and the report would say that none can be found."""
    plug(place, SPOILING)
    head = ball()
    head = dataclasses.replace(
        head, fine=(head.values.copy(), head.geometry), mask=head.values > -300, to_template=np.eye(4)
    )
    (made,) = attempts(head, ["inverted"])
    assert made.values.max() == ball().values.max()
    for array in (head.values, head.fine[0], head.mask, head.pose, head.to_template):
        assert array.any()


#: Faults of loading are those of all plug-ins (``tests/test_plugins.py``).
FAULTS = {
    "is no attack": ("RECORD = 3\n", "inverted = {module}:RECORD", "is no Attack of that name"),
    "calls itself otherwise": (CODE, "reversed = {module}:RECORD", "of that name"),
    "makes nothing": (
        'from defacedask.attacks import Attack\nRECORD = Attack("inverted", "nothing")\n',
        "inverted = {module}:RECORD",
        "with a maker",
    ),
    "takes a name that is built in": (CODE, "unmasked = {module}:RECORD", "'unmasked' is built in"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_that_cannot_be_used_is_told_in_a_sentence(place, fault):
    code, point, says = FAULTS[fault]
    plug(place, code.replace("{name!r}", "'inverted'"), point)
    with pytest.raises(ConfigError, match=says):
        resolve_attacks(point.partition(" ")[0])
    told = CliRunner().invoke(program, ["list", "attacks"])
    assert told.exit_code == 1
    assert "cannot be used" in told.output
    assert says in told.output


def test_two_of_one_name_are_told(place):
    plug(place)
    plug(place, name="downside")
    with pytest.raises(ConfigError, match="the name of 2 attacks"):
        get_attack("inverted")


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ConfigError, match="there is no attack 'guess'") as told:
        get_attack("guess")
    assert all(name in str(told.value) for name in (*ATTACK_SETS, *BUILT_IN))


def test_attempts_under_another_name_are_a_fault():
    other = Attack("mine", "", lambda target: [Attempt("yours", "", target.values, target.level)])
    with pytest.raises(ValueError, match="mine calls its attempts yours"):
        other.attempts(ball())


def test_what_is_measured_once_is_measured_once():
    target, seen = ball(), []

    def measure(one):
        seen.append(one)
        return len(seen)

    assert [target.once(measure), target.once(measure)] == [1, 1]
    assert ball().once(measure) == 2

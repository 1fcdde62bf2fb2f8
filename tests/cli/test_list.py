"""``defacedask list`` says what there is to choose from, and what it is."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from defacedask.attacks import ATTACK_SETS
from defacedask.attacks import BUILT_IN as ATTACKS
from defacedask.cli import program
from defacedask.defacers import defacer_names
from defacedask.faces.recognition import ABOUT, BUILT_IN


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("defacers", defacer_names()),
        ("recognisers", BUILT_IN),
        ("attacks", [*ATTACKS, *(f"set {name}" for name in ATTACK_SETS)]),
    ],
)
def test_each_is_named_with_what_it_is(what, names):
    done = CliRunner().invoke(program, ["list", what])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    for name in names:
        told = [line for line in lines if line.startswith((f"{name}: ", f"{name} ("))]
        assert len(told) == 1, name
        assert len(told[0]) > len(name) + 10


def test_every_recogniser_is_described():
    assert set(ABOUT) == set(BUILT_IN)

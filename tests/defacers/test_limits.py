"""Numbers that a defacer's options cannot be: the message names option, value and limits."""

from __future__ import annotations

import dataclasses

import pytest

from defacedask.defacers import defacer_names, get_defacer
from defacedask.errors import ConfigError

LENGTHS = [
    (name, field.name)
    for name in defacer_names()
    for field in dataclasses.fields(get_defacer(name))
    if field.name.endswith("_mm")
]


@pytest.mark.parametrize(("name", "option"), LENGTHS)
@pytest.mark.parametrize("value", [-400.0, 4000.0])
def test_a_length_that_makes_no_sense(name, option, value):
    with pytest.raises(ConfigError, match=f"{option} of {name} is {value:g} mm"):
        get_defacer(name, **{option: value})


@pytest.mark.parametrize(("name", "option"), LENGTHS)
def test_the_default_is_taken(name, option):
    assert get_defacer(name, **{option: getattr(get_defacer(name), option)}) == get_defacer(name)

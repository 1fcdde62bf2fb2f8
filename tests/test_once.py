"""What a session remembers is what was computed, of the same content alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support import once


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    values: np.ndarray
    name: str = "one"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A function of arrays, remembered, and the list of its calls."""
    monkeypatch.setenv(once.FOLDER, str(tmp_path))
    calls = []

    def summed(picture, by, *, ways=()):
        calls.append(picture)
        if by < 0:
            raise ValueError("no less than nothing")
        return {"sum": picture.values * by, "ways": list(ways)}

    return once.told(summed, "summed", runs_in=("its/tests", "faces/its")), calls


def picture(**changes):
    return Picture(**{"values": np.arange(6.0).reshape(2, 3), **changes})


def test_the_same_content_is_computed_once_and_handed_out_in_copies(asked):
    summed, calls = asked
    first = summed(picture(), 2, ways=("a", None))
    first["sum"][:] = -1  # whoever spoils his copy spoils nobody else's
    again = summed(picture(), 2, ways=("a", None))
    assert len(calls) == 1
    np.testing.assert_array_equal(again["sum"], picture().values * 2)
    # by another process, too
    other = once.told(once.unchanged(summed), "summed")
    np.testing.assert_array_equal(other(picture(), 2, ways=("a", None))["sum"], again["sum"])
    assert len(calls) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda: (picture(values=np.nextafter(np.arange(6.0).reshape(2, 3), 9)), 2),
        lambda: (picture(values=np.arange(6.0).reshape(3, 2)), 2),
        lambda: (picture(values=np.arange(6).reshape(2, 3)), 2),
        lambda: (picture(values=np.arange(6.0).reshape(2, 3)[:, ::-1]), 2),
        lambda: (picture(name="two"), 2),
        lambda: (picture(), 2.0),
    ],
    ids=["the last bit", "shape", "type", "order", "a field", "a number's type"],
)
def test_other_content_is_computed(asked, other):
    summed, calls = asked
    summed(picture(), 2)
    arguments = other()
    found = summed(*arguments)
    assert len(calls) == 2
    np.testing.assert_array_equal(found["sum"], arguments[0].values * 2)


def test_what_cannot_be_told_apart_is_refused_and_what_fails_fails_again(asked):
    summed, calls = asked
    with pytest.raises(TypeError, match="teach _feed"):
        summed(picture(values=object()), 2)
    for _ in range(2):
        with pytest.raises(ValueError, match="no less"):
            summed(picture(), -1)
    assert len(calls) == 2


def test_where_the_function_itself_is_tested_it_runs(asked):
    summed, calls = asked
    for test, number in (
        ("its/tests.py", 1),
        ("its/tests.py", 2),
        ("other.py", 2),
        ("its/tests/of_it.py", 3),
    ):
        once.now(test)
        np.testing.assert_array_equal(summed(picture(), 2)["sum"], picture().values * 2)
        assert len(calls) == number


def test_another_answer_to_the_same_question_is_a_fault(asked):
    """A function that is not one of its arguments alone must not be remembered."""
    summed, calls = asked
    drawn = once.told(lambda seed: {"sum": len(calls)}, "drawn", runs_in=("its/tests", "faces/its"))
    assert drawn(1) == {"sum": 0}
    summed(picture(), 2)
    assert drawn(1) == {"sum": 0}
    once.now("its/tests.py")
    with pytest.raises(AssertionError, match="drawn gives another answer"):
        drawn(1)
    # where tests replace what lies below, answers are their own
    once.now("faces/its.py")
    assert drawn(1) == {"sum": 1}
    once.now("other.py")
    assert drawn(1) == {"sum": 0}


def test_all_that_is_remembered_is_in_place():
    import importlib

    for module, name, _ in once.DEAR:
        *outer, last = name.split(".")
        owner = importlib.import_module(module)
        for part in outer:
            owner = getattr(owner, part)
        assert once.unchanged(getattr(owner, last)) is not getattr(owner, last), name

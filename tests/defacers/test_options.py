"""Options as text and from Python: each by its own type, faults with the list of what there is."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import defacedask as dd
from defacedask.defacers import Defacer, get_defacer, resolve
from defacedask.defacers.options import checked, known_options, spelled, split_options
from defacedask.errors import ConfigError
from defacedask.runs.preparing import resolve_defacers


@dataclasses.dataclass(frozen=True)
class Many(Defacer):
    """One option of each type."""

    name: ClassVar[str] = "many"

    far: float = 1.5
    often: int = 3
    sharp: bool = False
    word: str = "a"
    planes: tuple[int, ...] = (1, 2)

    def propose(self, head, *, key, protected):
        raise NotImplementedError


def test_text_and_python_give_the_same():
    want = get_defacer("quickshear", form="published", buffer_mm=4)
    assert get_defacer("quickshear:form=published:buffer_mm=4") == want
    assert get_defacer(" quickshear : form = published ", buffer_mm="4") == want
    assert get_defacer("quickshear:form=published", form="published", buffer_mm=4) == want
    assert resolve("quickshear:buffer_mm=4") == ("quickshear", {"buffer_mm": 4.0})


def test_each_by_its_type():
    texts = {"far": "2", "often": "4", "sharp": "yes", "word": "b=c", "planes": "(3, 4)"}
    found = checked("many", Many, texts)
    assert found == {"far": 2.0, "often": 4, "sharp": True, "word": "b=c", "planes": (3, 4)}
    assert [type(v) for v in found.values()] == [float, int, bool, str, tuple]
    assert "sharp=False (yes or no)" in known_options(Many)


@pytest.mark.parametrize(
    ("option", "value"),
    [("far", "x"), ("far", "nan"), ("far", "inf"), ("far", True), ("far", None), ("often", "2.5"), ("often", 2.5),
     ("sharp", "maybe"), ("word", 3), ("planes", "(1,"), ("wide", "1")],
)  # fmt: skip
def test_a_wrong_one_is_told_with_those_there_are(option, value):
    with pytest.raises(ConfigError, match=option) as caught:
        checked("many", Many, {option: value})
    assert "Its options: far=1.5 (a number), often=3 (a whole number)" in str(caught.value)


@pytest.mark.parametrize("text", [f"quickshear:{end}" for end in ("", "form", "form=", "=a", ":")])
def test_a_part_that_is_no_option_is_told(text):
    with pytest.raises(ConfigError, match="NAME:OPTION=VALUE"):
        get_defacer(text)


def test_an_option_given_twice_is_told():
    with pytest.raises(ConfigError, match="twice"):
        get_defacer("quickshear:form=published:form=measured")
    with pytest.raises(ConfigError, match="given as measured and as published"):
        get_defacer("quickshear:form=measured", form="published")


WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


@given(WORDS, st.dictionaries(WORDS, WORDS, max_size=4))
def test_spelling_and_back(name, options):
    assert split_options(spelled(name, options)) == (name, options)


def test_a_study_takes_them_in_its_list():
    chosen = resolve_defacers("quickshear:form=published:sides_degrees=0,carina")
    assert list(chosen) == ["none", "quickshear", "carina"]
    assert chosen["quickshear"] == {"form": "published", "sides_degrees": 0.0}
    assert resolve_defacers({"quickshear": {"form": "published"}})["quickshear"] == {"form": "published"}
    # beside `all` it says how one of them is done
    chosen = resolve_defacers("all,quickshear:form=published")
    assert len(chosen) == 5
    assert chosen["quickshear"] == {"form": "published"}
    assert resolve_defacers("quickshear,quickshear") == {"none": {}, "quickshear": {}}
    with pytest.raises(ConfigError, match="two sets of options"):
        resolve_defacers("quickshear,quickshear:form=published")
    with pytest.raises(ConfigError, match="has no option 'size'"):
        resolve_defacers(["carina:size=3"])
    with pytest.raises(ConfigError, match="no defacer was named"):
        resolve_defacers(" , ")


def test_plan_and_deface_take_them(virtual_patients, tmp_path):
    scan = dd.scan(virtual_patients)
    with pytest.raises(ConfigError, match="has no option 'bufer'"):
        dd.plan(scan.cases[0], "quickshear:bufer=3")
    with pytest.raises(ConfigError, match="has no option 'bufer'"):
        dd.deface(scan, tmp_path / "out", "quickshear:bufer=3")
    with pytest.raises(ConfigError, match="leaves the face in"):
        dd.deface(scan, tmp_path / "out", "none")
    assert dd.plan(scan.cases[0], "quickshear:form=published", buffer_mm=4).summary()["form"] == "published"

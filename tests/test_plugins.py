"""Plug-ins of every kind are found and loaded in one way, and what is wrong with one is a sentence."""

from __future__ import annotations

import os
import sys

import pytest
from click.testing import CliRunner
from support.plugged import CARELESS, install

from defacedask import attacks, defacers, plugins
from defacedask.attacks import attack_names, get_attack
from defacedask.cli import program
from defacedask.defacers import defacer_names, get_defacer
from defacedask.errors import ConfigError
from defacedask.faces import recognition
from defacedask.faces.recognition import get_recogniser, open_recogniser, recogniser_names
from defacedask.runs.face_settings import face_settings

ATTACK = """
from defacedask.attacks import Attack, Attempt
it = Attack("mine", "dark is bright", lambda target: [Attempt("mine", "", -target.values, target.level)])
"""
RECOGNISER = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class it:
    scale: float = 1.0
    name = "mine"
    tolerance = 1.0
    remote = False

    def detect(self, image): return []
    def encode(self, image, boxes=None, landmarks=None): return []
    def distance(self, a, b): return 0.0
    def analyse(self, images, boxes=None): return [[] for _ in images]
"""
DEFACER = CARELESS.replace("careless", "mine").replace("{value}", "0.0") + "\nit = Careless\n"
#: Group, what makes one, all names, its code, a name that is built in, what lists it.
KINDS = {
    "defacer": (defacers.GROUP, get_defacer, defacer_names, DEFACER, "carina"),
    "attack": (attacks.GROUP, get_attack, attack_names, ATTACK, "unmasked"),
    "recogniser": (recognition.GROUP, get_recogniser, recogniser_names, RECOGNISER, "face_recognition"),
}
FAULTS = {
    "does not import": ("import not_there_at_all\n", "ModuleNotFoundError"),
    "has an error": ("1 / 0\n", "ZeroDivisionError"),
    "is no Python": ("def (:\n", "SyntaxError"),
    "leaves": ("raise SystemExit(3)\n", "SystemExit"),
    "has nothing of that name": ("other = 3\n", "AttributeError"),
    "is something else": ("it = 3\n", "cannot be used"),
}


@pytest.fixture
def place(tmp_path, monkeypatch, plans_forgotten):
    """A folder on the path; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_one_joins_by_its_name(place, kind):
    group, get, names, code, _ = KINDS[kind]
    before = names()
    install(place, code, name="brought", point="mine = {module}:it", group=group)
    assert names() == [*before, "mine"]
    assert get("mine").name == "mine"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_is_one_sentence(place, kind, fault):
    group, get, _, _, _ = KINDS[kind]
    code, says = FAULTS[fault]
    install(place, code, name="brought", point="mine = {module}:it", group=group)
    with pytest.raises(ConfigError, match=says) as caught:
        get("mine")
    assert f"the {kind} 'mine' (brought:it of brought 1.0)" in str(caught.value)
    assert "\n" not in str(caught.value)
    told = CliRunner().invoke(program, ["list", f"{kind}s"])
    assert told.exit_code == 1
    assert "mine: cannot be used" in told.output


@pytest.mark.parametrize("kind", KINDS)
def test_two_of_one_name_and_one_that_is_built_in_are_told(place, kind):
    group, get, _, code, ours = KINDS[kind]
    for name in ("brought", "another"):
        install(place, code, name=name, point="mine = {module}:it", group=group)
    with pytest.raises(ConfigError, match=f"'mine' is the name of 2 {kind}s"):
        get("mine")
    install(place, code, name="third", point=f"{ours} = {{module}}:it", group=group)
    with pytest.raises(ConfigError, match=f"'{ours}' is built in, and third:it of third 1.0"):
        get(ours)


def test_a_recogniser_that_cannot_be_made_or_does_not_do_its_work_is_told(place):
    install(place, RECOGNISER, name="brought", point="mine = {module}:it", group=recognition.GROUP)
    with pytest.raises(ConfigError, match=r"mine does not take these options.*It knows: scale"):
        get_recogniser("mine", wide=True)
    sys.modules.pop("brought")
    for code, says in (
        (RECOGNISER.replace("def distance", "def apart"), "lacks distance of a Recogniser"),
        ("def it(): raise OSError('the disk is full')\n", "OSError: the disk is full"),
    ):
        (place / "brought.py").write_text(code + f"# {len(code)}\n")
        os.utime(place / "brought.py", (0, len(code)))
        with pytest.raises(
            ConfigError, match=rf"the recogniser 'mine' \(brought:it of brought 1.0\).*{says}"
        ):
            open_recogniser("mine")
        sys.modules.pop("brought")


def test_the_code_of_a_recogniser_is_part_of_what_a_result_depends_on(place):
    module = install(place, RECOGNISER, name="brought", point="mine = {module}:it", group=recognition.GROUP)
    before = face_settings("mine", "basic", False, place)["plug_ins"]["mine"]
    module.write_text(RECOGNISER + "# edited\n")
    del sys.modules["brought"]
    assert len(before) == 64
    assert face_settings("mine", "basic", False, place)["plug_ins"]["mine"] != before
    assert "plug_ins" not in face_settings("face_recognition", "basic", False, place)


def test_what_is_installed_is_read_once(place, monkeypatch):
    asked = []
    real = plugins.entry_points
    monkeypatch.setattr(plugins, "entry_points", lambda **given: asked.append(given) or real(**given))
    for _ in range(3):
        get_attack("unmasked")
    assert len(asked) <= 1
    install(place, ATTACK, name="brought", point="mine = {module}:it", group=attacks.GROUP)
    assert get_attack("mine").name == "mine"

"""Plug-ins as they are installed: one name, faults told in a sentence, and which code it is."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from support.plugged import CARELESS, install

from defacedask import defacers
from defacedask.cli import main
from defacedask.defacers import code_of, defacer_names, get_defacer
from defacedask.defacers.sources import source_files, source_hash
from defacedask.errors import ConfigError, DefacedaskError

CODE = CARELESS.replace("{value}", "-1000.0")


@pytest.fixture
def place(tmp_path, monkeypatch, plans_forgotten):
    """A folder on the path; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_plug_in_is_found_made_and_told_apart(place):
    module = install(place, CODE, version="2.1")
    assert "careless" in defacer_names()
    assert get_defacer("careless:mood=good").mood == "good"
    code = code_of("careless")
    assert (code["distribution"], code["version"]) == ("careless", "2.1")
    assert module in [path for _, path in source_files(type(get_defacer("careless")))]
    assert len(code["source"]) == 64
    # edited on disk, while the old code is the one in memory
    module.write_text(CODE + "\n# edited\n")
    assert code_of("careless") == code


FAULTS = {
    "does not import": ("import not_there_at_all\n", "careless = {module}:Careless", "ModuleNotFoundError"),
    "has an error": ("1 / 0\n", "careless = {module}:Careless", "ZeroDivisionError"),
    "is no Python": ("def (:\n", "careless = {module}:Careless", "SyntaxError"),
    "leaves": ("raise SystemExit(3)\n", "careless = {module}:Careless", "SystemExit"),
    "has no such class": (CODE, "careless = {module}:Careful", "AttributeError"),
    "is no defacer": (CODE, "careless = {module}:CarelessPlan", "no subclass of"),
    "calls itself otherwise": (CODE, "reckless = {module}:Careless", "calls itself 'careless'"),
    "has plans of another name": (
        CODE.replace('defacer: ClassVar[str] = "careless"', 'defacer: ClassVar[str] = "carefree"'),
        "careless = {module}:Careless",
        "no class of plans",
    ),
    "has a name that is a path": (
        CODE.replace('"careless"', '"../careless"'),
        "../careless = {module}:Careless",
        "other characters",
    ),
}


@pytest.mark.parametrize(("code", "point", "reason"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_a_plug_in_is_one_sentence(place, code, point, reason):
    install(place, code, point=point)
    name = point.partition(" ")[0]
    with pytest.raises(ConfigError, match=reason) as caught:
        get_defacer(name)
    assert f"the defacer {name!r} (careless:" in str(caught.value)
    assert "of careless 1.0)" in str(caught.value)
    assert "\n" not in str(caught.value)
    # the others are there as before
    assert get_defacer("quickshear").name == "quickshear"


def test_the_traceback_is_shown_on_request_alone(place, capsys):
    install(place, FAULTS["has an error"][0])
    call = ["deface", str(place), "--defacer", "careless", "--out", str(place / "out")]
    for more in ([], ["-v"]):
        with pytest.raises(SystemExit) as caught:
            main([*call, *more])
        assert caught.value.code == 1
        told = capsys.readouterr().err
        assert "Error: the defacer 'careless' (careless:Careless of careless 1.0) cannot be loaded" in told
        assert ("Traceback" in told) == bool(more)
        assert ("1 / 0" in told) == bool(more)


def test_two_plug_ins_of_one_name_are_told(place):
    install(place, CODE)
    install(place, CODE.replace("All goes", "All goes, too"), name="another")
    with pytest.raises(ConfigError, match="the name of 2 defacers") as caught:
        get_defacer("careless")
    assert "careless:Careless of careless 1.0" in str(caught.value)
    assert "another:Careless of another 1.0" in str(caught.value)


def test_a_plug_in_cannot_pass_for_a_built_in_one(place):
    install(place, CODE.replace('"careless"', '"carina"'), point="carina = {module}:Careless")
    with pytest.raises(ConfigError, match=r"'carina' is built in, and careless:Careless of careless 1.0"):
        get_defacer("carina")


def test_a_distribution_that_is_found_twice_is_one(place, tmp_path, monkeypatch):
    install(place, CODE)
    again = tmp_path / "again"
    install(again, CODE)
    monkeypatch.syspath_prepend(again)
    found = [(entry.value, entry.dist.name) for entry in entry_points(group=defacers.GROUP, name="careless")]
    assert len(set(found)) == 1
    assert get_defacer("careless").mood == "bad"


def test_the_list_says_what_there_is_and_what_cannot_be_used(place, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["list", "defacers"])
    assert not caught.value.code
    assert "form=measured (a word)" in capsys.readouterr().out
    install(place, "1 / 0\n")
    with pytest.raises(SystemExit) as caught:
        main(["list", "defacers"])
    assert caught.value.code == 1
    out = capsys.readouterr().out
    assert "careless: cannot be used" in out
    assert "quickshear (defacedask" in out


def test_source_is_that_of_the_module_and_what_it_uses(place):
    helper = place / "careless_helper.py"
    helper.write_text("VALUE = 1\n")
    package = place / "careless_parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "deep.py").write_text("def deep():\n    return 2\n")
    (place / "not_used.py").write_text("")
    uses = "import json\nimport careless_helper\nfrom careless_parts.deep import deep\n"
    module = install(place, uses + CODE)
    files = {path for _, path in source_files(type(get_defacer("careless"))) if place in path.parents}
    assert files == {module, helper, package / "__init__.py", package / "deep.py"}


def test_source_of_a_package_is_all_of_it(place):
    package = place / "careless"
    package.mkdir()
    install(place, "", point="careless = careless.inner:Careless").unlink()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(CODE)
    (package / "far.py").write_text("A = 1\n")
    kind = type(get_defacer("careless"))
    names = [name for name, _ in source_files(kind) if not name.startswith("defacedask/")]
    assert names == ["careless/__init__.py", "careless/far.py", "careless/inner.py"]
    before = source_hash.__wrapped__(kind)
    (package / "far.py").write_text("A = 2\n")
    assert source_hash.__wrapped__(kind) != before
    assert source_hash(kind) == before  # of what is in memory


def test_our_own_are_the_defacers_and_the_head():
    names = {name for name, _ in source_files(type(get_defacer("carina")))}
    assert {"defacedask/defacers/carina/__init__.py", "defacedask/anatomy/registration.py"} <= names
    assert "defacedask/report/write.py" not in names


def test_a_worker_with_other_code_refuses_to_work(tmp_path):
    """What was planned by one code is not applied by another, nor planned under another's name."""
    from defacedask.defacers.none import NoPlan
    from defacedask.flow.stages.plans import _same_code, _save_plan, load_plan

    here = code_of("none")
    _save_plan(NoPlan(), here, tmp_path / "case" / "none.json")
    assert isinstance(load_plan(str(tmp_path), "case", "none"), NoPlan)
    _save_plan(NoPlan(), {**here, "source": "0" * 64}, tmp_path / "case" / "none.json")
    with pytest.raises(DefacedaskError, match="the code of none in this worker is not that of the run"):
        load_plan(str(tmp_path), "case", "none")
    with pytest.raises(DefacedaskError, match="not that of the run"):
        _same_code("none", here, {**here, "version": "0"})

"""What the wheel and the source distribution hold, and what they ask for."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]

with (REPOSITORY / "pyproject.toml").open("rb") as stream:
    TABLES = tomllib.load(stream)
PROJECT = TABLES["project"]
PINS = {one.name.lower(): one for one in map(Requirement, TABLES["tool"]["uv"]["constraint-dependencies"])}
WANTED = [
    Requirement(one)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for one in group
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the path")
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([uv, "build", "-q", "-o", str(out), str(REPOSITORY)], check=True)
    return out


def package_files() -> set[str]:
    found = (
        p for p in (REPOSITORY / "defacedask").rglob("*") if p.is_file() and "__pycache__" not in p.parts
    )
    return {str(p.relative_to(REPOSITORY)) for p in found}


def test_the_wheel_holds_the_package_alone(built):
    (path,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(path).namelist())
    assert {name for name in names if ".dist-info/" not in name} == package_files()
    assert {"defacedask/py.typed", "defacedask/data/LICENSE.pydeface"} <= names
    assert {name.rsplit("/", 1)[1] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_the_source_holds_what_a_build_needs_and_nothing_else(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {one.name.split("/", 1)[1] for one in archive.getmembers() if one.isfile()}
    tool = {
        f"tools/old_configparser/{name}"
        for name in ("pyproject.toml", "old_configparser.py", "old_configparser.pth")
    }
    more = {"README.md", "LICENSE", "NOTICE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert names == package_files() | tool | more


def test_a_wheel_asks_for_nothing_that_must_be_compiled():
    assert PROJECT["requires-python"] == ">=3.11"
    main = {Requirement(one).name.lower() for one in PROJECT["dependencies"]}
    assert not main & {"dlib", "face_recognition", "pyradiomics", "setuptools"}
    assert {"dlib-bin", "face_recognition_models"} <= main
    assert {"face_recognition", "radiomics"} <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("one", WANTED, ids=str)
def test_each_dependency_has_a_floor_and_its_pin_is_not_below(one):
    floors = [s for s in one.specifier if s.operator == ">="]
    if one.name != "setuptools":
        assert len(floors) == 1
    pin = PINS.get(one.name.lower().replace("_", "-"))
    if pin is not None:
        (exact,) = pin.specifier
        assert one.specifier.contains(exact.version), pin


def test_what_a_plain_install_takes_is_pinned():
    main = {Requirement(one).name.lower().replace("_", "-") for one in PROJECT["dependencies"]}
    assert main <= set(PINS)


def test_the_citation_names_this_version():
    import yaml

    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert cited["version"] == PROJECT["version"]
    assert cited["license"] == PROJECT["license"]

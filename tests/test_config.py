from __future__ import annotations

import os
import subprocess
import sys

import dask
import pytest

from defacedask.config import check, option, snapshot
from defacedask.errors import ConfigError


def test_defaults_are_the_study_s():
    assert option("recognition.tolerance") == 0.3
    assert option("radiomics.bin-width") == 25


def test_set_in_a_block():
    with dask.config.set({"defacedask.recognition.tolerance": 0.5}):
        assert option("recognition.tolerance") == 0.5
        assert snapshot()["recognition"]["tolerance"] == 0.5


def test_unknown_option():
    with pytest.raises(ConfigError, match=r"defacedask\.recognition\.mood"):
        option("recognition.mood")


def test_environment_overrides():
    environment = {**os.environ, "DASK_DEFACEDASK__RECOGNITION__TOLERANCE": "0.45"}
    code = "from defacedask.config import option; print(option('recognition.tolerance'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0.45"


def test_importing_stays_cheap():
    heavy = [
        "vtk",
        "vtkmodules",
        "dlib",
        "face_recognition",
        "cupy",
        "SimpleITK",
        "radiomics",
        "pyvista",
        "pydicom",
    ]
    code = f"import sys, defacedask; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_option_overridden_before_anything_else_keeps_the_defaults():
    """A fresh process: the override comes before any module that reads options."""
    code = (
        "import dask, defacedask\n"
        "with dask.config.set({'defacedask.recognition.tolerance': 0.5}):\n"
        "    pass\n"
        "from defacedask.config import option\n"
        "assert option('recognition.tolerance') == 0.3, option('recognition.tolerance')\n"
        "assert option('render.size') == 400\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("recognition.tolerence", 0.4, "no option defacedask.recognition.tolerence"),
        ("mood", {"good": True}, "no option defacedask.mood"),
        ("cluster.patience", "lots", "defacedask.cluster.patience is 'lots'. It must be a number"),
        ("cluster.patience", None, "must be a number"),
        ("output.pictures", "yes", "must be true or false"),
        ("render.size", True, "must be a number"),
        ("render.yaws", 0, "must be a list"),
        ("device", ["cpu"], "must be a text"),
        ("remote", 5, "defacedask.remote is 5 and not a section"),
    ],
)
def test_what_is_no_option_or_of_another_kind(name, value, said):
    with dask.config.set({f"defacedask.{name}": value}), pytest.raises(ConfigError) as error:
        check()
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cluster.patience", 0.5),
        ("cluster.wait", 30),
        ("cluster.workers", 3),
        ("recognition.tolerance", "NAME=0.4"),
        ("kubernetes.claim", None),
        ("kubernetes.options", {"namespace": "x"}),
        ("kubernetes.resources", {"limits": {"nvidia.com/gpu": "1"}}),
    ],
)
def test_what_may_be_said_instead_of_a_default(name, value):
    check()
    with dask.config.set({f"defacedask.{name}": value}):
        check()


def test_the_program_says_what_is_wrong_with_the_configuration_before_anything():
    wrong = {**os.environ, "DASK_DEFACEDASK__RADIOMICS__BIN_WITH": "20"}
    right = {**os.environ, "DASK_DEFACEDASK__RADIOMICS__BIN_WIDTH": "20"}
    done = [
        subprocess.run(
            [sys.executable, "-m", "defacedask", "list", "attacks"],
            env=one,
            capture_output=True,
            text=True,
            check=False,
        )
        for one in (wrong, right)
    ]
    assert [one.returncode for one in done] == [1, 0]
    assert done[0].stderr.lower().startswith("error: there is no option defacedask.radiomics.bin_with")

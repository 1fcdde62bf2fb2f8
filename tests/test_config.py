from __future__ import annotations

import os
import subprocess
import sys

import dask
import pytest

from defacedask.config import option, snapshot
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

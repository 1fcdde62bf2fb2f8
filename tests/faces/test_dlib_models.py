"""Where dlib's objects come from, and what is said when they are missing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from defacedask.errors import DefacedaskError, MissingExtraError
from defacedask.faces.recognition import dlib_models, get_recogniser


def test_needs_neither_face_recognition_nor_pkg_resources():
    """A fresh process in which both cannot be imported."""
    code = (
        "import sys\n"
        "sys.modules['face_recognition'] = sys.modules['pkg_resources'] = None\n"
        "import numpy as np\n"
        "from defacedask.faces.recognition import get_recogniser\n"
        "picture = np.random.default_rng(1).integers(0, 256, (120, 120, 3), np.uint8)\n"
        "face = get_recogniser().analyse([picture], [[(20, 100, 100, 20)]])[0][0]\n"
        "assert face.encoding.shape == (128,), face.encoding.shape\n"
        "assert 'face_recognition_models' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_object_is_made_once():
    assert dlib_models.face_detector() is dlib_models.face_detector()
    assert dlib_models.pose_predictor("small") is dlib_models.pose_predictor("small")


@pytest.fixture
def forgotten():
    """Nothing loaded before, and nothing kept of what the test loaded."""
    kept = (dlib_models.dlib, dlib_models.face_detector, dlib_models.face_encoder, dlib_models.pose_predictor)
    for one in kept:
        one.cache_clear()
    yield
    for one in kept:
        one.cache_clear()


def test_no_dlib(forgotten, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingExtraError, match=r"needs dlib .*pip install dlib-bin") as caught:
        get_recogniser().detect(np.zeros((50, 50, 3), np.uint8))
    assert isinstance(caught.value, DefacedaskError)


@pytest.mark.parametrize("there", ["nothing", "no files"])
def test_no_models(forgotten, monkeypatch, tmp_path, there):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(
        dlib_models.importlib.util, "find_spec", lambda name: None if there == "nothing" else Spec()
    )
    with pytest.raises(MissingExtraError, match=r"needs shape_predictor_5.*dat of face_recognition_models"):
        get_recogniser().encode(np.zeros((50, 50, 3), np.uint8), [(10, 40, 40, 10)])

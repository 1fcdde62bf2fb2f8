"""A picture is searched once, however many recognisers look at it; dlib's network by onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from defacedask.errors import ConfigError, InputError
from defacedask.faces.looking import Examiner
from defacedask.faces.recognition import (
    Box,
    face_recognition,
    get_recogniser,
    open_recogniser,
    open_recognisers,
)
from defacedask.faces.recognition.convert.dlib_resnet import convert_dlib_resnet
from defacedask.faces.recognition.face_recognition import FaceRecognition
from defacedask.faces.recognition.found import Found


def picture(seed, size=120):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)


@pytest.fixture
def searched(monkeypatch):
    """What the detector was made to search, with nothing remembered before."""
    asked = []
    monkeypatch.setattr(face_recognition, "_found", Found())
    real = FaceRecognition._search

    def search(self, image):
        asked.append((self.detector, self.upsample))
        return ((Box(20, 100, 100, 20), 1.0),) if image[0, 0, 0] % 2 else real(self, image)

    monkeypatch.setattr(FaceRecognition, "_search", search)
    return asked


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network that averages."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from defacedask.faces.recognition.convert.graph import Graph

    graph = Graph("mean")
    graph.input("picture", (16, 16, 3))
    axes = graph.constant(np.array([1, 2], np.int64))
    path = tmp_path_factory.mktemp("networks") / "mean.onnx"
    path.write_bytes(graph.encoded([graph.add("ReduceMean", ["picture", axes], keepdims=0)]))
    return str(path)


def test_recognisers_that_share_a_detector_search_a_picture_once(searched, network):
    several = [
        *open_recognisers(f"face_recognition,onnx:{network}"),
        get_recogniser("onnx", model=network, label="again", crop=0.8),
    ]
    pictures = [picture(k) for k in (1, 2, 3)]
    for one in pictures:
        one[0, 0, 0] |= 1  # a face is found in each
    looks = Examiner(several, np.eye(4), forced=False)
    looks.show(pictures, ["a", "b", "c"], path="images/CT", modality="CT", level=0.0)
    assert len(looks.looks) == 9
    assert all(look["detected"] and look["encoding"] for look in looks.looks)
    assert searched == [("hog", 0)] * 3
    # each alone says the same
    for one in several:
        face_recognition._found = Found()
        alone = Examiner([one], np.eye(4), forced=False)
        alone.show(pictures, ["a", "b", "c"], path="images/CT", modality="CT", level=0.0)
        assert alone.looks == [look for look in looks.looks if look["recogniser"] == one.name]
    assert len(searched) == 3 * 4


def test_another_picture_or_setting_is_searched_anew(searched):
    plain, finer = get_recogniser(), get_recogniser("face_recognition", upsample=1)
    one = picture(4)
    other = one.copy()
    other[60, 60, 1] ^= 1
    for recogniser, image in ((plain, one), (plain, other), (finer, one), (plain, one), (plain, one[:, :-1])):
        recogniser.detect(image)
    assert searched == [("hog", 0), ("hog", 0), ("hog", 1), ("hog", 0)]


def test_only_the_last_pictures_are_kept():
    found, made = Found(most=2), []
    for seed in (1, 2, 1, 3, 1, 2):
        found.get("s", picture(seed, 4), lambda seed=seed: made.append(seed) or seed)
    assert made == [1, 2, 3, 2]


@pytest.fixture
def dlib_and_onnx():
    for name in ("dlib", "onnx", "onnxruntime", "face_recognition_models"):
        if name != "face_recognition_models":
            pytest.importorskip(name, reason=f"{name} is not installed")
    return open_recogniser("face_recognition:net=dlib"), open_recogniser("face_recognition")


def test_dlibs_network_answers_as_dlib_does(dlib_and_onnx):
    from PIL import Image

    slow, fast = dlib_and_onnx
    assert slow.name == fast.name == "face_recognition"
    assert slow.tolerance == fast.tolerance
    codes = []
    for seed in (1, 2, 3):
        coarse = Image.fromarray(picture(seed, 12)).resize((240, 240))
        box = Box(40, 200, 200, 40)
        both = [one.encode(np.asarray(coarse), [box])[0] for one in dlib_and_onnx]
        assert both[0].shape == both[1].shape == (128,)
        assert slow.distance(*both) < 3e-6
        codes.append(both[1])
    # and not as if everything were alike
    assert slow.distance(codes[0], codes[1]) > 0.05


def test_another_network_is_not_taken_for_dlibs():
    pytest.importorskip("onnx", reason="onnx is not installed")
    with pytest.raises(InputError, match="another network"):
        convert_dlib_resnet(b"\1\2\1\x10" * 100)


def test_options_of_the_network_are_checked():
    with pytest.raises(ConfigError, match=r"'net=cuda' is no option.*net=onnx"):
        open_recogniser("face_recognition:net=cuda")
    with pytest.raises(ConfigError, match="unknown net"):
        get_recogniser("face_recognition", net="cuda")
    with pytest.raises(ConfigError, match="distortions"):
        get_recogniser("face_recognition", net="onnx", jitters=3)

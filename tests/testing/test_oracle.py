"""Our recogniser against the package face_recognition: no difference at all."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from defacedask.errors import DefacedaskError, MissingExtraError
from defacedask.testing.oracle import compare_face_recognition, load_face_recognition

SAME = {"boxes": 0.0, "landmarks": 0.0, "encodings": 0.0}


@pytest.fixture(scope="module")
def package():
    try:
        return load_face_recognition()
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("landmarks", ["small", "large"])
def test_equal_on_pictures_without_faces(package, rng, landmarks):
    pictures = [rng.integers(0, 256, (140, 160, 3), np.uint8), np.full((90, 80, 3), 70, np.uint8)]
    assert compare_face_recognition(pictures, landmarks=landmarks, upsample=0) == {"detected": 0.0, **SAME}


def test_the_network_by_onnxruntime_is_as_near_as_it_is_said_to_be(package, rng):
    pictures = [rng.integers(0, 256, (140, 160, 3), np.uint8), np.full((90, 80, 3), 70, np.uint8)]
    found = compare_face_recognition(pictures, upsample=0, net="onnx")
    assert 0.0 < found.pop("encodings") < 2e-6
    assert found == {"detected": 0.0, "boxes": 0.0, "landmarks": 0.0}


@pytest.mark.data
@pytest.mark.parametrize(("detector", "landmarks"), [("hog", "small"), ("hog", "large"), ("cnn", "small")])
def test_equal_on_portraits(package, shared_data, detector, landmarks):
    from PIL import Image

    pictures = []
    for path in sorted((shared_data / "face_photos").glob("*.jpg")):
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            picture.thumbnail((400, 400))
            pictures.append(np.array(picture))
    if detector == "hog":
        pictures += [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
    upsample = int(detector == "hog")
    found = compare_face_recognition(pictures, detector=detector, landmarks=landmarks, upsample=upsample)
    assert found.pop("detected") >= (len(pictures) if detector == "hog" else 2)
    assert found == SAME


def test_a_difference_is_seen(package, rng, monkeypatch):
    """The positive control: another box, another landmark and another encoding, each by a little."""
    picture = rng.integers(0, 256, (140, 160, 3), np.uint8)
    real = package.face_encodings
    monkeypatch.setattr(package, "face_encodings", lambda *a, **k: [code + 1e-9 for code in real(*a, **k)])
    monkeypatch.setattr(package, "face_locations", lambda *a, **k: [(1, 2, 3, 4)])
    found = compare_face_recognition([picture], upsample=0)
    assert found["encodings"] == pytest.approx(1e-9)
    assert found["boxes"] == float("inf")
    assert found["landmarks"] == 0.0


@pytest.mark.parametrize("missing", ["face_recognition", "pkg_resources"])
def test_the_extra_is_named_where_it_is_missing(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"defacedask\[face_recognition\]") as caught:
        compare_face_recognition([])
    assert isinstance(caught.value, DefacedaskError)

from __future__ import annotations

import dataclasses
import os
import signal

import numpy as np
import pytest

from defacedask.errors import ConfigError, DefacedaskError, InputError
from defacedask.faces import recognition
from defacedask.faces.recognition import (
    Box,
    Recogniser,
    analyse_each,
    as_rgb,
    get_recogniser,
    isolation,
    open_recogniser,
    open_recognisers,
    recogniser_names,
)
from defacedask.plugins import Plugins


@pytest.fixture(scope="module")
def portraits(shared_data):
    from PIL import Image

    def read(name):
        with Image.open(shared_data / "face_photos" / name) as picture:
            picture = picture.convert("RGB")
            picture.thumbnail((500, 500))
            return np.array(picture)

    return [read(name) for name in ("obama.jpg", "obama2.jpg", "biden.jpg")]


def test_pictures_must_be_what_dlib_reads():
    assert as_rgb(np.zeros((4, 5), np.uint8)).shape == (4, 5, 3)
    assert as_rgb(np.zeros((4, 5, 4), np.uint8)[::-1]).flags.c_contiguous
    for wrong in (np.zeros((4, 5, 3)), np.zeros((4, 5, 2), np.uint8), np.zeros(4, np.uint8)):
        with pytest.raises(InputError, match="uint8 RGB"):
            as_rgb(wrong)


def test_no_face_on_an_empty_picture():
    recogniser = get_recogniser()
    assert isinstance(recogniser, Recogniser)
    assert recogniser.name == "face_recognition"
    assert recogniser.tolerance == 0.3
    assert not recogniser.remote
    empty = np.full((200, 200, 3), 90, np.uint8)
    assert recogniser.analyse([empty, empty]) == [[], []]
    assert recogniser.encode(empty) == []


def test_unknown_names_and_options():
    assert recogniser_names()[:2] == ["face_recognition", "face_recognition_cnn"]
    assert get_recogniser("face_recognition_cnn").name == "face_recognition_cnn"
    with pytest.raises(ConfigError, match="face_recognition, "):
        get_recogniser("grandmother")
    with pytest.raises(ConfigError, match="upsample"):
        get_recogniser("face_recognition", upsampel=1)
    for options in ({"detector": "mtcnn"}, {"landmarks": "huge"}, {"jitters": 0}, {"upsample": -1}):
        with pytest.raises(ConfigError):
            get_recogniser("face_recognition", **options)


def test_third_party_recognisers_come_by_entry_point(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Brightness:
        scale: float = 1.0
        tolerance = 0.1
        remote = False
        name = "brightness"

        def detect(self, image):
            return [Box(0, image.shape[1], image.shape[0], 0)] if image.any() else []

        def encode(self, image, boxes=None, landmarks=None):
            return [
                np.array([image[b.top : b.bottom, b.left : b.right].mean() * self.scale])
                for b in (self.detect(image) if boxes is None else boxes)
            ]

        def distance(self, a, b):
            return float(abs(a - b)[0])

        def analyse(self, images, boxes=None):
            return analyse_each(self, images, boxes)

    kinds = {"brightness": (Brightness, "tests")}
    monkeypatch.setattr(Plugins, "names", lambda self: sorted(kinds))
    monkeypatch.setattr(Plugins, "load", lambda self, name: kinds.get(name, (None, "")))
    assert recogniser_names()[-1] == "brightness"
    recogniser = get_recogniser("brightness", scale=2.0)
    assert isinstance(recogniser, Recogniser)
    dark, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 8, np.uint8)
    faces = recogniser.analyse([dark, grey])
    assert faces[0] == []
    assert faces[1][0].encoding == pytest.approx(16)
    assert not faces[1][0].forced
    forced = recogniser.analyse([dark], [[Box(0, 2, 2, 0)]])
    assert forced[0][0].forced
    assert forced[0][0].encoding == pytest.approx(0)


@pytest.mark.data
def test_portraits_are_told_apart(portraits):
    recogniser = get_recogniser("face_recognition", upsample=1)
    faces = [found[0] for found in recogniser.analyse(portraits)]
    same = recogniser.distance(faces[0].encoding, faces[1].encoding)
    other = min(recogniser.distance(faces[k].encoding, faces[2].encoding) for k in (0, 1))
    assert same < 0.6 < other
    for face in faces:
        assert face.landmarks.shape == (5, 2)
        assert face.score > 0


@pytest.mark.data
def test_detection_on_a_smaller_picture(portraits):
    whole = get_recogniser("face_recognition", upsample=1).detect(portraits[0])[0]
    small = get_recogniser("face_recognition", upsample=1, detect_size=250).detect(portraits[0])[0]
    assert np.abs(np.array(whole) - small).max() < 0.25 * (whole.bottom - whole.top)
    assert whole != small
    strict = get_recogniser("face_recognition_cnn", detect_size=400).detect(portraits[0])[0]
    assert np.abs(np.array(whole) - strict).max() < 0.4 * (whole.bottom - whole.top)


@pytest.mark.data
def test_forced_box_and_landmarks(portraits):
    recogniser = get_recogniser("face_recognition", upsample=1)
    face = recogniser.analyse(portraits[:1])[0][0]
    again = recogniser.encode(portraits[0], [face.box], [face.landmarks])
    assert np.array_equal(again[0], face.encoding)
    # where nothing is detected, a given box still gives an encoding, and it is another one
    empty = np.full_like(portraits[0], 90)
    forced = recogniser.analyse([empty], [[face.box]])[0]
    assert forced[0].forced
    assert recogniser.distance(forced[0].encoding, face.encoding) > 0.4


@pytest.mark.data
def test_isolated_process_gives_the_same_and_survives_its_death(portraits):
    here = get_recogniser("face_recognition", upsample=1)
    apart = dataclasses.replace(here, isolated=True)
    expected = here.analyse(portraits[2:])[0][0]
    found = apart.analyse(portraits[2:])[0][0]
    assert np.array_equal(found.encoding, expected.encoding)
    child = isolation._child
    assert child is not None
    assert child.pid != os.getpid()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert np.array_equal(apart.analyse(portraits[2:])[0][0].encoding, expected.encoding)


class Misbehaving:
    """Lives in the child process of the isolation tests."""

    def die(self):
        os._exit(7)

    def fail(self):
        raise ValueError("as told")

    def chat(self):
        print("a library's chatter must not get into the answer")
        return os.getpid()


def test_isolation_passes_errors_on_and_says_when_the_child_died():
    target = Misbehaving()
    pid = isolation.call_isolated(target, "chat")
    assert pid != os.getpid()
    with pytest.raises(ValueError, match="as told"):
        isolation.call_isolated(target, "fail")
    assert isolation.call_isolated(target, "chat") == pid
    with pytest.raises(DefacedaskError, match="ended unexpectedly"):
        isolation.call_isolated(target, "die")
    assert isolation.call_isolated(target, "chat") not in (pid, os.getpid())


def test_recognisers_as_the_user_names_them(tmp_path):
    names = "face_recognition, face_recognition_cnn,face_recognition"
    assert [r.name for r in open_recognisers(names)] == ["face_recognition", "face_recognition_cnn"]
    for wrong, says in (
        ("grandmother", "no recogniser 'grandmother'"),
        (" , ", "no recogniser was named"),
        ("onnx", "needs its network file"),
        (f"onnx:{tmp_path / 'none.onnx'}", "no network file"),
        ("azure", "sends rendered pictures of patients' faces"),
        ("azure:guess", "no way 'guess'"),
    ):
        with pytest.raises(ConfigError, match=says):
            open_recognisers(wrong)
    assert not open_recogniser("azure:detect", allow_upload=True).verify
    assert open_recogniser("azure", allow_upload=True, per_second=3.0).per_second == 3.0


def test_a_service_by_entry_point_needs_leave_too(monkeypatch):
    class Service:
        name, tolerance, remote = "service", 0.5, True

    monkeypatch.setattr(recognition, "get_recogniser", lambda name: Service())
    with pytest.raises(ConfigError, match="sends rendered pictures"):
        open_recogniser("service")
    assert open_recogniser("service", allow_upload=True).name == "service"


def test_two_networks_of_one_name_are_told_apart_or_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match="onnx_net"):
        open_recognisers([f"onnx:{tmp_path / folder / 'net.onnx'}" for folder in ("a", "b")])

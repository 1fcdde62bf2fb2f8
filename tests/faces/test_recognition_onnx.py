from __future__ import annotations

import numpy as np
import pytest

from defacedask.errors import ConfigError, InputError
from defacedask.faces.recognition import Box, Recogniser, distance_of, get_recogniser, open_recogniser
from defacedask.faces.recognition.onnx import EYES, aligned
from defacedask.runs.face_settings import face_settings


def spots(points, colours, size=160) -> np.ndarray:
    """Grey picture with a soft coloured spot at each (column, row)."""
    y, x = np.indices((size, size))
    picture = np.full((size, size, 3), 100.0)
    for (column, row), colour in zip(points, colours, strict=True):
        weight = np.exp(-((x - column) ** 2 + (y - row) ** 2) / 18)[..., None]
        picture = picture * (1 - weight) + np.array(colour) * weight
    return picture.round().astype(np.uint8)


@pytest.mark.parametrize("angle", [0, 25, -160])
def test_alignment_brings_the_eyes_to_their_place(angle):
    turn = np.radians(angle)
    axis = 25 * np.array([np.cos(turn), np.sin(turn)])
    eyes = np.array([80, 75]) + np.array([-axis, axis])
    picture = spots(eyes, [(255, 0, 0), (0, 0, 255)])
    out = aligned(picture, eyes, 112, 96)
    assert out.shape == (112, 96, 3)
    for channel, place in zip((0, 2), EYES, strict=True):
        column, row = np.array(place) * (96, 112)
        found = np.unravel_index(np.argmax(out[..., channel].astype(int) - out[..., 1]), (112, 96))
        assert found == (pytest.approx(row, abs=1), pytest.approx(column, abs=1))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Makes tiny networks: the averages of the four quarters of the picture, each colour for itself."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx, which makes the network, is not installed")
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("networks")

    def make(shape, nodes=None):
        pool = helper.make_node(
            "AveragePool", ["picture"], ["pooled"], kernel_shape=[20, 20], strides=[20, 20]
        )
        flat = helper.make_node("Flatten", ["pooled"], ["code"])
        graph = helper.make_graph(
            nodes or [pool, flat],
            "quarters",
            [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("code", TensorProto.FLOAT, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        path = folder / f"net{len(list(folder.iterdir()))}.onnx"
        onnx.save(model, str(path))
        return str(path)

    return make


MARKS = np.array([[50, 60], [62, 60], [110, 60], [98, 60], [80, 100]], float)
BOX = Box(30, 130, 130, 30)


def test_network_sees_the_aligned_face(network):
    recogniser = get_recogniser("onnx", model=network([1, 3, 40, 40]), mean=0.0, scale=255.0)
    assert isinstance(recogniser, Recogniser)
    assert recogniser.name == "onnx_net0"
    picture = spots([(56, 60), (104, 60)], [(255, 0, 0), (0, 0, 255)])
    code = recogniser.encode(picture, [BOX], [MARKS])[0]
    seen = aligned(picture, np.array([[56, 60], [104, 60]], float), 40, 40) / 255
    expected = seen.reshape(2, 20, 2, 20, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
    assert np.allclose(code, expected / np.linalg.norm(expected), atol=1e-5)
    assert np.linalg.norm(code) == pytest.approx(1)
    assert recogniser.distance(code, code) == pytest.approx(0, abs=1e-12)
    swapped = recogniser.encode(spots([(56, 60), (104, 60)], [(0, 0, 255), (255, 0, 0)]), [BOX], [MARKS])[0]
    assert recogniser.distance(code, swapped) > 1e-5  # the spots are small
    euclid = get_recogniser("onnx", model=recogniser.model, metric="euclidean")
    assert euclid.distance(code, swapped) == pytest.approx(np.linalg.norm(code - swapped))
    # blue first is another colour order of the same network
    blue = get_recogniser("onnx", model=recogniser.model, mean=0.0, scale=255.0, bgr=True)
    mirrored = blue.encode(picture[..., ::-1].copy(), [BOX], [MARKS])[0]
    assert np.allclose(mirrored, code, atol=1e-5)


def test_open_sizes_and_wrong_networks(network, tmp_path):
    open_size = get_recogniser("onnx", model=network([1, 3, "h", "w"]), size=40)
    picture = spots([(56, 60)], [(255, 0, 0)])
    assert len(open_size.encode(picture, [BOX], [MARKS])[0]) == 12
    with pytest.raises(InputError, match="one RGB picture"):
        get_recogniser("onnx", model=network([1, 5, 40, 40])).encode(picture, [BOX], [MARKS])
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(InputError, match="can load"):
        get_recogniser("onnx", model=str(broken)).encode(picture, [BOX], [MARKS])


def test_options_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="no network file"):
        get_recogniser("onnx")
    file = tmp_path / "some.onnx"
    file.write_bytes(b"")
    with pytest.raises(ConfigError, match="metric"):
        get_recogniser("onnx", model=str(file), metric="manhattan")


@pytest.mark.data
def test_portraits_end_to_end(network, shared_data):
    from PIL import Image

    recogniser = get_recogniser("onnx", model=network([1, 3, 40, 40]))
    with Image.open(shared_data / "face_photos" / "biden.jpg") as picture:
        picture.thumbnail((500, 500))
        image = np.array(picture.convert("RGB"))
    face = recogniser.analyse([image])[0][0]
    assert face.encoding.shape == (12,)
    forced = recogniser.analyse([image], [[face.box]])[0][0]
    assert forced.forced
    assert np.allclose(forced.encoding, face.encoding)


def test_a_file_is_named_as_the_user_types_it(network):
    path = network([1, 3, 40, 40])
    recogniser = open_recogniser(f"onnx:{path}")
    assert recogniser.name == f"onnx_{path.split('/')[-1].removesuffix('.onnx')}"
    measure = distance_of(recogniser)
    assert measure(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1.0)
    assert distance_of(get_recogniser()) is None


def test_a_file_that_is_no_network_is_told_before_a_run(tmp_path):
    path = tmp_path / "none.onnx"
    path.write_text("no network")
    with pytest.raises(InputError, match="is not a network"):
        face_settings(f"face_recognition,onnx:{path}", "basic", False, tmp_path)

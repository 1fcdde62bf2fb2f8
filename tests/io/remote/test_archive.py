"""From an archive and back: DICOMweb and DIMSE against a real Orthanc, with a password and over TLS."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner
from support.archive import PASSWORD, USER, free_port, running
from support.export_kit import half_space, stub_plan, write_patient  # noqa: F401

from defacedask import config
from defacedask.cli.deface import command
from defacedask.cli.scan import command as scan_command
from defacedask.errors import ConfigError, RefusedError, RemoteError
from defacedask.io.dicom.catalogue import scan
from defacedask.io.remote import dicomweb, is_remote, localise
from defacedask.io.remote.credentials import access_to
from defacedask.runs import deface_stages
from defacedask.runs.sending import send
from defacedask.verify import verify


def by_uid(folder: Path) -> dict[str, bytes]:
    return {
        str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID): p.read_bytes()
        for p in folder.rglob("*.dcm")
    }


def body(data: bytes) -> bytes:
    """A file without preamble and file meta information, which DIMSE does not carry."""
    length = int.from_bytes(data[140:144], "little")
    return data[144 + length :]


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient")
    write_patient(folder)
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with running(tmp_path_factory.mktemp("orthanc")) as found:
        yield found


@pytest.fixture(autouse=True)
def password(monkeypatch):
    monkeypatch.setenv("DEFACEDASK_REMOTE_USER", USER)
    monkeypatch.setenv("DEFACEDASK_REMOTE_PASSWORD", PASSWORD)


@pytest.fixture
def study(archive, patient):
    archive.clear()
    archive.put(patient)
    uid = pydicom.dcmread(next(patient.rglob("*.dcm"))).StudyInstanceUID
    return f"{archive.web}/studies/{uid}"


def test_a_study_from_the_archive_defaced_and_stored_back(archive, patient, study, tmp_path, monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)
    out = tmp_path / "out"
    arguments = [study, "--defacer", "half_space", "--out", str(out), "--cluster", "here"]
    result = CliRunner().invoke(command, [*arguments, "--store-to", archive.web])
    assert result.exit_code == 0, (result.output, result.exception)
    assert "16 instances fetched" in result.output
    assert "16 instances stored." in result.output
    assert verify(out, source=[patient]).ok
    written, held = by_uid(out), archive.files()
    assert len(written) == 16
    assert len(held) == 32  # the originals stay what they were
    assert all(held[uid] == data for uid, data in written.items())
    assert all(held[uid] == data for uid, data in by_uid(patient).items())
    # fetched again it is what was written; the study's UID is kept, so ask by series
    fetched: dict[str, bytes] = {}
    for series in {pydicom.dcmread(p).SeriesInstanceUID for p in out.rglob("*.dcm")}:
        (place,) = localise([f"{study}/series/{series}"], tmp_path / "again")
        fetched |= by_uid(Path(place))
    assert fetched == written
    assert len(scan(tmp_path / "again").cases) == 1


def test_what_is_here_is_not_fetched_again(study, tmp_path):
    lines: list[str] = []
    (first,) = localise([f"dicomweb+{study}"], tmp_path, say=lines.append)
    before = {p: p.stat().st_mtime_ns for p in Path(first).rglob("*.dcm")}
    assert len(before) == 16
    localise([f"dicomweb+{study}"], tmp_path, say=lines.append)
    assert len(lines) == 1
    assert before == {p: p.stat().st_mtime_ns for p in Path(first).rglob("*.dcm")}


def test_a_search(archive, study, patient, tmp_path):
    (place,) = localise([f"{archive.web}/studies?PatientID=P1"], tmp_path)
    assert by_uid(Path(place)) == by_uid(patient)
    with pytest.raises(RemoteError, match="no study that fits"):
        localise([f"{archive.web}/studies?PatientID=nobody"], tmp_path)
    with pytest.raises(ConfigError, match="names no study"):
        localise([f"{archive.web}/studies"], tmp_path)
    with pytest.raises(RemoteError, match="no study"):
        localise([f"{archive.web}/studies/1.2.3.4"], tmp_path)


def test_scan_of_an_archive(study):
    result = CliRunner().invoke(scan_command, [study])
    assert result.exit_code == 0, result.output
    assert "1 case of 1 patient" in result.output


def test_c_store(archive, patient, tmp_path, monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)
    archive.clear()
    out = tmp_path / "out"
    arguments = [str(patient), "--defacer", "half_space", "--out", str(out), "--cluster", "here"]
    result = CliRunner().invoke(command, [*arguments, "--store-to", archive.dimse])
    assert result.exit_code == 0, (result.output, result.exception)
    held, written = archive.files(), by_uid(out)
    assert {uid: body(data) for uid, data in held.items()} == {u: body(d) for u, d in written.items()}
    # Orthanc closes the connection behind its answer, and sometimes the end is seen first
    with pytest.raises(RemoteError, match=r"rejects us|without accepting or rejecting us"):
        send(out, archive.dimse.replace("ORTHANC", "SOMEBODY"))
    with pytest.raises(RemoteError, match="cannot be reached"):
        send(out, f"dimse://ORTHANC@127.0.0.1:{free_port()}")
    with pytest.raises(ConfigError, match="no address"):
        send(out, "dimse://127.0.0.1")
    # a folder that is not what was written is not sent
    next(out.rglob("RS.dcm")).write_bytes(b"something else")
    archive.clear()
    with pytest.raises(RefusedError, match="did not pass its verification"):
        send(out, archive.dimse)
    assert archive.files() == {}


def test_not_let_in(study, tmp_path, monkeypatch):
    monkeypatch.setenv("DEFACEDASK_REMOTE_PASSWORD", "wrong")
    with pytest.raises(RemoteError, match="does not let us in") as caught:
        localise([study], tmp_path)
    assert "wrong" not in str(caught.value)
    assert not list(tmp_path.rglob("*.dcm"))


def test_nobody_there(tmp_path):
    with pytest.raises(RemoteError, match="cannot be reached"):
        localise([f"http://127.0.0.1:{free_port()}/dicom-web/studies/1.2.3"], tmp_path)


def test_tls(patient, tmp_path, monkeypatch):
    import dask

    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *names]
    subprocess.run(make, check=True, capture_output=True)
    (tmp_path / "pem").write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "crt").read_bytes())
    port = free_port()
    with running(tmp_path / "plain") as plain:
        plain.put(patient)
        uid = pydicom.dcmread(next(patient.rglob("*.dcm"))).StudyInstanceUID
        relay = _TlsRelay(port, plain.http, tmp_path / "pem")
        with relay:
            address = f"https://127.0.0.1:{port}/dicom-web/studies/{uid}"
            with pytest.raises(RemoteError, match="TLS"):
                localise([address], tmp_path / "in")
            with dask.config.set({"defacedask.remote.ca-bundle": str(tmp_path / "crt")}):
                (place,) = localise([address], tmp_path / "in")
    assert by_uid(Path(place)) == by_uid(patient)


class _TlsRelay:
    """What stands in front of an archive in real life: TLS outside, the archive's own protocol inside."""

    def __init__(self, port: int, target: int, pem: Path) -> None:
        import ssl

        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(pem)
        self.port, self.target = port, target

    def __enter__(self) -> None:
        import socketserver

        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                import http.client

                inner = http.client.HTTPConnection("127.0.0.1", relay.target, timeout=30)
                inner.request("GET", self.path, headers=dict(self.headers))
                answer = inner.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name in ("Content-Type", "Content-Encoding"):
                    if answer.headers[name]:
                        self.send_header(name, answer.headers[name])
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # the client that does not trust us hangs up

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.socket = self.context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Forgetful(http.server.BaseHTTPRequestHandler):
    """An archive that refuses the second instance of every request, and lists what it took but one."""

    taken: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        data = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        import re

        uids = [u.decode() for u in re.findall(rb"\x08\x00\x18\x00UI..(2\.25\.[0-9]+)", data, re.S)]
        failed = uids[1]
        self.taken.extend(u for u in uids if u != failed)
        item = {"00081155": {"vr": "UI", "Value": [failed]}, "00081197": {"vr": "US", "Value": [272]}}
        self._json(202, {"00081198": {"vr": "SQ", "Value": [item]}})

    def do_GET(self) -> None:
        rows = [{"00080018": {"vr": "UI", "Value": [u]}} for u in self.taken[1:]]
        self._json(200, rows if "offset=0" in self.path or "offset" not in self.path else [])

    def _json(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def test_half_stored(tmp_path):
    from support.export_kit import run_export

    write_patient(tmp_path / "in")
    _, out = run_export(tmp_path / "in", tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Forgetful)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/dicom-web"
        with pytest.raises(RemoteError) as caught:
            dicomweb.store(address, sorted(out.rglob("*.dcm")), print)
    finally:
        server.shutdown()
        server.server_close()
    assert "took 14 of 16 instances" in str(caught.value)
    assert "(reason 272)" in str(caught.value)
    assert "1 that it took it does not list" in str(caught.value)


def test_passwords_stay_out_of_addresses_and_off_the_wire(tmp_path, monkeypatch):
    for address in ("https://me:pw@host/dicom-web/studies/1.2.3", "s3://k:s@bucket/x"):
        with pytest.raises(ConfigError, match="neither user nor password") as caught:
            localise([address], tmp_path)
        assert "pw" not in str(caught.value)
    with pytest.raises(ConfigError, match="unencrypted"):
        localise(["http://archive.example/dicom-web/studies/1.2.3"], tmp_path)
    assert PASSWORD not in repr(access_to("https://archive.example/"))
    assert PASSWORD not in json.dumps(config.snapshot())
    monkeypatch.delenv("DEFACEDASK_REMOTE_USER")
    with pytest.raises(ConfigError, match="only one"):
        access_to("https://archive.example/")


def test_addresses():
    assert is_remote("s3://bucket/x")
    assert not is_remote("C:/data")
    assert not is_remote("/data/x")
    assert dicomweb.is_dicomweb("https://h/dicom-web/studies/1.2.3/series/4.5")
    assert dicomweb.is_dicomweb("dicomweb+https://h/anything")
    assert not dicomweb.is_dicomweb("https://h/files/a.nii.gz")

"""Connections to web services: a busy server is asked again, trust is as told, an end is one sentence."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from defacedask.errors import RemoteError
from defacedask.io.remote import localise
from defacedask.io.remote.credentials import Access
from defacedask.io.remote.sessions import broken, session_of

requests = pytest.importorskip("requests")


@pytest.fixture
def server():
    """It answers with the statuses of its script, one after the other, then with 200; 0 hangs up, -1 is silent."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            found.asked.append(self.headers)
            status = found.script.pop(0) if found.script else 200
            if status < 0:
                found.go.wait(60)
            if status == 0:
                self.close_connection = True
                return
            with contextlib.suppress(OSError):  # nobody waits any more
                self.send_response(abs(status))
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"[]")

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.asked, found.script, found.go = [], [], threading.Event()
    found.url = f"http://127.0.0.1:{found.server_port}"
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    found.go.set()
    found.shutdown()
    found.server_close()


@pytest.mark.parametrize(
    ("script", "status", "asked"), [([503, 429], 200, 3), ([500], 500, 1), ([503] * 9, 503, 4)]
)
def test_a_busy_server_is_asked_again(server, script, status, asked):
    server.script = list(script)
    assert session_of(Access()).get(server.url).status_code == status
    assert len(server.asked) == asked


def test_what_is_to_be_trusted(monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "of the environment"))
    session = session_of(Access(verify="ours.pem", certificate=("a.pem",)))
    settings = session.merge_environment_settings("https://x.test", {}, None, None, None)
    assert settings["verify"] == "ours.pem"
    assert session.cert == "a.pem"
    assert session_of(Access(certificate=("a.pem", "a.key"))).cert == ("a.pem", "a.key")
    settings = session_of(Access()).merge_environment_settings("https://x.test", {}, None, None, None)
    assert settings["verify"].endswith("of the environment")


def test_ends_of_a_connection(server):
    server.script = [0]
    with pytest.raises(requests.exceptions.RequestException) as caught:
        session_of(Access()).get(server.url)
    said = broken(caught.value, "x.test", "asking")
    assert isinstance(said, RemoteError)
    assert "x.test cannot be reached, or broke off while asking (ConnectionError)." in str(said)
    assert "did not answer in time" in str(broken(requests.exceptions.ReadTimeout(), "x.test", "asking"))
    tls = requests.exceptions.SSLError("certificate verify failed: self-signed certificate (_ssl.c:1)")
    assert "failed (certificate verify failed: self-signed certificate)" in str(
        broken(tls, "x.test", "asking")
    )


@pytest.mark.parametrize("stream", [False, True])
def test_silence_is_said_to_be_silence(server, stream):
    server.script = [-1]
    with pytest.raises(requests.exceptions.RequestException) as caught:
        session_of(Access()).get(server.url, timeout=(10, 0.2), stream=stream)
    assert "did not answer in time" in str(broken(caught.value, "x.test", "asking"))
    # nobody listens: that is no silence
    server.go.set()
    server.shutdown()
    server.server_close()
    with pytest.raises(requests.exceptions.RequestException) as caught:
        session_of(Access()).get(server.url, timeout=(10, 10))
    assert "cannot be reached" in str(broken(caught.value, "x.test", "asking"))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([401], "does not let us in"),
        ([403], "forbids"),
        ([404], "has nothing"),
        ([500], "answered 500"),
        ([0], "broke off"),
    ],
)
def test_an_archive_that_does_not_give_it(server, tmp_path, script, why):
    pytest.importorskip("dicomweb_client")
    server.script = list(script)
    with pytest.raises(RemoteError, match=why):
        localise([f"{server.url}/dicom-web/studies?PatientID=1"], tmp_path)
    assert len(server.asked) == 1


def test_a_password_goes_to_an_archive_alone(server, tmp_path, monkeypatch):
    pytest.importorskip("dicomweb_client")
    monkeypatch.setenv("DEFACEDASK_REMOTE_TOKEN", "t")
    with pytest.raises(RemoteError, match="no study that fits"):
        localise([f"{server.url}/dicom-web/studies?PatientID=1"], tmp_path)
    assert [headers["Authorization"] for headers in server.asked] == ["Bearer t"]

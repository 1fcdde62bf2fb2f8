"""Why an archive does not let us begin a C-STORE: it is not there, rejects us, takes nothing of it, or hangs up."""

from __future__ import annotations

import contextlib
import socket
import threading

import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from support.archive import free_port

from defacedask.errors import RemoteError
from defacedask.io.remote.dimse import store

pynetdicom = pytest.importorskip("pynetdicom")
VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture
def file(tmp_path):
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path / "one.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


@contextlib.contextmanager
def archive(kind):
    """A server of pynetdicom's that takes objects of one kind; gives its port, and the list of what came."""
    came = []

    def take(event):
        came.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    ae = pynetdicom.AE(ae_title="ARCHIVE")
    ae.require_called_aet = True
    ae.add_supported_context(kind)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, take)])
    try:
        yield server.server_address[1], came
    finally:
        server.shutdown()


@contextlib.contextmanager
def hanging_up():
    """A port behind which whoever comes is heard and left without an answer."""

    def serve():
        with contextlib.suppress(OSError):
            while True:
                one, _ = listener.accept()
                one.recv(64)
                one.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def told(file, title, port):
    with pytest.raises(RemoteError) as error:
        store(f"dimse://{title}@127.0.0.1:{port}", [file], lambda _: None)
    return str(error.value)


def test_it_rejects_us(file):
    with archive(CTImageStorage) as (port, came):
        assert "rejects us" in told(file, "SOMEBODY", port)
        assert store(f"dimse://ARCHIVE@127.0.0.1:{port}", [file], lambda _: None) == 1
    assert len(came) == 1


def test_it_takes_nothing_of_that(file):
    with archive(VERIFICATION) as (port, came):
        said = told(file, "ARCHIVE", port)
    assert "accepts nothing of what is to be sent" in said
    assert "reached" not in said
    assert came == []


def test_it_hangs_up(file):
    """So does an archive that rejects us, where its answer is lost with the connection."""
    with hanging_up() as port:
        said = told(file, "ARCHIVE", port)
    assert "ended the connection without accepting or rejecting us" in said
    assert "reached" not in said


def test_nobody_is_there(file):
    assert "cannot be reached" in told(file, "ARCHIVE", free_port())

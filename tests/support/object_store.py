"""A real S3 client against moto's server."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator

import fsspec
import pytest


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """File system of an object store that answers on this machine."""
    with running(monkeypatch) as found:
        yield found


@contextlib.contextmanager
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """The same, for as long as its user likes; the environment says where it is."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        # what earlier servers of this process held, this one holds, too
        reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()
        # another server than the last test's: an instance that is kept would ask the old one
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield fsspec.filesystem("s3")
    finally:
        server.stop()

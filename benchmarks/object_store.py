"""What a run costs whose own data are objects: processor seconds and bytes of `deface`, beside a run in folders.

    uv run python -m benchmarks.object_store INPUT [--defacer quickshear] [--repeats 1]

The object store is moto's server, a process of its own, so that its work does not count. Tasks run here, one after
the other: what the two runs differ by is the way to the store and back. The last run finds all of it done. Defaced
files, which go to the address of the output from the task that wrote them, count too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

KEY = bytes(range(32))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("--defacer", default="quickshear")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args(arguments)
    source = options.input.absolute()
    print("| run | processor s | wall s | objects sent | MB sent | objects fetched | MB fetched |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with store():
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                once("folders", source, f"{folder}/out", options.defacer, f"{folder}/work")
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                name = f"s3://bucket/{time.time_ns()}"
                once("objects", source, f"{name}/out", options.defacer, f"{name}/run")
                once("objects, again", source, f"{name}/out", options.defacer, f"{name}/run")


@contextlib.contextmanager
def store() -> Iterator[None]:
    """An object store in a process of its own, and who we are to it."""
    import fsspec

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.2)
        fsspec.filesystem("s3").mkdir("bucket")
        yield
    finally:
        server.terminate()
        server.wait()


def once(title: str, source: Path, out: str, defacer: str, work: str) -> None:
    """One run, and its line."""
    from defacedask.io.remote import objects
    from defacedask.runs.deface import deface

    moved = {"sent": 0, "bytes_sent": 0, "fetched": 0, "bytes_fetched": 0}
    with counting(objects.Objects, moved):
        cpu, wall = time.process_time(), time.perf_counter()
        done = deface(source, out, defacer, work=work, key=KEY)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert done.ok, done.cases
    sent, fetched = (f"{moved[kind]} | {moved[f'bytes_{kind}'] / 1e6:.1f}" for kind in ("sent", "fetched"))
    print(f"| {title} | {cpu:.1f} | {wall:.1f} | {sent} | {fetched} |", flush=True)


@contextlib.contextmanager
def counting(kind: Any, moved: dict[str, int]) -> Iterator[None]:
    """Count what all objects of a kind move; record, tables and report, copied at the end, are not among it."""
    real = kind._count

    def count(self: Any, what: str, size: int) -> None:
        moved[what] += 1
        moved[f"bytes_{what}"] += size
        real(self, what, size)

    kind._count = count
    try:
        yield
    finally:
        kind._count = real


if __name__ == "__main__":
    main()

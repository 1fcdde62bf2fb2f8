"""What passes the disk of the machine that starts a run: peak and rest, by kind, with folders and with addresses.

    uv run python -m benchmarks.client_disk COHORT [COHORT...] [--command deface] [--places folder:folder s3:s3]

A place is OUT:WORK. Workers have a folder elsewhere, which does not count; the object store is moto's server, a
process of its own. A study has its data below OUT where that is a folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.object_store import store

__all__ = ["main"]

#: Seconds between two looks.
EVERY = 0.1
KINDS = ("defaced files", "volumes", "pictures", "results", "plans", "the rest")
OPTIONS = {
    "deface": ["--defacer", "quickshear"],
    "study": ["--defacers", "quickshear", "--attacks", "basic", "--allow-visible", "--seed", "1"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cohorts", type=Path, nargs="+")
    parser.add_argument("--command", choices=sorted(OPTIONS), default="deface")
    parser.add_argument("--places", nargs="+", default=["folder:folder", "folder:s3", "s3:folder", "s3:s3"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", type=Path, help="File for what the runs say.")
    parser.add_argument("--series", type=Path, help="File for bytes over time, a line of JSON a run.")
    options = parser.parse_args(arguments)
    print(
        "| run | OUT, WORK | cohort | exit | wall s | peak MB: all | "
        + " | ".join(KINDS)
        + " | left MB: all |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: |" + " ---: |" * (len(KINDS) + 1))
    with store():
        for place in options.places:
            for cohort in options.cohorts:
                once(options, place, cohort.absolute())


def once(options: argparse.Namespace, place: str, cohort: Path) -> None:
    """One run, and its line."""
    name = f"s3://bucket/{time.time_ns()}"
    out, work = (
        f"{name}/{part}" if kind == "s3" else part
        for kind, part in zip(place.split(":"), ("out", "work"), strict=True)
    )
    given = ["--out", out]
    if not (options.command == "study" and place == "folder:folder"):
        given += ["--work", work]
    log = options.log.open("a") if options.log else subprocess.DEVNULL
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as elsewhere:
        environment = {
            **os.environ,
            "TMPDIR": elsewhere,
            "DASK_DEFACEDASK__STORE__SCRATCH": elsewhere,
            "DASK_TEMPORARY_DIRECTORY": elsewhere,
        }
        command = [
            sys.executable,
            "-m",
            "defacedask",
            options.command,
            str(cohort),
            *OPTIONS[options.command],
        ]
        begun = time.perf_counter()
        with watching(Path(here)) as seen:
            done = subprocess.run(
                [*command, *given, "--workers", str(options.workers)],
                cwd=here, env=environment, stdout=log, stderr=log, check=False,
            )  # fmt: skip
        wall = time.perf_counter() - begun
        left = bytes_below(Path(here))
    peaks = {kind: max(one.get(kind, 0) for _, one in seen) for kind in KINDS}
    most = max(sum(one.values()) for _, one in seen)
    numbers = [most, *peaks.values(), sum(left.values())]
    cells = [options.command, place.replace(":", ", "), cohort.name, done.returncode, f"{wall:.0f}"]
    print("| " + " | ".join(map(str, [*cells, *(f"{n / 1e6:.1f}" for n in numbers)])) + " |", flush=True)
    if options.series:
        with options.series.open("a") as file:
            file.write(
                json.dumps({"run": cells, "seen": [[round(at - begun, 2), one] for at, one in seen]}) + "\n"
            )


@contextlib.contextmanager
def watching(folder: Path) -> Iterator[list[tuple[float, dict[str, int]]]]:
    """Bytes by kind below a folder, over time."""
    seen: list[tuple[float, dict[str, int]]] = [(time.perf_counter(), bytes_below(folder))]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(EVERY):
            seen.append((time.perf_counter(), bytes_below(folder)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def bytes_below(folder: Path) -> dict[str, int]:
    """Kind -> bytes of the files below a folder."""
    found: Counter[str] = Counter()
    for base, _, names in os.walk(folder):
        inside = Path(base).relative_to(folder).as_posix() + "/"
        for name in names:
            with contextlib.suppress(OSError):
                found[kind_of(inside, name)] += (Path(base) / name).stat().st_size
    return dict(found)


def kind_of(inside: str, name: str) -> str:
    """What a file is."""
    if name.endswith((".dcm", ".nii", ".nii.gz", "-files.tar")):
        return "defaced files"
    if ".zarr/" in inside:
        return "volumes"
    return next(
        (kind for kind in ("pictures", "results", "plans") if f"/{kind}/" in f"/{inside}"), "the rest"
    )


if __name__ == "__main__":
    main()

"""What a cohort's study comes to when workers, or the program itself, are killed again and again.

    uv run python -m benchmarks.faults PATIENTS --out FOLDER [--runs undisturbed,workers,client] [--workers 2]
        [--every 30] [--attacks basic] [--defacers all]

Each run is ``defacedask study`` of the same patients with the same seed, in a folder of its own, on a scheduler and
workers that are processes of their own.

- ``undisturbed``: nothing happens.
- ``workers``: every so many seconds a worker process is killed (SIGKILL); its nanny starts another.
- ``objects``: the same, and all that the run keeps is in an object store (moto's server): workers share no folder.
- ``client``: the program is killed three times, when a quarter, a half and three quarters of the results are there,
  and started again with the same command.
- ``objects-client``: both at a time, in an object store; and the second time that the program is started again it
  finds nothing on this machine, as on another one.

``FOLDER/faults.md`` says what each took, how many tables are equal to the undisturbed run's byte by byte once their
lines are sorted, and how many of the defaced files. Columns that measure time and memory are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import fsspec

from benchmarks.object_store import store

__all__ = ["cluster", "compare_files", "compare_tables", "cpu_seconds", "main", "results"]

#: Beginnings of the names of columns that no two runs share.
OF_THE_RUN = ("seconds", "peak_rss")
#: Shares of the undisturbed run's results at which the program is killed.
CLIENT_DIES = (0.25, 0.5, 0.75)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("patients", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", default="undisturbed,workers,client")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=float, default=30.0)
    parser.add_argument("--attacks", default="basic")
    parser.add_argument("--defacers", default="all")
    parser.add_argument("--allow-visible", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.runs.split(","):
        line = run(name, options)
        with (options.out / "runs.csv").open("a", newline="") as file:
            csv.writer(file).writerow(line)
    write_table(options.out)


def run(name: str, options: argparse.Namespace) -> list[object]:
    """One study; its name, wall and CPU seconds, kills, load of the machine, and exit status."""
    folder = (options.out / name).absolute()
    patients = str(options.patients.absolute())
    study = [sys.executable, "-m", "defacedask", "study", patients, "--out", str(folder)]
    away = name.startswith("objects")
    if away:
        study = [*study[:-1], "s3://bucket/out", "--work", "s3://bucket/run"]
    study += ["--seed", "1", "--defacers", options.defacers, "--attacks", options.attacks, "--no-pictures"]
    study += ["--allow-visible"] if options.allow_visible else []
    whole = results(options.out / "undisturbed")
    begun, spent = time.monotonic(), cpu_seconds()
    kills = 0
    with (
        store() if away else contextlib.nullcontext(),
        (options.out / f"{name}.log").open("w") as log,
        cluster(options.workers) as (address, nannies),
    ):
        over = threading.Event()
        killer = threading.Thread(target=lambda: None)
        killed: list[int] = []
        if name == "workers" or away:
            killer = threading.Thread(target=_kill_workers, args=(nannies, options.every, over, killed))
        killer.start()
        waits = list(CLIENT_DIES) if name.endswith("client") else []
        here = options.out / "run.local"
        seen = here / "out" if away else folder
        shutil.rmtree(here, ignore_errors=True)
        while True:
            program = subprocess.Popen(
                [*study, "--cluster", address], stdout=log, stderr=log, cwd=options.out.absolute()
            )
            while program.poll() is None:
                if waits and results(seen) >= waits[0] * whole:
                    waits.pop(0)
                    program.kill()
                    kills += 1
                time.sleep(0.5)
            if program.returncode != -signal.SIGKILL:
                break
            if len(waits) == 1:
                shutil.rmtree(here, ignore_errors=True)
        over.set()
        killer.join()
        kills += len(killed)
        if away:
            fsspec.filesystem("s3").get("bucket/out/", str(folder), recursive=True)
    load = os.getloadavg()[2]
    wall, cpu = time.monotonic() - begun, cpu_seconds() - spent
    return [name, round(wall), round(cpu), kills, round(load, 1), program.returncode]


def results(folder: Path) -> int:
    """Results that are kept of a run."""
    return sum(1 for _ in (folder / "store" / "results").glob("*/*.json"))


def cpu_seconds() -> float:
    """CPU seconds of all child processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Address of a scheduler, and the nannies of its workers."""
    from defacedask.cluster.specs import WORKER_ENVIRONMENT

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "scheduler.json"
        path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": path}
        dask = [sys.executable, "-m", "dask"]
        scheduler = ["scheduler", "--scheduler-file", str(file), "--port", "0", "--no-dashboard"]
        worker = [
            "worker",
            "--scheduler-file",
            str(file),
            "--nthreads",
            "1",
            "--local-directory",
            str(folder),
        ]

        def start(command: list[str]) -> subprocess.Popen[bytes]:
            one = subprocess.Popen([*dask, *command], env=env, stderr=subprocess.DEVNULL)
            stack.callback(_end, one)
            return one

        start(scheduler)
        while not file.exists():
            time.sleep(0.1)
        nannies = [start(worker) for _ in range(workers)]
        import json

        yield json.loads(file.read_text())["address"], nannies


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
        return
    process.kill()
    process.wait()


def _kill_workers(
    nannies: Sequence[subprocess.Popen[bytes]], every: float, over: threading.Event, killed: list[int]
) -> None:
    import psutil

    draw = random.Random(1)
    while not over.wait(every):
        nanny = draw.choice(nannies)
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(nanny.pid).children():
                if any("spawn_main" in part for part in child.cmdline()):
                    child.kill()
                    killed.append(child.pid)


def compare_tables(one: Path, other: Path) -> tuple[int, list[str]]:
    """Tables that two runs share byte by byte, lines sorted; and names of those that they do not."""
    files = sorted({file.name for run in (one, other) for file in (run / "tables").glob("*.csv")})
    different = [name for name in files if _lines(one / "tables" / name) != _lines(other / "tables" / name)]
    return len(files) - len(different), different


def _lines(file: Path) -> list[bytes]:
    if not file.exists():
        return [b"missing"]
    with file.open(newline="", encoding="utf-8") as text:
        rows = list(csv.reader(text))
    kept = [k for k, name in enumerate(rows[0]) if not name.startswith(OF_THE_RUN)]
    return sorted("\x1f".join(row[k] for k in kept).encode() for row in rows)


def compare_files(one: Path, other: Path) -> tuple[int, int, list[str]]:
    """Defaced files of two runs: equal byte by byte, in all, and names of those that are not."""
    hashes = [
        {str(file.relative_to(run)): _hash(file) for file in (run / "defaced").rglob("*") if file.is_file()}
        for run in (one, other)
    ]
    names = sorted(set(hashes[0]) | set(hashes[1]))
    different = [name for name in names if hashes[0].get(name) != hashes[1].get(name)]
    return len(names) - len(different), len(names), different


def _hash(file: Path) -> str:
    with file.open("rb") as binary:
        return hashlib.file_digest(binary, "sha256").hexdigest()


def write_table(folder: Path) -> None:
    """Lines of all runs so far."""
    with (folder / "runs.csv").open(newline="") as file:
        runs = {row[0]: row for row in csv.reader(file)}
    lines = [
        "| run | kills | wall s | CPU s | load | exit | tables equal | defaced files equal |",
        "|" + " --- |" * 8,
    ]
    for name, (_, wall, cpu, kills, load, status) in runs.items():
        equal, different = compare_tables(folder / "undisturbed", folder / name)
        same, of, others = compare_files(folder / "undisturbed", folder / name)
        lines.append(
            f"| {name} | {kills} | {wall} | {cpu} | {load} | {status} | {equal} of {equal + len(different)} | "
            f"{same} of {of} |"
        )
        for other in [*different, *others[:5]]:
            print(f"{name}: {other} differs")
    (folder / "faults.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

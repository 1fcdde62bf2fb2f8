"""Headers of many files: in this process, with threads where the disk is slow, or in several processes.

Worker processes are plain children that read paths from their input and answer on their output: unlike
`multiprocessing` they need no guard in the caller's script and may be started from a Dask worker.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from defacedask.errors import ConfigError, DamagedError, InputError
from defacedask.io.dicom.headers import Cut, Header, read_header

__all__ = ["Unreadable", "read_headers"]

#: Starting a process and importing costs about what reading this many headers does.
FILES_A_PROCESS = 4000
PROBE, THREADS = 64, 16


class Unreadable(NamedTuple):
    """A file that gave no header, and why (a clause about "it")."""

    path: str
    reason: str
    #: Whether it was one that should give a header, and lost something.
    damaged: bool = False
    #: What is there of the header of one that is cut off.
    rest: Header | None = None


def _one(path: str) -> Header | Unreadable:
    try:
        return read_header(path)
    except Cut as error:
        return Unreadable(path, error.message, True, error.header)
    except DamagedError as error:
        return Unreadable(path, error.message, True)
    except InputError as error:
        return Unreadable(path, error.message)
    except Exception as error:  # one strange file must not end a scan of thousands
        return Unreadable(path, f"it cannot be parsed ({type(error).__name__}: {error})"[:300], True)


def _waits() -> int:
    """How often this thread has waited for something, so far."""
    try:
        import resource

        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    except (ImportError, AttributeError):  # not on this system
        return 0


def _here(paths: Sequence[str]) -> list[Header | Unreadable]:
    """Read in this process; threads only if the first files show that the time goes into waiting for the disk.

    Where it does not, threads only contend for the interpreter. A busy machine also makes the wall clock run ahead
    of the thread's own time, but only a read that waits gives up the processor of its own accord.
    """
    wall, busy, waits = time.perf_counter(), time.thread_time(), _waits()
    out = [_one(path) for path in paths[:PROBE]]
    wall, busy, waits = time.perf_counter() - wall, time.thread_time() - busy, _waits() - waits
    rest = paths[PROBE:]
    if len(rest) > PROBE and wall > 4 * busy and waits > len(out) // 2:
        with ThreadPoolExecutor(THREADS) as pool:
            return [*out, *pool.map(_one, rest)]
    return [*out, *map(_one, rest)]


def _serve() -> None:
    """Body of a worker process."""
    warnings.filterwarnings("ignore", module="pydicom")
    paths = pickle.load(sys.stdin.buffer)
    pickle.dump(_here(paths), sys.stdout.buffer, protocol=5)


def read_headers(paths: Sequence[str], workers: int | None = None) -> list[Header | Unreadable]:
    """Read headers in the order of ``paths``.

    Parameters
    ----------
    paths : sequence of str
    workers : int, optional
        Processes; by default one for every `FILES_A_PROCESS` files, up to the cores this process may use.

    Raises
    ------
    ConfigError
        If ``workers`` is less than one.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers} workers cannot scan.", "Give one or more.")
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, len(paths) // FILES_A_PROCESS)
    if workers <= 1 or len(paths) < 2 * workers:
        return _here(paths)
    size = -(-len(paths) // workers)
    parts = [list(paths[i : i + size]) for i in range(0, len(paths), size)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", "from defacedask.io.dicom.bulk import _serve; _serve()"]

    def away(part: list[str]) -> list[Header | Unreadable]:
        done = subprocess.run(command, input=pickle.dumps(part), stdout=subprocess.PIPE, env=environment)
        return pickle.loads(done.stdout) if done.returncode == 0 else _here(part)

    with ThreadPoolExecutor(workers) as pool:
        return [header for part in pool.map(away, parts) for header in part]

"""How much memory this process held at most."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import resource
from pathlib import Path
from typing import ClassVar

__all__ = ["KEPT_MB", "peak_mb", "reset_peak"]

#: MB of freed memory that a process may keep when its peak starts anew.
KEPT_MB = 16


def peak_mb() -> float:
    """MB of resident memory that this process held at most since `reset_peak`, or in its whole life.

    Notes
    -----
    ``ru_maxrss`` is for systems without ``/proc`` alone: Linux hands it down through fork and exec, so that a small
    process tells the peak of the large one that started it.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def reset_peak() -> None:
    """Let Linux start the process's peak anew; elsewhere it stays that of its whole life.

    What the process has freed goes back to the system first (glibc keeps it): what comes next does not hold it.
    Less than `KEPT_MB` of it stays: to hand it back and to ask for it again costs as much as a small task.
    """
    global _after_trim
    libc = _libc()
    if libc is not None and _unused(libc) > _after_trim + KEPT_MB:
        libc.malloc_trim(0)
        _after_trim = _unused(libc)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


#: What `_unused` was when memory was last handed back: code and whatever else was not asked of malloc.
_after_trim = 0.0


def _unused(libc: ctypes.CDLL) -> float:
    """MB that are resident and not in use by what malloc gave out."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    heap = libc.mallinfo2()
    return (pages * resource.getpagesize() - heap.uordblks - heap.hblkhd) / 2**20


class _Heap(ctypes.Structure):
    """What glibc tells of its memory (``struct mallinfo2``), bytes: in use are ``uordblks`` and ``hblkhd``."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@functools.cache
def _libc() -> ctypes.CDLL | None:
    """The C library, if it is glibc from 2.33 on, on Linux; None elsewhere."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallinfo2.restype = _Heap
        return libc if libc.malloc_trim and Path("/proc/self/statm").exists() else None
    except (OSError, AttributeError, TypeError):
        return None

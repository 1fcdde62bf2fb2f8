"""How much memory this process held at most."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import resource
from collections.abc import Callable
from pathlib import Path

__all__ = ["peak_mb", "reset_peak"]


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
    """
    trim = _trim()
    if trim is not None:
        trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """``malloc_trim`` of glibc; None where the C library has none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None

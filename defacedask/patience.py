"""To try again what may pass by itself: file systems and networks that stumble."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["patiently"]

T = TypeVar("T")

#: Errors of file systems and networks that pass by themselves.
PASSING = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.EAGAIN,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EREMOTEIO,
        errno.EPIPE,
    }
)
#: Seconds to wait before each further try.
WAITS = (1.0, 5.0)


def patiently(work: Callable[[], T], waits: tuple[float, ...] | None = None) -> T:
    """Do some work; again, after a while, where what went wrong may pass.

    Parameters
    ----------
    work : callable
        Safe to repeat.
    waits : tuple of float, optional
        Seconds before each further try; by default `WAITS`.
    """
    for wait in WAITS if waits is None else waits:
        try:
            return work()
        except Exception as error:
            if not _may_pass(error):
                raise
        time.sleep(wait)
    return work()


def _may_pass(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is of a kind that passes."""
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError)):
            return True
        if isinstance(error, OSError) and error.errno in PASSING:
            return True
        error = error.__cause__
    return False

"""One request rate for a whole cohort, however many threads and workers ask."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["Limiter", "shared_limiter"]


class Limiter:
    """At most ``per_second`` turns a second in this process, evenly spaced.

    Parameters
    ----------
    per_second : float
    """

    def __init__(self, per_second: float) -> None:
        self.pause = 1.0 / per_second
        self._lock = threading.Lock()
        self._next = 0.0

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn."""
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self.pause
        if at > now:
            time.sleep(at - now)
        yield


class ClusterLimiter(Limiter):
    """The same for all workers of a Dask cluster.

    The scheduler's semaphore limits how many ask at once, not how often; each lease is therefore kept for at
    least ``leases / per_second`` seconds.
    """

    def __init__(self, name: str, per_second: float, leases: int = 4) -> None:
        super().__init__(per_second)
        from distributed import Semaphore

        self.least = leases / per_second
        self.semaphore: Any = Semaphore(max_leases=leases, name=f"defacedask-{name}")

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a lease, and keep it long enough."""
        with self.semaphore:
            began = time.monotonic()
            try:
                yield
            finally:
                rest = self.least - (time.monotonic() - began)
                if rest > 0:
                    time.sleep(rest)


@functools.lru_cache(maxsize=16)
def _local(name: str, per_second: float) -> Limiter:
    return Limiter(per_second)


@functools.lru_cache(maxsize=16)
def _cluster(scheduler: str, name: str, per_second: float) -> Limiter:
    return ClusterLimiter(name, per_second)


def shared_limiter(name: str, per_second: float) -> Limiter:
    """Return the cluster's limiter inside a Dask worker, else this process's.

    Parameters
    ----------
    name : str
        Of what is limited.
    per_second : float
    """
    try:
        from distributed import get_worker

        address = get_worker().scheduler.address
    except (ImportError, ValueError, AttributeError):
        return _local(name, per_second)
    return _cluster(address, name, per_second)

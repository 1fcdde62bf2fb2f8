"""Three ways to run tasks behind one small door: a Dask client, one that is opened when it is needed, or right here.

All offer ``submit``, ``finished`` and ``cancel``; the flow knows nothing else about them.
"""

from __future__ import annotations

import collections
import itertools
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import dask.utils

from defacedask.config import option
from defacedask.devices import CUDA, chosen_device, require_card
from defacedask.flow.forgetting import EVERY, ask_to_forget
from defacedask.flow.result import Name
from defacedask.flow.worker import run_task, settled_result

__all__ = ["DaskExecutor", "Executor", "HereExecutor", "LaterExecutor", "device_for", "executor_for"]

#: Seconds for which what is known of the workers is believed.
BELIEVED = 5.0


def executor_for(client: Any) -> Executor:
    """Executor of a client, or of a callable that opens one when the first task must run.

    None means the active client, or, without one, here, one task after the other.
    """
    client = _active_client() if client is None else client
    if client is None:
        return HereExecutor()
    return LaterExecutor(client) if callable(client) else DaskExecutor(client)


def device_for(given: str | None, client: Any) -> str:
    """The device that a run was asked for; where its tasks run here, it is there.

    On a cluster its workers are looked at when the run begins (`defacedask.flow.submit.check_resources`).

    Raises
    ------
    ConfigError, MissingExtraError
        For an unknown device, or ``cuda`` in a process that has none.
    """
    device = chosen_device(given)
    if device == CUDA and client is None and _active_client() is None:
        require_card()
    return device


def _active_client() -> Any:
    """Client that was made last in this process and still is open, as Dask's own collections use it."""
    if "distributed" not in sys.modules:
        return None
    from distributed import Client

    try:
        return Client.current(allow_global=True)
    except ValueError:
        return None


class DaskExecutor:
    """Tasks on a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        from distributed import as_completed

        self.client = client
        self._waiting = as_completed(loop=client.loop)
        self._token, self._numbers = secrets.token_hex(16), itertools.count()
        self._threads, self._asked = 0, -BELIEVED
        #: Whether work beside the cases is done here: workers do not see the run's folder.
        self.at_home = False

    def beside(self) -> DaskExecutor | HereExecutor:
        """Another executor on the same cluster, whose futures nobody else waits for."""
        return HereExecutor() if self.at_home else DaskExecutor(self.client)

    @property
    def threads(self) -> int:
        """Tasks that run at a time, as it was a few seconds ago."""
        if time.monotonic() - self._asked >= BELIEVED:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            self._threads, self._asked = int(sum(w["nthreads"] for w in workers)), time.monotonic()
        return max(self._threads, 1)

    @property
    def window(self) -> int:
        """Cases that keep all workers busy."""
        return 2 * self.threads + 2

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: Name,
        priority: int = 0,
        resources: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Future of ``function(*args, **kwargs)``; futures among ``args`` are waited for by the scheduler."""
        number = next(self._numbers)
        if number % EVERY == EVERY - 1:
            ask_to_forget(self.client)
        future = self.client.submit(
            function,
            *args,
            # the stage leads, so that the dashboard groups by it; the token keeps two runs apart, and the number two
            # submissions of one
            key=(f"{name[0]}-{self._token}", *name[1:], number),
            priority=priority,
            resources=resources or None,
            retries=0,
            pure=False,
            **kwargs,
        )
        self._waiting.add(future)
        return future

    def finished(self) -> Any:
        """Next future of those submitted that has finished; each comes once."""
        return next(self._waiting)

    def blind(self, path: Path) -> list[str]:
        """Addresses of the workers that do not see a file."""
        found = self.client.run(os.path.exists, str(path.absolute()))
        return sorted(worker for worker, seen in found.items() if not seen)

    def lacks(self, resources: Mapping[str, float]) -> bool:
        """Whether no worker offers all of these; one is waited for a while, and without any nothing is known.

        Those with a card often come after the others: their image is larger, and their nodes are fewer.
        """
        if not resources:
            return False
        end = time.monotonic() + float(dask.utils.parse_timedelta(option("cluster.wait")))
        while True:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            if any(
                all(worker["resources"].get(name, 0) >= amount for name, amount in resources.items())
                for worker in workers
            ):
                return False
            if time.monotonic() > end:
                return bool(workers)
            time.sleep(0.1)

    def cancel(self, futures: Iterable[Any]) -> None:
        """Give up what has not finished."""
        self.client.cancel(list(futures), force=True)


class _Done:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self) -> Any:
        return self.value


class HereExecutor:
    """Tasks in this process, run when submitted."""

    #: One after the other, so that no case is worth a task of its own.
    window, threads = 1, sys.maxsize
    at_home = True

    def __init__(self) -> None:
        self._waiting: collections.deque[_Done] = collections.deque()

    def beside(self) -> HereExecutor:
        """Another executor whose futures nobody else waits for."""
        return HereExecutor()

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: Name,
        priority: int = 0,
        resources: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run now; gives a finished future."""
        done = _Done(function(*(a.value if isinstance(a, _Done) else a for a in args), **kwargs))
        self._waiting.append(done)
        return done

    @property
    def waiting(self) -> int:
        """Futures that `finished` still has to give."""
        return len(self._waiting)

    def finished(self) -> Any:
        """Next future that was submitted; each comes once."""
        return self._waiting.popleft()

    def blind(self, path: Path) -> list[str]:
        """Nobody else looks."""
        return []

    def lacks(self, resources: Mapping[str, float]) -> bool:
        """What is here is used; nothing is counted."""
        return False

    def cancel(self, futures: Iterable[Any]) -> None:
        """Nothing is ever pending."""
        self._waiting.clear()


class LaterExecutor:
    """What is kept is taken from disk, here; with the first stage that must run a cluster is opened.

    Parameters
    ----------
    opening : callable
        Gives a `distributed.Client`.
    """

    def __init__(self, opening: Callable[[], Any]) -> None:
        self._opening = opening
        self._here = HereExecutor()
        self._there: DaskExecutor | None = None
        #: Called with the executor of the cluster before anything runs there.
        self.checks: list[Callable[[DaskExecutor], None]] = []
        #: See `DaskExecutor`.
        self.at_home = False

    def beside(self) -> DaskExecutor | HereExecutor:
        """Another executor whose futures nobody else waits for; here, as long as nothing had to run."""
        return HereExecutor() if self._there is None or self.at_home else self._there.beside()

    @property
    def window(self) -> int:
        """Cases that keep all workers busy."""
        return self._here.window if self._there is None else self._there.window

    @property
    def threads(self) -> int:
        """Tasks that run at a time."""
        return self._here.threads if self._there is None else self._there.threads

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: Name,
        priority: int = 0,
        resources: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Future of a task, finished where its result is kept."""
        known = tuple(a.value if isinstance(a, _Done) else a for a in args)
        if self._there is None and function is run_task:
            kept = settled_result(*known, **kwargs)
            if kept is not None:
                return self._here.submit(_given, kept, name=name)
        return self._opened().submit(
            function, *known, name=name, priority=priority, resources=resources, **kwargs
        )

    def _opened(self) -> DaskExecutor:
        if self._there is None:
            try:
                there = DaskExecutor(self._opening())
                for check in self.checks:
                    check(there)
            except Exception as error:
                error.fatal = True  # type: ignore[attr-defined]  # no fault of the case that was the first
                raise
            self._there = there
        return self._there

    def finished(self) -> Any:
        """Next future that has finished; each comes once."""
        if self._here.waiting or self._there is None:
            return self._here.finished()
        return self._there.finished()

    def blind(self, path: Path) -> list[str]:
        """Nobody is there yet; see `checks`."""
        return []

    def lacks(self, resources: Mapping[str, float]) -> bool:
        """Nothing is known yet; see `checks`."""
        return False

    def cancel(self, futures: Iterable[Any]) -> None:
        """Give up what has not finished."""
        self._here.cancel(())
        if self._there is not None:
            self._there.cancel(future for future in futures if not isinstance(future, _Done))


def _given(value: Any) -> Any:
    return value


Executor = DaskExecutor | HereExecutor | LaterExecutor

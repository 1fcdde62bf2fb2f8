"""Two ways to run tasks behind one small door: a Dask client, or right here.

Both offer ``submit``, ``as_completed`` and ``cancel``; the dataflow knows nothing else about either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import dask.base

__all__ = ["DaskExecutor", "HereExecutor", "executor_for"]


def executor_for(client: Any) -> DaskExecutor | HereExecutor:
    """Executor of a client; None means here, one task after the other."""
    return HereExecutor() if client is None else DaskExecutor(client)


class DaskExecutor:
    """Tasks on a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def submit(
        self, function: Callable[..., Any], *args: Any, label: str, priority: int = 0, **kwargs: Any
    ) -> Any:
        """Future of ``function(*args, **kwargs)``; futures among ``args`` are waited for by the scheduler."""
        return self.client.submit(
            function,
            *args,
            # the label leads, so that the dashboard groups by stage; the token keeps two runs apart
            key=f"{label}-{dask.base.tokenize(label, object())}",
            priority=priority,
            retries=0,
            pure=False,
            **kwargs,
        )

    def as_completed(self, futures: Sequence[Any]) -> Iterator[Any]:
        """Futures as they finish."""
        from distributed import as_completed

        return iter(as_completed(futures))

    def cancel(self, futures: Sequence[Any]) -> None:
        """Give up what has not finished."""
        self.client.cancel(list(futures), force=True)


class _Done:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self) -> Any:
        return self.value


class HereExecutor:
    """Tasks in this process, run when submitted."""

    def submit(
        self, function: Callable[..., Any], *args: Any, label: str, priority: int = 0, **kwargs: Any
    ) -> Any:
        """Run now; gives a finished future."""
        return _Done(function(*(a.value if isinstance(a, _Done) else a for a in args), **kwargs))

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        """Futures in the order given."""
        return iter(futures)

    def cancel(self, futures: Iterable[Any]) -> None:
        """Nothing is ever pending."""

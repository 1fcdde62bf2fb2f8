"""Tasks beside those of a flow: some work on parts of a cohort, wherever the flow runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from defacedask.flow.executors import Executor, HereExecutor

__all__ = ["Batches", "all_done", "result_of"]


def all_done(
    executor: Executor, function: Callable[..., Any], work: Sequence[tuple[Any, ...]], *, name: str
) -> list[Any]:
    """``function(*one)`` for each of some work, in its order; what a dying worker took along is done here.

    Parameters
    ----------
    executor : Executor
        None of whose futures is waited for by anybody else; see `defacedask.flow.executors`' ``beside``.
    function : callable
        Safe to repeat.
    work : sequence of tuple
        Its arguments.
    name : str
        Leads the tasks' keys.
    """
    futures = [
        executor.submit(function, *one, name=(name, f"part {number}", ""), priority=1)
        for number, one in enumerate(work)
    ]
    for _ in futures:
        executor.finished()
    return [result_of(future, function, one) for future, one in zip(futures, work, strict=True)]


def result_of(future: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Result of a task; of one whose workers died, from here."""
    try:
        return future.result()
    except Exception as error:
        if type(error).__name__ not in ("KilledWorker", "FutureCancelledError", "CancelledError"):
            raise
        return function(*arguments)


class Batches:
    """Numbered work beside a flow's own, begun as the flow goes on; what is sure to be done is let go of.

    Parameters
    ----------
    executor : Executor
        The flow's.
    function : callable
        Of all the work; safe to repeat. Workers name it in their keys.
    """

    def __init__(self, executor: Executor, function: Callable[..., Any]) -> None:
        self._executor, self._function = executor, function
        self._open: dict[int, tuple[Any, tuple[Any, ...]]] = {}
        self._done: dict[int, Any] = {}
        self._beside: Any = None

    def begin(self, number: int, *work: Any) -> None:
        """Begin one; waits for what was begun long before."""
        if self._beside is None or isinstance(self._beside, HereExecutor):
            self._beside = self._executor.beside()  # a cluster may have been opened since
        name = (self._function.__name__, f"part {number}", "")
        future = self._beside.submit(self._function, *work, name=name, priority=1)
        self._open[number] = (future, work)
        if len(self._open) > 2:
            self._settle(next(iter(self._open)))

    def _settle(self, number: int) -> None:
        future, work = self._open.pop(number)
        self._done[number] = result_of(future, self._function, work)

    def done(self) -> dict[int, Any]:
        """Number -> result, of all that was begun."""
        for number in list(self._open):
            self._settle(number)
        return self._done

"""Tasks beside those of a flow: some work on parts of a cohort, wherever the flow runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from defacedask.flow.executors import Executor

__all__ = ["all_done"]


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

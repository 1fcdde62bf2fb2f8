"""Run the tasks of many cases and bring every outcome home, also when a worker process dies.

When a process is killed (out of memory, a crash inside a library), Dask blames every task that was on it. So
cases that lost a worker get a second try, one case at a time: who is at fault fails again, alone, and the
innocent finish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from defacedask.errors import DefacedaskError, OutputError
from defacedask.flow.result import FAILED, Piece

__all__ = ["run_cases"]

Name = tuple[str, str, str]


def run_cases(
    cases: Sequence[Any],
    submit: Callable[[Any, int], Mapping[Name, Any]],
    executor: Any,
    progress: Callable[[int, int, Piece | None], None] | None = None,
    case_id: Callable[[Any], str] | None = None,
) -> list[Piece]:
    """Submit all cases, wait, and give a second try to those that lost a worker.

    Parameters
    ----------
    cases : sequence
    submit : callable
        ``submit(case, priority)`` -> (stage, case, defacer) -> future of a `Piece`.
    executor : DaskExecutor or HereExecutor
    progress : callable, optional
        ``progress(finished, total, piece)``.
    case_id : callable, optional
        Id of a case: one that cannot even be submitted then becomes a failed piece of the stage ``submit``.

    Returns
    -------
    list of Piece
        One for each future, and for each case that could not be submitted.

    Raises
    ------
    OutputError
        If a piece says that nothing more can be written; what was finished stays.
    """
    broken: list[Piece] = []

    def start(case: Any, priority: int) -> Mapping[Name, Any]:
        try:
            return submit(case, priority)
        except Exception as error:
            if case_id is None or getattr(error, "fatal", False):
                raise
            what = str(error) if isinstance(error, DefacedaskError) else f"{type(error).__name__}: {error}"
            broken.append(Piece("submit", case_id(case), "", "", FAILED, f"it could not be started: {what}"))
            return {}

    graphs = [start(case, -k) for k, case in enumerate(cases)]
    names = {future: name for graph in graphs for name, future in graph.items()}
    owners = {future: k for k, graph in enumerate(graphs) for future in graph.values()}
    total, finished = len(names) + len(broken), 0
    pieces: dict[Name, Piece] = {}
    lost: dict[int, str] = {}
    if progress:
        progress(0, total, None)
    for piece in broken:
        finished += 1
        if progress:
            progress(finished, total, piece)

    def take(name: Name, future: Any, owner: int, again: bool) -> None:
        nonlocal finished
        try:
            piece = future.result()
        except Exception as error:
            # a stage never raises: the process that ran it was lost
            if not again:
                lost[owner] = type(error).__name__
                return
            reason = (
                f"{name[0]}: the worker process was lost twice ({type(error).__name__}); "
                "it may lack memory, see the worker's log."
            )
            piece = Piece(*name, "", FAILED, reason)
        pieces[name] = piece
        finished += 1
        if progress:
            progress(finished, total, piece)
        if piece.fatal and not piece.upstream:
            executor.cancel(list(names))
            raise OutputError(
                piece.reason, "What was finished stays; the same command goes on from there.", fatal=True
            )

    for future in executor.as_completed(list(names)):
        take(names[future], future, owners[future], again=False)
    for owner in sorted(lost):
        # finished pieces are kept on disk: only what is missing runs again
        graph = {name: f for name, f in start(cases[owner], 0).items() if name not in pieces}
        again = {future: name for name, future in graph.items()}
        for future in executor.as_completed(list(again)):
            take(again[future], future, owner, again=True)
    return [*pieces.values(), *broken]

"""Run the tasks of many cases, some at a time, and bring every outcome home, also when a worker process dies.

Only as many cases are in flight as keep the workers busy, and nothing of a case stays here or on the cluster once
its results were handed on: so a run needs no more memory for a hundred thousand cases than for a hundred.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from defacedask.errors import DefacedaskError, OutputError
from defacedask.flow.result import FAILED, Name, TaskResult

if TYPE_CHECKING:
    from defacedask.flow.executors import Executor

__all__ = ["CHANCES", "Progress", "run_cases"]

Progress = Callable[[int, int, TaskResult | None], None]

#: More times that a case is begun whose process died, alone and at the end: it may have died of a neighbour, or been
#: killed from outside.
CHANCES = 2


def run_cases(
    cases: Sequence[Any],
    submit: Callable[[Any, int, int], Mapping[Name, Any]],
    executor: Executor,
    progress: Progress | None = None,
    *,
    case_id: Callable[[Any], str],
    whole: Callable[[Any, int], Mapping[Name, Any]] | None = None,
) -> Iterator[tuple[Any, list[TaskResult]]]:
    """Run all cases; each comes back with its results as soon as it has finished.

    Parameters
    ----------
    cases : sequence
    submit : callable
        ``submit(case, priority, chance)`` -> (stage, case, defacer) -> future of a `TaskResult`, or of the list
        of those that have this future. The chance is 0, or 1 to `CHANCES` where its process died before.
    executor : Executor
    progress : callable, optional
        ``progress(finished, total, result)``: tasks that have finished, an estimate of all, and the one that
        just has.
    case_id : callable
        Id of a case: one that cannot even be submitted is a failed result of the stage ``submit``.
    whole : callable, optional
        ``whole(case, priority)``: as ``submit``, as few tasks as can be; used as long as there are more cases to come
        than tasks run at a time.

    Yields
    ------
    case : object
    results : list of TaskResult
        One for each of its futures.

    Raises
    ------
    OutputError
        If a result says that nothing more can be written; what was finished stays.
    """
    flight = _Flight(cases, submit, executor, progress, case_id, whole)
    try:
        yield from flight.run()
    finally:
        # also where the caller stops, or is stopped
        flight.give_up()


@dataclasses.dataclass(eq=False)
class _Open:
    """A case in flight."""

    case: Any
    missing: dict[Any, list[Name]]
    results: list[TaskResult] = dataclasses.field(default_factory=list)
    chance: int = 0
    lost: bool = False

    def lose(self) -> bool:
        """Take note that its process died; False if this was its last chance."""
        if self.chance < CHANCES:
            self.lost = True
        return self.lost


@dataclasses.dataclass
class _Flight:
    cases: Sequence[Any]
    submit: Callable[[Any, int, int], Mapping[Name, Any]]
    executor: Executor
    progress: Progress | None
    case_id: Callable[[Any], str]
    whole: Callable[[Any, int], Mapping[Name, Any]] | None = None
    owners: dict[Any, _Open] = dataclasses.field(default_factory=dict)
    begun: int = 0
    tasks: int = 0
    finished: int = 0

    def run(self) -> Iterator[tuple[Any, list[TaskResult]]]:
        queue = iter(enumerate(self.cases))
        unlucky: list[_Open] = []
        self._tell(None)
        ready: list[_Open] = []
        flying = 0
        while True:
            while flying < self.executor.window and (following := next(queue, None)) is not None:
                number, case = following
                one = self._start(case, -number)
                if one.missing:
                    flying += 1
                else:
                    ready.append(one)
            while ready:
                done = ready.pop()
                yield done.case, done.results
            if not flying:
                break
            ended = self._next()
            if ended is not None:
                flying -= 1
                if ended.lost:
                    unlucky.append(ended)
                else:
                    ready.append(ended)
        for one in unlucky:
            while one.lost:
                one = self._start(one.case, 0, one.chance + 1)
                while one.missing:
                    self._next()
            yield one.case, one.results

    def _start(self, case: Any, priority: int, chance: int = 0) -> _Open:
        """Submit a case; what finished before is kept on disk, so that only what is missing runs again."""
        one = _Open(case, {}, chance=chance)
        try:
            graph = self._submit(case, priority, chance)
        except Exception as error:
            if getattr(error, "fatal", False):
                raise
            what = str(error) if isinstance(error, DefacedaskError) else f"{type(error).__name__}: {error}"
            reason = f"it could not be started: {what}"
            one.results.append(TaskResult("submit", self.case_id(case), "", "", FAILED, reason))
            graph = {}
        if not chance:
            self.begun += 1
            self.tasks += len(graph) + len(one.results)
        for name, future in graph.items():
            one.missing.setdefault(future, []).append(name)
        self.owners |= dict.fromkeys(one.missing, one)
        for result in one.results:
            self._count(result)
        return one

    def _submit(self, case: Any, priority: int, chance: int) -> Mapping[Name, Any]:
        # one that was lost goes stage by stage: so it is known which of them took the worker along
        if self.whole and not chance and len(self.cases) - self.begun > self.executor.threads:
            return self.whole(case, priority)
        return self.submit(case, priority, chance)

    def _next(self) -> _Open | None:
        """Wait for a future; its case, if it was the last one."""
        future = self.executor.finished()
        while future not in self.owners:  # a part of a case whose last part tells all
            future = self.executor.finished()
        one = self.owners.pop(future)
        names = one.missing.pop(future)
        try:
            found = future.result()
            results = found if isinstance(found, list) else [found]
        except Exception as error:
            # a stage never raises: the process that ran it was lost
            reason = (
                f"{names[0][0]}: the worker process was lost in each of {CHANCES + 1} tries "
                f"({type(error).__name__}); it may lack memory, see the worker's log."
            )
            results = [TaskResult(*name, "", FAILED, reason, died=True) for name in names]
        if not one.lost and any(result.died for result in results) and one.lose():
            self.finished -= len(one.results)
        one.results += results
        for result in results:
            if not one.lost:
                self._count(result)
            if result.fatal and not result.upstream:
                raise OutputError(
                    result.reason, "What was finished stays; the same command goes on from there.", fatal=True
                )
        return None if one.missing else one

    def _count(self, result: TaskResult) -> None:
        self.finished += 1
        self._tell(result)

    def _tell(self, result: TaskResult | None) -> None:
        if self.progress:
            later = len(self.cases) - self.begun
            each = self.tasks / self.begun if self.begun else 0.0
            self.progress(self.finished, self.tasks + round(later * each), result)

    def give_up(self) -> None:
        """Cancel what is still in flight."""
        if self.owners:
            self.executor.cancel(self.owners)
            self.owners.clear()

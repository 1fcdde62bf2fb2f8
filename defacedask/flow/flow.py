"""A flow at work on a folder: held for one run, its workers looked at, all cases through its stages."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from defacedask.flow.executors import Executor, LaterExecutor, executor_for
from defacedask.flow.lock import check_seen, only_run
from defacedask.flow.result import Graph, Piece
from defacedask.flow.run import Progress, run_cases
from defacedask.flow.stage import Stage, check_resources, submit_case, submit_whole_case

__all__ = ["Flow", "flow_on"]

RunT = TypeVar("RunT")


@dataclasses.dataclass(frozen=True)
class Flow(Generic[RunT]):
    """Stages, and where they run.

    Attributes
    ----------
    stages : tuple of Stage
    executor : Executor
    kept : Path
        Folder of the results.
    token : str
        Of this run.
    brief : callable, optional
        Piece -> what of it is handed on; the rest stays on disk.
    """

    stages: tuple[Stage[RunT], ...]
    executor: Executor
    kept: Path
    token: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))
    brief: Callable[[Piece], Piece] | None = None

    def submit(
        self,
        run: RunT,
        case: Any,
        case_id: str,
        defacers: Iterable[str],
        priority: int = 0,
        chance: int = 0,
    ) -> Graph:
        """Submit all stages of one case; see `defacedask.flow.stage.submit_case`.

        With another chance (`defacedask.flow.run.run_cases`) deaths are counted anew.
        """
        return submit_case(
            self.stages,
            run,
            case,
            case_id,
            defacers,
            self.executor,
            kept=self.kept,
            priority=priority,
            token=f"{self.token}-{chance}",
        )

    def run(
        self,
        run: RunT,
        cases: Sequence[Any],
        defacers: Sequence[str],
        progress: Progress | None = None,
        *,
        case_id: Callable[[Any], str] = lambda case: case.id,
        before: Callable[[Any], None] = lambda case: None,
    ) -> Iterator[tuple[Any, list[Piece]]]:
        """Run all cases; see `defacedask.flow.run.run_cases`.

        Parameters
        ----------
        run : object
            Given to the stages with every task.
        cases : sequence
        defacers : sequence of str
        progress : callable, optional
        case_id : callable
        before : callable
            Called with each case before it is submitted.
        """

        def submit(case: Any, priority: int, chance: int) -> Graph:
            before(case)
            return self.submit(run, case, case_id(case), defacers, priority, chance)

        def whole(case: Any, priority: int) -> Graph:
            before(case)
            return submit_whole_case(
                self.stages,
                run,
                case,
                case_id(case),
                defacers,
                self.executor,
                kept=self.kept,
                priority=priority,
                token=f"{self.token}-0",
                brief=self.brief,
            )

        brief = self.brief or (lambda piece: piece)
        for case, pieces in run_cases(cases, submit, self.executor, progress, case_id=case_id, whole=whole):
            yield case, [brief(piece) for piece in pieces]


@contextlib.contextmanager
def flow_on(
    folder: Path,
    stages: Iterable[Stage[RunT]],
    client: Any,
    *,
    command: str,
    cases: int,
    brief: Callable[[Piece], Piece] | None = None,
) -> Iterator[Flow[RunT]]:
    """Hold a folder for one run of a flow, whose results are kept below it.

    Parameters
    ----------
    folder : Path
        Of the run's own data, absolute.
    stages : iterable of Stage
    client : distributed.Client, callable or None
        See `defacedask.flow.executors.executor_for`.
    command : str
    cases : int
        For `defacedask.flow.status`.
    brief : callable, optional
        See `Flow`.

    Raises
    ------
    ConfigError
        If another run holds the folder, or workers do not see it, or none offers what a stage needs.
    OutputError
        If nothing can be written there.
    """
    flow = Flow(tuple(stages), executor_for(client), folder / "pieces", brief=brief)
    if isinstance(flow.executor, LaterExecutor):
        flow.executor.checks += [
            lambda opened: check_resources(flow.stages, opened),
            lambda opened: check_seen(folder, opened),
        ]
    check_resources(flow.stages, flow.executor)
    with only_run(folder, flow.executor, command=command, cases=cases):
        yield flow

"""A flow at work on a folder: held for one run, its workers looked at, all cases through its stages."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from defacedask.flow.executors import Executor, LaterExecutor, executor_for
from defacedask.flow.lending import Lender
from defacedask.flow.lock import check_seen, only_run
from defacedask.flow.result import Graph, TaskResult
from defacedask.flow.run import Progress, run_cases
from defacedask.flow.stage import Stage, check_resources, submit_case, submit_whole_case

if TYPE_CHECKING:
    from defacedask.flow.away import Away
    from defacedask.flow.depot import Depot

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
        TaskResult -> what of it is handed on; the rest stays on disk.
    depot : Depot, optional
        Where the run's folder is objects; it is held.
    lender : Lender, optional
        Of input that workers do not see.
    """

    stages: tuple[Stage[RunT], ...]
    executor: Executor
    kept: Path
    token: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))
    brief: Callable[[TaskResult], TaskResult] | None = None
    depot: Depot | None = None
    lender: Lender | None = None

    @property
    def away(self) -> Away | None:
        """Where the run's folder is objects."""
        return None if self.depot is None else self.depot.away

    def share(self, path: Path) -> None:
        """Let the stages have a file of the run that is of no case, wherever they run."""
        if self.depot:
            self.depot.share(path)

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
            away=self.away,
            lender=self.lender,
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
    ) -> Iterator[tuple[Any, list[TaskResult]]]:
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

        def begin(case: Any) -> None:
            before(case)
            if self.depot:
                self.depot.push(case_id(case))

        def submit(case: Any, priority: int, chance: int) -> Graph:
            begin(case)
            return self.submit(run, case, case_id(case), defacers, priority, chance)

        def whole(case: Any, priority: int) -> Graph:
            begin(case)
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
                away=self.away,
                lender=self.lender,
            )

        if self.depot:
            self.depot.keep_key()
        brief = self.brief or (lambda result: result)
        for case, results in run_cases(cases, submit, self.executor, progress, case_id=case_id, whole=whole):
            if self.depot:
                self.depot.bring(case_id(case))
            yield case, [brief(result) for result in results]
            if self.depot:
                self.depot.push(case_id(case))


@contextlib.contextmanager
def flow_on(
    folder: Path,
    stages: Iterable[Stage[RunT]],
    client: Any,
    *,
    command: str,
    cases: int,
    brief: Callable[[TaskResult], TaskResult] | None = None,
    depot: Depot | None = None,
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
    depot : Depot, optional
        Where the run's folder is objects: held, so that no worker needs to see the folder.

    Raises
    ------
    ConfigError
        If another run holds the folder, or workers do not see it, or none offers what a stage needs.
    OutputError
        If nothing can be written there.
    """
    flow = Flow(tuple(stages), executor_for(client), folder / "results", brief=brief, depot=depot)
    if isinstance(flow.executor, LaterExecutor):
        flow.executor.checks.append(lambda opened: check_resources(flow.stages, opened))
        if depot is None:
            flow.executor.checks.append(lambda opened: check_seen(folder, opened))
    if depot is not None:
        lender = Lender(depot.objects, flow.executor)
        flow = dataclasses.replace(flow, lender=lender)
        if isinstance(flow.executor, LaterExecutor):
            flow.executor.checks.append(lender.opened)
        # what is beside the cases is made of many of them, and these are here
        flow.executor.at_home = True
    check_resources(flow.stages, flow.executor)
    with only_run(folder, None if depot else flow.executor, command=command, cases=cases):
        yield flow

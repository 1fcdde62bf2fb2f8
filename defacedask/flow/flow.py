"""A flow at work on a folder: held for one run, its workers looked at, all cases through its stages."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from defacedask.config import check
from defacedask.flow.executors import Executor, LaterExecutor, executor_for
from defacedask.flow.lending import Lender
from defacedask.flow.lock import check_seen, only_run
from defacedask.flow.result import Graph, TaskResult
from defacedask.flow.run import Progress, run_cases
from defacedask.flow.stage import Stage, check_resources
from defacedask.flow.steps import Step, Steps, run_steps, steps_of
from defacedask.flow.worker import run_task

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
        self, run: RunT, case: Any, case_id: str, defacers: Iterable[str], priority: int = 0, chance: int = 0
    ) -> Graph:
        """Submit all stages of one case, in the order given, each as a task of its own.

        Parameters
        ----------
        run : object
            Given to the stages with every task.
        case : object
        case_id : str
        defacers : iterable of str
        priority : int
            Larger goes first.
        chance : int
            With another one (`defacedask.flow.run.run_cases`) deaths are counted anew.

        Returns
        -------
        dict
            (stage, case, defacer) -> future of a `TaskResult`. Its rows stay on disk.
        """
        graph: Graph = {}
        for step in self._steps(run, case, case_id, defacers, chance):
            graph[step.name] = self.executor.submit(
                run_task,
                *step.work,
                *(graph[need] for need in step.needs),
                name=step.name,
                priority=priority,
                resources=dict(step.resources),
                **step.options,
            )
        return graph

    def submit_whole(
        self, run: RunT, case: Any, case_id: str, defacers: Iterable[str], priority: int = 0
    ) -> Graph:
        """Submit a case as one task that runs its stages one after the other: a tenth of the work for the scheduler.

        Where there are more cases than workers, nothing is gained by a task a stage. Each stage is kept as ever, so
        that what a lost worker had finished is not done again. Stages that ask for a resource are tasks apart from
        those that do not.

        Parameters
        ----------
        run, case, case_id, defacers, priority
            As in `submit`.

        Returns
        -------
        dict
            (stage, case, defacer) -> the one future, of a list of `TaskResult`.
        """
        steps = self._steps(run, case, case_id, defacers)
        parts = [
            (needed, list(part)) for needed, part in itertools.groupby(steps, key=lambda step: step.resources)
        ]
        future: Any = None
        for number, (needed, part) in enumerate(parts, 1):
            future = self.executor.submit(
                run_steps,
                Steps(part, self.brief if number == len(parts) else None),
                *([] if future is None else [future]),
                name=("case", case_id, ""),
                priority=priority,
                resources=dict(needed),
            )
        return dict.fromkeys((step.name for step in steps), future)

    def _steps(
        self, run: RunT, case: Any, case_id: str, defacers: Iterable[str], chance: int = 0
    ) -> list[Step]:
        """Steps of a case, with the input that workers do not see."""
        away, token = self.away, f"{self.token}-{chance}"
        steps = list(steps_of(self.stages, run, case, case_id, tuple(defacers), self.kept, token, away))
        if away is not None and self.lender is not None:
            own = self.lender.see(case_id, steps, away)
            for step in steps:
                step.options["away"] = own
        return steps

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

        def begin(case: Any) -> tuple[RunT, Any, str, Sequence[str]]:
            before(case)
            if self.depot:
                self.depot.push(case_id(case))
            return run, case, case_id(case), defacers

        def submit(case: Any, priority: int, chance: int) -> Graph:
            return self.submit(*begin(case), priority, chance)

        def whole(case: Any, priority: int) -> Graph:
            return self.submit_whole(*begin(case), priority)

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
        If another run holds the folder, or workers do not see it, or none offers what a stage needs; and if the
        configuration has what is no option, or a value of another kind.
    OutputError
        If nothing can be written there.
    """
    check()
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
    with only_run(folder, None if depot else flow.executor, command=command, cases=cases, token=flow.token):
        yield flow

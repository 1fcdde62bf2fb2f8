"""A stage is data: its name, its function, what it builds on, what its outcome depends on, how long it may take.

A list of stages is a whole flow. It becomes tasks here and nowhere else: one a stage (`submit_case`), or one a case
(`submit_whole_case`). Keys, records, retries and time limits are made in `defacedask.flow.result`, once for all.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from defacedask.config import option
from defacedask.errors import ConfigError
from defacedask.flow.result import Graph, Name, TaskResult, run_task
from defacedask.io.store import called_as

if TYPE_CHECKING:
    from defacedask.flow.away import Away
    from defacedask.flow.executors import Executor
    from defacedask.flow.lending import Lender
    from defacedask.flow.result import Outcome

__all__ = ["EACH_DEFACER", "HOUR", "Stage", "Task", "check_resources", "submit_case", "submit_whole_case"]

#: Of `Stage.each`: once a defacer.
EACH_DEFACER = "*"
HOUR = 3600.0

RunT = TypeVar("RunT")


@dataclasses.dataclass(frozen=True)
class Task(Generic[RunT]):
    """One stage on one case.

    Attributes
    ----------
    run : object
        Whatever the flow's stages need to know of the run.
    case : object
        What the run works on; its id is given apart.
    defacer : str
    """

    run: RunT
    case: Any
    defacer: str
    _shared: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def plain(self) -> dict[str, Any]:
        """``case.to_dict()``, made once for all stages of the case."""
        if "plain" not in self._shared:
            self._shared["plain"] = self.case.to_dict()
        plain: dict[str, Any] = self._shared["plain"]
        return plain


@dataclasses.dataclass(frozen=True)
class Stage(Generic[RunT]):
    """What is done to a case, once or once a defacer.

    Attributes
    ----------
    name : str
        Leads the task's key, so that the dashboard groups by it.
    function : callable
        ``function(*results of what it needs, **arguments) -> Outcome``.
    arguments : callable
        Task -> its keyword arguments.
    depends : callable
        Task -> JSON-able options and hashes that its outcome depends on, beside the version and what it needs.
    needs : tuple
        Names of stages: of the same defacer where they run once a defacer, else of the case. A pair (name, defacer)
        means that defacer's.
    each : str
        Empty: once a case. `EACH_DEFACER`: once a defacer. Anything else: once, under that name.
    when : callable
        Task -> whether it runs at all.
    seconds : float
        How long it may take on a cluster, times the option ``cluster.patience``; a process that takes longer is
        ended, and the case goes on without it.
    resources : mapping
        What a worker must offer, as in ``{"GPU": 1}``.
    """

    name: str
    function: Callable[..., Outcome]
    arguments: Callable[[Task[RunT]], Mapping[str, Any]]
    depends: Callable[[Task[RunT]], Any] = lambda _: None
    needs: tuple[str | tuple[str, str], ...] = ()
    each: str = ""
    when: Callable[[Task[RunT]], bool] = lambda _: True
    seconds: float = 2 * HOUR
    resources: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def whose(self, defacers: Iterable[str]) -> Sequence[str]:
        """Defacers, or what stands in place of one, that it runs for."""
        return tuple(defacers) if self.each == EACH_DEFACER else (self.each,)


def check_resources(stages: Iterable[Stage[Any]], executor: Executor) -> None:
    """Before a run: each stage finds a worker that offers what it asks for, or it would wait for ever.

    Raises
    ------
    ConfigError
        If none of the workers does. Where none has come yet, nothing is known, and nothing is raised.
    """
    for stage in stages:
        if executor.lacks(stage.resources):
            wanted = ",".join(f"{name}={amount:g}" for name, amount in stage.resources.items())
            raise ConfigError(
                f"no worker offers what the stage {stage.name} needs ({wanted}).",
                f"Start workers with: dask worker --resources {wanted}",
            )


@dataclasses.dataclass(frozen=True)
class Step:
    """A stage of one case, ready to run.

    Attributes
    ----------
    name : tuple
        (stage, case, defacer).
    needs : tuple
        Names of the steps that it builds on.
    work : tuple
        Function and arguments, as `defacedask.flow.result.run_task` takes them.
    options : dict
        The rest of what it takes.
    resources : mapping
    """

    name: Name
    needs: tuple[Name, ...]
    work: tuple[Callable[..., Outcome], dict[str, Any]]
    options: dict[str, Any]
    resources: Mapping[str, float]


def _steps(
    stages: Iterable[Stage[RunT]],
    run: RunT,
    case: Any,
    case_id: str,
    defacers: tuple[str, ...],
    kept: str | Path,
    token: str,
    away: Away | None,
) -> Iterator[Step]:
    """Steps of a case, in the order given."""
    shared: dict[str, Any] = {}
    known: set[Name] = set()
    patience, again = float(option("cluster.patience")), bool(option("cluster.retry-failed"))
    for stage in stages:
        for defacer in stage.whose(defacers):
            task = Task(run, case, defacer, shared)
            if not stage.when(task):
                continue
            name = (stage.name, case_id, defacer)
            needs = tuple(_needed(need, case_id, defacer, known) for need in stage.needs)
            known.add(name)
            options: dict[str, Any] = {
                "folder": str(kept),
                "stage": stage.name,
                "case": case_id,
                "defacer": defacer,
                "depends": None,
                "token": token,
                "limit": stage.seconds * patience,
                "rows": False,
                "again": again,
            }
            arguments = dict(stage.arguments(task))
            if away is None:
                options["depends"] = stage.depends(task)
            else:
                # the same wherever the run is started
                with called_as(away.outward):
                    options |= {"depends": away.outward(stage.depends(task)), "away": away}
                arguments = away.outward(arguments)
            work = (stage.function, arguments)
            yield Step(name, needs, work, options, dict(stage.resources))


def _lent(steps: Iterable[Step], case: str, away: Away | None, lender: Lender | None) -> list[Step]:
    """Steps of a case, with the input that workers do not see."""
    steps = list(steps)
    if away is not None and lender is not None:
        own = lender.see(case, steps, away)
        for step in steps:
            step.options["away"] = own
    return steps


def submit_case(
    stages: Iterable[Stage[RunT]],
    run: RunT,
    case: Any,
    case_id: str,
    defacers: Iterable[str],
    executor: Executor,
    *,
    kept: str | Path,
    priority: int = 0,
    token: str = "",
    away: Away | None = None,
    lender: Lender | None = None,
) -> Graph:
    """Submit all stages of one case, in the order given, each as a task of its own.

    Parameters
    ----------
    stages : iterable of Stage
        What is needed comes before what needs it.
    run : object
        Given to the stages with every task.
    case : object
    case_id : str
    defacers : iterable of str
    executor : Executor
    kept : path
        Folder of the results.
    priority : int
        Larger goes first.
    token : str
        Of the run: the same for all its cases, another for the next run.
    away : Away, optional
        See `defacedask.flow.result.run_task`.
    lender : Lender, optional
        Of input that workers do not see.

    Returns
    -------
    dict
        (stage, case, defacer) -> future of a `TaskResult`. Its rows stay on disk.
    """
    graph: Graph = {}
    steps = _lent(
        _steps(stages, run, case, case_id, tuple(defacers), kept, token, away), case_id, away, lender
    )
    for step in steps:
        graph[step.name] = executor.submit(
            run_task,
            *step.work,
            *(graph[need] for need in step.needs),
            name=step.name,
            priority=priority,
            resources=dict(step.resources),
            **step.options,
        )
    return graph


def submit_whole_case(
    stages: Iterable[Stage[RunT]],
    run: RunT,
    case: Any,
    case_id: str,
    defacers: Iterable[str],
    executor: Executor,
    *,
    kept: str | Path,
    priority: int = 0,
    token: str = "",
    brief: Callable[[TaskResult], TaskResult] | None = None,
    away: Away | None = None,
    lender: Lender | None = None,
) -> Graph:
    """Submit a case as one task that runs its stages one after the other: a tenth of the work for the scheduler.

    Where there are more cases than workers, nothing is gained by a task a stage. Each stage is kept as ever, so that
    what a lost worker had finished is not done again. Stages that ask for a resource are tasks apart from those that
    do not.

    Parameters
    ----------
    stages, run, case, case_id, defacers, executor, kept, priority, token, away, lender
        As in `submit_case`.
    brief : callable, optional
        TaskResult -> what of it is sent to the client.

    Returns
    -------
    dict
        (stage, case, defacer) -> the one future, of a list of `TaskResult`.
    """
    names: list[Name] = []
    future: Any = None
    parts = [
        (resources, list(part))
        for resources, part in itertools.groupby(
            _lent(
                _steps(stages, run, case, case_id, tuple(defacers), kept, token, away), case_id, away, lender
            ),
            key=lambda step: step.resources,
        )
    ]
    for number, (resources, part) in enumerate(parts, 1):
        names += [step.name for step in part]
        future = executor.submit(
            run_steps,
            Steps(part, brief if number == len(parts) else None),
            *([] if future is None else [future]),
            name=("case", case_id, ""),
            priority=priority,
            resources=dict(resources),
        )
    return dict.fromkeys(names, future)


class Steps:
    """Steps that one task runs. No dataclass: Dask would look through all it holds for futures.

    Parameters
    ----------
    steps : list of Step
    brief : callable or None
        TaskResult -> what is given back of it.
    """

    def __init__(self, steps: Sequence[Step], brief: Callable[[TaskResult], TaskResult] | None) -> None:
        self.steps, self.brief = steps, brief


def run_steps(work: Steps, before: Sequence[TaskResult] = ()) -> list[TaskResult]:
    """Run steps one after the other, on what was done before; gives all results, also those from before."""
    found: dict[Name, TaskResult] = {(result.stage, result.case, result.defacer): result for result in before}
    for step in work.steps:
        found[step.name] = run_task(*step.work, *(found[need] for need in step.needs), **step.options)
    for away in {step.options["away"] for step in work.steps if "away" in step.options}:
        away.let_go(work.steps[0].name[1])
    return [work.brief(result) if work.brief else result for result in found.values()]


def _needed(need: str | tuple[str, str], case: str, defacer: str, known: set[Name]) -> Name:
    if isinstance(need, tuple):
        return (need[0], case, need[1])
    own = (need, case, defacer)
    return own if own in known else (need, case, "")

"""A stage is data: its name, its function, what it builds on, what its outcome depends on, how long it may take.

A list of stages is a whole flow. `submit_case` is the only place that turns one into tasks; keys, records, retries
and time limits are made in `defacedask.flow.result`, once for all flows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from defacedask.errors import ConfigError
from defacedask.flow.result import Graph, Name, run_piece

if TYPE_CHECKING:
    from defacedask.flow.executors import Executor
    from defacedask.flow.result import Outcome

__all__ = ["EACH_DEFACER", "HOUR", "Stage", "Task", "check_resources", "submit_case"]

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
        How long it may take on a cluster; a process that takes longer is ended, and the case goes on without it.
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
) -> Graph:
    """Submit all stages of one case, in the order given.

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

    Returns
    -------
    dict
        (stage, case, defacer) -> future of a `Piece`.
    """
    defacers = tuple(defacers)
    graph: Graph = {}
    for stage in stages:
        for defacer in stage.whose(defacers):
            task = Task(run, case, defacer)
            if not stage.when(task):
                continue
            name = (stage.name, case_id, defacer)
            graph[name] = executor.submit(
                run_piece,
                stage.function,
                dict(stage.arguments(task)),
                *(graph[_needed(need, case_id, defacer, graph)] for need in stage.needs),
                name=name,
                priority=priority,
                resources=dict(stage.resources),
                folder=str(kept),
                stage=stage.name,
                case=case_id,
                defacer=defacer,
                depends=stage.depends(task),
                token=token,
                limit=stage.seconds,
            )
    return graph


def _needed(need: str | tuple[str, str], case: str, defacer: str, graph: Graph) -> Name:
    if isinstance(need, tuple):
        return (need[0], case, need[1])
    own = (need, case, defacer)
    return own if own in graph else (need, case, "")

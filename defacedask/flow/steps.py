"""Stages of one case, ready to run: what a task is given, and what it does with several of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from defacedask.config import option
from defacedask.flow.away import Away
from defacedask.flow.result import Name, Outcome, TaskResult
from defacedask.flow.stage import Stage, Task
from defacedask.flow.worker import run_task
from defacedask.io.store import called_as

__all__ = ["Step", "Steps", "run_steps", "steps_of"]

RunT = TypeVar("RunT")


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
        Function and arguments, as `defacedask.flow.worker.run_task` takes them.
    options : dict
        The rest of what it takes.
    resources : mapping
    """

    name: Name
    needs: tuple[Name, ...]
    work: tuple[Callable[..., Outcome], dict[str, Any]]
    options: dict[str, Any]
    resources: Mapping[str, float]


def steps_of(
    stages: Iterable[Stage[RunT]],
    run: RunT,
    case: Any,
    case_id: str,
    defacers: tuple[str, ...],
    kept: str | Path,
    token: str,
    away: Away | None = None,
) -> Iterator[Step]:
    """Steps of a case, in the order given.

    Parameters
    ----------
    stages : iterable of Stage
        What is needed comes before what needs it.
    run : object
        Given to the stages with every task.
    case : object
    case_id : str
    defacers : tuple of str
    kept : path
        Folder of the results.
    token : str
        Of the run: the same for all its cases, another for the next run.
    away : Away, optional
        Where the run's folder is objects: it stands for the folders of this machine, in arguments and in `depends`.
    """
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


def _needed(need: str | tuple[str, str], case: str, defacer: str, known: set[Name]) -> Name:
    if isinstance(need, tuple):
        return (need[0], case, need[1])
    own = (need, case, defacer)
    return own if own in known else (need, case, "")


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

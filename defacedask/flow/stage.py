"""A stage is data: its name, its function, what it builds on, what its outcome depends on, how long it may take.

A list of stages is a whole flow. It becomes tasks in `defacedask.flow.flow` and nowhere else. Keys, records, retries
and time limits are made in `defacedask.flow.worker`, once for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from defacedask.errors import ConfigError
from defacedask.flow.result import Outcome

__all__ = ["EACH_DEFACER", "HOUR", "Stage", "Task", "check_resources"]

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


class Workers(Protocol):
    """Of an executor: what its workers offer."""

    def lacks(self, resources: Mapping[str, float]) -> bool:
        """Whether no worker offers all of these."""


def check_resources(stages: Iterable[Stage[Any]], executor: Workers) -> None:
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

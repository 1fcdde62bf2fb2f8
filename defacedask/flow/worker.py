"""One task on a worker: a stage runs, or what an earlier run left is taken; either way there is a result.

What goes wrong inside a stage is a result too. It never leaves the worker as an exception, so one bad case cannot
stop the rest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from defacedask.errors import (
    DefacedaskError,
    OutputError,
    RefusedError,
    disk_is_full,
    os_error_in,
)
from defacedask.flow.faults import Begun
from defacedask.flow.result import (
    DONE,
    FAILED,
    REFUSED,
    Outcome,
    TaskResult,
    kept_result,
    result_path,
    save,
)
from defacedask.flow.telling import tell
from defacedask.memory import peak_mb, reset_peak
from defacedask.patience import patiently

__all__ = ["Elsewhere", "run_task", "settled_result"]

log = logging.getLogger(__name__)


class Elsewhere(Protocol):
    """Where the run's folder is no folder that this process sees; see `defacedask.flow.away.Away`."""

    def run(
        self, function: Callable[..., Outcome], arguments: dict[str, Any], *before: TaskResult, **options: Any
    ) -> TaskResult:
        """As `run_task`, on a case that lies there."""


def run_task(
    function: Callable[..., Outcome],
    arguments: dict[str, Any],
    *before: TaskResult,
    folder: str,
    stage: str,
    case: str,
    defacer: str = "",
    depends: Any = None,
    token: str = "",
    limit: float = 0.0,
    rows: bool = True,
    again: bool = True,
    away: Elsewhere | None = None,
    begin: Callable[[Path, str], Begun] = Begun,
) -> TaskResult:
    """Run one stage, or take what an earlier run left if nothing it depends on has changed.

    Parameters
    ----------
    function : callable
        Stage: ``function(*before, **arguments) -> Outcome``.
    arguments : dict
        Its keyword arguments.
    *before : TaskResult
        What it builds on; if one of them is not done, this one is not run and tells the same reason.
    folder : str
        Where results are kept.
    stage, case, defacer : str
        Its name.
    depends : JSON-able, optional
        Options and hashes that its outcome depends on, beside the version and the results before it.
    token : str
        Of the run. With one, a stage whose process died twice in this run is not begun a third time.
    limit : float
        Seconds after which a worker process that is still at it is ended; 0: none.
    rows : bool
        Whether its rows come along; they are on disk in any case. Without, only the tables they are for are named.
    again : bool
        Whether what failed in an earlier run is tried again.
    away : Elsewhere, optional
        Where the run's folder is objects, and no folder that all see: the case comes here first, and goes back.
    begin : callable
        Gives the sign that it has begun.

    Returns
    -------
    TaskResult
        Never raises for what goes wrong inside the stage.
    """
    name = {"stage": stage, "case": case, "defacer": defacer, "depends": depends}
    if away is not None:
        return away.run(
            function, arguments, *before, token=token, limit=limit, rows=rows, again=again, **name
        )
    kept, key = _settled(before, folder, again=again, **name)
    if kept is not None:
        return kept if rows else _without_rows(kept)
    path = result_path(folder, case, stage, defacer)
    result = TaskResult(stage, case, defacer, key)
    begun = begin(path, token)
    if why := begun.died():
        result.status, result.reason, result.died = FAILED, f"{stage}: {why}", not begun.was_late
        result = save(path, result)
        tell(result)
        return result
    reset_peak()
    started = time.perf_counter()
    with begun.watched(limit):
        _fill(result, lambda: function(*before, **arguments))
    result.seconds = time.perf_counter() - started
    result.peak_rss_mb = peak_mb()
    result = save(path, result)
    tell(result)
    return result if rows else _without_rows(result)


def settled_result(
    function: Callable[..., Outcome],
    arguments: dict[str, Any],
    *before: TaskResult,
    rows: bool = True,
    token: str = "",
    limit: float = 0.0,
    again: bool = True,
    away: Elsewhere | None = None,
    **name: Any,
) -> TaskResult | None:
    """What `run_task` would give of the same arguments without running anything; None if the stage must run."""
    kept, _ = _settled(before, again=again, **name)
    return kept if rows or kept is None else _without_rows(kept)


def _without_rows(result: TaskResult) -> TaskResult:
    return dataclasses.replace(result, rows={table: [] for table in result.rows})


def _settled(
    before: tuple[TaskResult, ...],
    folder: str,
    stage: str,
    case: str,
    defacer: str,
    depends: Any,
    again: bool,
) -> tuple[TaskResult | None, str]:
    """The result of a stage that need not run, and the key."""
    from defacedask import __version__

    for result in before:
        if not result.ok:
            lost = TaskResult(
                stage, case, defacer, "", result.status, result.reason, fatal=result.fatal, upstream=True
            )
            return lost, ""
    parts = [__version__, stage, case, defacer, depends, [result.key_for(defacer) for result in before]]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    kept = kept_result(folder, case, stage, defacer)
    if kept is None or kept.key != key:
        return None, key
    # what failed is tried again, if nobody says otherwise: the machine may have been at fault
    stays = kept.status in (DONE, REFUSED) or not (again or kept.fatal)
    return (kept if stays else None), key


def _fill(result: TaskResult, work: Callable[[], Outcome]) -> None:
    """Do the work; whatever comes of it, an error too, is in the result."""
    stage = result.stage
    try:
        outcome = patiently(work)
        result.rows, result.facts = outcome.rows, outcome.facts
    except RefusedError as error:
        result.status, result.reason = REFUSED, str(error)
    except OutputError as error:
        result.status, result.reason, result.fatal = FAILED, str(error), error.fatal
    except DefacedaskError as error:
        result.status, result.reason, result.fatal = FAILED, str(error), disk_is_full(error)
    except MemoryError:
        result.status, result.reason = (
            FAILED,
            f"{stage} ran out of memory; give the workers more, or use fewer of them.",
        )
    except OSError as error:
        found = os_error_in(error) or error
        where = f" ({found.filename})" if found.filename else ""
        result.status, result.reason = FAILED, f"{stage}: {found.strerror or found}{where}"
        result.fatal = disk_is_full(error)
    except Exception as error:
        result.status, result.reason = FAILED, f"{stage}: {type(error).__name__}: {error}"
        result.fatal = disk_is_full(error)
        result.facts = {"traceback": traceback.format_exc()}
        log.warning(
            "%s of %s %s failed", stage, result.case, result.defacer, exc_info=log.isEnabledFor(logging.INFO)
        )

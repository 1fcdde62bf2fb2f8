"""Finished results of work: what a stage did to one case, kept so that a second run does only what is missing.

A result is a small JSON file. It carries the key of everything it was made from (inputs, options, version, the
results before it), its outcome, what it cost, and its rows for the tables. An error in a stage is a result too:
it never leaves the worker as an exception, so one bad case cannot stop the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import resource
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import FULL, DefacedaskError, OutputError, RefusedError, StoreError
from defacedask.flow.faults import Begun
from defacedask.flow.telling import tell
from defacedask.io.store import writing
from defacedask.patience import patiently
from defacedask.whole_files import write_whole

if TYPE_CHECKING:
    from defacedask.flow.away import Away

__all__ = [
    "Graph",
    "Name",
    "Outcome",
    "Receipt",
    "TaskResult",
    "forget",
    "kept_result",
    "load",
    "receipt",
    "result_path",
    "run_task",
    "settled_result",
    "whole",
]

#: (stage, case, defacer) of a task; the defacer is empty where the stage concerns the whole case.
Name = tuple[str, str, str]
#: Future of the `TaskResult` of each stage; of several where one task runs them all.
Graph = dict[Name, Any]

log = logging.getLogger(__name__)

DONE, REFUSED, FAILED = "done", "refused", "failed"


@dataclasses.dataclass
class Outcome:
    """What a stage function returns.

    Attributes
    ----------
    rows : dict
        Table name -> list of row dicts.
    facts : dict
        JSON-able facts for the stages after it.
    """

    rows: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class TaskResult:
    """Outcome of one stage on one case (and defacer), with its record.

    Attributes
    ----------
    stage, case, defacer : str
        What it is; ``defacer`` is empty for stages that concern the whole case.
    key : str
        SHA-256 of all it depends on.
    status : str
        done | refused | failed.
    reason : str
        One sentence for refused and failed results.
    seconds, peak_rss_mb : float
        Wall time, and the largest resident memory of the process while it ran.
    fatal : bool
        The run cannot go on (disk full, output not writable).
    upstream : bool
        It did not run: a result before it was refused or failed.
    died : bool
        Its process ended in the middle of it, again and again, and not because it took too long.
    """

    stage: str
    case: str
    defacer: str
    key: str
    status: str = DONE
    reason: str = ""
    seconds: float = 0.0
    peak_rss_mb: float = 0.0
    fatal: bool = False
    upstream: bool = False
    died: bool = False
    rows: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether stages after it may run."""
        return self.status == DONE

    def key_for(self, defacer: str) -> str:
        """What the stages after it depend on, for one defacer.

        A result that serves several defacers may name one key for each in ``facts["keys"]``: then one more
        defacer leaves what the others did as it is.
        """
        return self.facts.get("keys", {}).get(defacer, self.key)


def result_path(folder: str | Path, case: str, stage: str, defacer: str = "") -> Path:
    """File of a result: FOLDER/CASE/STAGE[-DEFACER].json."""
    return Path(folder) / case / (f"{stage}-{defacer}.json" if defacer else f"{stage}.json")


def load(folder: str | Path, result: TaskResult) -> TaskResult | None:
    """The whole of a result of which a part was handed on; None if it is not kept, or is another one's by now."""
    found = _load(result_path(folder, result.case, result.stage, result.defacer))
    return found if found is not None and found.key == result.key else None


def kept_result(folder: str | Path, case: str, stage: str, defacer: str = "") -> TaskResult | None:
    """A result as it is kept, whatever it was made from; None if there is none."""
    return _load(result_path(folder, case, stage, defacer))


class Receipt(TaskResult):
    """What of a result the client needs to know: how it went. Its rows and facts stay on disk, see `whole`."""


def receipt(result: TaskResult) -> Receipt:
    """The receipt of a result that is kept."""
    return Receipt(**{**vars(result), "rows": {}, "facts": {}})


def whole(folder: str | Path, result: TaskResult) -> TaskResult:
    """A result with its rows and facts.

    Raises
    ------
    StoreError
        If they are not there any more.
    """
    if not isinstance(result, Receipt) or result.upstream or not result.key:
        return result
    found = load(folder, result)
    if found is None:
        if result.status == FAILED:
            return result
        raise StoreError(
            f"the record of {result.stage} of {result.case} has gone, or changed, while the run was at work.",
            "Run the same command again.",
        )
    return dataclasses.replace(result, rows=found.rows, facts=found.facts)


def forget(folder: str | Path, case: str, stage: str, defacer: str = "") -> None:
    """Remove a result that is kept, if there is one, so that its stage runs again."""
    # something else may stand in its place: then there is none
    with contextlib.suppress(OSError):
        result_path(folder, case, stage, defacer).unlink()


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
    away: Away | None = None,
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
    away : Away, optional
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
        result = _kept(path, result)
        tell(result)
        return result
    _reset_peak()
    started = time.perf_counter()
    with begun.watched(limit):
        _fill(result, lambda: function(*before, **arguments))
    result.seconds = time.perf_counter() - started
    result.peak_rss_mb = _peak_mb()
    result = _kept(path, result)
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
    away: Away | None = None,
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
    kept = _load(result_path(folder, case, stage, defacer))
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
        result.status, result.reason = FAILED, str(error)
    except MemoryError:
        result.status, result.reason = (
            FAILED,
            f"{stage} ran out of memory; give the workers more, or use fewer of them.",
        )
    except OSError as error:
        result.status, result.reason = FAILED, f"{stage}: {error.strerror or error}"
        result.fatal = error.errno in FULL
    except Exception as error:
        result.status, result.reason = FAILED, f"{stage}: {type(error).__name__}: {error}"
        result.facts = {"traceback": traceback.format_exc()}
        log.warning("%s of %s %s failed", stage, result.case, result.defacer, exc_info=True)


def _kept(path: Path, result: TaskResult) -> TaskResult:
    """The result, once it is on disk; a failed one if it cannot be."""
    try:
        with writing(f"the record of {result.stage} of {result.case}"):
            _save(path, result)
    except OutputError as error:
        result.status, result.reason, result.fatal = FAILED, str(error), error.fatal
    except Exception as error:  # facts that cannot be kept concern this case alone
        result.status, result.reason = FAILED, f"the record of {result.stage} cannot be kept ({error})."
        result.rows, result.facts = {}, {}
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be kept in a result")


def _save(path: Path, result: TaskResult) -> None:
    # `dataclasses.asdict` would copy all of it first, which takes longer than to write it
    write_whole(path, json.dumps(vars(result), default=_plain))


def _load(path: Path) -> TaskResult | None:
    try:
        result = TaskResult(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    whole = isinstance(result.facts, dict) and isinstance(result.rows, dict) and isinstance(result.key, str)
    return result if whole else None


def _reset_peak() -> None:
    """Ask Linux to start the process's peak memory anew; elsewhere the peak is that of its whole life."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

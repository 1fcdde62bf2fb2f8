"""Results of tasks: what a stage did to one case, kept so that a second run does only what is missing.

A result is a small JSON file. It carries the key of everything it was made from (inputs, options, version, the
results before it), its outcome, what it cost, and its rows for the tables. An error in a stage is a result too:
it never leaves the worker as an exception, so one bad case cannot stop the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import OutputError, StoreError, writing
from defacedask.whole_files import write_whole

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
    "save",
    "whole",
]

#: (stage, case, defacer) of a task; the defacer is empty where the stage concerns the whole case.
Name = tuple[str, str, str]
#: Future of the `TaskResult` of each stage; of several where one task runs them all.
Graph = dict[Name, Any]

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


def save(path: Path, result: TaskResult) -> TaskResult:
    """Write a result; gives it back, or a failed one if it cannot be kept."""
    try:
        # `dataclasses.asdict` would copy all of it first, which takes longer than to write it
        with writing(f"the record of {result.stage} of {result.case}"):
            write_whole(path, json.dumps(vars(result), default=_plain))
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


def _load(path: Path) -> TaskResult | None:
    try:
        result = TaskResult(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    whole = isinstance(result.facts, dict) and isinstance(result.rows, dict) and isinstance(result.key, str)
    return result if whole else None

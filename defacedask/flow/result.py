"""Finished pieces of work: what a stage did to one case, kept so that a second run does only what is missing.

A piece is a small JSON file. It carries the key of everything it was made from (inputs, options, version, the
pieces before it), its outcome, what it cost, and its rows for the tables. An error in a stage is a piece too:
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
    "Piece",
    "Receipt",
    "forget",
    "kept_piece",
    "load",
    "piece_path",
    "receipt",
    "run_piece",
    "settled_piece",
    "whole",
]

#: (stage, case, defacer) of a task; the defacer is empty where the stage concerns the whole case.
Name = tuple[str, str, str]
#: Future of the `Piece` of each stage; of several where one task runs them all.
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
class Piece:
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
        One sentence for refused and failed pieces.
    seconds, peak_rss_mb : float
        Wall time, and the largest resident memory of the process while it ran.
    fatal : bool
        The run cannot go on (disk full, output not writable).
    upstream : bool
        It did not run: a piece before it was refused or failed.
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

        A piece that serves several defacers may name one key for each in ``facts["keys"]``: then one more
        defacer leaves what the others did as it is.
        """
        return self.facts.get("keys", {}).get(defacer, self.key)


def piece_path(folder: str | Path, case: str, stage: str, defacer: str = "") -> Path:
    """File of a piece: FOLDER/CASE/STAGE[-DEFACER].json."""
    return Path(folder) / case / (f"{stage}-{defacer}.json" if defacer else f"{stage}.json")


def load(folder: str | Path, piece: Piece) -> Piece | None:
    """The whole of a result of which a part was handed on; None if it is not kept, or is another one's by now."""
    found = _load(piece_path(folder, piece.case, piece.stage, piece.defacer))
    return found if found is not None and found.key == piece.key else None


def kept_piece(folder: str | Path, case: str, stage: str, defacer: str = "") -> Piece | None:
    """A result as it is kept, whatever it was made from; None if there is none."""
    return _load(piece_path(folder, case, stage, defacer))


class Receipt(Piece):
    """What of a result the client needs to know: how it went. Its rows and facts stay on disk, see `whole`."""


def receipt(piece: Piece) -> Receipt:
    """The receipt of a result that is kept."""
    return Receipt(**{**vars(piece), "rows": {}, "facts": {}})


def whole(folder: str | Path, piece: Piece) -> Piece:
    """A result with its rows and facts.

    Raises
    ------
    StoreError
        If they are not there any more.
    """
    if not isinstance(piece, Receipt) or piece.upstream or not piece.key:
        return piece
    found = load(folder, piece)
    if found is None:
        if piece.status == FAILED:
            return piece
        raise StoreError(
            f"the record of {piece.stage} of {piece.case} has gone, or changed, while the run was at work.",
            "Run the same command again.",
        )
    return dataclasses.replace(piece, rows=found.rows, facts=found.facts)


def forget(folder: str | Path, case: str, stage: str, defacer: str = "") -> None:
    """Remove a piece that is kept, if there is one, so that its stage runs again."""
    # something else may stand in its place: then there is none
    with contextlib.suppress(OSError):
        piece_path(folder, case, stage, defacer).unlink()


def run_piece(
    function: Callable[..., Outcome],
    arguments: dict[str, Any],
    *before: Piece,
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
) -> Piece:
    """Run one stage, or take what an earlier run left if nothing it depends on has changed.

    Parameters
    ----------
    function : callable
        Stage: ``function(*before, **arguments) -> Outcome``.
    arguments : dict
        Its keyword arguments.
    *before : Piece
        What it builds on; if one of them is not done, this one is not run and tells the same reason.
    folder : str
        Where pieces are kept.
    stage, case, defacer : str
        Its name.
    depends : JSON-able, optional
        Options and hashes that its outcome depends on, beside the version and the pieces before it.
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
    Piece
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
    path = piece_path(folder, case, stage, defacer)
    piece = Piece(stage, case, defacer, key)
    begun = begin(path, token)
    if why := begun.died():
        piece.status, piece.reason, piece.died = FAILED, f"{stage}: {why}", not begun.was_late
        piece = _kept(path, piece)
        tell(piece)
        return piece
    _reset_peak()
    started = time.perf_counter()
    with begun.watched(limit):
        _fill(piece, lambda: function(*before, **arguments))
    piece.seconds = time.perf_counter() - started
    piece.peak_rss_mb = _peak_mb()
    piece = _kept(path, piece)
    tell(piece)
    return piece if rows else _without_rows(piece)


def settled_piece(
    function: Callable[..., Outcome],
    arguments: dict[str, Any],
    *before: Piece,
    rows: bool = True,
    token: str = "",
    limit: float = 0.0,
    again: bool = True,
    away: Away | None = None,
    **name: Any,
) -> Piece | None:
    """What `run_piece` would give of the same arguments without running anything; None if the stage must run."""
    kept, _ = _settled(before, again=again, **name)
    return kept if rows or kept is None else _without_rows(kept)


def _without_rows(piece: Piece) -> Piece:
    return dataclasses.replace(piece, rows={table: [] for table in piece.rows})


def _settled(
    before: tuple[Piece, ...],
    folder: str,
    stage: str,
    case: str,
    defacer: str,
    depends: Any,
    again: bool,
) -> tuple[Piece | None, str]:
    """The result of a stage that need not run, and the key."""
    from defacedask import __version__

    for piece in before:
        if not piece.ok:
            lost = Piece(
                stage, case, defacer, "", piece.status, piece.reason, fatal=piece.fatal, upstream=True
            )
            return lost, ""
    parts = [__version__, stage, case, defacer, depends, [piece.key_for(defacer) for piece in before]]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    kept = _load(piece_path(folder, case, stage, defacer))
    if kept is None or kept.key != key:
        return None, key
    # what failed is tried again, if nobody says otherwise: the machine may have been at fault
    stays = kept.status in (DONE, REFUSED) or not (again or kept.fatal)
    return (kept if stays else None), key


def _fill(piece: Piece, work: Callable[[], Outcome]) -> None:
    """Do the work; whatever comes of it, an error too, is in the piece."""
    stage = piece.stage
    try:
        outcome = patiently(work)
        piece.rows, piece.facts = outcome.rows, outcome.facts
    except RefusedError as error:
        piece.status, piece.reason = REFUSED, str(error)
    except OutputError as error:
        piece.status, piece.reason, piece.fatal = FAILED, str(error), error.fatal
    except DefacedaskError as error:
        piece.status, piece.reason = FAILED, str(error)
    except MemoryError:
        piece.status, piece.reason = (
            FAILED,
            f"{stage} ran out of memory; give the workers more, or use fewer of them.",
        )
    except OSError as error:
        piece.status, piece.reason = FAILED, f"{stage}: {error.strerror or error}"
        piece.fatal = error.errno in FULL
    except Exception as error:
        piece.status, piece.reason = FAILED, f"{stage}: {type(error).__name__}: {error}"
        piece.facts = {"traceback": traceback.format_exc()}
        log.warning("%s of %s %s failed", stage, piece.case, piece.defacer, exc_info=True)


def _kept(path: Path, piece: Piece) -> Piece:
    """The piece, once it is on disk; a failed one if it cannot be."""
    try:
        with writing(f"the record of {piece.stage} of {piece.case}"):
            _save(path, piece)
    except OutputError as error:
        piece.status, piece.reason, piece.fatal = FAILED, str(error), error.fatal
    except Exception as error:  # facts that cannot be kept concern this case alone
        piece.status, piece.reason = FAILED, f"the record of {piece.stage} cannot be kept ({error})."
        piece.rows, piece.facts = {}, {}
    return piece


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be kept in a piece")


def _save(path: Path, piece: Piece) -> None:
    # `dataclasses.asdict` would copy all of it first, which takes longer than to write it
    write_whole(path, json.dumps(vars(piece), default=_plain))


def _load(path: Path) -> Piece | None:
    try:
        piece = Piece(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    whole = isinstance(piece.facts, dict) and isinstance(piece.rows, dict) and isinstance(piece.key, str)
    return piece if whole else None


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

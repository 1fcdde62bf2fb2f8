"""What a stage does about faults that are not its own: a process that dies, work without end.

I/O that may pass is tried again by `defacedask.patience`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Begun"]

#: Times that a stage may take its process down before it is given up (`defacedask.flow.run` gives more chances).
DEATHS = 2


class Begun:
    """A sign beside a result that its stage has begun; it stays behind where the process dies.

    Whoever is asked to do the stage again in the same run finds it, and counts. So a case that kills its process
    costs as many processes as `DEATHS`, whatever the scheduler's own patience is, and its row names the stage.

    Parameters
    ----------
    result : Path
        Where the result will be.
    token : str
        Of the run; without one nothing is kept.
    """

    def __init__(self, result: Path, token: str) -> None:
        self.path = result.with_suffix(".begun")
        #: Where the process was when its time was up.
        self.late = result.with_suffix(".late")
        self.token = token
        #: Whether it was ended since its time was up; known after `died`.
        self.was_late = False
        self._known = self._read() if token else {}

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) and known.get("token") == self.token else {}

    def _write(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, encoding="utf-8")

    def _says_late(self) -> bool:
        with contextlib.suppress(OSError):
            return self.late.stat().st_size > 0
        return False

    def died(self) -> str:
        """Why it must not be begun again, as a sentence; empty where it may."""
        if int(self._known.get("times", 0)) < DEATHS:
            return ""
        self.was_late = self._says_late()
        self._end()
        if self.was_late:
            limit = float(self._known.get("limit", 0.0))
            return f"it took longer than {limit:g} seconds, and was ended {DEATHS} times."
        return f"its process died {DEATHS} times; it may lack memory, see the worker's log."

    @contextlib.contextmanager
    def watched(self, limit: float = 0.0) -> Iterator[None]:
        """While the stage runs; on a worker its process is ended when the time is up.

        Parameters
        ----------
        limit : float
            Seconds; 0: none.
        """
        if not self.token:
            yield
            return
        timed = limit > 0 and _alone_on_a_worker()
        times = int(self._known.get("times", 0)) + 1
        note = {"token": self.token, "times": times, "limit": limit if timed else 0.0}
        with contextlib.ExitStack() as stack:
            stack.callback(self._end)
            # if these cannot be written, the result cannot either, and says so
            with contextlib.suppress(OSError):
                self._write(json.dumps(note))
                if timed:
                    self._end_after(limit, stack)
            yield

    def _end_after(self, limit: float, stack: contextlib.ExitStack) -> None:
        self.late.parent.mkdir(parents=True, exist_ok=True)
        late = stack.enter_context(self.late.open("w", encoding="utf-8"))
        # works without the interpreter's lock, which the work may hold for ever
        faulthandler.dump_traceback_later(limit, exit=True, file=late)
        stack.callback(faulthandler.cancel_dump_traceback_later)

    def _end(self) -> None:
        for path in (self.path, self.late):
            with contextlib.suppress(OSError):
                path.unlink()


def _alone_on_a_worker() -> bool:
    """Whether this is a task of a worker process that runs one task at a time and is started again when it ends."""
    if "distributed.worker" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return False
    return bool(worker.state.nthreads == 1 and worker.nanny)

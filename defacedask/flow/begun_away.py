"""The sign that a stage has begun, where the run's folder is objects: a worker elsewhere sees it.

A process whose time is up is ended without a word of its own: work in C may hold the interpreter's lock. What the
watchdog writes then stays on the machine's disk, and the next process that works there says it for the dead one.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from pathlib import Path
from typing import Any

from defacedask.errors import DefacedaskError, OutputError
from defacedask.flow.faults import Begun
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.trees import Tree
from defacedask.whole_files import write_whole

__all__ = ["BegunAway", "say_for_the_dead"]

#: What the watchdog writes when the time is up; beside it, whose sign that is.
_LATE, _WHOSE = ".late", ".whose"


def say_for_the_dead(objects: Objects, notes: Path) -> None:
    """Put the signs of those that were ended here because their time was up.

    Parameters
    ----------
    objects : Objects
    notes : Path
        As of `BegunAway`; it need not exist.

    Raises
    ------
    RemoteError
    """
    for late in notes.glob(f"*{_LATE}"):
        whose = late.with_suffix(_WHOSE)
        with contextlib.suppress(OSError):
            if told := late.read_bytes():
                objects.write(f"{whose.read_text(encoding='utf-8')}.late", told)
                whose.unlink()
                late.unlink()


class BegunAway(Begun):
    """The sign as an object: a worker elsewhere sees it.

    Parameters
    ----------
    tree : Tree
        Of the case.
    notes : Path
        Folder of this machine where a process that is ended leaves word, see `say_for_the_dead`.
    result, token
        See `Begun`.
    """

    def __init__(self, tree: Tree, notes: Path, result: Path, token: str) -> None:
        self.tree, self.name = tree, f"begun/{result.stem}"
        super().__init__(result, token)
        self.late = notes / f"{secrets.token_hex(8)}{_LATE}"

    def _read(self) -> dict[str, Any]:
        text = self.tree.objects.read(f"{self.tree.name}/{self.name}")
        try:
            known = json.loads(text or b"")
        except ValueError:
            return {}
        return known if isinstance(known, dict) and known.get("token") == self.token else {}

    def _write(self, text: str) -> None:
        self.tree.objects.write(f"{self.tree.name}/{self.name}", text.encode())

    def _says_late(self) -> bool:
        return self.tree.objects.read(f"{self.tree.name}/{self.name}.late") is not None

    def _end_after(self, limit: float, stack: contextlib.ExitStack) -> None:
        write_whole(self.late.with_suffix(_WHOSE), f"{self.tree.name}/{self.name}")
        super()._end_after(limit, stack)
        # where it still can, it says so itself, a little before: nobody may come to work here again
        soon = threading.Timer(max(limit - min(5.0, limit / 4), 0.0), self._say_late)
        soon.daemon = True
        soon.start()
        stack.callback(soon.cancel)

    def _say_late(self) -> None:
        with contextlib.suppress(DefacedaskError):
            self.tree.objects.write(f"{self.tree.name}/{self.name}.late", b"late")

    def _end(self) -> None:
        super()._end()
        with contextlib.suppress(OSError):
            self.late.with_suffix(_WHOSE).unlink()
        with contextlib.suppress(DefacedaskError, OutputError):
            self.tree.remove([self.name, f"{self.name}.late"])

"""One run at a time in a folder: a second one is refused, and a dead one leaves nothing that must be removed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import ConfigError
from defacedask.io.store import writing
from defacedask.whole_files import write_whole

if TYPE_CHECKING:
    from defacedask.flow.executors import Executor

__all__ = ["LOCK", "NOTE", "check_seen", "only_run"]

#: In the folder: the lock, and what is known of the last run.
LOCK, NOTE = "run.lock", "run.json"


@contextlib.contextmanager
def only_run(
    folder: Path, executor: Executor | None = None, *, command: str = "", cases: int = 0, token: str = ""
) -> Iterator[None]:
    """Hold a folder for one run; the system lets go of it when the process ends, however it ends.

    Parameters
    ----------
    folder : Path
        Of the run's own data; it is there.
    executor : Executor, optional
        Its workers must see the folder.
    command : str
    cases : int
    token : str
        Noted beside the lock, with the times of beginning and end, for `defacedask.flow.status`.

    Raises
    ------
    ConfigError
        If another run holds it, or a worker does not see it.
    OutputError
        If nothing can be written there.
    """
    path = folder / LOCK
    with writing(f"the lock {path}"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = os.read(handle, 200).decode("utf-8", "replace").strip()
            raise ConfigError(
                f"another run is at work in {folder.parent if folder.name == 'store' else folder}"
                f"{f' ({who})' if who else ''}.",
                "Wait until it has finished, or choose another output folder.",
            ) from error
        except OSError:
            # a file system without locks: there is nothing to hold, as before
            pass
        else:
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        if executor is not None:
            check_seen(folder, executor)
        note = {"command": command, "cases": cases, "token": token, "begun": time.time()}
        _note(folder, note)
        well = False
        try:
            yield
            well = True
        finally:
            _note(folder, {**note, "ended": time.time(), "well": well})
    finally:
        os.close(handle)


def check_seen(folder: Path, executor: Executor) -> None:
    """See that all workers see a folder that is held.

    Raises
    ------
    ConfigError
        If one does not.
    """
    if blind := executor.blind(folder / LOCK):
        raise ConfigError(
            f"{len(blind)} workers do not see the folder {folder} (the first: {blind[0]}).",
            "Choose an output folder that is shared with all workers under the same path.",
        )


def _note(folder: Path, content: dict[str, Any]) -> None:
    # a full disk is said by those who need it
    with contextlib.suppress(OSError):
        write_whole(folder / NOTE, json.dumps(content))

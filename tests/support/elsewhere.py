"""Workers of this machine as if they were on others: they open nothing below some folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from defacedask.flow.stages import witnessing
from support import export_kit


def forbid(folders: list[str]) -> None:
    """Let this process open nothing below some folders: it cannot be set back."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            path = os.fsdecode(arguments[0])
            if any(path.startswith(f"{folder}/") for folder in folders):
                raise PermissionError(f"{path} lies on another machine")

    sys.addaudithook(audit)


def set_up(folders: list[str], stages: Any, stubs: dict[str, Any], dask_worker: Any = None) -> str:
    """What the fixtures of a test do, in a worker; gives its own folder."""
    forbid(folders)
    patch = pytest.MonkeyPatch()
    export_kit.half_space.__wrapped__(patch)
    patch.setattr(witnessing, "judge", export_kit.judge_as(1.0))
    for name, stub in stubs.items():
        patch.setattr(stages, name, stub)
    return str(dask_worker.local_directory)


def reads(folder: str) -> bool:
    """Whether this process may open the first file below a folder."""
    path = next(path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    try:
        return path.read_bytes() is not None
    except PermissionError:
        return False

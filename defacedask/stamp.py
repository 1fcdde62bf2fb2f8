"""Whether files that were made from something are still there as they were: then they need not be made again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from defacedask.whole_files import write_whole

__all__ = ["package_state", "stamp", "stamped"]


def stamp(path: Path, made: str, files: Iterable[Path]) -> None:
    """Note what files were made from, and their sizes and times of change.

    Parameters
    ----------
    path : Path
        Of the note.
    made : str
        Says all that they were made from.
    files : iterable of Path
    """
    with contextlib.suppress(OSError):  # then they are made again
        write_whole(path, json.dumps({"made": made, "files": {str(file): _state(file) for file in files}}))


def stamped(path: Path, made: str) -> bool:
    """Whether all files of a note are as they were, and made from the same."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return known["made"] == made and all(
            _state(Path(name)) == state for name, state in known["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _state(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def package_state() -> list[int]:
    """Number of this package's modules, and when one was changed last."""
    times = [file.stat().st_mtime_ns for file in Path(__file__).parent.rglob("*.py")]
    return [len(times), max(times)]

"""A part of a folder that several tests read, without copying it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["linked"]


def linked(source: Path, folder: Path, *patterns: str) -> Path:
    """A new folder with hard links to all files of ``source`` that fit a pattern; complete, or not there at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    for pattern in patterns:
        found = [path for path in source.glob(pattern) if path.is_file()]
        assert found, f"nothing in {source.name} fits {pattern}"
        for path in found:
            target = partial / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return partial.rename(folder)

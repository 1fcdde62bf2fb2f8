"""What the sidecars of a data set say of one image: its own, and those above that hold for it too."""

from __future__ import annotations

import functools
import json
import os
import time
from pathlib import Path
from typing import Any

from defacedask.io.bids.names import dataset_of, parse
from defacedask.io.nifti.names import stem_of

__all__ = ["sidecar_of", "sidecars_of"]

#: Bytes; larger files are not sidecars.
LARGEST = 2**20
#: How coarse the time stamps of a file system may be.
GRAIN_NS = 2_000_000_000


def sidecar_of(path: str | Path) -> dict[str, Any]:
    """Fields of an image's sidecars by the inheritance principle of BIDS.

    Parameters
    ----------
    path : path
        Of the image.

    Returns
    -------
    dict
        Of ``sub-01_T1w.json`` beside it and, in a data set, of ``T1w.json`` and the like in the folders above, where
        their entities are among the image's; what is nearer to the image counts. Empty where there is none.
    """
    facts: dict[str, Any] = {}
    for file in sidecars_of(path):
        facts.update(_read(file))
    return facts


def sidecars_of(path: str | Path) -> list[Path]:
    """Files that say something of an image, the farthest first; the last is its own, whether there is one or not."""
    path = Path(path)
    return [*_above(path), path.with_name(f"{stem_of(path)}.json")]


def _above(path: Path) -> list[Path]:
    """Sidecars that an image inherits from, the farthest first; its own is not among them."""
    root, name = dataset_of(path), parse(path.name)
    if root is None or name is None:
        return []
    mine = set(name.entities)
    out: list[Path] = []
    folders = [folder for folder in path.parents if folder == root or root in folder.parents]
    for folder in reversed(folders):
        found = []
        for file in _json_files(folder):
            if not file.endswith(f"{name.suffix}.json"):
                continue
            stem = file.removesuffix(".json")
            # the same grammar as an image's, but that no entity is needed
            other = parse(f"{stem}.nii" if stem.startswith("sub-") else f"sub-x_{stem}.nii")
            theirs = set() if other is None else set(other.entities) - {("sub", "x")}
            if other is not None and other.suffix == name.suffix and theirs < mine:
                found.append((len(theirs), file, folder / file))
        out += [file for _, _, file in sorted(found)]
    return out


def _json_files(folder: Path) -> tuple[str, ...]:
    """Names of the JSON files of a folder; its list is read again only if it has changed.

    The folders above are those of thousands of images: to list them for each would take the square of their number.
    """
    changed = folder.stat().st_mtime_ns
    # a change within the clock's grain shows in no time stamp
    fresh = time.time_ns() - changed < GRAIN_NS
    return (_listed.__wrapped__ if fresh else _listed)(folder, changed)


@functools.lru_cache(maxsize=256)
def _listed(folder: Path, changed: int) -> tuple[str, ...]:
    return tuple(one.name for one in os.scandir(folder) if one.name.endswith(".json"))


def _read(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.read_text("utf-8")) if file.stat().st_size < LARGEST else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}

"""One patient, and what a fetched folder of him must be."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

import pydicom

from defacedask.io.dicom.find import UNFINISHED
from defacedask.io.remote.cohort.fetching import PAGE, TABLE


def held(folder: Path) -> dict[str, set[str]]:
    """Series UID -> SHA-256 of each of its files, of all files below a folder that are no fetch's own."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and UNFINISHED not in inside.parts and path.suffix == ".dcm":
            uid = str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)
            found[uid].add(hashlib.sha256(path.read_bytes()).hexdigest())
    return dict(found)


def half(folder: Path) -> list[str]:
    """Whatever lies in a folder and is neither a whole series, nor a note, nor said to be there."""
    inside = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    kept = (PAGE, TABLE, "run.lock", "run.json")
    return [
        str(path)
        for path in inside
        if path.name not in kept
        and path.suffix != ".tcia"
        and not (len(path.parts) == 5 and path.suffix == ".dcm")
        and not (path.parts[:2] == (UNFINISHED, "series") and path.suffix == ".json")
    ]

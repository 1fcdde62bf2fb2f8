"""NIfTI files have no patient and no UID: names, folders and bytes tell them apart, and each of these is tested."""

from __future__ import annotations

import dataclasses
import gzip
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from defacedask.io.dicom.model import Series, Skipped
from defacedask.io.nifti.names import stem_of

__all__ = ["Settled", "settle_files"]

_BLOCK = 1 << 20


@dataclasses.dataclass
class Settled:
    """What a scan's NIfTI files come to."""

    files: list[Series] = dataclasses.field(default_factory=list)
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def settle_files(files: Sequence[Series]) -> Settled:
    """Leave out copies, and say whose files of one name are.

    Parameters
    ----------
    files : sequence of Series
        From `defacedask.io.nifti.read.nifti_series`, in a fixed order.

    Returns
    -------
    Settled
        A file of the same name and bytes as another is a copy, and so is ``X.nii.gz`` beside an ``X.nii`` with the
        same content. Files of one name in different folders whose names hold no ``sub-LABEL`` are persons of their
        own, named by folder.
    """
    out = Settled()
    seen: set[str] = set()
    once: list[Series] = []
    for one in files:
        if one.uid in seen:
            out.skipped.append(_skip(one, "it has the name and the bytes of another file; the first is used"))
        else:
            seen.add(one.uid)
            once.append(one)
    out.files = _persons(_twins(once, out), out)
    by_content: dict[str, list[Series]] = defaultdict(list)
    for one in out.files:
        by_content[one.facts["sha256"]].append(one)
    for same in by_content.values():
        if len(same) > 1:
            names = ", ".join(Path(one.files[0]).name for one in same)
            out.notes.append(
                f"{names} hold the same bytes under {len(same)} names: each is taken for an image of its own."
            )
    return out


def _skip(one: Series, reason: str) -> Skipped:
    return Skipped(one.files[0], reason, patient_id=one.patient_id)


def _twins(files: Sequence[Series], out: Settled) -> list[Series]:
    """``X.nii`` beside ``X.nii.gz``: one image twice, or two images."""
    beside: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in files:
        beside[str(Path(one.files[0]).parent), stem_of(one.files[0]).casefold()].append(one)
    gone: set[str] = set()
    for several in beside.values():
        first = several[0]
        for other in several[1:]:
            if _same_content(first.files[0], other.files[0]):
                out.skipped.append(
                    _skip(other, f"it is the same image as {Path(first.files[0]).name} beside it")
                )
                gone.add(other.uid)
            else:
                out.notes.append(
                    f"{Path(first.files[0]).name} and {Path(other.files[0]).name} lie side by side and differ: both "
                    "are taken, and what is written for the second gets a number."
                )
    return [one for one in files if one.uid not in gone]


def _open(path: str) -> IO[bytes]:
    with Path(path).open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else Path(path).open("rb")  # type: ignore[return-value]


def _same_content(one: str, other: str) -> bool:
    try:
        with _open(one) as a, _open(other) as b:
            while True:
                first, second = a.read(_BLOCK), b.read(_BLOCK)
                if first != second:
                    return False
                if not first:
                    return True
    except (OSError, EOFError, ValueError):  # damaged data: nothing shows that they agree
        return False


def _persons(files: Sequence[Series], out: Settled) -> list[Series]:
    """Files of one name in different folders are not one person's, if nothing says whose they are."""
    named: dict[str, list[Series]] = defaultdict(list)
    for one in files:
        if one.patient_id == stem_of(one.files[0]):
            named[one.patient_id.casefold()].append(one)
    labels: dict[str, str] = {}
    for several in named.values():
        folders = sorted({str(Path(one.files[0]).parent) for one in several})
        if len(folders) < 2:
            continue
        root = os.path.commonpath(folders)
        parts = {folder: Path(os.path.relpath(folder, root)).parts for folder in folders}
        tops = [p[:1] for p in parts.values()]
        short = len(set(tops)) == len(tops)
        for one in several:
            own = parts[str(Path(one.files[0]).parent)]
            labels[one.uid] = (own[0] if short else "/".join(own)) if own else one.patient_id
        who = ", ".join(sorted(labels[one.uid] for one in several)[:4]) + (
            ", ..." if len(several) > 4 else ""
        )
        out.notes.append(
            f"{len(several)} different files are called {Path(several[0].files[0]).name}: each is taken for a person "
            f"of its own, named by its folder ({who})."
        )
    return [
        dataclasses.replace(one, facts={**one.facts, "patient": labels[one.uid]})
        if one.uid in labels
        else one
        for one in files
    ]

"""Whether a defaced folder is what was written, and says and hides what it should.

Everything is judged from the folder itself: its record, its seal, its files. The source's instance UIDs are known
from SourceImageSequence, the one place where they may stand; with the source at hand all of its UIDs are looked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from defacedask.door import callable_module
from defacedask.inputs import folder_of
from defacedask.io.nifti.volumes import is_of_nifti
from defacedask.verify.files import Found, Problem, look
from defacedask.verify.lines import Lines
from defacedask.verify.model import Verification, verification
from defacedask.verify.record import (
    check_seal,
    named_files,
    read_record,
    sealed_search,
    source_facts,
    unseen,
)

__all__ = ["Problem", "Verification", "dicom_files", "verified_files", "verify"]


def verify(out: Any, *, key: bytes = b"", source: Any = (), delivered: bool = False) -> Verification:
    """Check a folder that `deface` or `study` wrote.

    Parameters
    ----------
    out : path, or what `deface` returned
        With ``audit.jsonl``.
    key : bytes, optional
        Of the run: proves that the record is the one its holder wrote, and where headers were de-identified looks for
        the names and ids of everybody in the cohort, whose codes are in the seal.
    source : path, Scan, Case, or iterable of these, optional
        The originals: all their instance and series UIDs are looked for, where headers were de-identified the names
        and ids of everybody in them, and outside of masks every voxel must be theirs.
    delivered : bool
        Files of cases lie elsewhere, and passed before they went there; the rest is looked at.

    Returns
    -------
    Verification

    Raises
    ------
    InputError
        If there is no record, or it cannot be read.
    """
    folder = folder_of(out)
    lines = read_record(folder)
    found = Found(folder)
    check_seal(found, key)
    named = named_files(found, lines, delivered)
    uids, plain, files = source_facts(source)
    searches = [one for one in (plain, sealed_search(found, key)) if one is not None]
    look(found, named, lines, uids, files, searches)
    return verification(found, lines, unseen(lines, bool(searches), files))


def verified_files(out: str | Path, *, key: bytes = b"") -> tuple[list[Path], list[Problem]]:
    """DICOM files on record as written, in the order of their names, and what is wrong with the folder.

    Raises
    ------
    InputError
        If there is no record.
    """
    problems = verify(out, key=key).problems
    return dicom_files(Path(out), read_record(Path(out))), problems


def dicom_files(folder: Path, lines: Lines) -> list[Path]:
    """DICOM files on record as written, in the order of their names."""
    names = sorted(
        str(line["file"])
        for line in lines
        if line.get("status") == "written" and line.get("modality") != "dataset"
    )
    return [folder / name for name in names if not is_of_nifti(name)]


callable_module(__name__, verify)  # dd.verify(out)

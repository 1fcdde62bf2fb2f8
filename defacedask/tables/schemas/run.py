"""Columns of the tables about the run itself: cases, what was left out, files, times."""

from __future__ import annotations

from defacedask.tables.schemas.column import Column, columns

__all__ = ["RUN"]

RUN: dict[str, tuple[Column, ...]] = {
    "cases": columns(
        ("case", "text", "name of the case, unique in the run"),
        ("patient", "text", "patient the case belongs to", False),
        ("modality", "text", "modality of the image the head was found on", False),
        ("status", "text", "done | refused | failed"),
        ("reason", "text", "why it was refused or failed", False),
        ("peak_rss_mb", "number", "largest resident memory of the worker, MB", False),
        ("notes", "text", "what was left out or unusual though the case was done", False),
        ("sex", "text", "of the patient, where header or participants.tsv have it: F, M or O", False),
        (
            "age",
            "number",
            "of the patient at the study, years, where header or participants.tsv have it",
            False,
        ),
        ("sequence", "text", "of an MR image the head was found on, from its description", False),
        ("face_kept_percent", "number", "most of the face's skin that protected structures keep, %", False),
        ("face_kept", "text", "by defacer: what of the face stays visible because of them", False),
        (
            "virtual",
            "flag",
            "a virtual patient of `defacedask phantom`, by the headers of all its images",
            False,
        ),
    ),
    "skipped": columns(
        ("path", "text", "the file, or the first file of the series"),
        ("reason", "text", "why it was not used"),
        ("series_uid", "text", "series, where it is known", False),
        ("patient_id", "text", "patient, where it is known", False),
        ("files", "count", "files left out", False),
        ("modality", "text", "modality, where it is known", False),
        ("damaged", "flag", "it is cut off, spoiled or cannot be opened, or a file of it is", False),
    ),
    "exports": columns(
        ("case", "text", "name of the case"),
        ("defacer", "text", "who defaced"),
        ("status", "text", "done | refused | failed: whether it was written"),
        ("reason", "text", "why it was not", False),
        ("instances", "count", "files written", False),
        ("held_back", "count", "files of the case held back", False),
        ("face_moved", "number", "share of the face's skin that moved by 3 mm or more (0..1)", False),
        ("visible", "flag", "written though the face is still visible", False),
        ("reversible", "flag", "written though the face is only covered", False),
        (
            "recognised",
            "flag",
            "the run's attacks recognised people behind this defacer, more than chance gives: what is written says "
            "that the face is visible",
            False,
        ),
        ("targets", "text", "what was clipped of target volumes", False),
    ),
    "timing": columns(
        ("case", "text", "name of the case"),
        ("stage", "text", "part of the work"),
        ("defacer", "text", "who defaced; empty for what concerns the whole case", False),
        ("status", "text", "done | refused | failed"),
        ("seconds", "number", "wall time of the part"),
        ("peak_rss_mb", "number", "largest resident memory of the worker meanwhile, MB", False),
    ),
}

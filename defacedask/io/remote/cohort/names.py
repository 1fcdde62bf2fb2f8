"""Names of folders and files that a service gives, made safe: nothing leads out of where it belongs."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

from defacedask.io.remote.cohort.model import RemoteSeries

__all__ = ["folder_of", "is_plain", "safe_name"]

#: Bytes of one name; file systems take 255.
_LONGEST = 120
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029/\\:*?"<>|\ud800-\udfff]')


def safe_name(text: str) -> str:
    """A name for one folder, near to a text and the same for the same text.

    It has no separators, no control characters, at most 120 bytes, and is neither hidden nor ``..``.
    """
    name = _UNSAFE.sub("_", text).strip().rstrip(". ")
    if name.startswith("."):
        name = "_" + name[1:]
    raw = name.encode()
    if len(raw) > _LONGEST:
        mark = hashlib.sha256(raw).hexdigest()[:8]
        name = raw[: _LONGEST - 9].decode("utf-8", "ignore").rstrip(". ") + "-" + mark
    return name or "_"


def is_plain(name: str) -> bool:
    """Whether the name of an archive's member is that of a file in the archive's own folder, and nothing else."""
    return name == safe_name(name)


def folder_of(series: RemoteSeries) -> PurePosixPath:
    """Folder of a series below the output folder, as NBIA's own program lays it out ("classic").

    Collection, patient, study and series, each a folder.
    """
    parts = (series.collection or "no collection", series.patient_id or "no patient", series.study_uid)
    return PurePosixPath(*map(safe_name, (*parts, series.uid)))

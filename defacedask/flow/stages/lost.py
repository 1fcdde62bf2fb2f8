"""Exports whose files are gone: they are forgotten, so that they are written again."""

from __future__ import annotations

from pathlib import Path

from defacedask.flow.result import forget
from defacedask.flow.stages.case_export import record_path

__all__ = ["forget_lost"]


def forget_lost(record: Path, case: str, defacer: str, *, out: Path, kept: Path) -> None:
    """Forget the export of a case if output that is on record is gone.

    Parameters
    ----------
    record : Path
        Folder of the parts of the record.
    case, defacer : str
    out : Path
        Output folder.
    kept : Path
        Folder of the results.
    """
    from defacedask.io.dicom.export.audit import lost_files

    if lost_files(record_path(record, case, defacer), out):
        forget(kept, case, "export", defacer)

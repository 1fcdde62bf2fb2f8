"""One defaced patient after a study that exports nothing: what the files that may be published look like.

A whole export takes as long as half of the study. `demo` shows it on one patient, by a defacer against which the
study found nothing.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pandas as pd

from defacedask.flow.result import TaskResult, kept_result
from defacedask.flow.stages.export import export
from defacedask.flow.worker import run_task
from defacedask.io.dicom.model import Case
from defacedask.runs.preparing import CONTROL, KEPT, Prepared
from defacedask.runs.release import Release
from defacedask.tables.files import as_table, write_tables
from defacedask.tables.rows import export_rows

__all__ = ["candidates", "write_sample"]

#: Exports tried before nothing is written.
MOST_TRIES = 3


def candidates(folder: Path) -> list[str]:
    """Defacers of ours against whose publication the run found nothing, those that hide best first."""
    from defacedask.report.run import read_run
    from defacedask.report.sections.decision import published
    from defacedask.report.sections.standing import joined

    run = read_run(folder)
    ours = [d for d in run.defacers if d not in (CONTROL, *run.arms)]
    names = [d for d in ours if published(run, d).word != "no"]

    def nearest(defacer: str) -> int:
        row = joined(run, defacer)
        return 0 if row is None else int(row["rank_1"])

    return sorted(names, key=nearest)


def write_sample(prepared: Prepared, tables: MutableMapping[str, pd.DataFrame]) -> tuple[str, str] | None:
    """Write the first case that one of the `candidates` can, with the record, and put it into the table ``exports``.

    Parameters
    ----------
    prepared : Prepared
        A study that has run.
    tables : mapping
        Its tables; ``exports`` is changed and written.

    Returns
    -------
    tuple of str or None
        Case and defacer of what was written.

    Raises
    ------
    OutputError
        If nothing can be written.
    """
    release = Release.of(prepared)
    done: list[TaskResult] = []
    written = None
    names = candidates(prepared.folder)
    for case, defacer in [(case, name) for case in prepared.cases for name in names]:
        release.forget_lost(case)
        result = _exported(prepared, release, case, defacer)
        if result is None:
            continue
        done += release.settled(case, [result])
        if result.ok:
            written = case.id, defacer
        if result.ok or len(done) == MOST_TRIES:
            break
    release.record()
    tables["exports"] = as_table("exports", export_rows(done))
    write_tables(prepared.folder, {"exports": tables["exports"]})
    return written


def _exported(prepared: Prepared, release: Release, case: Case, defacer: str) -> TaskResult | None:
    """The export of one case; None where a stage before it was not done."""
    folder = prepared.folder / KEPT
    names: list[tuple[Any, ...]] = [("ingest",), ("plan",), ("apply", defacer)]
    before = [kept_result(folder, case.id, *name) for name in names]
    if any(result is None or not result.ok for result in before):
        return None
    return run_task(
        export,
        {"case": case.to_dict(), **release.arguments(case, defacer)},
        *(result for result in before if result is not None),
        folder=str(folder),
        stage="export",
        case=case.id,
        defacer=defacer,
        depends=release.depends(case, defacer),
    )

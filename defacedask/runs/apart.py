"""Images of one case that one plan does not serve: each gets a plan of its own, and is measured by that.

Images of a session that share a space, or that a transform relates, are one case (`defacedask.io.bids.grouping`).
Where the head moved in between, or the transform is wrong, the plan of one does not fit another; nothing but the
measure of each image can tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import StoreError
from defacedask.flow.result import DONE, forget
from defacedask.flow.stages.case_export import CaseExport, record_path
from defacedask.flow.stages.export_grids import sharing_files
from defacedask.runs.already import take_back

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Series
    from defacedask.runs.deface_stages import DefaceRun

__all__ = ["forget_regrouped", "images_apart", "settle"]


def forget_regrouped(run: DefaceRun, cases: Sequence[Case]) -> None:
    """Take back what an earlier run wrote of images that were parts of other cases then.

    That is the same image alone, or beside others that have come or gone since.

    Parameters
    ----------
    run : DefaceRun
    cases : sequence of Case
        Of this run.
    """
    from defacedask.io.dicom.export.audit import read_lines

    here = {s.facts["sha256"]: case.id for case in cases for s in case.images if "sha256" in s.facts}
    for part in run.record.glob(f"*/{run.defacer}.jsonl") if here else ():
        name = part.parent.name
        try:
            written = [
                str(line.get("input_sha256")) for line in read_lines(part) if line["status"] == "written"
            ]
        except (StoreError, KeyError):
            continue
        if any(here.get(digest, name) != name for digest in written):
            take_back(part, run.out)
            if run.outbox:
                run.outbox.take_back(name, run.defacer)
            forget(run.work / "results", name, "export", run.defacer)


def images_apart(run: DefaceRun, case: Case) -> list[Case]:
    """Images of a case that did not come out by the plan of another, each as a case of its own.

    Parameters
    ----------
    run : DefaceRun
    case : Case
        Whose stages have finished.

    Returns
    -------
    list of Case
        Without the image that the plan was made on, which had that very plan; none for DICOM, where the frame of
        reference says that images belong together.
    """
    from defacedask.io.dicom.export.audit import read_lines

    files = sharing_files(case.images)
    if len(files) < 2 or any(s.facts.get("format") != "NIfTI" for s in case.images):
        return []
    part = record_path(run.record, case.id, run.defacer)
    written = {line["file"] for line in read_lines(part) if line["status"] == "written"}
    names = _names_on_record(run, case)
    missing = [_apart(case, some) for some in files if names[some[0].files[0]] not in written]
    out = [one for one in missing if one.id != case.id]
    run.part_of.update((one.id, case.id) for one in out)
    return out


def settle(run: DefaceRun, case: Case, apart: Sequence[Case], rows: dict[str, dict[str, Any]]) -> None:
    """Bring the record and the row of a case up to date with what became of its images alone.

    Parameters
    ----------
    run : DefaceRun
    case : Case
    apart : sequence of Case
        What `images_apart` gave, of all cases.
    rows : dict
        Case id -> row; those of images that did not come out alone either are taken out, for their case says why.
    """
    from defacedask.io.dicom.export.audit import read_lines, write_lines

    own = [one for one in apart if run.part_of.get(one.id) == case.id]
    if not own:
        return
    done = [one for one in own if rows[one.id]["status"] == DONE]
    names = _names_on_record(run, case)
    gone = {names[one.images[0].files[0]] for one in done}
    part = record_path(run.record, case.id, run.defacer)
    lines = [line for line in read_lines(part) if line["status"] == "written" or line["file"] not in gone]
    write_lines(part, lines)
    row = rows[case.id]
    row["held_back"] = [one for one in row["held_back"] if one["what"] not in gone]
    for one in own:
        if one in done:
            name = Path(names[one.images[0].files[0]]).name
            rows[one.id]["notes"].append(
                f"{name} has a plan of its own, for that of the image beside it does not fit it."
            )
        else:
            rows.pop(one.id)
            record_path(run.record, one.id, run.defacer).unlink(missing_ok=True)


def _apart(case: Case, volumes: Sequence[Series]) -> Case:
    """One file of a case as a case of its own, with the id that it has where nothing lies beside it."""
    from defacedask.io.dicom.catalogue import case_id

    frame, own = volumes[0].uid, []
    for series in volumes:
        geometry = {**(series.geometry or {}), "frame_of_reference": frame}
        facts = {name: value for name, value in series.facts.items() if name not in ("registered", "plan_on")}
        own.append(dataclasses.replace(series, frame_of_reference=frame, geometry=geometry, facts=facts))
    name = case_id(volumes[0].patient_id or volumes[0].study_uid, frame)
    return dataclasses.replace(case, id=name, frame_of_reference=frame, images=tuple(own))


def _names_on_record(run: DefaceRun, case: Case) -> dict[str, str]:
    """Source file -> its path in the record."""
    naming = run.release.naming(run.run_key, run.people)
    files = CaseExport(
        case,
        run.defacer,
        run.out,
        "",
        run.names_of(case),
        run.record,
        run.run_key,
        "drop",
        naming["identity_key"],
        naming.get("people"),
        run.trial_of(case),
    )
    return {file: files.relative(file) for series in case.images for file in series.files}

"""Attack a folder of defaced heads with their originals beside them, whoever defaced them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask import config
from defacedask.attacks.pairing import Pair, Pairing, pair_cases
from defacedask.errors import ConfigError, InputError
from defacedask.flow.flow import flow_on
from defacedask.flow.result import TaskResult, receipt, whole
from defacedask.flow.run import Progress
from defacedask.flow.stage import EACH_DEFACER, HOUR, Stage
from defacedask.flow.stages.attack import attack_case, check_kind
from defacedask.flow.stages.ingest import input_state
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.inputs import nothing_found, scan_of
from defacedask.phantom.virtual import is_virtual
from defacedask.runs.face_settings import Tolerance, face_settings, resolve_tolerance
from defacedask.runs.outputs import local_folder
from defacedask.runs.preparing import (
    KEPT,
    RUN_FOLDERS,
    Settings,
    make_output,
    write_config,
)
from defacedask.runs.study import StudyResult

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Scan

__all__ = ["PreparedAttack", "attack", "prepare_attack", "run_attack"]

#: Tables beside those about faces and features.
TABLES = ("cases", "radiomics", "dose", "unmasking", "synthetic", "deblurring")
_NO_PARTNER = "no defaced case belongs to it (by patient, name, grid or voxels); it stays in the gallery"
_NO_ORIGINAL = "no original belongs to it (by patient, name, grid or voxels)"


@dataclasses.dataclass
class PreparedAttack:
    """An attack that can be run: inputs scanned and paired, options checked, output folder made."""

    folder: Path
    name: str
    originals: Scan
    defaced: Scan
    pairing: Pairing
    settings: Settings
    surfaces: str = ""


def attack(
    original: Any,
    defaced: Any,
    out: str | Path,
    *,
    name: str = "defaced",
    attacks: str | Iterable[str] | None = None,
    recogniser: str | Iterable[str] | None = None,
    tolerance: Tolerance = None,
    allow_upload: bool = False,
    surfaces: str = "",
    pictures: bool | None = None,
    client: Any = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Attack defaced heads, to see whether they can be recognised as their originals.

    Parameters
    ----------
    original, defaced : path, Scan, Case, or iterable of these
        Folders or files, DICOM or NIfTI, in the same form or not.
    out : path
        Folder for ``tables``, ``report`` and (unless left out) ``pictures``. A second run does only what is missing.
    name : str
        What the defacer is called in the tables.
    attacks, recogniser, tolerance, allow_upload
        As in `defacedask.runs.study.study`.
    surfaces : str
        ``ply`` or ``vtp``: write the skin of every original and defaced head to ``OUT/surfaces``, in patient LPS mm,
        for 3D Slicer and the like. They identify people.
    pictures : bool, optional
        Keep pictures of heads for the report. They identify people.
    client : distributed.Client, optional
        Where tasks run; by default on the active client, and without one here, one after the other.
    progress : callable, optional
        ``progress(finished, total, result)``.

    Returns
    -------
    StudyResult
        Tables ``cases``, ``skipped``, ``recognition``, ``controls``, ``verification``, ``faces_detected`` and others.

    Raises
    ------
    InputError
        If nothing in the one folder belongs to anything in the other.
    ConfigError
        For an unknown attack, recogniser or option.
    OutputError
        If ``out`` cannot be written.
    """
    prepared = prepare_attack(
        original,
        defaced,
        out,
        name=name,
        attacks=attacks,
        recogniser=recogniser,
        tolerance=tolerance,
        allow_upload=allow_upload,
        surfaces=surfaces,
        pictures=pictures,
    )
    return run_attack(prepared, client=client, progress=progress)


def prepare_attack(
    original: Any,
    defaced: Any,
    out: str | Path,
    *,
    name: str = "defaced",
    attacks: str | Iterable[str] | None = None,
    recogniser: str | Iterable[str] | None = None,
    tolerance: Tolerance = None,
    allow_upload: bool = False,
    surfaces: str = "",
    pictures: bool | None = None,
) -> PreparedAttack:
    """Do all that can fail early; arguments and errors as in `attack`."""
    if not name.strip() or name in (ORIGINAL, "any"):
        raise ConfigError(f"a defacer cannot be called {name!r} in the tables.", "Choose another --name.")
    if surfaces:
        check_kind(surfaces)
    folder = local_folder(out)
    faces = face_settings(recogniser, attacks, allow_upload, folder / "store" / "faces")
    limit = resolve_tolerance(tolerance, faces)
    scans = [scan_of(given) for given in (original, defaced)]
    for found, what in zip(scans, ("original", "defaced"), strict=True):
        if not found.cases:
            raise nothing_found(found.skipped, f"{what} image series")
    pairing = pair_cases(scans[0].cases, scans[1].cases)
    if not pairing.pairs:
        raise InputError(
            f"none of the {len(scans[1].cases)} defaced cases belongs to any of the {len(scans[0].cases)} originals, "
            "neither by the patient's id nor by name, grid or voxels.",
            "Give folders that hold the same patients, or name the files alike.",
        )
    pictured = config.option("output.pictures") if pictures is None else pictures
    settings = Settings({name: {}}, ",".join(faces["recognisers"]), limit, faces, {}, pictured)
    make_output(folder, *RUN_FOLDERS)
    write_config(folder, settings)
    return PreparedAttack(folder, name, scans[0], scans[1], pairing, settings, surfaces)


def run_attack(
    prepared: PreparedAttack, *, client: Any = None, progress: Progress | None = None
) -> StudyResult:
    """Run what `prepare_attack` made ready; arguments and errors as in `attack`."""
    from defacedask.report import write_report
    from defacedask.tables.cohort import Cohort
    from defacedask.tables.rows import About

    jobs: list[tuple[Case, Pair | None]] = [(pair.original, pair) for pair in prepared.pairing.pairs]
    jobs += [(case, None) for case in prepared.pairing.originals]
    with flow_on(
        prepared.folder / "store", stages(), client, command="attack", cases=len(jobs), brief=_brief
    ) as flow:
        ids = [case.id for case, _ in jobs]
        cohort = Cohort(prepared.folder, ids, prepared.settings, flow.executor, measured=TABLES)
        for (case, pair), results in flow.run(
            prepared, jobs, (prepared.name,), progress, case_id=lambda job: job[0].id
        ):
            result = whole(prepared.folder / KEPT, results[-1])
            cohort.add(About.of(case), _looks(prepared, result), _row(prepared, case, pair, result))
        return StudyResult(prepared.folder, cohort.finish(_skipped(prepared)), write_report(prepared.folder))


def _brief(result: TaskResult) -> TaskResult:
    """What is sent to the client: how it went, and what is said of it at once."""
    notes = {"notes": result.facts["notes"]} if "notes" in result.facts else {}
    return dataclasses.replace(receipt(result), facts=notes)


def stages() -> tuple[Stage[PreparedAttack], ...]:
    """The one stage of an attack, on a pair of cases."""
    return (
        Stage(
            "attack",
            attack_case,
            lambda task: _arguments(task.run, *task.case),
            lambda task: _depends(task.run, *task.case),
            each=EACH_DEFACER,
            seconds=6 * HOUR,
        ),
    )


def _arguments(prepared: PreparedAttack, original: Case, pair: Pair | None) -> dict[str, Any]:
    folder = prepared.folder
    return {
        "original": original.to_dict(),
        "defaced": pair.defaced.to_dict() if pair else None,
        "name": prepared.name,
        "settings": prepared.settings.faces,
        "pictures": str(folder / "pictures") if prepared.settings.pictures else "",
        "surfaces": str(folder / "surfaces") if prepared.surfaces else "",
        "kind": prepared.surfaces or "ply",
    }


def _depends(prepared: PreparedAttack, original: Case, pair: Pair | None) -> list[Any]:
    arguments = _arguments(prepared, original, pair)
    return [
        input_state(original),
        input_state(pair.defaced) if pair else "",
        arguments["settings"],
        [arguments["pictures"], arguments["surfaces"], arguments["kind"]],
    ]


def _looks(prepared: PreparedAttack, result: TaskResult) -> list[TaskResult]:
    """What was seen of a pair, as the stages of a study tell it: of the original, and of the defaced head."""
    out = []
    for who, part in ((ORIGINAL, "original"), (prepared.name, "defaced")):
        facts = {"recognisers": result.facts.get("recognisers", {}), "looks": result.facts.get(part, [])}
        own = who == prepared.name
        if own:
            facts["pictures"] = result.facts.get("pictures", [])
        rows = result.rows if own else {}
        out.append(TaskResult("faces", result.case, who, result.key, result.status, facts=facts, rows=rows))
    return out


def _row(prepared: PreparedAttack, case: Case, pair: Pair | None, result: TaskResult) -> dict[str, Any]:
    """Row of the table ``cases``."""
    alone = prepared.pairing.reasons.get(case.id, _NO_PARTNER)
    paired = f"paired by {pair.how} with {pair.defaced.id}." if pair else f"{alone}."
    return {
        "case": case.id,
        "patient": case.patient_id,
        "modality": case.primary.modality,
        "virtual": is_virtual(case),
        "status": result.status,
        "reason": result.reason,
        "peak_rss_mb": result.peak_rss_mb,
        "notes": " ".join([paired, *result.facts.get("notes", [])]),
        "seconds_attack": result.seconds,
    }


def _skipped(prepared: PreparedAttack) -> list[dict[str, Any]]:
    """Rows of the table ``skipped``: what the scans left out, and cases without a partner."""
    why = prepared.pairing.reasons
    lonely = [(case, why.get(case.id, _NO_PARTNER)) for case in prepared.pairing.originals]
    lonely += [(case, why.get(case.id, _NO_ORIGINAL)) for case in prepared.pairing.defaced]
    skipped = [dataclasses.asdict(s) for scan in (prepared.originals, prepared.defaced) for s in scan.skipped]
    skipped += [
        {
            "path": case.primary.files[0],
            "reason": reason,
            "series_uid": case.primary.uid,
            "patient_id": case.patient_id,
            "files": len(case.primary.files),
            "modality": case.primary.modality,
        }
        for case, reason in lonely
    ]
    return skipped

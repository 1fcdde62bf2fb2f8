"""Attack a folder of defaced heads with their originals beside them, whoever defaced them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask import config
from defacedask.attacks.pairing import Pair, Pairing, pair_cases
from defacedask.defacers import valid_name
from defacedask.errors import ConfigError, InputError
from defacedask.flow.flow import flow_on
from defacedask.flow.result import TaskResult, kept_result, receipt, whole
from defacedask.flow.run import Progress
from defacedask.flow.settings import Settings
from defacedask.flow.stage import EACH_DEFACER, HOUR, Stage, Task
from defacedask.flow.stages.attack import attack_case, check_kind
from defacedask.flow.stages.attacked import attacked_crops, attacked_depths, invert_attacked
from defacedask.flow.stages.ingest import input_state
from defacedask.flow.stages.inversion import INVERTED
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.inputs import nothing_found, paths_of, scan_of
from defacedask.phantom.virtual import is_virtual
from defacedask.runs.crops import crops_stage, fill_matrix
from defacedask.runs.face_settings import Tolerance, check_matrix, face_settings, resolve_tolerance
from defacedask.runs.inverting import Learner, depth_stage, inverted_stages, taught, too_few
from defacedask.runs.outputs import local_folder, outside
from defacedask.runs.preparing import (
    KEPT,
    RUN_FOLDERS,
    make_output,
    write_config,
)
from defacedask.runs.study import StudyResult

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Scan

__all__ = ["AttackOptions", "PreparedAttack", "attack", "prepare_attack", "run_attack"]

#: Tables beside those about faces and features.
TABLES = ("cases", "radiomics", "dose", "unmasking", "inversion", "synthetic", "deblurring")
#: Stage that looks at a pair; and what is told of a case that cannot even be begun.
ATTACK, _FIRST = "attack", ("attack", "submit")
_NO_PARTNER = "no defaced case belongs to it (by patient, name, grid or voxels); it stays in the gallery"
_NO_MATRIX = (
    "The forced crop as a full matrix was not tried: fewer than two persons show a face to any recogniser in their "
    "original."
)
_NO_ORIGINAL = "no original belongs to it (by patient, name, grid or voxels)"


@dataclasses.dataclass(frozen=True)
class AttackOptions:
    """What may be asked of an attack; see `attack`."""

    name: str = "defaced"
    attacks: str | Iterable[str] | None = None
    recogniser: str | Iterable[str] | None = None
    tolerance: Tolerance = None
    allow_upload: bool = False
    forced_matrix: int | None = None
    surfaces: str = ""
    pictures: bool | None = None


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
    #: What was asked for and could not be tried, a sentence each.
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Job:
    """One original, with what belongs to it if anything does."""

    original: Case
    pair: Pair | None

    @property
    def id(self) -> str:
        return self.original.id

    @property
    def person(self) -> str:
        return self.original.person


class AttackRun(Learner):
    """What the stages of an attack need to know of the run.

    Parameters
    ----------
    prepared : PreparedAttack
    """

    def __init__(self, prepared: PreparedAttack) -> None:
        super().__init__(prepared.settings)
        self.prepared = prepared

    @property
    def keeps(self) -> bool:
        """Whether a stage comes later that looks at the heads once more."""
        return self.inverts or bool(self.settings.forced_matrix)

    def looks_at(self, job: _Job) -> list[dict[str, Any]]:
        """Looks at an original, as they are kept."""
        result = kept_result(self.prepared.folder / KEPT, job.id, ATTACK, self.prepared.name)
        return list(result.facts.get("original", ())) if result else []


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
    forced_matrix: int | None = None,
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
    attacks, recogniser, tolerance, allow_upload, forced_matrix
        As in `defacedask.runs.study.study`. Learned inversion learns on the other persons of the two folders, from
        8 pairs on. For it and for the matrix the box of each head, as it came and as it was left, stays in
        ``OUT/store``.
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
    options = AttackOptions(
        name, attacks, recogniser, tolerance, allow_upload, forced_matrix, surfaces, pictures
    )
    prepared = prepare_attack(original, defaced, out, options)
    return run_attack(prepared, client=client, progress=progress)


def prepare_attack(original: Any, defaced: Any, out: str | Path, options: AttackOptions) -> PreparedAttack:
    """Do all that can fail early; arguments and errors as in `attack`."""
    name, surfaces = options.name, options.surfaces
    if not valid_name(name) or name in (ORIGINAL, "any"):
        raise ConfigError(
            f"a defacer cannot be called {name!r} in the tables.",
            f"Use letters, digits, _, - and ., and neither {ORIGINAL} nor any.",
        )
    if surfaces:
        check_kind(surfaces)
    folder = local_folder(out)
    faces = face_settings(
        options.recogniser, options.attacks, options.allow_upload, folder / "store" / "faces"
    )
    limit = resolve_tolerance(options.tolerance, faces)
    for given in (original, defaced):
        outside(folder, paths_of(given))
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
    asked, matrix = options.pictures, options.forced_matrix
    pictured = config.option("output.pictures") if asked is None else asked
    matrix = config.option("recognition.forced-matrix") if matrix is None else matrix
    settings = Settings({name: {}}, ",".join(faces["recognisers"]), limit, faces, {}, pictured)
    settings = dataclasses.replace(settings, forced_matrix=check_matrix(int(matrix), settings.gallery))
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

    jobs = [_Job(pair.original, pair) for pair in prepared.pairing.pairs]
    jobs += [_Job(case, None) for case in prepared.pairing.originals]
    run, names, store = AttackRun(prepared), (prepared.name,), prepared.folder / "store"
    with flow_on(
        store, stages(prepared.name), client, command="attack", cases=len(jobs), brief=_brief
    ) as flow:
        ids = [job.id for job in jobs]
        cohort = Cohort(prepared.folder, ids, prepared.settings, flow.executor, measured=TABLES)
        last = taught(flow, run, jobs, names, inverting(prepared.name), store, progress)
        done = []
        for job, results in last.run(run, jobs, names, progress):
            result = whole(prepared.folder / KEPT, next(one for one in results if one.stage in _FIRST))
            after = [one for one in results if one.stage not in _FIRST and not one.upstream]
            predicted = [one for one in after if one.stage == INVERTED]
            cohort.add(
                About.of(job.original),
                [*_looks(prepared, result), *predicted],
                _row(prepared, job, result, after),
            )
            if result.ok:
                done.append(job)
        cohort.finish(_skipped(prepared))
        prepared.notes += filter(None, [too_few(run, names)])
        if prepared.settings.forced_matrix:
            compared = functools.partial(cropping, prepared.name)
            drawn = fill_matrix(
                flow, run, prepared.folder, prepared.settings, done, run.looks_at, compared, progress
            )
            prepared.notes += [_NO_MATRIX] if drawn < 2 else []
        return StudyResult(prepared.folder, cohort.known(), write_report(prepared.folder))


def _brief(result: TaskResult) -> TaskResult:
    """What is sent to the client: how it went, and what is said of it at once."""
    notes = {"notes": result.facts["notes"]} if "notes" in result.facts else {}
    return dataclasses.replace(receipt(result), facts=notes)


def stages(name: str) -> tuple[Stage[AttackRun], ...]:
    """The stages of an attack on a pair of cases; ``name`` is the defacer's.

    What learned inversion learns from comes last, where it is asked for.
    """
    return (
        Stage(
            ATTACK,
            attack_case,
            lambda task: _arguments(task.run, task.case),
            lambda task: _depends(task.run, task.case),
            each=EACH_DEFACER,
            seconds=6 * HOUR,
        ),
        depth_stage(attacked_depths, ((ATTACK, name),), ORIGINAL, _paired),
        depth_stage(attacked_depths, ((ATTACK, name),), EACH_DEFACER, _paired),
    )


def inverting(name: str) -> tuple[Stage[AttackRun], ...]:
    """The stages before, which are done, and those that predict every face from what all others taught."""
    return (*stages(name), *inverted_stages(invert_attacked, ((ATTACK, name),), _paired))


def cropping(name: str, place: str, digest: str) -> tuple[Stage[AttackRun], ...]:
    """What the forced crop as a full matrix builds on, which is done, and the comparison.

    An original compared with all originals is its positive control.
    """
    compared = functools.partial(crops_stage, attacked_crops, ((ATTACK, name),), place=place, digest=digest)
    return (stages(name)[0], compared(each=ORIGINAL), compared(each=EACH_DEFACER, when=_paired))


def _paired(task: Task[AttackRun]) -> bool:
    return task.case.pair is not None


def _arguments(run: AttackRun, job: _Job) -> dict[str, Any]:
    prepared, folder = run.prepared, run.prepared.folder
    return {
        "original": job.original.to_dict(),
        "defaced": job.pair.defaced.to_dict() if job.pair else None,
        "name": prepared.name,
        "settings": prepared.settings.faces,
        "pictures": str(folder / "pictures") if prepared.settings.pictures else "",
        "surfaces": str(folder / "surfaces") if prepared.surfaces else "",
        "kind": prepared.surfaces or "ply",
        "store": str(folder / "store") if run.keeps else "",
    }


def _depends(run: AttackRun, job: _Job) -> list[Any]:
    arguments = _arguments(run, job)
    return [
        input_state(job.original),
        input_state(job.pair.defaced) if job.pair else "",
        arguments["settings"],
        [arguments["pictures"], arguments["surfaces"], arguments["kind"]],
        arguments["store"],
    ]


def _looks(prepared: PreparedAttack, result: TaskResult) -> list[TaskResult]:
    """What was seen of a pair, as the stages of a study tell it: of the original, and of the defaced head."""
    out = []
    for who, part in ((ORIGINAL, "original"), (prepared.name, "defaced")):
        facts = {"recognisers": result.facts.get("recognisers", {}), "looks": result.facts.get(part, [])}
        own = who == prepared.name
        if own:
            facts["pictures"] = result.facts.get("pictures", [])
            facts["ears"] = result.facts.get("ears", {})
        else:
            facts |= {name: result.facts.get(name, []) for name in ("enrolled", "planted")}
            facts["ears"] = {
                path: {name: of for name, of in ears.items() if name != "defaced"}
                for path, ears in result.facts.get("ears", {}).items()
            }
        rows = result.rows if own else {}
        out.append(TaskResult("faces", result.case, who, result.key, result.status, facts=facts, rows=rows))
    return out


def _row(
    prepared: PreparedAttack, job: _Job, result: TaskResult, after: Sequence[TaskResult]
) -> dict[str, Any]:
    """Row of the table ``cases``; ``after`` are the stages that build on the attack and were begun."""
    case, pair = job.original, job.pair
    alone = prepared.pairing.reasons.get(case.id, _NO_PARTNER)
    paired = f"paired by {pair.how} with {pair.defaced.id}." if pair else f"{alone}."
    told = next((one for one in after if not one.ok), result) if result.ok else result
    return {
        "case": case.id,
        "patient": case.patient_id,
        "modality": case.primary.modality,
        "virtual": is_virtual(case),
        "status": told.status,
        "reason": told.reason,
        "peak_rss_mb": max(one.peak_rss_mb for one in (result, *after)),
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

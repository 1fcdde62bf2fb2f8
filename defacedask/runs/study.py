"""The dataflow of one case and of a cohort: which stage follows which, and what a run leaves behind.

::

    ingest -> look -> apply (each defacer) -> faces, radiomics, geometry, dose, pictures, export
                   -> faces and radiomics of the original --^

Every arrow is a Dask future; what travels along it is a `Piece` (numbers and paths). The order stands in `stages`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from defacedask.defacers import get_defacer
from defacedask.flow.flow import flow_on
from defacedask.flow.result import receipt
from defacedask.flow.run import Progress
from defacedask.flow.stage import EACH_DEFACER, HOUR, Stage, Task
from defacedask.flow.stages.apply import apply
from defacedask.flow.stages.costs import measure_dose, measure_geometry, measure_original, measure_radiomics
from defacedask.flow.stages.export import export
from defacedask.flow.stages.faces import judge_faces
from defacedask.flow.stages.ingest import ingest, input_state
from defacedask.flow.stages.pictures import draw_slices
from defacedask.flow.stages.places import ORIGINAL
from defacedask.flow.stages.plans import look
from defacedask.inputs import one_case
from defacedask.runs.preparing import CONTROL, PLANS, Prepared, Settings, prepare, resolve_defacers
from defacedask.runs.release import Release
from defacedask.showing import Shown
from defacedask.stamp import stamp, stamped

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.io.dicom.catalogue import Case

__all__ = [
    "Prepared",
    "Progress",
    "Settings",
    "StudyResult",
    "StudyRun",
    "plan",
    "prepare",
    "resolve_defacers",
    "run",
    "stages",
    "study",
]


@dataclasses.dataclass(repr=False)
class StudyResult(Shown):
    """What a run came to.

    Attributes
    ----------
    out : Path
        Its folder.
    tables : mapping
        Name -> DataFrame, read from ``OUT/tables`` when asked for.
    report : Path
        The page.
    """

    out: Path
    tables: MutableMapping[str, pd.DataFrame]
    report: Path

    def _title(self) -> str:
        return f"StudyResult in {self.out}"

    def _table(self) -> Any:
        rows = [(name, len(table), ", ".join(map(str, table.columns))) for name, table in self.tables.items()]
        return ("table", "rows", "columns"), rows, (f"report: {self.report}",)


def plan(case: Any, defacer: str, *, key: bytes = b"", **options: Any) -> Plan:
    """Plan one case's defacing, here and now.

    Parameters
    ----------
    case : Case, or a path or Scan of one case
    defacer : str
        Registered name, with options if any: ``quickshear:form=published``.
    key : bytes
        Secret for defacers that draw noise; by default a fresh one.
    **options
        Of the defacer, too.

    Raises
    ------
    ConfigError
        For an unknown defacer or option.
    RefusedError
        If the head does not allow a trustworthy plan.
    InputError
        If there is no case, or more than one.
    """
    from defacedask.anatomy.head import Head
    from defacedask.io.dicom.image import read_image

    maker = get_defacer(defacer, **options)
    head = Head(read_image(one_case(case).primary))
    head.require()
    return maker.plan(head, key=key or secrets.token_bytes(32))


def study(
    cases: Any,
    out: str | Path,
    *,
    defacers: str | Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None,
    recogniser: str | Iterable[str] | None = None,
    tolerance: float | None = None,
    seed: int | None = None,
    client: Any = None,
    pictures: bool | None = None,
    export: bool = True,
    deidentify: bool = False,
    private: str | None = None,
    allow_visible: bool = False,
    allow_reversible: bool = False,
    gallery: str | None = None,
    feature_classes: str | Iterable[str] | None = None,
    protect: str | Sequence[str] = (),
    margin_mm: float = 3.0,
    attacks: str | Iterable[str] | None = None,
    allow_upload: bool = False,
    progress: Progress | None = None,
    reference: str | Path | None = None,
) -> StudyResult:
    """Compare defacers on a cohort: the whole way from DICOM to the report.

    Parameters
    ----------
    cases : path, Scan, Case, or iterable of these
        What to work on; anything that is not yet scanned is scanned first.
    out : path
        Folder for everything that is left (see INTERFACE in README). A second run with the same folder does
        only what is missing or has changed.
    defacers : str, sequence of str, or mapping
        Names, or ``all`` (the study's four), with options as in ``quickshear:form=published``; or name -> options.
        The convert-only control ``none`` always runs beside them.
    recogniser : str or sequence of str
        Registered recognisers, or ``onnx:PATH`` for a network in a file.
    tolerance : float
        Distance up to which two faces count as the same.
    seed : int, optional
        Fixes the run's secret key, for runs that must be repeatable; by default the key is drawn at random and
        kept in ``OUT/store/run.key``.
    client : distributed.Client or callable, optional
        Where tasks run; by default on the active client, and without one here, one after the other. A callable is
        asked for a client when the first stage must run that no earlier run has left.
    pictures : bool
        Keep pictures of heads for the report. They identify people.
    export : bool
        Write the defaced DICOM, below ``OUT/defaced/DEFACER``, with its record in ``OUT/audit.jsonl``.
    deidentify, private, allow_visible, allow_reversible
        Of what is written: see `defacedask.runs.deface.deface`. A defacer that only covers the face is compared like
        any other; without ``allow_reversible`` its result is not written.
    protect : str or sequence of str
        Names of structures that stay as they are, with ``*`` and ``?``; the brain always does.
    margin_mm : float
        Kept around them.
    gallery : str
        Whom defaced heads are compared with: ``originals`` (the study's protocol), ``second-scan`` (another scan
        of the same person), or a folder of photographs (PatientID.jpg, or PatientID/any.jpg).
    feature_classes : str or sequence of str
        Classes of pyradiomics to compute beside the study's ten features, such as ``glcm,shape``.
    attacks : str or sequence of str
        ``basic``, ``default``, ``all``, or names of `defacedask.attacks.names`.
    allow_upload : bool
        Must be True for recognisers that send pictures of faces to a service.
    progress : callable
        ``progress(finished, total, piece)`` after each piece.
    reference : path, optional
        Folder of published tables to print beside ours.

    Returns
    -------
    StudyResult

    Raises
    ------
    InputError
        If there is nothing to work on.
    ConfigError
        For an unknown defacer, recogniser or option.
    OutputError
        If ``out`` cannot be written, at the start or at any time; the run ends, what was finished stays.
    """
    prepared = prepare(
        cases,
        out,
        defacers=defacers,
        recogniser=recogniser,
        tolerance=tolerance,
        seed=seed,
        pictures=pictures,
        export=export,
        deidentify=deidentify,
        private=private,
        allow_visible=allow_visible,
        allow_reversible=allow_reversible,
        gallery=gallery,
        feature_classes=feature_classes,
        protect=protect,
        margin_mm=margin_mm,
        attacks=attacks,
        allow_upload=allow_upload,
    )
    return run(prepared, client=client, progress=progress, reference=reference)


def run(
    prepared: Prepared,
    *,
    client: Any = None,
    progress: Progress | None = None,
    reference: str | Path | None = None,
    before_report: Callable[[MutableMapping[str, pd.DataFrame]], None] | None = None,
) -> StudyResult:
    """Run what `prepare` made ready; arguments and errors as in `study`.

    ``before_report`` is called with the tables when they are written and the page is not; it may change them.
    """
    from defacedask.report import write_report
    from defacedask.tables.cohort import About, Cohort

    context = StudyRun(prepared)
    release = context.release
    with flow_on(
        prepared.folder / "store",
        stages(),
        client,
        command="study",
        cases=len(prepared.cases),
        brief=receipt,
    ) as flow:
        ids = [case.id for case in prepared.cases]
        cohort = Cohort(prepared.folder, ids, prepared.settings, flow.executor)
        for case, found in flow.run(
            context, prepared.cases, tuple(prepared.settings.defacers), progress, before=context.begin
        ):
            cohort.add(About.of(case), release.settled(case, found) if release else found)
        if release:
            release.record()
        skipped = [dataclasses.asdict(skip) for skip in prepared.skipped]
        note, page = prepared.folder / "store" / "tables.json", prepared.folder / "report" / "index.html"
        plain = before_report is None and reference is None
        made = cohort.made(skipped)
        if plain and stamped(note, made):
            return StudyResult(prepared.folder, cohort.known(), page)
        note.unlink(missing_ok=True)
        tables = cohort.finish(skipped)
        if before_report:
            before_report(tables)
        page = write_report(prepared.folder, reference=reference)
        if plain:
            pictures = prepared.folder / "pictures" / "index.json"
            stamp(note, made, [page, pictures, *sorted((prepared.folder / "tables").iterdir())])
    return StudyResult(prepared.folder, tables, page)


class StudyRun:
    """What the stages of a study need to know of the run.

    Parameters
    ----------
    prepared : Prepared
    """

    def __init__(self, prepared: Prepared) -> None:
        self.settings = prepared.settings
        self.run_key = prepared.run_key
        self.secret = hashlib.sha256(prepared.run_key).hexdigest()
        self.store, self.plans = (str(prepared.folder / part) for part in ("store", PLANS))
        self.pictures = str(prepared.folder / "pictures") if prepared.settings.pictures else ""
        self.release = Release.of(prepared) if prepared.settings.export else None

    def begin(self, case: Case) -> None:
        """See to what is on record of a case before its stages are submitted."""
        if self.release:
            self.release.forget_lost(case)


def stages() -> tuple[Stage[StudyRun], ...]:
    """The stages of a study, in their order."""

    def who(task: Task[StudyRun]) -> dict[str, Any]:
        return {"case": task.case.id, "defacer": task.defacer}

    def planned(task: Task[StudyRun]) -> dict[str, Any]:
        return {**who(task), "plans": task.run.plans}

    def judged(task: Task[StudyRun]) -> dict[str, Any]:
        return {**planned(task), "settings": task.run.settings.faces, "pictures": task.run.pictures}

    def drawn(task: Task[StudyRun]) -> dict[str, Any]:
        return {**planned(task), "folder": task.run.pictures}

    faces: dict[str, Any] = {
        "function": judge_faces,
        "arguments": judged,
        "depends": lambda task: task.run.settings.faces,
        "seconds": 6 * HOUR,
    }
    pictures: dict[str, Any] = {
        "function": draw_slices,
        "arguments": drawn,
        "when": lambda task: bool(task.run.pictures),
    }
    return (
        Stage(
            "ingest",
            ingest,
            lambda task: {"case": task.plain, "root": task.run.store},
            lambda task: input_state(task.case),
        ),
        Stage(
            "look",
            look,
            lambda task: {
                "plans": task.run.plans,
                "defacers": task.run.settings.defacers,
                "code": task.run.settings.code,
                "run_key": task.run.run_key,
                "case": task.case.id,
                "protect": task.run.settings.protect,
                "margin_mm": task.run.settings.margin_mm,
            },
            lambda task: [task.run.settings.looking, task.run.secret],
            needs=("ingest",),
        ),
        Stage("faces", needs=("ingest", "look"), each=ORIGINAL, **faces),
        Stage(
            "radiomics",
            measure_original,
            lambda task: {"case": task.case.id, "settings": task.run.settings.radiomics},
            lambda task: task.run.settings.radiomics,
            needs=("ingest", "look"),
            each=ORIGINAL,
        ),
        Stage("pictures", needs=("ingest", "look"), each=ORIGINAL, **pictures),
        Stage("apply", apply, planned, needs=("ingest", "look"), each=EACH_DEFACER),
        Stage("faces", needs=("ingest", "look", ("faces", ORIGINAL), "apply"), each=EACH_DEFACER, **faces),
        Stage(
            "radiomics",
            measure_radiomics,
            lambda task: {**who(task), "settings": task.run.settings.radiomics},
            lambda task: task.run.settings.radiomics,
            needs=("ingest", "look", ("radiomics", ORIGINAL), "apply"),
            each=EACH_DEFACER,
        ),
        Stage("geometry", measure_geometry, planned, needs=("ingest", "look"), each=EACH_DEFACER),
        Stage("dose", measure_dose, who, needs=("ingest", "look", "apply"), each=EACH_DEFACER),
        Stage("pictures", needs=("ingest", "look", "apply"), each=EACH_DEFACER, **pictures),
        Stage(
            "export",
            export,
            lambda task: {"case": task.plain, **task.run.release.arguments(task.case, task.defacer)},
            lambda task: task.run.release.depends(task.case, task.defacer),
            needs=("ingest", "look", "apply"),
            each=EACH_DEFACER,
            when=lambda task: task.run.release is not None and task.defacer != CONTROL,
        ),
    )

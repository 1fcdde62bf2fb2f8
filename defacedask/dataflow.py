"""The dataflow of one case and of a cohort: which stage follows which, and what a run leaves behind.

::

    ingest -> look -> apply (each defacer) -> faces, radiomics, geometry, dose, pictures
                   -> faces and radiomics of the original --^

Every arrow is a Dask future; what travels along it is a `Piece` (numbers and paths). This is the only file that
knows the order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from defacedask.defacers import get_defacer
from defacedask.flow.executors import executor_for
from defacedask.flow.result import Piece, run_piece
from defacedask.flow.run import run_cases
from defacedask.preparing import Prepared, Settings, prepare, resolve_defacers
from defacedask.release import Release
from defacedask.stages.apply import apply
from defacedask.stages.costs import measure_dose, measure_geometry, measure_original, measure_radiomics
from defacedask.stages.faces import judge_faces
from defacedask.stages.ingest import ingest, input_state
from defacedask.stages.pictures import draw_slices
from defacedask.stages.places import ORIGINAL
from defacedask.stages.plans import look

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.dicom.catalogue import Case

__all__ = [
    "Prepared",
    "Progress",
    "Settings",
    "StudyResult",
    "plan",
    "prepare",
    "resolve_defacers",
    "run",
    "study",
]

Progress = Callable[[int, int, Piece | None], None]


@dataclasses.dataclass
class StudyResult:
    """What a run came to.

    Attributes
    ----------
    out : Path
        Its folder.
    tables : dict
        Name -> DataFrame, as in ``OUT/tables``.
    report : Path
        The page.
    """

    out: Path
    tables: dict[str, pd.DataFrame]
    report: Path


def plan(case: Case, defacer: str, *, key: bytes = b"", **options: Any) -> Plan:
    """Plan one case's defacing, here and now.

    Parameters
    ----------
    case : Case
        From `defacedask.scan`.
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
    """
    from defacedask.dicom.image import read_image
    from defacedask.head import Head

    maker = get_defacer(defacer, **options)
    head = Head(read_image(case.primary))
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
    cases : Scan, sequence of Case, or folder(s)
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
    client : distributed.Client, optional
        Where tasks run; without one they run here, one after the other.
    pictures : bool
        Keep pictures of heads for the report. They identify people.
    export : bool
        Write the defaced DICOM, below ``OUT/defaced/DEFACER``, with its record in ``OUT/audit.jsonl``.
    deidentify, private, allow_visible, allow_reversible
        Of what is written: see `defacedask.defacing.deface`. A defacer that only covers the face is compared like any
        other; without ``allow_reversible`` its result is not written.
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
        ``basic``, ``default``, ``all``, or names of `defacedask.evaluation.attack_names`.
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
) -> StudyResult:
    """Run what `prepare` made ready; arguments and errors as in `study`."""
    from defacedask.cohort_tables import collect
    from defacedask.report import write_report

    executor = executor_for(client)
    release = Release.of(prepared) if prepared.settings.export else None

    def submit(case: Case, priority: int) -> dict[tuple[str, str, str], Any]:
        graph = case_graph(case, prepared.folder, prepared.settings, prepared.run_key, executor, priority)
        return release.extend(graph, case, executor, priority) if release else graph

    pieces = run_cases(prepared.cases, submit, executor, progress, case_id=lambda case: case.id)
    if release:
        pieces = release.record(pieces)
    tables = collect(prepared.folder, prepared.cases, prepared.skipped, pieces, prepared.settings)
    page = write_report(prepared.folder, reference=reference)
    return StudyResult(prepared.folder, tables, page)


def case_graph(
    case: Case, folder: Path, settings: Settings, run_key: bytes, executor: Any, priority: int = 0
) -> dict[tuple[str, str, str], Any]:
    """Submit all stages of one case.

    Returns
    -------
    dict
        (stage, case, defacer) -> future of a `Piece`.
    """
    store, plans, kept = (
        str(folder / "store"),
        str(folder / "store" / "plans"),
        str(folder / "store" / "pieces"),
    )
    graph: dict[tuple[str, str, str], Any] = {}
    secret = hashlib.sha256(run_key).hexdigest()

    def add(
        stage: str,
        function: Any,
        arguments: Mapping[str, Any],
        *before: Any,
        defacer: str = "",
        depends: Any = None,
    ) -> Any:
        name = (stage, case.id, defacer)
        graph[name] = executor.submit(
            run_piece,
            function,
            dict(arguments),
            *before,
            folder=kept,
            stage=stage,
            case=case.id,
            defacer=defacer,
            depends=depends,
            label="-".join(part for part in name if part),
            priority=priority,
        )
        return graph[name]

    ingested = add("ingest", ingest, {"case": case.to_dict(), "root": store}, depends=input_state(case))
    looked = add(
        "look",
        look,
        {
            "plans": plans,
            "defacers": settings.defacers,
            "code": settings.code,
            "run_key": run_key,
            "case": case.id,
            "protect": settings.protect,
            "margin_mm": settings.margin_mm,
        },
        ingested,
        depends=[settings.looking, secret],
    )
    judge = {
        "case": case.id,
        "settings": settings.faces,
        "plans": plans,
        "pictures": str(folder / "pictures") if settings.pictures else "",
    }
    own = add(
        "faces",
        judge_faces,
        {**judge, "defacer": ORIGINAL},
        ingested,
        looked,
        defacer=ORIGINAL,
        depends=settings.faces,
    )
    measured = add(
        "radiomics",
        measure_original,
        {"case": case.id, "settings": settings.radiomics},
        ingested,
        looked,
        defacer=ORIGINAL,
        depends=settings.radiomics,
    )
    if settings.pictures:
        draw = {"case": case.id, "plans": plans, "folder": str(folder / "pictures")}
        add("pictures", draw_slices, {**draw, "defacer": ORIGINAL}, ingested, looked, defacer=ORIGINAL)
    for name in settings.defacers:
        who = {"case": case.id, "defacer": name}
        applied = add("apply", apply, {**who, "plans": plans}, ingested, looked, defacer=name)
        add(
            "faces",
            judge_faces,
            {**judge, **who},
            ingested,
            looked,
            own,
            applied,
            defacer=name,
            depends=settings.faces,
        )
        add(
            "radiomics",
            measure_radiomics,
            {**who, "settings": settings.radiomics},
            ingested,
            looked,
            measured,
            applied,
            defacer=name,
            depends=settings.radiomics,
        )
        add("geometry", measure_geometry, {**who, "plans": plans}, ingested, looked, defacer=name)
        add("dose", measure_dose, who, ingested, looked, applied, defacer=name)
        if settings.pictures:
            add("pictures", draw_slices, {**draw, **who}, ingested, looked, applied, defacer=name)
    return graph

"""Studies: plan one case, or run a cohort through every stage, judge it, write what may be written, and report.

Which stage follows which stands in `defacedask.runs.study_stages`.
"""

from __future__ import annotations

import dataclasses
import functools
import secrets
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from defacedask.defacers import get_defacer
from defacedask.errors import ConfigError, RefusedError
from defacedask.flow.executors import device_for
from defacedask.flow.flow import Flow, flow_on
from defacedask.flow.result import TaskResult, receipt
from defacedask.flow.run import Progress
from defacedask.flow.settings import Settings
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.flow.stages.protecting import (
    check_margin,
    drawn_brain,
    kept_structures,
    patterns_of,
    spared_structures,
)
from defacedask.inputs import one_case
from defacedask.runs.crops import fill_matrix
from defacedask.runs.face_settings import Tolerance
from defacedask.runs.inverting import taught
from defacedask.runs.outputs import output_of
from defacedask.runs.preparing import Prepared, prepare, resolve_defacers
from defacedask.runs.release import record_folder
from defacedask.runs.study_stages import StudyRun, cropping, inverting, stages, writing
from defacedask.showing import Shown
from defacedask.stamp import stamp, stamped
from defacedask.tables.lazy import LazyTables

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.flow.depot import Depot
    from defacedask.io.remote import Said
    from defacedask.runs.outputs import Output
    from defacedask.runs.release import Release
    from defacedask.tables.cohort import Cohort
    from defacedask.tables.written import Written

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
        known = self.tables
        if isinstance(known, LazyTables):  # a look at it reads none of them
            rows = [(name, known.rows(name), ", ".join(known.columns(name))) for name in known]
        else:
            rows = [(name, len(table), ", ".join(map(str, table.columns))) for name, table in known.items()]
        return ("table", "rows", "columns"), rows, (f"report: {self.report}",)


def plan(
    case: Any,
    defacer: str,
    *,
    key: bytes = b"",
    protect: str | Sequence[str] = (),
    margin_mm: float = 3.0,
    **options: Any,
) -> Plan:
    """Plan one case's defacing, here and now, as a study does.

    Parameters
    ----------
    case : Case, or a path or Scan of one case
    defacer : str
        Registered name, with options if any: ``quickshear:form=published``.
    key : bytes
        Secret for defacers that draw noise; by default a fresh one.
    protect : str or sequence of str
        Names of structures that stay as they are, with ``*`` and ``?``; the brain always does, as it is found and as
        a structure set draws it. How much of the face that leaves is part of ``plan.summary()``.
    margin_mm : float
        Kept around them.
    **options
        Of the defacer, too.

    Raises
    ------
    ConfigError
        For an unknown defacer or option, or a margin that is none.
    RefusedError
        If the head does not allow a trustworthy plan, or a structure to be protected is not there or cannot be read.
    InputError
        If there is no case, or more than one.
    """
    from defacedask.anatomy.head import Head
    from defacedask.defacers.remaining import remains
    from defacedask.flow.stages.drawn import DrawnStructures
    from defacedask.io.dicom.image import read_image

    maker = get_defacer(defacer, **options)
    check_margin(margin_mm)
    it = one_case(case)
    head = Head(read_image(it.primary))
    head.require()
    drawn = DrawnStructures(it)
    kept, missing = kept_structures(drawn, patterns_of(protect), head)
    if missing:
        raise RefusedError(
            missing[0], "`defacedask scan --json` has the names; mend the pattern, or leave the pattern out."
        )
    brain = drawn_brain(drawn, head)
    spared, _ = spared_structures(drawn, maker.spares, head)
    protected = [one.protected(margin_mm) for one in kept]
    protected += [one.protected(0.0) for one in ([] if brain is None else [brain])]
    protected += [one.protected(0.0) for one in spared]
    made = maker.plan(head, key=key or secrets.token_bytes(32), protected=protected)
    return remains(made, head)[0]


def study(
    cases: Any,
    out: str | Path,
    *,
    work: str | Path | None = None,
    defacers: str | Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None,
    recogniser: str | Iterable[str] | None = None,
    tolerance: Tolerance = None,
    seed: int | None = None,
    client: Any = None,
    pictures: bool | None = None,
    export: bool = True,
    deidentify: bool = False,
    private: str | None = None,
    allow_visible: bool = False,
    allow_reversible: bool = False,
    masks: Iterable[str] = (),
    ids: str | Path | None = None,
    trial: Iterable[str] | Mapping[str, str] = (),
    gallery: str | None = None,
    forced_matrix: int | None = None,
    feature_classes: str | Iterable[str] | None = None,
    protect: str | Sequence[str] = (),
    margin_mm: float = 3.0,
    attacks: str | Iterable[str] | None = None,
    allow_upload: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
    reference: str | Path | None = None,
    arms: Iterable[str] | Mapping[str, str | Path] | None = None,
) -> StudyResult:
    """Compare defacers on a cohort: the whole way from DICOM to the report.

    Parameters
    ----------
    cases : path, Scan, Case, or iterable of these
        What to work on; anything that is not yet scanned is scanned first.
    out : path or str
        Folder for everything that is left: store, tables, report, files. A second run with the same folder does
        only what is missing or has changed. Or an fsspec address such as ``s3://BUCKET/FOLDER``: defaced files go
        there case by case, and all but the store at the end.
    work : path or str, optional
        Where the run works if ``out`` is an address; by default ``FOLDER.work`` in the current folder. May be an
        address, too: `defacedask.runs.outputs.output_of`.
    defacers : str, sequence of str, or mapping
        Names, or ``all`` (the study's four), with options as in ``quickshear:form=published``; or name -> options.
        The convert-only control ``none`` always runs beside them.
    recogniser : str or sequence of str
        Registered recognisers, or ``onnx:PATH`` for a network in a file.
    tolerance : float, str or mapping, optional
        Distance up to which two faces count as the same, whatever the calibration on originals says: a number is
        face_recognition's (the study's 0.3 by default), another recogniser's is named (``"NAME=0.2"``, or a mapping).
        A recogniser without one is judged at its calibrated threshold alone.
    seed : int, optional
        Fixes the run's secret key, for runs that must be repeatable; by default the key is drawn at random and
        kept in ``OUT/store/run.key``.
    client : distributed.Client or callable, optional
        Where tasks run; by default on the active client, and without one here, one after the other. A callable is
        asked for a client when the first stage must run that no earlier run has left.
    pictures : bool
        Keep pictures of heads for the report. They identify people.
    export : bool
        Write the defaced DICOM, below ``OUT/defaced/DEFACER``, with its record in ``OUT/audit.jsonl``, once the faces
        have been judged: of a defacer behind which people were recognised, in more cases than chance explains,
        nothing is written, or with ``allow_visible`` files that say that the face is visible.
    deidentify, private, allow_visible, allow_reversible, masks, ids, trial
        Of what is written: see `defacedask.runs.deface.deface`. Who got which id lies in ``OUT/store``. A defacer
        that only covers the face is compared like any other; without ``allow_reversible`` its result is not written.
    protect : str or sequence of str
        Names of structures that stay as they are, with ``*`` and ``?``; the brain always does.
    margin_mm : float
        Kept around them.
    forced_matrix : int
        Persons, drawn at random, whose original's landmarks are put on each other's defaced heads: the forced crop
        as a full matrix, which costs an encoding for each pair, view, defacer and recogniser. 0 for none.
    gallery : str
        Whom defaced heads are compared with: ``originals`` (the study's protocol), ``second-scan`` (another scan
        of the same person), or a folder of photographs (PatientID.jpg, or PatientID/any.jpg).
    feature_classes : str or sequence of str
        Classes of pyradiomics to compute beside the study's ten features, such as ``glcm,shape``.
    attacks : str or sequence of str
        ``basic``, ``default``, ``all``, or names of `defacedask.attacks.names`.
    allow_upload : bool
        Must be True for recognisers that send pictures of faces to a service.
    device : str
        Where kernels run: ``cpu``, ``cuda``, or ``auto`` (on a card where a worker has one).
    progress : callable
        ``progress(finished, total, result)`` after each result.
    reference : path, optional
        Folder of published tables to print beside ours.
    arms : iterable of str or mapping, optional
        Other people's defacers, judged like ours and never written: ``NAME=FOLDER`` (defaced already, DICOM or NIfTI,
        paired with the cases as `defacedask.attack` pairs them) or ``NAME=COMMAND``; or name -> folder or command. A
        command runs once a case, without a shell. It names ``{input}`` and ``{output}`` (NIfTI files, of the image
        that heads are found on), or ``{input_dir}`` and ``{output_dir}`` (copies of the case's own files).

    Returns
    -------
    StudyResult

    Raises
    ------
    InputError
        If there is nothing to work on.
    ConfigError
        For an unknown defacer, recogniser or option, or the device ``cuda`` where there is none.
    OutputError
        If ``out`` cannot be written, at the start or at any time; the run ends, what was finished stays.
    """
    from defacedask.report.run import read_reference

    if reference is not None:
        read_reference(reference)  # what is wrong with it is said before the run, and not after
    output = output_of(out, work, own="store")
    with output.held():
        prepared = prepare(
            cases,
            output.folder,
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
            masks=masks,
            ids=ids,
            trial=trial,
            gallery=gallery,
            forced_matrix=forced_matrix,
            feature_classes=feature_classes,
            protect=protect,
            margin_mm=margin_mm,
            attacks=attacks,
            allow_upload=allow_upload,
            device=device_for(device, client),
            arms=arms,
        )
        return run(prepared, client=client, progress=progress, reference=reference, output=output)


def run(
    prepared: Prepared,
    *,
    client: Any = None,
    progress: Progress | None = None,
    reference: str | Path | None = None,
    before_report: Callable[[MutableMapping[str, pd.DataFrame]], None] | None = None,
    output: Output | None = None,
    say: Said = lambda _: None,
) -> StudyResult:
    """Run what `prepare` made ready; arguments and errors as in `study`.

    ``before_report`` is called with the tables when they are written and the page is not; it may change them.
    ``output`` is held: the run's folder is objects, or its result goes to an address. ``say`` gets a line about that.

    Raises
    ------
    ConfigError
        If a recogniser is a service, and workers have no folder that all of them see.
    """
    depot = output.depot if output else None
    if depot and prepared.settings.faces.get("face_folder"):
        raise ConfigError(
            "a recogniser that is a service needs a folder that all workers see, for what it was sent.",
            "Let --work be a folder, or choose another recogniser.",
        )
    context = StudyRun(prepared)
    outbox = output.outbox(prepared.run_key, record_folder(prepared.folder)) if output else None
    if context.release:
        context.release.outbox = outbox
    result = _judged(context, client, progress, reference, before_report, depot)
    if output:
        records = context.release.records() if context.release else _records(prepared.folder)
        output.publish(prepared.run_key, say, outbox, records)
    return result


def _records(folder: Path) -> list[Path]:
    """What earlier runs left of the record."""
    return sorted(record_folder(folder).glob("*/*.jsonl"))


def _judged(
    context: StudyRun,
    client: Any,
    progress: Progress | None,
    reference: str | Path | None,
    before_report: Callable[[MutableMapping[str, pd.DataFrame]], None] | None,
    depot: Depot | None,
) -> StudyResult:
    """Run all stages, tables and report."""
    from defacedask.report import write_report
    from defacedask.report.run import read_run
    from defacedask.tables.cohort import Cohort
    from defacedask.tables.rows import About
    from defacedask.tables.written import AMENDED

    prepared, release = context.prepared, context.release
    with flow_on(
        prepared.folder / "store",
        stages(prepared.settings.device),
        client,
        command="study",
        cases=len(prepared.cases),
        brief=receipt,
        depot=depot,
    ) as flow:
        ids = [case.id for case in prepared.cases]
        cohort = Cohort(prepared.folder, ids, prepared.settings, flow.executor)
        originals: set[str] = set()
        names = prepared.settings.judged
        device = prepared.settings.device
        store = prepared.folder / "store"
        last = taught(flow, context, prepared.cases, names, inverting(device), store, progress)
        for case, found in last.run(context, prepared.cases, names, progress):
            if prepared.settings.forced_matrix and _looked(found):
                originals.add(case.id)
            cohort.add(About.of(case), release.note(case, found) if release else found)
        skipped = [dataclasses.asdict(skip) for skip in prepared.skipped]
        judged, note = (store / name for name in ("judged.json", "tables.json"))
        page = prepared.folder / "report" / "index.html"
        made = cohort.made(skipped)
        if not stamped(judged, made):
            judged.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
            cohort.finish(skipped)
            if prepared.settings.forced_matrix:
                looked_at = [case for case in prepared.cases if case.id in originals]
                compared = functools.partial(cropping, device)
                folder, settings = prepared.folder, prepared.settings
                fill_matrix(flow, context, folder, settings, looked_at, context.looks_at, compared, progress)
            # files are written after this, and then some tables once more
            later = AMENDED if release else ()
            stamp(judged, made, [file for file in _made(prepared.folder) if file.stem not in later])
        written = None
        if release:
            release.heed(read_run(prepared.folder))
            written = _write(flow, context, release, cohort, progress)
            made += " " + " ".join(part.name for part in written.parts())
        plain = before_report is None and reference is None
        if plain and stamped(note, made):
            return StudyResult(prepared.folder, cohort.known(), page)
        note.unlink(missing_ok=True)
        if written:
            written.finish()
        tables = cohort.known()
        if before_report:
            before_report(tables)
        page = write_report(prepared.folder, reference=reference)
        if plain:
            stamp(note, made, [page, *_made(prepared.folder)])
    return StudyResult(prepared.folder, tables, page)


def _looked(results: Iterable[TaskResult]) -> bool:
    """Whether the original was looked at."""
    return any((result.stage, result.defacer) == ("faces", ORIGINAL) and result.ok for result in results)


def _made(folder: Path) -> list[Path]:
    """Files of the tables, and the list of pictures."""
    return [folder / "pictures" / "index.json", *sorted((folder / "tables").iterdir())]


def _write(
    flow: Flow[StudyRun], context: StudyRun, release: Release, cohort: Cohort, progress: Progress | None
) -> Written:
    """Write what may be written of a study that has been judged, with its record; gives what became of it."""
    from defacedask.tables.written import Written

    cases = context.prepared.cases
    written = Written(cohort, flow.executor)
    # first of all no file stays that says what is not true
    held = {}
    for case in cases:
        results = release.withhold(case)
        if results != release.refusals(case):  # all others are known without being kept
            held[case.id] = results
    due = [case for case in cases if release.due(case.id)]
    for case in cases:
        if not release.due(case.id):
            written.add(case.id, held.pop(case.id, release.refusals(case)))
    ids: dict[str, str] = {}
    last = dataclasses.replace(flow, stages=writing(context.settings.device), brief=_but_exports)
    for case, found in last.run(context, due, tuple(release.defacers), progress, before=context.begin):
        exports = release.exported(case, found)
        written.add(case.id, held.pop(case.id, release.refusals(case)) + exports)
        for result in exports:
            if new := result.facts.get("new_patient_id"):
                ids[case.id] = new
    release.record(ids)
    return written


def _but_exports(result: TaskResult) -> TaskResult:
    """Receipts, but for exports: of these the tables are told at once."""
    return result if result.stage == "export" else receipt(result)

"""The dataflow of one case and of a cohort: which stage follows which, and what a run leaves behind.

::

    ingest -> look -> apply (each defacer) -> faces, radiomics, dose, pictures
                   -> faces of the original --^

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
import yaml

from defacedask import config
from defacedask.defacers import STUDY_DEFACERS, get_defacer
from defacedask.errors import ConfigError, InputError
from defacedask.evaluation.recognition import get_recogniser
from defacedask.executors import executor_for
from defacedask.pieces import Piece, run_piece
from defacedask.release import Release
from defacedask.scheduling import run_cases
from defacedask.stages.apply import apply
from defacedask.stages.costs import measure_dose, measure_radiomics
from defacedask.stages.faces import judge_faces
from defacedask.stages.ingest import case_key, ingest
from defacedask.stages.pictures import draw_slices
from defacedask.stages.places import ORIGINAL
from defacedask.stages.plans import look
from defacedask.store import writing

if TYPE_CHECKING:
    from defacedask.defacers import Plan
    from defacedask.dicom.catalogue import Case, Skipped

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

CONTROL = "none"
#: Below the run's folder: plans, and finished pieces.
PLANS, KEPT = "store/plans", "store/pieces"
Progress = Callable[[int, int, Piece | None], None]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every choice of a run; written to config.yaml, and part of the key of what depends on it.

    Attributes
    ----------
    defacers : dict
        Name -> options, the control ``none`` among them.
    recogniser : str
    tolerance : float
        Largest distance that counts as a match, the study's 0.3 by default.
    faces, radiomics : dict
        Options of those stages.
    pictures : bool
        Whether pictures of heads are kept for the report.
    export : bool
        Whether defaced DICOM is written.
    """

    defacers: dict[str, dict[str, Any]]
    recogniser: str
    tolerance: float
    faces: dict[str, Any]
    radiomics: dict[str, Any]
    pictures: bool
    export: bool = False


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
        Registered name.
    key : bytes
        Secret for defacers that draw noise; by default a fresh one.
    **options
        Of the defacer.

    Raises
    ------
    RefusedError
        If the head does not allow a trustworthy plan.
    """
    from defacedask.dicom.image import read_image
    from defacedask.head import Head

    head = Head(read_image(case.primary))
    head.require()
    return get_defacer(defacer, **options).plan(head, key=key or secrets.token_bytes(32))


def resolve_defacers(names: str | Iterable[str] | None) -> dict[str, dict[str, Any]]:
    """Names -> options: ``all`` and None mean the study's four; the control ``none`` always comes first.

    Raises
    ------
    ConfigError
        For an unknown name.
    """
    if names is None or names == "all":
        chosen: list[str] = list(STUDY_DEFACERS)
    else:
        parts = names.split(",") if isinstance(names, str) else list(names)
        chosen = [part.strip() for part in parts if part.strip()]
        if "all" in chosen:
            chosen = [*STUDY_DEFACERS, *(c for c in chosen if c != "all")]
    if not chosen:
        raise ConfigError("no defacer was named.", "Use --defacers all, or a list such as quickshear,carina.")
    for name in chosen:
        get_defacer(name)
    return {name: {} for name in dict.fromkeys([CONTROL, *chosen])}


def study(
    cases: Any,
    out: str | Path,
    *,
    defacers: str | Iterable[str] | None = None,
    recogniser: str | None = None,
    tolerance: float | None = None,
    seed: int | None = None,
    client: Any = None,
    pictures: bool | None = None,
    export: bool = True,
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
    defacers : str or sequence of str
        Names, or ``all`` (the study's four). The convert-only control ``none`` always runs beside them.
    recogniser : str
        Registered recogniser.
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
    )
    return run(prepared, client=client, progress=progress, reference=reference)


@dataclasses.dataclass
class Prepared:
    """A study that can be run: inputs scanned, options checked, output folder made."""

    folder: Path
    cases: Sequence[Case]
    skipped: Sequence[Skipped]
    settings: Settings
    run_key: bytes


def prepare(
    cases: Any,
    out: str | Path,
    *,
    defacers: str | Iterable[str] | None = None,
    recogniser: str | None = None,
    tolerance: float | None = None,
    seed: int | None = None,
    pictures: bool | None = None,
    export: bool = True,
) -> Prepared:
    """Do all that can fail early, before any cluster is started; arguments and errors as in `study`."""
    folder = Path(out)
    settings = dataclasses.replace(_settings(defacers, recogniser, tolerance, pictures), export=export)
    found, skipped = _cases(cases)
    _prepare(folder)
    run_key = _run_key(folder, seed)
    with writing("config.yaml"):
        _write_config(folder, settings, run_key)
    return Prepared(folder, found, skipped, settings, run_key)


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

    pieces = run_cases(prepared.cases, submit, executor, progress)
    if release:
        release.record(pieces)
    tables = collect(prepared.folder, prepared.cases, prepared.skipped, pieces, prepared.settings)
    page = write_report(prepared.folder, reference=reference)
    return StudyResult(prepared.folder, tables, page)


# --- preparing


def _settings(
    defacers: str | Iterable[str] | None,
    recogniser: str | None,
    tolerance: float | None,
    pictures: bool | None,
) -> Settings:
    render = config.option("render")
    radiomics = config.option("radiomics")
    limit = config.option("recognition.tolerance") if tolerance is None else tolerance
    if not 0 < limit < 2:
        raise ConfigError(f"the tolerance must lie between 0 and 2, not at {limit}.", "The study's is 0.3.")
    name = recogniser or config.option("recognition.recogniser")
    get_recogniser(name)
    return Settings(
        defacers=resolve_defacers(defacers),
        recogniser=name,
        tolerance=limit,
        faces={
            "recogniser": name,
            "size": render["size"],
            "yaws": list(render["yaws"]),
            "pitches": list(render["pitches"]),
            "smooth_mm": render["smooth-mm"],
            "modalities": list(render["modalities"]),
        },
        radiomics={"bin_width": radiomics["bin-width"], "voxel_array_shift": radiomics["voxel-array-shift"]},
        pictures=config.option("output.pictures") if pictures is None else pictures,
    )


def _cases(cases: Any) -> tuple[Sequence[Case], Sequence[Skipped]]:
    from defacedask.dicom.catalogue import Case, Scan, scan

    if isinstance(cases, Scan):
        found, skipped = cases.cases, cases.skipped
    elif isinstance(cases, Case):
        found, skipped = (cases,), ()
    elif (
        isinstance(cases, Sequence) and not isinstance(cases, str) and all(isinstance(c, Case) for c in cases)
    ):
        found, skipped = tuple(cases), ()
    else:
        inputs = [cases] if isinstance(cases, (str, Path)) else list(cases)
        result = scan(*inputs)
        found, skipped = result.cases, result.skipped
    if not found:
        why = (
            f" ({len(skipped)} files or series were skipped; the first: {skipped[0].reason})"
            if skipped
            else ""
        )
        raise InputError(
            f"there is no image series to work on{why}.", "See `defacedask scan INPUT` for what is there."
        )
    return found, skipped


def _prepare(folder: Path) -> None:
    with writing(f"the output folder {folder}"):
        for name in ("store", "tables", "report", "pictures"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        probe = folder / "store" / ".probe"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()


def _run_key(folder: Path, seed: int | None) -> bytes:
    """Key of the run: from the seed, else the one an earlier run left, else a new one."""
    if seed is not None:
        return hashlib.sha256(f"defacedask seed {seed}".encode()).digest()
    path = folder / "store" / "run.key"
    if path.exists():
        return bytes.fromhex(path.read_text().strip())
    key = secrets.token_bytes(32)
    with writing("the key of the run"):
        path.touch(mode=0o600)
        path.write_text(key.hex())
    return key


def _write_config(folder: Path, settings: Settings, run_key: bytes) -> None:
    from defacedask.versions import versions

    content: dict[str, Any] = {
        "settings": dataclasses.asdict(settings),
        "run_key_sha256": hashlib.sha256(run_key).hexdigest(),
        "options": config.snapshot(),
        "versions": versions(),
    }
    text = yaml.safe_dump(content, sort_keys=True)
    content["config_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    partial = folder / ".config.yaml.partial"
    partial.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    partial.replace(folder / "config.yaml")


# --- running


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

    ingested = add("ingest", ingest, {"case": case.to_dict(), "root": store}, depends=_input_state(case))
    looked = add(
        "look",
        look,
        {"plans": plans, "defacers": settings.defacers, "run_key": run_key, "case": case.id},
        ingested,
        depends=[settings.defacers, secret],
    )
    judge = {
        "case": case.id,
        "settings": settings.faces,
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
            applied,
            defacer=name,
            depends=settings.radiomics,
        )
        add("dose", measure_dose, who, ingested, looked, applied, defacer=name)
        if settings.pictures:
            add("pictures", draw_slices, {**draw, **who}, ingested, looked, applied, defacer=name)
    return graph


def _input_state(case: Case) -> str:
    try:
        return case_key(case)
    except OSError:
        # the ingest will say which file is gone
        return secrets.token_hex(8)

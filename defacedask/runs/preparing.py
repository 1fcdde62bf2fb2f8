"""What is settled before a study starts: its settings, its cases, its folder and its key.

Everything that can fail early fails here, before any cluster is started.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from defacedask import config
from defacedask.costs.texture import check_classes
from defacedask.defacers import STUDY_DEFACERS, code_of, resolve
from defacedask.devices import chosen_device
from defacedask.errors import ConfigError
from defacedask.faces.galleries import check_gallery
from defacedask.flow.release_options import ReleaseOptions
from defacedask.flow.settings import Settings
from defacedask.flow.stages.layout import KEPT, PLANS
from defacedask.flow.stages.protecting import check_margin, patterns_of
from defacedask.inputs import nothing_found, paths_of, scan_of
from defacedask.io.store import writing
from defacedask.runs.already import set_aside
from defacedask.runs.arms import Partner, partners, read_arms
from defacedask.runs.face_settings import Tolerance, check_matrix, face_settings, resolve_tolerance
from defacedask.runs.outputs import local_folder, outside
from defacedask.runs.run_key import key_of_seed, read_key
from defacedask.runs.trial import check_trial, facts_by_case, read_ids, trial_facts
from defacedask.whole_files import write_whole

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case, Skipped
    from defacedask.io.dicom.people import People

__all__ = [
    "CONTROL",
    "KEPT",
    "PLANS",
    "RUN_FOLDERS",
    "Prepared",
    "make_output",
    "prepare",
    "resolve_defacers",
    "settle",
    "write_config",
]

CONTROL = "none"
#: What a run's folder holds.
RUN_FOLDERS = ("store", "tables", "report", "pictures")
#: Of these, what holds the original voxels, plans and encodings, and what shows faces.
PRIVATE_FOLDERS = ("store", "report", "pictures")


def resolve_defacers(
    names: str | Iterable[str] | Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, dict[str, Any]]:
    """Names -> options: ``all`` and None mean the study's four; the control ``none`` always comes first.

    Parameters
    ----------
    names : str, sequence of str, or mapping
        Names with commas between, each with its options if any (``quickshear:form=published,carina``); or name ->
        options. With ``all``, one that is named beside it takes these options instead.

    Raises
    ------
    ConfigError
        For an unknown name or option, or a defacer that is named with two sets of options.
    """
    given: list[tuple[str, Mapping[str, Any]]]
    if names is None:
        given = [("all", {})]
    elif isinstance(names, Mapping):
        given = list(names.items())
    else:
        parts = names.split(",") if isinstance(names, str) else list(names)
        given = [(part.strip(), {}) for part in parts if part.strip()]
    if not given:
        raise ConfigError("no defacer was named.", "Use --defacers all, or a list such as quickshear,carina.")
    whole = any(text == "all" for text, _ in given)
    chosen: dict[str, dict[str, Any]] = {
        CONTROL: {},
        **({name: {} for name in STUDY_DEFACERS} if whole else {}),
    }
    named: set[str] = set()
    for text, more in given:
        if text == "all":
            continue
        name, options = resolve(text, **more)
        if name in named and chosen[name] != options:
            raise ConfigError(
                f"{name} is named with two sets of options; a study knows each defacer by its name.",
                "Run two studies, or leave one out.",
            )
        named.add(name)
        chosen[name] = options
    for name in chosen:
        resolve(name)
    return chosen


@dataclasses.dataclass
class Prepared:
    """A study that can be run: inputs scanned, options checked, output folder made."""

    folder: Path
    cases: Sequence[Case]
    skipped: Sequence[Skipped]
    settings: Settings
    run_key: bytes
    people: People = dataclasses.field(default_factory=dict, repr=False)
    #: Case id -> what its headers say of a trial.
    trial: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict, repr=False)
    #: Arm -> case id -> what its folder has of it.
    partners: dict[str, dict[str, Partner]] = dataclasses.field(default_factory=dict, repr=False)


def prepare(cases: Any, out: str | Path, *, seed: int | None = None, **options: Any) -> Prepared:
    """Do all that can fail early, before any cluster is started; arguments and errors as in `study`."""
    settled = settle(cases, out, **options)
    folder = settled.folder
    make_output(folder, *RUN_FOLDERS)
    run_key = read_key(folder / "store" / "run.key") if seed is None else key_of_seed(seed)
    write_config(folder, settled.settings, run_key)
    return dataclasses.replace(settled, run_key=run_key)


def settle(
    cases: Any,
    out: str | Path,
    *,
    defacers: str | Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None,
    recogniser: str | Iterable[str] | None = None,
    tolerance: Tolerance = None,
    pictures: bool | None = None,
    export: bool = True,
    gallery: str | None = None,
    forced_matrix: int | None = None,
    feature_classes: str | Iterable[str] | None = None,
    protect: str | Sequence[str] = (),
    margin_mm: float = 3.0,
    deidentify: bool = False,
    private: str | None = None,
    allow_visible: bool = False,
    allow_reversible: bool = False,
    masks: Iterable[str] = (),
    ids: str | Path | None = None,
    trial: Iterable[str] | Mapping[str, str] = (),
    attacks: str | Iterable[str] | None = None,
    allow_upload: bool = False,
    device: str | None = None,
    arms: Iterable[str] | Mapping[str, str | Path] | None = None,
) -> Prepared:
    """Check what is asked for, and write nothing: no key is there yet; arguments and errors as in `study`."""
    from defacedask.io.dicom.export.words import words_of_people
    from defacedask.io.dicom.people import people_of

    folder = local_folder(out)
    faces = face_settings(recogniser, attacks, allow_upload, folder / "store" / "faces")
    settings = _settings(defacers, faces, tolerance, pictures)
    settings = dataclasses.replace(settings, arms=read_arms(arms))
    classes = check_classes(feature_classes)
    check_margin(margin_mm)
    outside(folder, paths_of(cases))
    found, skipped, people = _cases(cases)
    known = gallery or config.option("recognition.gallery")
    check_gallery(known, [case.person for case in found])
    matrix = config.option("recognition.forced-matrix") if forced_matrix is None else forced_matrix
    settings = dataclasses.replace(settings, forced_matrix=check_matrix(int(matrix), known))
    settings = dataclasses.replace(
        settings, export=export, gallery=known, radiomics={**settings.radiomics, "classes": classes}
    )
    settings = dataclasses.replace(settings, protect=patterns_of(protect), margin_mm=margin_mm)
    settings = dataclasses.replace(settings, device=chosen_device(device))
    release = ReleaseOptions.of(private, deidentify, allow_visible, allow_reversible, masks)
    settings = dataclasses.replace(settings, release=release.choice)
    about = trial_facts(trial)
    check_trial(about, ids, deidentify)
    if deidentify and not people:
        people = people_of(found)
    table = None if ids is None else read_ids(ids)
    given = facts_by_case(table, about, found)
    if table is not None:
        table.check(words_of_people(people))
    paired = partners(settings.arms, found)
    return Prepared(folder, found, skipped, settings, b"", people, given, paired)


def _settings(
    defacers: str | Iterable[str] | Mapping[str, Mapping[str, Any]] | None,
    faces: dict[str, Any],
    tolerance: Tolerance,
    pictures: bool | None,
) -> Settings:
    radiomics = config.option("radiomics")
    chosen = resolve_defacers(defacers)
    return Settings(
        defacers=chosen,
        code={name: code_of(name) for name in chosen},
        recogniser=",".join(faces["recognisers"]),
        tolerance=resolve_tolerance(tolerance, faces),
        faces=faces,
        radiomics={"bin_width": radiomics["bin-width"], "voxel_array_shift": radiomics["voxel-array-shift"]},
        pictures=config.option("output.pictures") if pictures is None else pictures,
    )


def _cases(cases: Any) -> tuple[Sequence[Case], Sequence[Skipped], People]:
    from defacedask.io.dicom.model import Case

    if isinstance(cases, Case):
        return (cases,), (), {}
    if isinstance(cases, Sequence) and not isinstance(cases, str) and all(isinstance(c, Case) for c in cases):
        if not cases:
            raise nothing_found(())
        return tuple(cases), (), {}
    # a head without its face can be neither recognised nor measured as an original
    found, _ = set_aside(scan_of(cases))
    if not found.cases:
        raise nothing_found(found.skipped)
    return found.cases, found.skipped, found.people


def make_output(folder: Path, *parts: str | Path) -> None:
    """Make an output folder and folders below it (or, as absolute paths, beside it), and write to it.

    Those that hold originals or show people are made for their owner alone: the input may lie where nobody else may
    look. A folder that is there keeps its rights.

    Raises
    ------
    OutputError
        If nothing can be written there.
    """
    with writing(f"the output folder {folder}"):
        for part in ("", *parts):
            private = str(part) in PRIVATE_FOLDERS or Path(part).is_absolute()
            (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o777)
        probe = folder / ".probe"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()


def write_config(folder: Path, settings: Settings, run_key: bytes | None = None) -> None:
    """Leave ``config.yaml``: settings, hash of the run's key if it has one, options, versions, hash of all that.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from defacedask.versions import versions

    content: dict[str, Any] = {
        "settings": {**dataclasses.asdict(settings), "protect": list(settings.protect)},
        **({} if run_key is None else {"run_key_sha256": hashlib.sha256(run_key).hexdigest()}),
        "options": config.snapshot(),
        "versions": versions(),
    }
    text = yaml.safe_dump(content, sort_keys=True)
    content["config_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    with writing("config.yaml"):
        write_whole(folder / "config.yaml", yaml.safe_dump(content, sort_keys=False))

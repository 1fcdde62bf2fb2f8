"""Whether a defaced folder is what was written, and says and hides what it should.

Everything is judged from the folder itself: its record, its seal, its files. The source's instance UIDs are known
from SourceImageSequence, the one place where they may stand; with the source at hand all of its UIDs are looked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from defacedask.door import callable_module
from defacedask.errors import DefacedaskError, InputError
from defacedask.inputs import folder_of, scan_of
from defacedask.io.dicom.export.covered import problems as covered_problems
from defacedask.io.dicom.export.covered import sidecar_problems
from defacedask.io.dicom.model import Case, Scan
from defacedask.modality import IMAGES
from defacedask.verify.masks import masks
from defacedask.verify.people import identities, names_left
from defacedask.whole_files import file_hash

if TYPE_CHECKING:
    from defacedask.io.dicom.export.leaks import Search

__all__ = ["Problem", "Verification", "verified_files", "verify"]

#: Files of the record itself.
RECORD = {"audit.jsonl", "audit.seal.json"}
PIXELS = (*IMAGES, "RTDOSE")


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that is not as it should be.

    Attributes
    ----------
    file : str
        Path below the folder, "" for the folder as a whole.
    check : str
        record | hash | tags | references | leaks.
    what : str
        One clause.
    """

    file: str
    check: str
    what: str


@dataclasses.dataclass
class Verification:
    """Result of `verify`.

    Attributes
    ----------
    written, refused : int
        Instances on record.
    counts : dict
        Modality -> instances written.
    problems : list of Problem
    unseen : list of str
        What could not be checked with what was given, one sentence each.
    """

    written: int
    refused: int
    counts: dict[str, int]
    problems: list[Problem]
    unseen: list[str] = dataclasses.field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(out: Any, *, key: bytes = b"", source: Any = ()) -> Verification:
    """Check a folder that `deface` or `study` wrote.

    Parameters
    ----------
    out : path, or what `deface` returned
        With ``audit.jsonl``.
    key : bytes, optional
        Of the run: proves that the record is the one its holder wrote, and where headers were de-identified looks for
        the names and ids of everybody in the cohort, whose codes are in the seal.
    source : path, Scan, Case, or iterable of these, optional
        The originals: all their instance and series UIDs are looked for, where headers were de-identified the names
        and ids of everybody in them, and outside of masks every voxel must be theirs.

    Returns
    -------
    Verification

    Raises
    ------
    InputError
        If there is no record, or it cannot be read.
    """
    folder = folder_of(out)
    lines = _record(folder)
    found = _Found(folder)
    _seal(found, key)
    written = [line for line in lines if line.get("status") == "written"]
    # what was passed on as it came: its bytes are looked at, and nothing is claimed of them
    copied = [line for line in lines if line.get("status") == "copied"]
    named = _files(found, [*written, *copied])
    datasets = {}
    for line in named:
        if line.get("status") == "copied" or line.get("modality") == "dataset":
            found.hash(line)
        elif found.hash(line) and not line["file"].lower().endswith((".nii", ".nii.gz", ".json")):
            dataset = found.open(line)
            if dataset is not None:
                datasets[line["file"]] = (line, dataset)
        elif line["file"].endswith(".json"):
            _sidecar(found, line)
    uids, plain, files = _source_facts(source)
    known = uids | _named_sources(datasets)
    _tags(found, datasets)
    _references(found, datasets)
    _leaks(found, datasets, lines, known)
    masks(found, named, files)
    searches = [one for one in (plain, _sealed_search(found, key)) if one is not None]
    identities(found, datasets, lines, named)
    for search in searches:
        names_left(found, datasets, lines, named, search)
    unseen = _unseen(lines, bool(searches))
    counts = Counter(line["modality"] for line in written)
    refused = sum(int(line.get("files", 1)) for line in lines if line.get("status") == "refused")
    problems = sorted(set(found.problems), key=lambda p: (p.file, p.check, p.what))
    return Verification(len(written), refused, dict(counts), problems, unseen)


def verified_files(out: str | Path, *, key: bytes = b"") -> tuple[list[Path], list[Problem]]:
    """DICOM files on record as written, in the order of their names, and what is wrong with the folder.

    Raises
    ------
    InputError
        If there is no record.
    """
    problems = verify(out, key=key).problems
    lines = [line for line in _record(Path(out)) if line.get("status") == "written"]
    names = sorted(str(line["file"]) for line in lines)
    other = (".nii", ".nii.gz", ".json")
    aside = {str(line["file"]) for line in lines if line.get("modality") == "dataset"}
    return [
        Path(out) / name for name in names if not name.lower().endswith(other) and name not in aside
    ], problems


def _record(folder: Path) -> list[dict[str, Any]]:
    from defacedask.io.dicom.export.audit import AUDIT, read_lines

    if not (folder / AUDIT).is_file():
        raise InputError(f"{folder} has no {AUDIT}.", "Name the folder that `defacedask deface --out` wrote.")
    try:
        lines = read_lines(folder / AUDIT)
    except (ValueError, OSError) as error:
        raise InputError(f"{folder / AUDIT} cannot be read ({error}).", "The record is damaged.") from None
    return lines


class _Found:
    """Problems so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []

    def say(self, file: str, check: str, what: str) -> None:
        self.problems.append(Problem(file, check, what))

    def hash(self, line: dict[str, Any]) -> bool:

        if file_hash(self.folder / line["file"]) == line.get("output_sha256"):
            return True
        self.say(line["file"], "hash", "its bytes are not those that were written")
        return False

    def open(self, line: dict[str, Any]) -> Any:
        from defacedask.io.dicom.headers import open_dataset

        try:
            dataset = open_dataset(self.folder / line["file"])
        except InputError as error:
            self.say(line["file"], "tags", error.message)
            return None
        return dataset


def _sealed_search(found: _Found, key: bytes) -> Search | None:
    """Search for the people whose codes are in the seal; none without the key, or without codes."""
    from defacedask.io.dicom.export.audit import SEAL
    from defacedask.io.dicom.export.leaks import searcher

    try:
        coded = json.loads((found.folder / SEAL).read_text(encoding="utf-8")).get("words")
        return searcher(coded, key) if key and isinstance(coded, dict) else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _unseen(lines: list[dict[str, Any]], searched: bool) -> list[str]:
    if searched or not any(line.get("deidentified") for line in lines):
        return []
    return [
        "Whether a name or id of somebody is left in a text was not looked for: this needs the run's key (--key) or "
        "the originals (--source)."
    ]


def _seal(found: _Found, key: bytes) -> None:
    from defacedask.io.dicom.export.audit import AUDIT, SEAL, seal_of

    path = found.folder / SEAL
    try:
        seal = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found.say(SEAL, "record", "the record's seal is missing or damaged")
        return
    now = seal_of(found.folder / AUDIT, key)
    if seal.get("sha256") != now["sha256"] or seal.get("lines") != now["lines"]:
        found.say(AUDIT, "record", "it is not the record that was sealed")
    if key and seal.get("hmac_sha256") != now["hmac_sha256"]:
        found.say(AUDIT, "record", "the holder of this key did not seal it")


def _files(found: _Found, written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines whose file is there; says which files are missing, twice on record or on no record."""
    folder = found.folder
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()}
    if (folder / "store").is_dir() and (folder / "defaced").is_dir():
        there = {name for name in there if name.startswith("defaced/")}  # a study's folder holds more
    named: list[dict[str, Any]] = []
    seen: set[str] = set()
    for line in written:
        name = str(line.get("file", ""))
        pure = PurePosixPath(name)
        if not name or pure.is_absolute() or ".." in pure.parts:
            found.say(name, "record", "the record names a file outside the folder")
        elif name in seen:
            found.say(name, "record", "it is on record twice")
        elif not (folder / name).is_file() or (folder / name).is_symlink():
            found.say(name, "record", "it is on record, but not there")
        else:
            named.append(line)
        seen.add(name)
    for name in sorted(there - seen - RECORD):
        found.say(name, "record", "it is not on record")
    return named


def _reversible(found: _Found, line: dict[str, Any], items: Iterable[tuple[str, str]]) -> bool:
    """Whether the face can be recovered: as the record says, the file's last code of ours, or the defacer itself."""
    from defacedask.defacers import is_reversible
    from defacedask.io.dicom.export.covered import CODE, SCHEME

    own = [value for value, scheme in items if scheme == SCHEME]
    known = own[-1:] == [CODE[0]]
    for name in (str(line.get("defacer", "")), *own[-1:]):
        # of somebody else, and not installed here: the record and the codes are all there is
        with contextlib.suppress(DefacedaskError):
            known |= is_reversible(name)
    if known and not line.get("reversible"):
        found.say(line["file"], "record", "the record does not say that the face is covered, not removed")
    return known or bool(line.get("reversible"))


def _sidecar(found: _Found, line: dict[str, Any]) -> None:
    try:
        facts = json.loads((found.folder / line["file"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found.say(line["file"], "tags", "the sidecar cannot be read")
        return
    given = facts.get("DeidentificationMethodCodeSequence", [])
    codes = [item.get("CodeValue") for item in given]
    items = [(str(i.get("CodeValue", "")), str(i.get("CodingSchemeDesignator", ""))) for i in given]
    if _reversible(found, line, items):
        for what in sidecar_problems(facts):
            found.say(line["file"], "tags", what)
    elif ("113102" in codes) == bool(line.get("visible")):
        found.say(line["file"], "tags", "the sidecar does not say rightly whether the face is gone (113102)")
    if line.get("deidentified") and "113100" not in codes:
        found.say(line["file"], "tags", "the sidecar does not carry code 113100")


def _tags(found: _Found, datasets: dict[str, tuple[dict[str, Any], Any]]) -> None:
    from defacedask.io.dicom.export.pictures import drop_pictures
    from defacedask.io.dicom.export.record import SCHEME
    from defacedask.io.dicom.export.series_names import says_so
    from defacedask.io.dicom.linking import references

    frames: dict[tuple[str, str], set[str]] = defaultdict(set)
    seen: dict[str, str] = {}
    for name, (line, dataset) in datasets.items():
        say = found.say
        uid = str(dataset.get("SOPInstanceUID", ""))
        if (
            uid != line.get("sop_instance_uid")
            or str(dataset.file_meta.get("MediaStorageSOPInstanceUID", "")) != uid
        ):
            say(name, "tags", "its SOP instance UID is not the one on record")
        if seen.setdefault(uid, name) != name:
            say(name, "tags", f"it has the SOP instance UID of {seen[uid]}")
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
            if not str(dataset.get(keyword, "")).startswith("2.25."):
                say(name, "tags", f"its {keyword} is none of the map's")
        items = [
            (str(i.get("CodeValue", "")), str(i.get("CodingSchemeDesignator", "")))
            for i in dataset.get("DeidentificationMethodCodeSequence", None) or ()
        ]
        visible, reversible = bool(line.get("visible")), _reversible(found, line, items)
        if reversible:
            for what in covered_problems(dataset, image=line["modality"] in PIXELS):
                say(name, "tags", what)
        elif (("113102", "DCM") in items) == visible:
            say(name, "tags", f"it {'carries' if visible else 'does not carry'} code 113102 in (0012,0064)")
        if line.get("deidentified"):
            if ("113100", "DCM") not in items or str(dataset.get("PatientIdentityRemoved", "")) != "YES":
                say(name, "tags", "it does not say that its header was de-identified")
            if any(t.is_private and not _is_safe(dataset, t) for t in dataset.keys()):  # noqa: SIM118
                say(name, "tags", "it holds private elements that may name the patient")
        if not says_so(dataset):
            say(name, "tags", "its SeriesDescription does not say that it is derived")
        if SCHEME not in {scheme for _, scheme in items}:
            say(name, "tags", f"it does not carry an item of {SCHEME} in (0012,0064)")
        if "defacedask" not in str(dataset.get("DeidentificationMethod", "")):
            say(name, "tags", "(0012,0063) does not name defacedask")
        if line["modality"] in PIXELS:
            wanted = "YES" if visible else "NO"
            if not reversible and str(dataset.get("RecognizableVisualFeatures", "")) != wanted:
                say(name, "tags", f"(0028,0302) is not {wanted}")
            if (dataset.get("ImageType", None) or [""])[0] != "DERIVED":
                say(name, "tags", "its ImageType is not DERIVED")
            if not dataset.get("SourceImageSequence", None):
                say(name, "tags", "it does not name its source image")
        for what in drop_pictures(dataset.copy() if hasattr(dataset, "copy") else dataset):
            say(name, "tags", f"it still holds a second picture: {what}")
        if dataset.get("FrameOfReferenceUID"):
            frames[line["case"], line["defacer"]].add(str(dataset.FrameOfReferenceUID))
    for (case, defacer), several in frames.items():
        images = {
            str(d.get("FrameOfReferenceUID", ""))
            for line, d in datasets.values()
            if (line["case"], line["defacer"]) == (case, defacer) and line["modality"] in IMAGES
        }
        # a spatial registration joins them
        joined = {
            frame
            for line, d in datasets.values()
            if (line["case"], line["defacer"], line["modality"]) == (case, defacer, "REG")
            for frame in references(d)[1]
        }
        if len(images) > 1 and not images <= joined:
            found.say("", "tags", f"the images of {case} lie in {len(several)} frames of reference")


def _references(found: _Found, datasets: dict[str, tuple[dict[str, Any], Any]]) -> None:
    from defacedask.io.dicom.export.check import unresolved
    from defacedask.io.dicom.export.image import Written

    there: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line, dataset in datasets.values():
        there[line["case"], line["defacer"]].add(str(dataset.get("SOPInstanceUID", "")))
    for name, (line, dataset) in datasets.items():
        one = Written("", name, line["modality"], "", "", "")
        count = len(unresolved(one, dataset, there[line["case"], line["defacer"]]))
        if count > int(line.get("unresolved", 0)):
            found.say(
                name, "references", f"{count - int(line.get('unresolved', 0))} of its references lead nowhere"
            )


def _is_safe(dataset: Any, tag: Any) -> bool:
    from defacedask.io.dicom.export.profile import safe_private

    return safe_private(dataset, tag)


def _source_facts(source: Any) -> tuple[set[str], Search | None, list[str]]:
    """UIDs of the originals, a search for the words that name people in them, and files of their images."""
    if not isinstance(source, (str, os.PathLike, Case, Scan)):
        source = list(source)
        if not source:
            return set(), None, []
    from defacedask.io.dicom.export.leaks import plain_search
    from defacedask.io.dicom.export.words import words_of_people
    from defacedask.io.dicom.people import people_of

    result = scan_of(source)
    people = result.people or people_of(result.cases)
    series = [s for case in result.cases for s in case.series]
    uids = {u for s in series for u in (s.uid, *s.instances)}
    found = plain_search(words_of_people(people).forms)
    files = [f for case in result.cases for s in case.images for f in s.files]
    return uids | {s.series_uid for s in result.skipped if s.series_uid}, found, files


def _named_sources(datasets: dict[str, tuple[dict[str, Any], Any]]) -> set[str]:
    items = [i for _, d in datasets.values() for i in d.get("SourceImageSequence", None) or ()]
    return {str(item.get("ReferencedSOPInstanceUID", "")) for item in items}


def _leaks(
    found: _Found,
    datasets: dict[str, tuple[dict[str, Any], Any]],
    lines: list[dict[str, Any]],
    known: set[str],
) -> None:
    """Source UIDs in headers (but for SourceImageSequence), in file names and in the record."""
    from defacedask.io.dicom.export.check import header_bytes
    from defacedask.io.dicom.export.image import Written
    from defacedask.io.dicom.export.references import source_tokens
    from defacedask.io.dicom.headers import open_dataset

    # a derived image's derived image: what is there under its own UID is no leak
    source = known - {str(dataset.get("SOPInstanceUID", "")) for _, dataset in datasets.values()} | {""}
    for name, (line, _) in datasets.items():
        one = Written("", str(found.folder / name), line["modality"], "", "", "")
        leaked = source_tokens(header_bytes(one, open_dataset(one.path)), source)
        if leaked:
            found.say(name, "leaks", f"{len(leaked)} UIDs of the source are in it")
    for line in lines:
        if line.get("status") == "copied":
            continue  # it is the source, and keeps its name
        if source_tokens(json.dumps(line).encode(), source):
            found.say(
                str(line.get("file", "")),
                "leaks",
                "a UID of the source is in its name or its line",
            )


callable_module(__name__, verify)  # dd.verify(out)

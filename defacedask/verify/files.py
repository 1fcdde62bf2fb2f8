"""What `verify` sees in the files of a record: their bytes, their headers, and what they say of each other.

The files are gone through twice, one at a time: what they say of themselves, then what follows from all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import DefacedaskError, InputError
from defacedask.io.dicom.export.covered import problems as covered_problems
from defacedask.io.dicom.export.covered import sidecar_problems
from defacedask.io.nifti.volumes import is_of_nifti
from defacedask.modality import IMAGES
from defacedask.verify.lines import Line, Lines, Some
from defacedask.verify.masks import masks
from defacedask.verify.people import Names, identity, one_name_each
from defacedask.whole_files import file_hash

if TYPE_CHECKING:
    from defacedask.io.dicom.export.leaks import Search

__all__ = ["Found", "Problem", "look"]

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


class Found:
    """Problems so far, of files in a folder, or in several one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        #: SOP instance UID -> the first file that has it.
        self.instances: dict[str, str] = {}
        #: New PatientID -> names that stand with it.
        self.patients: defaultdict[str, set[str]] = defaultdict(set)

    def say(self, file: str, check: str, what: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(file, check, what))

    def hash(self, line: dict[str, Any]) -> bool:
        """Whether a file is what was written."""
        if file_hash(self.folder / line["file"]) == line.get("output_sha256"):
            return True
        self.say(line["file"], "hash", "its bytes are not those that were written")
        return False

    def open(self, line: dict[str, Any]) -> Any:
        """Header of a file; None if it cannot be read."""
        from defacedask.io.dicom.headers import open_dataset

        try:
            dataset = open_dataset(self.folder / line["file"])
        except InputError as error:
            self.say(line["file"], "tags", error.message)
            return None
        return dataset


def look(
    found: Found,
    named: Lines,
    lines: Lines,
    uids: Iterable[str] = (),
    files: Iterable[str] = (),
    searches: Iterable[Search] = (),
) -> None:
    """Look at files of a record.

    Parameters
    ----------
    found : Found
    named : iterable of dict
        Lines of the record whose files are there; gone through several times, as ``lines``.
    lines : iterable of dict
        All lines that are looked at.
    uids : iterable of str
        Of the originals, beside those that the files name.
    files : iterable of str
        Of the images of the originals.
    searches : iterable of Search
        For the words that name people.
    """
    these = _These()
    names = [Names(search) for search in searches]
    for line in named:
        dataset = _opened(found, line)
        these.opened.append(dataset is not None)
        if dataset is not None:
            these.add(line, dataset)
            _tags(found, line, dataset)
            identity(found, line, dataset)
        for one in names:
            one.file(found, line, dataset)
    _one_frame(found, these)
    one_name_each(found)
    # a derived image's derived image: what is there under its own UID is no leak
    source = {*uids} | these.sources
    source -= these.own
    _again(found, Some(named, these.opened), these, source)
    for line in lines:
        # what was copied is the source, and keeps its name
        if line.get("status") != "copied" and _tokens(json.dumps(line).encode(), source):
            what = "a UID of the source is in its name or its line"
            found.say(str(line.get("file", "")), "leaks", what)
    masks(found, named, files)
    for one in names:
        one.record(found, lines)


class _These:
    """What is known of all files that are looked at together."""

    def __init__(self) -> None:
        #: Of each line whether its file could be opened as DICOM.
        self.opened = bytearray()
        #: Instances that the files name as their sources, and their own.
        self.sources: set[str] = set()
        self.own: set[str] = set()
        #: (case, defacer) -> instances; frames of reference; those of images; those that a registration joins.
        self.there: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.frames: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.images: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.joined: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def add(self, line: Line, dataset: Any) -> None:
        """Note what one file says."""
        from defacedask.io.dicom.linking import references

        whose = line["case"], line["defacer"]
        uid, frame = str(dataset.get("SOPInstanceUID", "")), str(dataset.get("FrameOfReferenceUID", ""))
        self.own.add(uid)
        self.there[whose].add(uid)
        for item in dataset.get("SourceImageSequence", None) or ():
            self.sources.add(str(item.get("ReferencedSOPInstanceUID", "")))
        if frame:
            self.frames[whose].add(frame)
        if line["modality"] in IMAGES:
            self.images[whose].add(frame)
        if line["modality"] == "REG":
            self.joined[whose].update(references(dataset)[1])


def _opened(found: Found, line: Line) -> Any:
    """Header of a DICOM file whose bytes are those that were written; None for others, which are looked at here."""
    if line.get("status") == "copied" or line.get("modality") == "dataset":
        found.hash(line)
    elif found.hash(line) and not is_of_nifti(line["file"]):
        return found.open(line)
    elif line["file"].endswith(".json"):
        _sidecar(found, line)
    return None


def _reversible(found: Found, line: dict[str, Any], items: Iterable[tuple[str, str]]) -> bool:
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


def _sidecar(found: Found, line: dict[str, Any]) -> None:
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


def _tags(found: Found, line: Line, dataset: Any) -> None:
    from defacedask.io.dicom.export.pictures import drop_pictures
    from defacedask.io.dicom.export.record import SCHEME
    from defacedask.io.dicom.export.series_names import says_so

    name, seen = line["file"], found.instances
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


def _one_frame(found: Found, these: _These) -> None:
    """See that the images of a case lie in one frame of reference, or in several that a registration joins."""
    for (case, defacer), several in these.frames.items():
        images = these.images[case, defacer]
        if len(images) > 1 and not images <= these.joined[case, defacer]:
            found.say("", "tags", f"the images of {case} lie in {len(several)} frames of reference")


def _again(found: Found, lines: Lines, these: _These, source: set[str]) -> None:
    """References that lead nowhere, and source UIDs in headers (but for SourceImageSequence)."""
    from defacedask.io.dicom.export.check import header_bytes, unresolved
    from defacedask.io.dicom.export.image import Written
    from defacedask.io.dicom.headers import open_dataset

    for line in lines:
        name = line["file"]
        one = Written("", str(found.folder / name), line["modality"], "", "", "")
        dataset = open_dataset(one.path)
        count = len(unresolved(one, dataset, these.there[line["case"], line["defacer"]]))
        if count > (known := int(line.get("unresolved", 0))):
            found.say(name, "references", f"{count - known} of its references lead nowhere")
        if leaked := _tokens(header_bytes(one, dataset), source):
            found.say(name, "leaks", f"{len(leaked)} UIDs of the source are in it")


def _tokens(data: bytes, source: set[str]) -> set[str]:
    from defacedask.io.dicom.export.references import source_tokens

    return source_tokens(data, source)


def _is_safe(dataset: Any, tag: Any) -> bool:
    from defacedask.io.dicom.export.profile import safe_private

    return safe_private(dataset, tag)

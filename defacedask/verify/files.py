"""What `verify` sees in the files of a record: their bytes, their headers, and what they say of each other."""

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
from defacedask.modality import IMAGES
from defacedask.verify.masks import masks
from defacedask.verify.people import identities, names_left
from defacedask.whole_files import file_hash

if TYPE_CHECKING:
    from defacedask.io.dicom.export.leaks import Search

__all__ = ["Found", "Lines", "Problem", "look"]

PIXELS = (*IMAGES, "RTDOSE")
Lines = list[dict[str, Any]]


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
    named : list of dict
        Lines of the record whose files are there.
    lines : list of dict
        All lines that are looked at.
    uids : iterable of str
        Of the originals, beside those that the files name.
    files : iterable of str
        Of the images of the originals.
    searches : iterable of Search
        For the words that name people.
    """
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
    known = {*uids} | _named_sources(datasets)
    _tags(found, datasets)
    _references(found, datasets)
    _leaks(found, datasets, lines, known)
    masks(found, named, files)
    identities(found, datasets, lines, named)
    for search in searches:
        names_left(found, datasets, lines, named, search)


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


def _tags(found: Found, datasets: dict[str, tuple[dict[str, Any], Any]]) -> None:
    from defacedask.io.dicom.export.pictures import drop_pictures
    from defacedask.io.dicom.export.record import SCHEME
    from defacedask.io.dicom.export.series_names import says_so
    from defacedask.io.dicom.linking import references

    frames: dict[tuple[str, str], set[str]] = defaultdict(set)
    seen = found.instances
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


def _references(found: Found, datasets: dict[str, tuple[dict[str, Any], Any]]) -> None:
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


def _named_sources(datasets: dict[str, tuple[dict[str, Any], Any]]) -> set[str]:
    items = [i for _, d in datasets.values() for i in d.get("SourceImageSequence", None) or ()]
    return {str(item.get("ReferencedSOPInstanceUID", "")) for item in items}


def _leaks(
    found: Found,
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

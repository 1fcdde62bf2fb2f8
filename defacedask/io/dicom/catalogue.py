"""What is there: series grouped into cases, and what is skipped and why. Headers only."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from defacedask.errors import DamagedError, RefusedError
from defacedask.io.bids.grouping import one_plan_each
from defacedask.io.bids.participants import with_participants
from defacedask.io.dicom.asides import asides
from defacedask.io.dicom.bulk import Unreadable, read_headers
from defacedask.io.dicom.defaced import said
from defacedask.io.dicom.dose_planes import join_planes
from defacedask.io.dicom.enhanced import enhanced_volumes
from defacedask.io.dicom.find import NO_FILE, find_files, is_nifti
from defacedask.io.dicom.headers import Header
from defacedask.io.dicom.joining import joined
from defacedask.io.dicom.keys import COPY, parts_of_series, several_series
from defacedask.io.dicom.linking import OBJECTS, object_series
from defacedask.io.dicom.lost import Lost
from defacedask.io.dicom.model import KINDS, Case, Scan, Series, Skipped
from defacedask.io.dicom.mosaic import tiled_by_type
from defacedask.io.dicom.people import collect_people
from defacedask.io.dicom.persons import Persons
from defacedask.io.dicom.registration import registered, relate
from defacedask.io.dicom.series import CLASSIC, ENHANCED, IMAGE_CLASSES, class_name
from defacedask.io.dicom.several import image_volumes
from defacedask.io.nifti.keys import settle_files
from defacedask.io.nifti.read import nifti_series
from defacedask.io.nifti.volumes import nifti_volumes
from defacedask.modality import IMAGES

__all__ = ["Case", "Scan", "Series", "Skipped", "case_id", "scan"]


def case_id(patient_id: str, frame_of_reference: str) -> str:
    """Name of a case: safe as a file name on any system, the same for the same patient and frame.

    Letters, digits and dashes of the patient's id (at most 40), then ten hexadecimal digits of a SHA-256 over both
    in full, which keep apart what the first part cannot.
    """
    plain = (
        re.sub(r"[^A-Za-z0-9]+", "-", patient_id.encode("ascii", "ignore").decode())
        .strip("-")[:40]
        .strip("-")
    )
    digest = hashlib.sha256(
        f"{patient_id}\0{frame_of_reference}".encode("utf-8", "surrogatepass")
    ).hexdigest()
    return f"{plain or 'patient'}-{digest[:10]}"


#: Secondary Capture; its multi-frame relatives are below it.
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


class _Catalogue:
    """State of one scan."""

    def __init__(self, wanted: dict[str, str]) -> None:
        self.wanted = wanted
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []
        self.images: list[Series] = []
        self.objects: list[tuple[Series, tuple[str, ...]]] = []
        self.refused_images: dict[str, str] = {}  # UID -> why, to explain what refers to them
        self.lost = Lost()
        self.numbers: dict[str, set[int]] = defaultdict(set)  # study UID -> its series' numbers

    def skip(self, headers: list[Header], reason: str, damaged: bool = False) -> None:
        first = min(headers, key=lambda header: header.path)
        self.skipped.append(
            Skipped(
                first.path,
                reason,
                first.text("SeriesInstanceUID"),
                first.text("PatientID"),
                len(headers),
                first.text("Modality"),
                damaged,
            )
        )

    # --- from files to series

    def add(self, headers: list[Header]) -> None:
        groups: dict[str, list[Header]] = defaultdict(list)
        left_out: set[str] = set()
        for header in headers:
            number = header.values.get("SeriesNumber")
            if isinstance(number, int):
                self.numbers[header.text("StudyInstanceUID")].add(number)
        for header in headers:
            uid = header.text("SeriesInstanceUID")
            if self.wanted and uid not in self.wanted:
                left_out.add(uid)
            elif "SOPInstanceUID" not in header.values:
                self.skip([header], "it has no SOP instance UID")
            elif not uid:
                self.skip([header], "it has no series UID")
            else:
                groups[uid].append(header)
        self.persons = Persons(header for group in groups.values() for header in group)
        self.notes += self.persons.notes
        parts: list[list[Header]] = []
        for _, group in sorted(groups.items()):
            found = parts_of_series(sorted(group, key=lambda header: header.path), self.persons)
            self.notes += found.notes
            parts += found.parts
            for refused, reason in found.refused:
                self._leave(refused, reason)
        for refused, reason in several_series(parts, self.persons):
            self._leave(refused, reason)
        for part in parts:
            self._group(part)
        self.objects, apart = join_planes(self.objects)
        for planes, reason in apart:
            self.skipped.append(
                Skipped(
                    min(file for one in planes for file in one.files),
                    reason,
                    planes[0].uid,
                    planes[0].patient_id,
                    len(planes),
                    planes[0].modality,
                )
            )
        missing = set(self.wanted) - set(groups)
        for uid in sorted(missing):
            self.skipped.append(
                Skipped(self.wanted[uid], "it is on the list, but none of its files was found", uid, files=0)
            )
        if left_out:
            self.notes.append(f"{len(left_out)} series are not on the list and were left out.")

    def _group(self, group: list[Header]) -> None:
        images: list[Header] = []
        for header in group:
            kind = header.text("SOPClassUID")
            if kind in OBJECTS:
                try:
                    series, frames = object_series(header)
                    if "plane" in series.facts and self.lost.of(header):
                        raise RefusedError(self.lost.of(header))
                    self.objects.append((self._owned(series, header), frames))
                except RefusedError as error:
                    self.skip([header], error.message)
            elif kind in IMAGE_CLASSES:
                images.append(header)
        rest = [
            h
            for h in group
            if h.text("SOPClassUID") not in OBJECTS and h.text("SOPClassUID") not in IMAGE_CLASSES
        ]
        for kind in sorted({header.text("SOPClassUID") for header in rest}):
            self._refuse([h for h in rest if h.text("SOPClassUID") == kind], _not_an_image(kind))
        scouts = [h for h in images if "LOCALIZER" in h.values.get("ImageType", ())]
        if scouts:
            self._refuse(scouts, "it is a localizer (ImageType says so)")
            images = [h for h in images if h not in scouts]
        # frames of an enhanced image are single slices, whatever its type says
        tiled = [h for h in images if h.text("SOPClassUID") in CLASSIC and tiled_by_type(h)]
        if tiled:
            self._refuse(tiled, tiled_by_type(tiled[0]))
            images = [h for h in images if h not in tiled]
        if all(h.text("SOPClassUID") in CLASSIC for h in images):
            for aside, reason in asides(images):
                self._refuse(aside, reason)
                gone = set(map(id, aside))
                images = [h for h in images if id(h) not in gone]
        if images:
            self._images(images)

    def _images(self, images: list[Header]) -> None:
        kinds = {header.text("SOPClassUID") for header in images}
        if incomplete := self.lost.of(images[0]):
            self._refuse(images, incomplete, damaged=True)
            return
        try:
            if not (kinds <= set(ENHANCED) or kinds <= set(CLASSIC)):
                raise RefusedError("it mixes single-frame and multi-frame images")
            found, left = (enhanced_volumes if kinds <= set(ENHANCED) else image_volumes)(images)
            self.images += [self._owned(series, images[0]) for series in found]
            for some, reason in left:
                self._refuse(some, reason)
        except RefusedError as error:
            self._refuse(images, error.message)
        except Exception as error:  # a header nobody foresaw refuses its series, not the scan
            self._refuse(images, f"its header is damaged ({type(error).__name__}: {error})"[:300])

    def _owned(self, series: Series, header: Header) -> Series:
        """Series with the numbers of its study on it, and its person, where that is not just its own PatientID."""
        numbers = sorted(self.numbers[header.text("StudyInstanceUID")])
        series = dataclasses.replace(series, facts={**series.facts, "study_numbers": numbers})
        label = self.persons.label(header)
        if not series.patient_id or label == series.patient_id:
            return series
        return dataclasses.replace(series, facts={**series.facts, "patient": label})

    def _leave(self, headers: list[Header], reason: str) -> None:
        """Refuse, or just skip what shows nothing new."""
        (self.skip if reason == COPY else self._refuse)(headers, reason)

    def _refuse(self, headers: list[Header], reason: str, damaged: bool = False) -> None:
        self.skip(headers, reason, damaged)
        self.refused_images[headers[0].text("SeriesInstanceUID")] = reason
        for header in headers:
            self.refused_images[header.text("SOPInstanceUID")] = reason

    # --- from series to cases

    def cases(self) -> tuple[Case, ...]:
        groups: dict[tuple[str, str], dict[str, list[Series]]] = {}
        by_uid: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for series in self.images:
            # an image of a data set may be registered already
            registration = series.facts.get("registered", {})
            frame = registration.get("frame_of_reference", series.frame_of_reference)
            key = (_person(series), frame or f"series {series.uid}")
            groups.setdefault(key, {kind: [] for kind in KINDS})["images"].append(series)
            for uid in (series.uid, *series.instances):
                by_uid[uid].add(key)
        waiting = self.objects
        while waiting:
            later: list[tuple[Series, tuple[str, ...]]] = []
            for series, frames in waiting:
                home = self._home(series, frames, groups, by_uid)
                if home is None:
                    later.append((series, frames))
                    continue
                groups[home][OBJECTS[series.sop_class_uid][1]].append(series)
                for uid in series.instances:
                    by_uid[uid].add(home)
                if series.modality == "RTDOSE":
                    # a plan that names no frame belongs where its dose is
                    for uid in series.references:
                        by_uid[uid].add(home)
            if len(later) == len(waiting):
                break
            waiting = later
        for series, frames in waiting:
            self.skipped.append(
                Skipped(
                    series.files[0],
                    self._lonely(series, frames, groups),
                    series.uid,
                    series.patient_id,
                    len(series.files),
                    series.modality,
                )
            )
        self._join(groups)
        cases = []
        for (_, frame), lists in groups.items():
            one = _unmoved(lists)[0]
            person = one.facts.get("patient", one.patient_id)
            # of a NIfTI file the frame is its content: the id stays, whatever lies beside it
            whose = one.patient_id if one.facts.get("format") == "NIfTI" else person
            name = case_id(whose or one.study_uid, frame)
            ordered = {
                k: tuple(sorted(v, key=lambda s: (s.number, s.uid, s.volume, s.files)))
                for k, v in lists.items()
            }
            cases.append(Case(name, person, one.frame_of_reference, **ordered))
        return tuple(sorted(self._distinct(cases), key=lambda case: case.id))

    def _distinct(self, cases: list[Case]) -> list[Case]:
        """No two cases of one id, not even where case does not count: stores and results go by it."""
        ids = Counter(case.id.casefold() for case in cases)
        out = []
        for case in cases:
            if ids[case.id.casefold()] > 1:
                content = "\0".join(
                    sorted(f"{case.patient_id}\0{u}" for s in case.series for u in s.instances)
                )
                more = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:10]
                self.notes.append(f"Two cases came to the id {case.id}: one is called {case.id}-{more}.")
                case = dataclasses.replace(case, id=f"{case.id}-{more}")
            out.append(case)
        return out

    def _join(self, groups: dict[tuple[str, str], dict[str, list[Series]]]) -> None:
        """Let images that a registration relates to a CT (or a PET to an MR) be part of that image's case."""
        frames = {uid: s.frame_of_reference for s in self.images for uid in s.instances}
        objects = [series for series, _ in self.objects if series.modality == "REG"]
        for series in objects:
            if "not_used" in series.facts:
                self.notes.append(
                    f"The registration {series.files[0]} is not used: {series.facts['not_used']}."
                )
        usable = [series for series in objects if series.facts.get("registrations")]

        def rank(lists: dict[str, list[Series]]) -> tuple[int, int]:
            kinds = [IMAGES.index(s.modality) for s in lists["images"]]
            return min(kinds), -max(s.voxels for s in lists["images"])

        for person in sorted({person for person, _ in groups}):
            own = [series for series in usable if _person(series) == person]
            keys = [key for key in groups if key[0] == person and groups[key]["images"][0].frame_of_reference]
            keys.sort(key=lambda key: (rank(groups[key]), key))
            for key in keys[::-1] if own else ():
                for anchor in keys:
                    if anchor not in groups or rank(groups[anchor])[0] >= rank(groups[key])[0]:
                        continue
                    found = relate(_unmoved(groups[key]), _unmoved(groups[anchor]), own, frames)
                    if isinstance(found, str):
                        self.notes.append(f"Patient {person}: {found}")
                    elif found is not None:
                        for kind, some in groups.pop(key).items():
                            groups[anchor][kind] += [
                                registered(s, found[0], anchor[1], found[1]) for s in some
                            ]
                        break

    @staticmethod
    def _home(
        series: Series,
        frames: tuple[str, ...],
        groups: dict[tuple[str, str], dict[str, list[Series]]],
        by_uid: dict[str, set[tuple[str, str]]],
    ) -> tuple[str, str] | None:
        """Case of an object: that of the same patient in its frame, else that of the instances it refers to."""
        person = _person(series)
        for frame in frames:
            if (person, frame) in groups:
                return person, frame
        near = (*series.references, *series.instances)  # itself too: something may refer to it
        referred = {key for uid in near for key in by_uid.get(uid, ()) if key[0] == person}
        return min(referred) if len(referred) == 1 or (referred and series.modality == "REG") else None

    def _lonely(self, series: Series, frames: tuple[str, ...], groups: Iterable[tuple[str, str]]) -> str:
        """Say why an object belongs to no case."""
        for uid in series.references:
            if uid in self.refused_images:
                return f"the image it refers to is refused ({self.refused_images[uid]})"
        if any(frame == other for frame in frames for _, other in groups):
            return "the images in its frame of reference are another patient's"
        if not series.references and not frames:
            return "it names no image that it belongs to, and no frame of reference"
        return "the image it refers to is not there"


def _unmoved(lists: dict[str, list[Series]]) -> list[Series]:
    """Images of a case that lie in its own frame of reference."""
    return [series for series in lists["images"] if "registered" not in series.facts]


def _person(series: Series) -> str:
    return series.facts.get("patient") or series.patient_id or f"study {series.study_uid}"


def _not_an_image(kind: str) -> str:
    if kind == SECONDARY or kind.startswith(f"{SECONDARY}."):
        return "it is a secondary capture, a picture without positions that may show names or a face"
    return f"it is neither CT, MR nor PET but {class_name(kind)}"


#: What holds several inputs.
_SEVERAL = (list, tuple, set, frozenset, Iterator)


def scan(*inputs: Any, workers: int | None = None) -> Scan:
    """Find what can be defaced.

    Parameters
    ----------
    *inputs : path
        Folders (searched; symbolic links are followed), files, ``.tcia`` manifests or text files of Series UIDs
        (either restricts to the series it names; alone, the folder it lies in is searched), NIfTI files. A Scan or a
        Case among them is taken as it is, and so is each of a list.
    workers : int, optional
        Processes that read headers; by default as many as pay.

    Returns
    -------
    Scan
        ``cases`` by patient and frame of reference, ``skipped`` files and series with their reasons, ``notes``.

    Raises
    ------
    InputError
        If an input does not exist, cannot be read, or is a URL. What the files hold never raises.
    """
    from pydicom.config import disable_value_validation

    inputs = tuple(each for one in inputs for each in (one if isinstance(one, _SEVERAL) else [one]))
    if any(isinstance(one, (Case, Scan)) for one in inputs):
        return joined(inputs, scan)
    found = find_files(inputs)
    nifti = [path for path in found.files if is_nifti(path)]
    catalogue = _Catalogue(found.wanted)
    catalogue.skipped += [
        Skipped(path, reason, damaged=reason != NO_FILE) for path, reason in found.unreadable
    ]
    headers, unread = [], []
    with disable_value_validation(), warnings.catch_warnings():
        # oddly long, padded or misspelt values are common; what matters of them is checked and refused here
        warnings.filterwarnings("ignore", module="pydicom")
        for one in read_headers([path for path in found.files if not is_nifti(path)], workers):
            if isinstance(one, Unreadable):
                unread.append(one)
            else:
                headers.append(one)
        catalogue.lost = Lost(unread, headers, found.wanted)
        catalogue.skipped += catalogue.lost.skipped
        catalogue.add(headers)
    files = []
    for path in nifti:
        try:
            files.append(nifti_series(path))
        except RefusedError as error:
            catalogue.skipped.append(Skipped(path, error.message, damaged=isinstance(error, DamagedError)))
        except Exception as error:  # one strange file must not end a scan of thousands
            catalogue.skipped.append(
                Skipped(path, f"it cannot be read ({type(error).__name__}: {error})"[:300], damaged=True)
            )
    settled = settle_files(files)
    grouped = one_plan_each(settled.files)
    described = with_participants(grouped.files)
    catalogue.images += [volume for one in described.files for volume in nifti_volumes(one)]
    catalogue.skipped += settled.skipped
    catalogue.notes += [*settled.notes, *grouped.notes, *described.notes]
    cases = catalogue.cases()
    defaced = [s for case in cases for s in case.images if "already_defaced" in s.facts]
    catalogue.notes += [
        f"{s.modality} of {s.patient_id or 'a patient without id'}: {said(s.facts['already_defaced'])}: "
        f"{s.facts['already_defaced']['because']}; `deface` leaves it out, unless --already-defaced says otherwise."
        for s in defaced
    ]
    skipped = tuple(sorted(catalogue.skipped, key=lambda s: (s.path, s.reason)))
    return Scan(
        cases, skipped, tuple(catalogue.notes), collect_people(headers, Persons(headers), settled.files)
    )

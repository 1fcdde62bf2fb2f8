"""Series and instance UIDs are keys that are tested: one series of two patients, one instance with two contents.

Whatever cannot be settled is refused whole; half a series is never taken for a series.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence

from defacedask.io.dicom.copies import same_instance
from defacedask.io.dicom.headers import Header
from defacedask.io.dicom.persons import WITHIN, Persons, Who, what_differs

__all__ = ["COPY", "Parts", "parts_of_series", "several_series"]

#: Said of files that show nothing new.
COPY = "it is a copy of an instance that is already there; the first is used"


@dataclasses.dataclass
class Parts:
    """What the files of one series UID come to.

    Attributes
    ----------
    parts : list of list of Header
        Each one patient's, one study's, without copies.
    refused : list of (list of Header, str)
    notes : list of str
    """

    parts: list[list[Header]] = dataclasses.field(default_factory=list)
    refused: list[tuple[list[Header], str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def parts_of_series(group: Sequence[Header], persons: Persons) -> Parts:
    """Settle the files of one series UID: one series, several that share the UID, or a mixture that is refused.

    Parameters
    ----------
    group : sequence of Header
        In a fixed order; the first of two copies is used.
    persons : Persons
    """
    out = Parts()
    by_owner: dict[tuple[str, str], list[Header]] = defaultdict(list)
    for header in group:
        by_owner[persons.label(header), header.text("StudyInstanceUID")].append(header)
    people = Counter(persons.label(header) for header in group)
    mixed = len(by_owner) > 1 and _one_stack(list(by_owner.values()), len(people) > 1)
    if mixed and len(people) > 1:
        who = ", ".join(f"{name}: {count}" for name, count in sorted(people.items()))
        out.refused.append(
            (
                list(group),
                f"its slices name {len(people)} patients ({who}), so that nobody knows whose they are",
            )
        )
        return out
    if mixed:
        out.refused.append(
            (list(group), f"its series UID is used in {len(by_owner)} studies of the same patient")
        )
        return out
    if len(by_owner) > 1:
        what = f"{len(people)} patients" if len(people) > 1 else f"{len(by_owner)} studies of one patient"
        out.notes.append(
            f"The series UID {group[0].text('SeriesInstanceUID')} is used by {what}; each has a series of its own."
        )
    for part in by_owner.values():
        differ = what_differs({Who.of(header) for header in part}, WITHIN)
        if differ:
            out.refused.append(
                (
                    part,
                    f"its files differ in the patient's {' and '.join(differ)}, so that nobody knows whose they are",
                )
            )
            continue
        once, copies, clash = _once(part)
        if clash:
            out.refused.append((part, "different images in it have the same SOP instance UID"))
            continue
        if copies:
            out.refused.append((copies, COPY))
        out.parts.append(once)
    return out


def _one_stack(parts: Sequence[Sequence[Header]], by_person: bool) -> bool:
    """Whether slices of several owners may be parts of one stack: they lie in one frame of reference, or one study.

    The same places under two patients are two whole series, with one UID; under one patient they would become one
    case, in which they cannot be told apart.
    """
    places: list[tuple[set[str], set[str], frozenset[tuple[float, ...]]]] = []
    for part in parts:
        images = [h for h in part if "ImagePositionPatient" in h.values]
        frames = {h.text("FrameOfReferenceUID") for h in images}
        if images:
            spots = frozenset(
                tuple(round(v, 2) for v in h.values["ImagePositionPatient"] if v == v) for h in images
            )
            places.append((frames, {h.text("StudyInstanceUID") for h in images}, spots))
    for k, (frames, studies, spots) in enumerate(places):
        for other_frames, other_studies, other_spots in places[:k]:
            near = bool(frames & other_frames) or "" in frames | other_frames or bool(studies & other_studies)
            if near and (spots != other_spots or not by_person):
                return True
    return False


def _once(part: Sequence[Header]) -> tuple[list[Header], list[Header], bool]:
    """(each instance once, copies, whether different contents have one instance UID)."""
    first: dict[str, Header] = {}
    copies: list[Header] = []
    for header in part:
        other = first.setdefault(header.text("SOPInstanceUID"), header)
        if other is header:
            continue
        if not same_instance(other, header):
            return [], [], True
        copies.append(header)
    return list(first.values()), copies, False


def several_series(parts: list[list[Header]], persons: Persons) -> list[tuple[list[Header], str]]:
    """Instance UIDs that stand in more than one series; takes what is settled here out of ``parts``.

    A series all of whose instances are in another series of the same patient, with the same content, is a copy. Where
    the contents or the patients differ, all series concerned are refused.
    """
    where: dict[str, list[int]] = defaultdict(list)
    for k, part in enumerate(parts):
        for header in part:
            where[header.text("SOPInstanceUID")].append(k)
    out: list[tuple[list[Header], str]] = []
    gone: set[int] = set()
    index = [{h.text("SOPInstanceUID"): h for h in part} for part in parts]
    pairs = sorted(
        {(a, b) for owners in where.values() for i, a in enumerate(owners) for b in owners[i + 1 :]}
    )
    for a, b in pairs:
        if a in gone and b in gone:
            continue
        shared = index[a].keys() & index[b].keys()
        one_person = persons.label(parts[a][0]) == persons.label(parts[b][0])
        same = all(same_instance(index[a][uid], index[b][uid]) for uid in sorted(shared))
        inner = b if len(shared) == len(index[b]) else a if len(shared) == len(index[a]) else None
        if same and one_person and inner is not None:
            if inner not in gone:
                out.append((parts[inner], COPY))
                gone.add(inner)
            continue
        if same and not one_person:
            what = "the same images are also there under another patient's id"
        elif same:
            what = f"{len(shared)} of its instances also stand in another series"
        else:
            what = f"{len(shared)} of its SOP instance UIDs stand for something else in another series"
        for k in (a, b):
            if k not in gone:
                out.append((parts[k], what))
                gone.add(k)
    parts[:] = [part for k, part in enumerate(parts) if k not in gone]
    return out

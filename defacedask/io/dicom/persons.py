"""Who is who in a scan: one patient in two spellings of an id, and several persons under one id.

A PatientID is a key that people type. It is tested here: ids that differ in spelling only are one patient's if
something else says so (a study, a frame of reference, a name, a date of birth); one id whose studies differ in
name, date of birth or sex is several persons'. Whoever is merged or kept apart is said in a note; notes hold ids
and no names.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from defacedask.io.dicom.headers import Header

__all__ = ["Persons", "Who", "fold", "plain_id", "what_differs"]

#: What stands for a name where there is none.
_NOBODY = frozenset(
    [
        "anon",
        "anonymous",
        "anonymized",
        "anonymised",
        "deidentified",
        "removed",
        "unknown",
        "none",
        "noname",
        "no",
        "name",
        "patient",
        "subject",
        "test",
        "dicognito",
        "x",
        "xx",
        "xxx",
    ]
)
#: How much a difference weighs. Studies of one id differ by more than the first bound: two persons. Within a study,
#: which is one patient's by definition, it takes more: two things that differ, not a name that changed.
_NONE, _PART, _BIRTH, _SEX = 1.0, 0.5, 0.75, 0.5
ACROSS, WITHIN = 1.0, 1.5


def fold(text: str) -> str:
    """Lower case without accents; what looks alike is alike."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in plain if not unicodedata.combining(c))


def plain_id(text: str) -> str:
    """An id without what differs between spellings of one: case, spaces, padding, separators, leading zeros.

    >>> plain_id("0000VP-0001 ") == plain_id("vp_1")
    True
    """
    parts = re.findall(r"[0-9]+|[^\W\d_]+", fold(text))
    return "-".join(part.lstrip("0") or "0" for part in parts if part.strip("0") or len(parts) == 1)


@dataclasses.dataclass(frozen=True)
class Who:
    """What a header says of its patient, besides the id."""

    words: frozenset[str] = frozenset()
    birth: str = ""
    sex: str = ""

    @classmethod
    def of(cls, header: Header) -> Who:
        """Of one header; placeholders and the id itself are no name."""
        words = set(re.findall(r"[^\W_]+", fold(header.text("PatientName"))))
        words -= _NOBODY | set(re.findall(r"[^\W_]+", fold(header.text("PatientID"))))
        birth = header.text("PatientBirthDate")
        sex = header.text("PatientSex").upper()
        return cls(
            frozenset(words),
            birth if re.fullmatch(r"[12]\d{7}", birth) else "",
            sex if sex in ("M", "F") else "",
        )

    def differs(self, other: Who) -> dict[str, float]:
        """What differs, and how much that weighs; what one of the two does not say does not differ."""
        out: dict[str, float] = {}
        if self.words and other.words and not (self.words <= other.words or other.words <= self.words):
            out["name"] = _PART if self.words & other.words else _NONE
        if self.birth and other.birth and self.birth != other.birth:
            out["date of birth"] = _BIRTH
        if self.sex and other.sex and self.sex != other.sex:
            out["sex"] = _SEX
        return out


@dataclasses.dataclass
class _Unit:
    """Series of one id and one study that say the same of their patient."""

    id: str
    study: str
    who: frozenset[Who]
    frames: set[str] = dataclasses.field(default_factory=set)
    series: set[str] = dataclasses.field(default_factory=set)
    files: int = 0

    def weight(self, other: _Unit) -> float:
        """Least difference of any two headers: a study under an old and a new name meets both."""
        return min((sum(a.differs(b).values()) for a in self.who for b in other.who), default=0.0)

    def known(self, other: _Unit) -> bool:
        """Whether something besides the id says that both are of one patient."""
        if self.study == other.study or self.frames & other.frames:
            return True
        return any(
            not a.differs(b) and ((a.words & b.words) or (a.birth and a.birth == b.birth))
            for a in self.who
            for b in other.who
        )


class Persons:
    """Labels of persons: the PatientID as most files write it, with a number where several persons share it.

    Parameters
    ----------
    headers : iterable of Header

    Attributes
    ----------
    notes : list of str
        What was merged and what was kept apart.
    """

    def __init__(self, headers: Iterable[Header]) -> None:
        self.notes: list[str] = []
        self._labels: dict[tuple[str, str, str], str] = {}
        self._persons: dict[str, list[_Unit]] = {}
        families: dict[str, list[_Unit]] = defaultdict(list)
        for unit in _units(headers):
            families[unit.id if unit.id.startswith("study ") else plain_id(unit.id) or unit.id].append(unit)
        for units in _grouped_otherwise(families.values()):
            self._family(units)
        self._several_in_a_study()
        self._more_than_one()

    def label(self, header: Header) -> str:
        """Person of a header."""
        return self._labels[_key(header)]

    def _family(self, units: Sequence[_Unit]) -> None:
        """Sort the studies of ids that are spelled alike into persons."""
        persons: list[list[_Unit]] = []
        order = sorted(
            units, key=lambda u: (sorted((w.birth, w.sex, sorted(w.words)) for w in u.who), u.id, u.study)
        )
        for unit in order:
            fitting = [
                person
                for person in persons
                if all(unit.weight(u) < (WITHIN if u.study == unit.study else ACROSS) for u in person)
                and any(u.id == unit.id or u.known(unit) for u in person)
            ]
            frame = [p for p in fitting if any(u.frames & unit.frames for u in p)]
            study = [p for p in fitting if any(u.study == unit.study for u in p)]
            same = [p for p in fitting if any(u.id == unit.id for u in p)]
            best = next(iter(frame or study or same or fitting), None)
            if best is None:
                persons.append([unit])
            else:
                best.append(unit)
        taken: Counter[str] = Counter()
        spellings = []
        for person in persons:
            files: Counter[str] = Counter()
            for unit in person:
                files[unit.id] += unit.files
            chosen = min(files, key=lambda one: (-files[one], len(one), one))
            spellings.append(chosen)
            taken[chosen] += 1
            label = chosen if taken[chosen] == 1 else f"{chosen} [{taken[chosen]}]"
            self._persons[label] = person
            for unit in person:
                self._labels |= {(unit.id, unit.study, series): label for series in unit.series}
            if len(files) > 1:
                rest = ", ".join(f"{name} ({n} files)" for name, n in sorted(files.items()) if name != chosen)
                self.notes.append(
                    f"PatientID {chosen} is also written {rest}: taken for one patient, because they share a "
                    "study, a frame of reference, a name or a date of birth."
                )
        for name, count in taken.items():
            if count > 1:
                what = self._what([p for p, s in zip(persons, spellings, strict=True) if s == name])
                self.notes.append(
                    f"PatientID {name} is shared by {count} persons ({what} differ): they are kept "
                    f"apart, the others as {name} [2]" + (" and so on." if count > 2 else ".")
                )
        if len(taken) > 1:
            self.notes.append(
                f"PatientIDs {', '.join(sorted(taken))} differ in spelling only, but nothing else says that they are "
                "one patient's: they are kept apart."
            )

    @staticmethod
    def _what(persons: Sequence[Sequence[_Unit]]) -> str:
        found: set[str] = set()
        for k, one in enumerate(persons):
            for other in persons[:k]:
                found |= {w for a in one for b in other for x in a.who for y in b.who for w in x.differs(y)}
        return " and ".join(sorted(found)) or "names"

    def _several_in_a_study(self) -> None:
        """A study is one patient's."""
        studies: dict[str, Counter[str]] = defaultdict(Counter)
        for label, person in self._persons.items():
            for unit in person:
                studies[unit.study][label] += unit.files
        for study, labels in sorted(studies.items()):
            if study and len(labels) > 1:
                who = ", ".join(f"{name}: {n} files" for name, n in sorted(labels.items()))
                self.notes.append(
                    f"The study {study} names {len(labels)} patients ({who}): they are kept apart."
                )

    def _more_than_one(self) -> None:
        """Say where one person stands under facts that do not fit together."""
        for label, person in sorted(self._persons.items()):
            found = what_differs({who for unit in person for who in unit.who})
            if found:
                self.notes.append(
                    f"PatientID {label} stands with more than one {' and '.join(found)}: taken for one patient."
                )


def _grouped_otherwise(families: Iterable[list[_Unit]]) -> list[list[_Unit]]:
    """Families of ids, those put together whose ids have separators at other places and that share a study or frame.

    ``123-45-678`` and ``12345678`` may be one number; ``1-23`` and ``12-3`` of two sites are not, if nothing but the
    digits says so.
    """
    out: list[list[_Unit]] = []
    same: dict[str, list[list[_Unit]]] = defaultdict(list)
    for units in families:
        known = same[plain_id(units[0].id).replace("-", "")]
        near = next((one for one in known if any(_one_place(a, b) for a in one for b in units)), None)
        if near is None:
            known.append(units)
            out.append(units)
        else:
            near += units
    return out


def _one_place(one: _Unit, other: _Unit) -> bool:
    """Whether two lie in one study, or in one frame of reference."""
    return bool((one.study and one.study == other.study) or one.frames & other.frames)


def what_differs(several: Iterable[Who], least: float = 0.0) -> list[str]:
    """What differs among what headers say of a patient, by pairs whose differences weigh at least so much."""
    ordered = sorted(several, key=lambda w: (w.birth, w.sex, sorted(w.words)))
    pairs = [a.differs(b) for k, a in enumerate(ordered) for b in ordered[:k]]
    return sorted({what for found in pairs if sum(found.values()) >= least for what in found})


def _key(header: Header) -> tuple[str, str, str]:
    study = header.text("StudyInstanceUID")
    return header.text("PatientID") or f"study {study}", study, header.text("SeriesInstanceUID")


def _units(headers: Iterable[Header]) -> list[_Unit]:
    who: dict[tuple[str, str, str], set[Who]] = defaultdict(set)
    frames: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    files: Counter[tuple[str, str, str]] = Counter()
    for header in headers:
        key = _key(header)
        who[key].add(Who.of(header))
        files[key] += 1
        frame = header.text("FrameOfReferenceUID")
        if frame and not frame.startswith("1.2.840.10008."):
            frames[key].add(frame)
    units: dict[tuple[str, str, frozenset[Who]], _Unit] = {}
    for key, several in sorted(who.items()):
        person, study, series = key
        same = frozenset(several)
        unit = units.setdefault((person, study, same), _Unit(person, study, same))
        unit.series.add(series)
        unit.frames |= frames[key]
        unit.files += files[key]
    return list(units.values())

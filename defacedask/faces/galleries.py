"""Whom a defaced head is compared with: the originals, a second scan of the same person, or photographs.

An original and its defaced version share every voxel that was not touched, so a gallery of originals is the
easiest for the attacker. Another scan of the same person, or a photograph, is what somebody outside would have.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from defacedask.errors import ConfigError, InputError
from defacedask.faces.identification import Distance, Scores, Sighting, score

__all__ = [
    "ORIGINALS",
    "PHOTOGRAPHS",
    "SECOND_SCAN",
    "Gallery",
    "check_gallery",
    "find_photographs",
    "gallery_of_originals",
    "gallery_of_photographs",
    "gallery_of_second_scans",
]

ORIGINALS, SECOND_SCAN, PHOTOGRAPHS = "originals", "second-scan", "photographs"
_PICTURES = frozenset((".jpg", ".jpeg", ".png"))
#: Photographs are shrunk to this many pixels before a face is looked for.
_EDGE = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Gallery:
    """Known persons.

    Attributes
    ----------
    kind : str
        ``originals``, ``second-scan`` or ``photographs``.
    pictures : tuple of Sighting
    missing : tuple of str
        Persons of the study of whom there is no picture to compare with: they cannot be matched.
    notes : tuple of str
        Why, and what else is unusual about its pictures: a sentence each.
    """

    kind: str
    pictures: tuple[Sighting, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def score(
        self, probes: Sequence[Sighting], *, own: bool = False, distance: Distance | None = None
    ) -> Scores:
        """Score probes against the gallery.

        Parameters
        ----------
        probes : sequence of Sighting
        own : bool
            The probes are the pictures of a gallery of originals themselves: other views only.
        distance : callable, optional
        """
        return score(
            probes,
            self.pictures,
            distance=distance,
            same_view=not (own and self.kind == ORIGINALS),
            allowed=self._allowed() if self.kind == SECOND_SCAN else None,
        )

    def unable(self, probes: Iterable[Sighting]) -> frozenset[str]:
        """Cases (``facts["case"]``, else the person) to which the gallery shows no face of their own person.

        They cannot be matched, whatever was done to them, so they are not judged.
        """
        rule = self._allowed() if self.kind == SECOND_SCAN else None
        faces: dict[str, dict[str, Sighting]] = defaultdict(dict)
        for picture in self.pictures:
            if picture.encoding is not None:
                faces[picture.person].setdefault(str(picture.facts.get("case", "")), picture)
        cases = {str(probe.facts.get("case", probe.person)): probe for probe in probes}
        return frozenset(
            case
            for case, probe in cases.items()
            if not any(rule is None or rule(probe, one) for one in faces[probe.person].values())
        )

    def _allowed(self) -> Any:
        number = scan_numbers(self.pictures)
        scans: dict[str, set[str]] = defaultdict(set)
        for person, case in number:
            scans[person].add(case)

        def rule(probe: Sighting, picture: Sighting) -> bool:
            here, there = ((s.person, str(s.facts.get("case", ""))) for s in (probe, picture))
            if here == there:
                return False
            # as many scans of everybody else as of the person itself: all but those of the probe's number
            return len(scans[there[0]]) == 1 or number[there] != number.get(here, 0)

        return rule


def scan_numbers(pictures: Iterable[Sighting]) -> dict[tuple[str, str], int]:
    """(person, case) -> 1, 2, ... within the person, in the order of the cases' names."""
    cases: dict[str, set[str]] = defaultdict(set)
    for picture in pictures:
        cases[picture.person].add(str(picture.facts.get("case", "")))
    return {(person, case): k for person, own in cases.items() for k, case in enumerate(sorted(own), 1)}


def gallery_of_originals(originals: Sequence[Sighting]) -> Gallery:
    """The study's gallery: everybody's original, reconstructed and encoded.

    Whose original shows no face is ``missing``: nobody can be matched with a face that was never found.
    """
    there = {p.person for p in originals if p.encoding is not None}
    return Gallery(ORIGINALS, tuple(originals), tuple(sorted({p.person for p in originals} - there)))


def gallery_of_second_scans(originals: Sequence[Sighting]) -> Gallery:
    """Everybody's originals, of which a probe meets other scans only.

    A probe of somebody's first scan is compared with the second (third, ...) scan of everybody; who was scanned
    once stays in the gallery as another person, and cannot be matched.
    """
    scans: dict[str, set[str]] = defaultdict(set)
    faces: dict[str, set[str]] = defaultdict(set)
    for picture in originals:
        case = str(picture.facts.get("case", ""))
        scans[picture.person].add(case)
        if picture.encoding is not None:
            faces[picture.person].add(case)
    notes = []
    for person, cases in sorted(scans.items()):
        if len(cases) < 2:
            notes.append(f"{person}: there is one scan only.")
        elif faces[person] != cases:
            blind = ", ".join(sorted(cases - faces[person]))
            notes.append(f"{person}: no face was found in {blind}, so that nothing can be compared with it.")
    unable = (person for person, cases in scans.items() if len(cases) < 2 or not faces[person])
    return Gallery(SECOND_SCAN, tuple(originals), tuple(sorted(unable)), tuple(notes))


def find_photographs(folder: str | Path) -> dict[str, list[Path]]:
    """Person -> photographs: ``FOLDER/PatientID.jpg`` or ``FOLDER/PatientID/any.jpg`` (jpg, jpeg, png).

    Raises
    ------
    InputError
        If there is no such folder, or no picture in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(
            f"there is no folder of photographs {root}.", "Give originals, second-scan or a folder."
        )
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.iterdir()):
        if path.is_file() and path.suffix.lower() in _PICTURES:
            found[path.stem].append(path)
        elif path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.is_file() and p.suffix.lower() in _PICTURES]
            found[path.name] += inside
    found = {person: files for person, files in found.items() if files}
    if not found:
        raise InputError(
            f"there is no photograph in {root}.",
            "Name them PatientID.jpg, or put them into folders PatientID/.",
        )
    return found


def gallery_of_photographs(folder: str | Path, persons: Iterable[str], recogniser: Any) -> Gallery:
    """Photographs, encoded by the recogniser that looks at the heads.

    Photographs of people who are no patient of the study stay in as other persons. Of several faces in a photograph
    the largest is taken for its owner's, and ``notes`` says so.

    Parameters
    ----------
    folder : path
        See `find_photographs`.
    persons : iterable of str
        Patients of the study; those without a photograph with a face are ``missing``.
    recogniser : Recogniser

    Raises
    ------
    InputError
        If a picture cannot be read.
    """
    pictures, notes = [], []
    found, wanted = find_photographs(folder), set(persons)
    for person, files in found.items():
        for path in files:
            faces = recogniser.analyse([read_photograph(path)])[0]
            code = faces[0].encoding if faces else None
            pictures.append(Sighting(person, path.name, code, bool(faces), {"case": person}))
            name = path.name if path.stem == person else f"{person}/{path.name}"
            if not faces:
                notes.append(f"{name}: no face was found in this photograph.")
            elif len(faces) > 1:
                notes.append(
                    f"{name}: {len(faces)} faces were found in this photograph; the largest was taken."
                )
    notes += [f"{person}: there is no photograph." for person in sorted(wanted - set(found))]
    others = sorted(set(found) - wanted)
    if others:
        some = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        notes.append(f"{len(others)} named after nobody in this study stay in as other persons ({some}).")
    there = {p.person for p in pictures if p.encoding is not None}
    return Gallery(PHOTOGRAPHS, tuple(pictures), tuple(sorted(wanted - there)), tuple(notes))


def read_photograph(path: Path) -> Any:
    """(rows, columns, 3) uint8 RGB, turned upright as its EXIF says, at most 1000 pixels high and wide.

    Raises
    ------
    InputError
        If it is not a readable picture.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (2 * _EDGE, 2 * _EDGE))
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"the photograph {path.name} cannot be read ({type(error).__name__}).") from error
    picture.thumbnail((_EDGE, _EDGE))
    return np.asarray(picture)


def check_gallery(gallery: str, patients: Sequence[str]) -> None:
    """Refuse early what could not work.

    Parameters
    ----------
    gallery : str
        ``originals``, ``second-scan``, or a folder of photographs.
    patients : sequence of str
        The patient of each case.

    Raises
    ------
    ConfigError
        If it is none of these, or nobody has what it needs.
    InputError
        If the folder holds no picture.
    """
    if gallery == ORIGINALS:
        return
    if gallery == SECOND_SCAN:
        if len(set(patients)) == len(patients):
            raise ConfigError(
                "no patient has two scans, so there is no second scan to compare with.",
                "Use --gallery originals, or give more scans of the same patients.",
            )
        return
    if not Path(gallery).is_dir():
        raise ConfigError(
            f"{gallery!r} is no gallery.", "Use --gallery originals, second-scan, or a folder of photographs."
        )
    if not set(patients) & set(find_photographs(gallery)):
        raise ConfigError(
            f"no photograph in {gallery} is named after a patient of this study.",
            f"Name them PatientID.jpg; patients are {', '.join(sorted(set(patients))[:5])}"
            f"{', ...' if len(set(patients)) > 5 else ''}.",
        )

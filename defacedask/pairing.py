"""Which defaced case belongs to which original, whoever defaced it.

UIDs, patient ids and grids may all have been changed. Pairs are made by what agrees best: first the patient, then the
name, then the grid; each case is used once, and what finds no partner is said.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from defacedask.dicom.model import Case, Series
from defacedask.geometry import Geometry

__all__ = ["Pair", "Pairing", "pair_cases", "pair_series", "plain_name"]

#: Words that tools and people put into names of defaced files.
_WORDS = (
    "defaced|deface|defacing|refaced|reface|faceless|noface|anonymi[sz]ed|anonymous|anon|deidentified|deid|masked|"
    "pydeface|mideface|quickshear|biometric mask strict|biometric mask|mri reface|carina|original|orig"
)
#: Names of folders that say nothing about whose they are.
_ANYBODY = (
    r"ct|mr|mri|pt|pet|t1w?|t2w?|dicom|dcm|nifti|anat|images?|scans?|series\d*|data|input|output|in|out"
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """An original and what became of it.

    Attributes
    ----------
    original : Case
    defaced : Case
    how : str
        What they were paired by, one clause.
    """

    original: Case
    defaced: Case
    how: str


@dataclasses.dataclass(frozen=True)
class Pairing:
    """All pairs, and the cases without a partner."""

    pairs: tuple[Pair, ...]
    originals: tuple[Case, ...]
    defaced: tuple[Case, ...]


def plain_name(text: str) -> str:
    """A name without case, separators, and the words that say that something was defaced."""
    spaced = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
    return re.sub(r"\s+", "", re.sub(rf"(?:^|(?<= ))(?:{_WORDS})(?= |$)", "", spaced))


def pair_cases(originals: Sequence[Case], defaced: Sequence[Case]) -> Pairing:
    """Pair two lists of cases.

    Parameters
    ----------
    originals, defaced : sequences of Case

    Returns
    -------
    Pairing
        Pairs in the order of the originals. Within each way of pairing the best agreement is taken first; names and
        grids pair only what they name once on both sides.
    """
    left, right = list(originals), list(defaced)
    pairs: list[Pair] = []

    def take(one: Case, other: Case, how: str) -> None:
        pairs.append(Pair(one, other, how))
        left.remove(one)
        right.remove(other)

    ranked = [
        (_agreement(one, other), -i, -j, one, other)
        for i, one in enumerate(left)
        for j, other in enumerate(right)
        if _shared(one, other) and one.patient_id and one.patient_id == other.patient_id
    ]
    for _, _, _, one, other in sorted(ranked, key=lambda r: r[:3], reverse=True):
        if one in left and other in right:
            take(one, other, "the patient's id")
    for how, key in _KEYS:
        for one in tuple(left):
            found = [other for other in right if _shared(one, other) and key(one, other)]
            rivals = [a for a in left if found and _shared(a, found[0]) and key(a, found[0])]
            if len(found) == 1 and len(rivals) == 1:
                take(one, found[0], how)
    order = {case.id: k for k, case in enumerate(originals)}
    return Pairing(tuple(sorted(pairs, key=lambda p: order[p.original.id])), tuple(left), tuple(right))


def _same_patient_name(one: Case, other: Case) -> bool:
    return bool(plain_name(one.patient_id)) and plain_name(one.patient_id) == plain_name(other.patient_id)


def _same_file_name(one: Case, other: Case) -> bool:
    # a DICOM description is the same for everybody
    if any(case.primary.facts.get("format") != "NIfTI" for case in (one, other)):
        return False
    a, b = (plain_name(_stem(case.primary)) for case in (one, other))
    return bool(a) and a == b


def _same_folder(one: Case, other: Case) -> bool:
    a, b = (plain_name(Path(case.primary.files[0]).parent.name) for case in (one, other))
    return bool(a) and a == b and not re.fullmatch(_ANYBODY, a)


def _same_grid(one: Case, other: Case) -> bool:
    return _grids_agree(one.primary, other.primary)


_KEYS: tuple[tuple[str, Callable[[Case, Case], bool]], ...] = (
    ("the patient's name in the file", _same_patient_name),
    ("the file's name", _same_file_name),
    ("the folder's name", _same_folder),
    ("the grid", _same_grid),
)


def pair_series(original: Case, defaced: Case | None) -> list[tuple[Series, Series | None]]:
    """Images of an original with their defaced twins: same modality, by grid, then name, then size.

    Returns
    -------
    list of (Series, Series or None)
        Every image of the original, the primary one first.
    """
    left = sorted(original.images, key=lambda s: s is not original.primary)
    right = list(defaced.images) if defaced else []
    out: list[tuple[Series, Series | None]] = []
    for series in left:
        same = [other for other in right if other.modality == series.modality]
        best = max(same, key=lambda other: _likeness(series, other), default=None)
        if best is not None:
            right.remove(best)
        out.append((series, best))
    return out


def _likeness(one: Series, other: Series) -> tuple[bool, bool, float]:
    return (
        _grids_agree(one, other),
        plain_name(_stem(one)) == plain_name(_stem(other)),
        -abs(np.log(max(one.voxels, 1) / max(other.voxels, 1))),
    )


def _agreement(one: Case, other: Case) -> tuple[bool, bool, bool]:
    return (
        one.frame_of_reference == other.frame_of_reference and bool(one.frame_of_reference),
        plain_name(_stem(one.primary)) == plain_name(_stem(other.primary)),
        _same_grid(one, other),
    )


def _shared(one: Case, other: Case) -> bool:
    """Whether the image that a head is found on is of a modality both have."""
    return one.primary.modality in {s.modality for s in other.images}


def _stem(series: Series) -> str:
    if series.facts.get("format") == "NIfTI":
        return re.sub(r"\.nii(\.gz)?$", "", Path(series.files[0]).name, flags=re.I)
    return series.description


def _grids_agree(one: Series, other: Series) -> bool:
    if one.geometry is None or other.geometry is None:
        return False
    return Geometry.from_dict(one.geometry).close_to(Geometry.from_dict(other.geometry))

"""Which defaced case belongs to which original, whoever defaced it.

UIDs, patient ids and grids may all have been changed. Pairs are made by what agrees best: first the patient, then the
name, then the grid, then the voxels; each case is used once, and what finds no partner is said.

None of these keys is trusted. Where several cases share one, their frames of reference and their voxels decide
(`defacedask.attacks.likeness`), and who cannot be told apart is not paired. A pair whose key is unique is compared
when it is attacked (`defacedask.flow.stages.attack`), and refused there if the two are not one scan.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from defacedask.attacks.likeness import OTHER, SAME, Likeness, likeness
from defacedask.geometry import Geometry
from defacedask.io.dicom.model import Case, Series
from defacedask.io.dicom.persons import plain_id
from defacedask.io.nifti.names import stem_of

__all__ = ["Pair", "Pairing", "pair_cases", "pair_series", "plain_name"]

#: Pairs of images whose voxels are compared at most, where a key leaves so many.
MOST_COMPARED = 400
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
    """All pairs, and the cases without a partner.

    Attributes
    ----------
    pairs : tuple of Pair
    originals, defaced : tuple of Case
        Without a partner.
    reasons : dict
        Case id -> why it has none, where more can be said than that nothing agrees; one clause.
    """

    pairs: tuple[Pair, ...]
    originals: tuple[Case, ...]
    defaced: tuple[Case, ...]
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)


def plain_name(text: str) -> str:
    """A name without case, separators, and the words that say that something was defaced."""
    spaced = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
    return re.sub(r"\s+", "", re.sub(rf"(?:^|(?<= ))(?:{_WORDS})(?= |$)", "", spaced))


def pair_cases(
    originals: Sequence[Case],
    defaced: Sequence[Case],
    *,
    alike: Callable[[Case, Case], Likeness] | None = None,
) -> Pairing:
    """Pair two lists of cases.

    Parameters
    ----------
    originals, defaced : sequences of Case
    alike : callable, optional
        How alike the images of an original and of a defaced case are; by default their voxels are read and compared.
        It is asked only where a key does not tell.

    Returns
    -------
    Pairing
        Pairs in the order of the originals. A key pairs only what it names once on both sides; several cases of one
        patient are told apart by frame of reference, voxels, name, grid, in this order.
    """
    work = _Pairing(list(originals), list(defaced), alike or alike_cases)
    work.by_patient()
    for how, key in _KEYS:
        work.unique(list(work.left), list(work.right), key, how)
    work.by_voxels(list(work.left), list(work.right), "the voxels", least=0.5)
    order = {case.id: k for k, case in enumerate(originals)}
    pairs = tuple(sorted(work.pairs, key=lambda p: order[p.original.id]))
    there = {case.id for case in (*work.left, *work.right)}
    reasons = {name: why for name, why in work.reasons.items() if name in there}
    return Pairing(pairs, tuple(work.left), tuple(work.right), reasons)


def alike_cases(original: Case, defaced: Case) -> Likeness:
    """Compare the image a head is found on with its twin."""
    twin = pair_series(original, defaced)[0][1]
    return likeness(original.primary, twin) if twin is not None else Likeness()


class _Pairing:
    """Cases on their way into pairs."""

    def __init__(self, left: list[Case], right: list[Case], alike: Callable[[Case, Case], Likeness]) -> None:
        self.left, self.right, self._alike = left, right, alike
        self.pairs: list[Pair] = []
        self.reasons: dict[str, str] = {}
        self._known: dict[tuple[str, str], Likeness] = {}

    def alike(self, one: Case, other: Case) -> Likeness:
        """Likeness of two cases, asked once."""
        key = (one.id, other.id)
        if key not in self._known:
            self._known[key] = self._alike(one, other)
        return self._known[key]

    def _possible(self, one: Case, other: Case) -> bool:
        known = self._known.get((one.id, other.id))
        return _shared(one, other) and (known is None or known.verdict != OTHER)

    def _take(self, one: Case, other: Case, how: str) -> None:
        self.pairs.append(Pair(one, other, how))
        self.left.remove(one)
        self.right.remove(other)

    def unique(
        self, left: Sequence[Case], right: Sequence[Case], key: Callable[[Case, Case], bool], how: str
    ) -> None:
        """Pair what a key names once on both sides."""

        def agree(one: Case, other: Case) -> bool:
            return self._possible(one, other) and key(one, other)

        for one in left:
            found = [other for other in right if other in self.right and agree(one, other)]
            rivals = [a for a in left if a in self.left and found and agree(a, found[0])]
            if one in self.left and len(found) == 1 and len(rivals) == 1:
                self._take(one, found[0], how)

    def by_voxels(self, left: Sequence[Case], right: Sequence[Case], how: str, least: float = 0.0) -> bool:
        """Pair what shows the same scan; False if there are too many to compare."""
        left, right = [c for c in left if c in self.left], [c for c in right if c in self.right]
        if len(left) * len(right) > MOST_COMPARED:
            return False

        def same(one: Case, other: Case) -> bool:
            found = self.alike(one, other)
            return found.verdict == SAME and found.common >= least

        self.unique(left, right, same, how)
        return True

    def by_patient(self) -> None:
        """Pair by the patient's id, in whatever spelling."""
        groups: dict[str, tuple[list[Case], list[Case]]] = defaultdict(lambda: ([], []))
        for side, cases in enumerate((self.left, self.right)):
            for case in cases:
                if _id(case):
                    groups[plain_id(_id(case)) or _id(case)][side].append(case)
        for left, right in groups.values():
            if len(left) == 1 and len(right) == 1:
                self.unique(left, right, lambda *_: True, "the patient's id")
            elif left and right:
                self._several(left, right)

    def _several(self, left: Sequence[Case], right: Sequence[Case]) -> None:
        """Cases of one id: several scans of a patient, or several patients."""
        how = "the patient's id"
        self.unique(left, right, _same_frame, f"{how} and the frame of reference")
        compared = self.by_voxels(left, right, f"{how} and the voxels")
        self.unique(left, right, _same_name, f"{how} and the name of the image")
        self.unique(left, right, _same_grid, f"{how} and the grid")
        rest = [c for c in left if c in self.left], [c for c in right if c in self.right]
        if len(rest[0]) == len(rest[1]) == 1:
            self.unique(*rest, lambda *_: True, how)
        for case in (*rest[0], *rest[1]):
            voxels = "voxels" if compared else "voxels (too many to compare)"
            self.reasons[case.id] = (
                f"{len(left)} originals and {len(right)} defaced cases have the patient's id {_id(case)}; neither "
                f"frame of reference, {voxels}, name nor grid tells them apart"
            )


def _id(case: Case) -> str:
    """PatientID as it stands in the file; of a NIfTI file whom its name or folder stands for."""
    own = case.primary
    return (case.patient_id if own.facts.get("format") == "NIfTI" else own.patient_id) or case.patient_id


def _same_frame(one: Case, other: Case) -> bool:
    return bool(one.frame_of_reference) and one.frame_of_reference == other.frame_of_reference


def _same_name(one: Case, other: Case) -> bool:
    name = plain_name(_stem(one.primary))
    return bool(name) and name == plain_name(_stem(other.primary))


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
    """Images of an original with their defaced twins: same modality, by grid, name, volume of a series, then size.

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


def _likeness(one: Series, other: Series) -> tuple[bool, bool, int, float]:
    return (
        _grids_agree(one, other),
        plain_name(_stem(one)) == plain_name(_stem(other)),
        _same_volume(one, other),
        -abs(np.log(max(one.voxels, 1) / max(other.voxels, 1))),
    )


def _same_volume(one: Series, other: Series) -> int:
    """2 if two volumes of series have the same values of what tells volumes apart, 1 if the same number, else 0.

    A series of which volumes were held back is told apart by less, and counts otherwise.
    """
    a, b = (series.facts.get("volume") for series in (one, other))
    if not a or not b:
        return 0
    both = a["by"].keys() & b["by"].keys()
    if both and all(a["by"][name] == b["by"][name] for name in both):
        return 2
    return int((a["number"], a["of"]) == (b["number"], b["of"]))


def _shared(one: Case, other: Case) -> bool:
    """Whether the image that a head is found on is of a modality both have."""
    return one.primary.modality in {s.modality for s in other.images}


def _stem(series: Series) -> str:
    if series.facts.get("format") == "NIfTI":
        return stem_of(series.files[0])
    return series.description


def _grids_agree(one: Series, other: Series) -> bool:
    if one.geometry is None or other.geometry is None:
        return False
    return Geometry.from_dict(one.geometry).close_to(Geometry.from_dict(other.geometry))

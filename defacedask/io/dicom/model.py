"""What a scan finds: cases of series, and what was skipped and why. Plain facts, cheap to send and to keep."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from defacedask.errors import InputError
from defacedask.io.dicom.series_facts import Series, size_of
from defacedask.modality import IMAGES
from defacedask.showing import Shown, counted, short

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KINDS", "Case", "Scan", "Series", "Skipped", "image_of"]

#: The lists of a case, in the order they are shown.
KINDS = ("images", "structures", "doses", "plans", "others")


@dataclasses.dataclass(frozen=True, repr=False)
class Case(Shown):
    """Everything of one patient in one frame of reference: what one plan is applied to.

    Parameters
    ----------
    id : str
        Safe as a file name anywhere, unique in a scan, the same for the same patient and frame in any scan.
    patient_id, frame_of_reference : str
        The id as most files write it, with a number where several persons share it (``P [2]``).
    images, structures, doses, plans, others : tuple of Series
    """

    id: str
    patient_id: str
    frame_of_reference: str
    images: tuple[Series, ...]
    structures: tuple[Series, ...] = ()
    doses: tuple[Series, ...] = ()
    plans: tuple[Series, ...] = ()
    others: tuple[Series, ...] = ()

    def _title(self) -> str:
        return f"Case {self.id}: patient {short(self.patient_id) or 'without id'}, {_what_is_in(self)}"

    def _table(self) -> Any:
        return _case_table(self)

    @property
    def person(self) -> str:
        """Whose scan it is, as far as ids tell: the patient's id, else the case itself."""
        return self.patient_id or self.id

    @property
    def primary(self) -> Series:
        """The image the head is read from: CT, else MR, else PET; of several the one with most voxels.

        In a BIDS session it is the one that was chosen for that (fact ``plan_on``), of a series that holds several
        volumes the one that most likely shows a head (fact ``volume``).
        """

        def rank(one: Series) -> tuple[bool, int, int, int, int, str]:
            chosen = bool(one.facts.get("plan_on"))
            order = IMAGES.index(one.modality) if one.modality in IMAGES else len(IMAGES)
            likely = one.facts.get("volume", {}).get("rank", 0)
            return (not chosen, order, -one.voxels, likely, one.number, one.uid)

        return min(self.images, key=rank)

    def image(self, modality: str | None = None, *, lazy: bool = True) -> xr.DataArray:
        """Read one image of the case.

        Parameters
        ----------
        modality : str, optional
            CT, MR or PT; of several images the one with most voxels. Default: `primary`.
        lazy : bool
            Whether voxels are read when they are needed (a Dask array) or now.

        Returns
        -------
        xarray.DataArray
            See `defacedask.io.dicom.image.read_image`.

        Raises
        ------
        InputError
            If there is no such image, or it cannot be read.
        """
        from defacedask.io.dicom.image import read_image

        if modality is None:
            return read_image(self.primary, lazy=lazy)
        found = [s for s in self.images if s.modality == modality]
        if not found:
            there = ", ".join(sorted({s.modality for s in self.images}))
            raise InputError(f"the case {self.id} has no {modality} image.", f"It has: {there}.")
        return read_image(dataclasses.replace(self, images=tuple(found)).primary, lazy=lazy)

    @property
    def series(self) -> tuple[Series, ...]:
        """All series, images first."""
        return tuple(s for kind in KINDS for s in getattr(self, kind))

    @property
    def files(self) -> dict[str, Series]:
        """Every file once, in the order of `series`, with one of what lies in it (volumes may share it)."""
        return {file: series for series in self.series for file in series.files}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "id": self.id,
            "patient_id": self.patient_id,
            "frame_of_reference": self.frame_of_reference,
            **{kind: [s.to_dict() for s in getattr(self, kind)] for kind in KINDS},
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Case:
        """Inverse of `to_dict`."""
        lists = {kind: tuple(Series.from_dict(s) for s in facts.get(kind, ())) for kind in KINDS}
        return cls(facts["id"], facts["patient_id"], facts["frame_of_reference"], **lists)


def image_of(part: Series, case: Case) -> Series:
    """Image that an object of a case refers to: by instance, else by series, else the case's primary image.

    Volumes of one series share its UID, and objects that are drawn on one of them name its instances.
    """
    wanted = set(part.references)
    for series in case.images:
        if wanted.intersection(series.instances):
            return series
    for series in case.images:
        if series.uid in wanted:
            return series
    return case.primary


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A file or a series that is not used, and the true reason.

    Parameters
    ----------
    path : str
        The file, or the first file of the series.
    reason : str
        A clause about "it" (the file or the series).
    series_uid, patient_id : str
        "" where they are not known.
    files : int
        How many files are left out.
    modality : str
        "" where it is not known.
    damaged : bool
        It, or a file of it, is cut off, spoiled or cannot be opened: what it held is missing.
    """

    path: str
    reason: str
    series_uid: str = ""
    patient_id: str = ""
    files: int = 1
    modality: str = ""
    damaged: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, repr=False)
class Scan(Shown):
    """Result of a scan: a sequence of its cases, with what was left out beside it.

    Parameters
    ----------
    cases : tuple of Case
        In the order of their ids.
    skipped : tuple of Skipped
    notes : tuple of str
        What was noticed and changes nothing: copies of a file, series that a list leaves out, ids of one patient in
        two spellings.
    people : dict
        Names and ids of everybody (`defacedask.io.dicom.people`), for de-identification; not part of `to_dict`.
    """

    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    people: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, repr=False)

    def _title(self) -> str:
        files = sum(skip.files for skip in self.skipped)
        left = f"; {counted(files, 'file')} skipped" if self.skipped else ""
        return f"Scan: {counted(len(self.cases), 'case')}{left}"

    def _table(self) -> Any:
        return _scan_table(self)

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __getitem__(self, index: int) -> Case:
        return self.cases[index]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "cases": [case.to_dict() for case in self.cases],
            "skipped": [skip.to_dict() for skip in self.skipped],
            "notes": list(self.notes),
        }


def _what_is_in(case: Case) -> str:
    """Modalities of the images of a case, such as ``CT, 2 MR``."""
    kinds = Counter(series.modality for series in case.images)
    return ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in sorted(kinds.items()))


def _case_table(case: Case) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
    """Table of the series of a case."""
    rows = [
        (s.modality, s.description, size_of(s) or _names(s), len(s.files), _flags(s)) for s in case.series
    ]
    return ("series", "description", "what", "files", ""), rows, ()


def _names(series: Series) -> str:
    names = series.facts.get("structures", ())
    return f"{counted(len(names), 'structure')}: {', '.join(names)}" if names else ""


def _flags(series: Series) -> str:
    which = [f"volume {series.volume} of {series.facts['volume']['of']}"] if series.volume else []
    return ", ".join(
        which
        + [
            word
            for fact, word in (("registered", "registered"), ("already_defaced", "already defaced"))
            if fact in series.facts
        ]
    )


def _scan_table(scan: Scan) -> tuple[Sequence[str], Sequence[Sequence[Any]], Sequence[str]]:
    """Table of the cases of a scan; what was skipped, by its reason."""
    rows = [
        (
            case.id,
            case.patient_id,
            _what_is_in(case),
            size_of(case.primary),
            sum(len(s.facts.get("structures", ())) for s in case.structures),
            len(case.doses),
        )
        for case in scan.cases
    ]
    why = Counter(skip.reason for skip in scan.skipped).most_common()
    notes = [f"skipped {n}: {reason}" for reason, n in why[:3]]
    notes += [f"and for {counted(len(why) - 3, 'other reason')} (see .skipped)"] if len(why) > 3 else []
    notes += [f"note: {note}" for note in scan.notes[:3]]
    notes += [f"and {counted(len(scan.notes) - 3, 'more note')} (see .notes)"] if len(scan.notes) > 3 else []
    return ("case", "patient", "images", "planned on", "structures", "doses"), rows, notes

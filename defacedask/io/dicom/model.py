"""What a scan finds: cases of series, and what was skipped and why. Plain facts, cheap to send and to keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from defacedask.errors import InputError
from defacedask.io.dicom.shown import case_table, scan_table, size_of, what_is_in
from defacedask.modality import IMAGES
from defacedask.showing import Shown, counted, short

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KINDS", "Case", "Scan", "Series", "Skipped"]

#: The lists of a case, in the order they are shown.
KINDS = ("images", "structures", "doses", "plans", "others")


@dataclasses.dataclass(frozen=True, repr=False)
class Series:
    """One series that can be used, from headers only.

    Parameters
    ----------
    uid : str
        SeriesInstanceUID (for NIfTI a UID made from the file).
    modality : str
        DICOM modality: CT, MR, PT, RTSTRUCT, RTDOSE, RTPLAN, SEG, REG.
    sop_class_uid, patient_id, study_uid, frame_of_reference, description : str
        "" where the header has none.
    number : int
        SeriesNumber, 0 where there is none.
    files : tuple of str
        Absolute paths; of images in ascending order along the stack normal. A multi-frame series has one file.
    instances : tuple of str
        SOPInstanceUIDs in the order of ``files``.
    references : tuple of str
        Series and SOP instance UIDs this object refers to.
    geometry : dict or None
        `Geometry.to_dict` of an image.
    facts : dict
        JSON-able header facts that are needed later. Images: transfer_syntax, lossy, image_type, bits_allocated,
        bits_stored, signed, photometric, padding (if any), patient_position, laterality, body_part, manufacturer,
        sex and age (years) of the patient, scanner, visual_features, deidentification and already_defaced (what an
        earlier defacing recorded; see `defacedask.io.dicom.defaced`), patient (where the PatientID alone does not say
        who it is: see `defacedask.io.dicom.persons`), study_numbers (SeriesNumbers of all series of its study),
        suv (PET; see `defacedask.io.dicom.suv.suv_facts`), frames (multi-frame: order along the stack); NIfTI:
        format, units, stored, modality_because, sha256 (of the file), bids (path below its data set) and derivative
        (whether that is a derived one). Others: frames_of_reference, structures (names, RTSTRUCT and SEG), label, and
        units, type and summation of a dose.
    """

    uid: str
    modality: str
    sop_class_uid: str
    patient_id: str
    study_uid: str
    frame_of_reference: str
    description: str
    number: int
    files: tuple[str, ...]
    instances: tuple[str, ...]
    references: tuple[str, ...] = ()
    geometry: dict[str, Any] | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            "files": list(self.files),
            "instances": list(self.instances),
            "references": list(self.references),
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Series:
        """Inverse of `to_dict`."""
        tuples = {name: tuple(facts[name]) for name in ("files", "instances", "references")}
        return cls(**{**facts, **tuples})

    def __repr__(self) -> str:
        parts = [self.modality, short(self.description), size_of(self), counted(len(self.files), "file")]
        return f"Series({', '.join(part for part in parts if part)})"

    @property
    def voxels(self) -> int:
        """Number of voxels of an image, 0 for anything else."""
        if self.geometry is None:
            return 0
        nz, ny, nx = self.geometry["shape"]
        return int(nz * ny * nx)


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
        return f"Case {self.id}: patient {short(self.patient_id) or 'without id'}, {what_is_in(self)}"

    def _table(self) -> Any:
        return case_table(self)

    @property
    def person(self) -> str:
        """Whose scan it is, as far as ids tell: the patient's id, else the case itself."""
        return self.patient_id or self.id

    @property
    def primary(self) -> Series:
        """The image the head is read from: CT, else MR, else PET; of several the one with most voxels.

        In a BIDS session it is the one that was chosen for that (fact ``plan_on``).
        """

        def rank(one: Series) -> tuple[bool, int, int, int, str]:
            chosen = bool(one.facts.get("plan_on"))
            order = IMAGES.index(one.modality) if one.modality in IMAGES else len(IMAGES)
            return (not chosen, order, -one.voxels, one.number, one.uid)

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
    """

    path: str
    reason: str
    series_uid: str = ""
    patient_id: str = ""
    files: int = 1
    modality: str = ""

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
        return scan_table(self)

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

"""One series that can be used: plain facts from its headers, cheap to send and to keep."""

from __future__ import annotations

import dataclasses
from typing import Any

from defacedask.showing import counted, short

__all__ = ["Series", "size_of"]


@dataclasses.dataclass(frozen=True, repr=False)
class Series:
    """One series that can be used, or one volume of a series that holds several, from headers only.

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
        Absolute paths; of single-frame images in ascending order along the stack normal. A multi-frame image has one
        file, or those of its concatenation.
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
        suv (PET; see `defacedask.io.dicom.suv.suv_facts`), frames and frame_counts (multi-frame; see
        `defacedask.io.dicom.enhanced.enhanced_volumes`), volume (which volume it is, of a series that holds several;
        see `defacedask.io.dicom.several.numbered`); NIfTI:
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
    def volume(self) -> int:
        """Number of the volume, of a series that holds several; else 0."""
        return int(self.facts.get("volume", {}).get("number", 0))

    @property
    def key(self) -> str:
        """What tells it from all others of a case: its UID, and the volume where its series holds several."""
        return f"{self.uid} volume {self.volume}" if self.volume else self.uid

    @property
    def frame_counts(self) -> list[int]:
        """Number of frames of each file of a multi-frame image."""
        return list(self.facts.get("frame_counts", (len(self.facts.get("frames", ())),)))

    @property
    def voxels(self) -> int:
        """Number of voxels of an image, 0 for anything else."""
        if self.geometry is None:
            return 0
        nz, ny, nx = self.geometry["shape"]
        return int(nz * ny * nx)


def size_of(series: Series) -> str:
    """Voxels and spacing of an image, such as ``60 x 512 x 512 of 2.5 x 1 x 1 mm``."""
    if series.geometry is None:
        return ""
    from defacedask.geometry import Geometry

    grid = Geometry.from_dict(series.geometry)
    return f"{' x '.join(map(str, grid.shape))} of {' x '.join(f'{mm:.3g}' for mm in grid.spacing)} mm"

"""What a defaced instance says about itself (PS3.15 E.3.2, PS3.3 C.7.6.1, C.12.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from defacedask.io.dicom.export.covered import CLEANED, CODE, METHOD, SCHEME, done, drop_cleaned

__all__ = [
    "CARRIED_ON",
    "IMPLEMENTATION_UID",
    "SCHEME",
    "add_codes",
    "carried_on",
    "derive",
    "file_meta",
    "mark_cleaned",
]

#: UUID version 5 of "defacedask" in the URL name space.
IMPLEMENTATION_UID = "2.25.92081423133101405014935959705025182049"


def code(value: str, scheme: str, meaning: str, version: str = "") -> Any:
    """Code item (PS3.3 8.8)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value[:16], scheme
    if version:
        item.CodingSchemeVersion = version[:16]
    item.CodeMeaning = meaning[:64]
    return item


def _append(dataset: Any, keyword: str, *items: Any) -> None:
    from pydicom.sequence import Sequence

    setattr(dataset, keyword, Sequence([*(dataset.get(keyword, None) or ()), *items]))


def add_codes(dataset: Any, codes: Sequence[tuple[str, str]]) -> None:
    """Add DICOM codes (value, meaning) to (0012,0064), each unless it is there."""
    there = {
        str(i.get("CodeValue", "")) for i in dataset.get("DeidentificationMethodCodeSequence", None) or ()
    }
    new = [code(value, "DCM", meaning) for value, meaning in codes if value not in there]
    if new:
        _append(dataset, "DeidentificationMethodCodeSequence", *new)


def mark_cleaned(
    dataset: Any,
    defacer: str,
    version: str,
    *,
    image: bool,
    visible: bool = False,
    reversible: bool = False,
) -> None:
    """Record the cleaning of recognizable visual features: (0012,0063), (0012,0064), (0028,0302), equipment.

    What an earlier de-identification recorded stays; whether the header was de-identified is not claimed here.

    Parameters
    ----------
    dataset : pydicom.Dataset
    defacer, version : str
    image : bool
        Whether it has pixels.
    visible : bool
        The face, or much of it, is known to be left: then 113102 is not claimed, nor left if an earlier
        de-identification claimed it, and (0028,0302) is YES.
    reversible : bool
        The face is covered, not removed: as for ``visible``, and a code and words of its own say so.
    """
    methods = [f"defacedask {version} {defacer}"[:64], *([METHOD] if reversible else [])]
    old = dataset.get("DeidentificationMethod", None) or []
    old = [old] if isinstance(old, str) else [str(one) for one in old]
    methods = [*old, *methods]
    dataset.DeidentificationMethod = methods if len(methods) > 1 else methods[0]
    how = "covered" if reversible else "removed"
    own = [code(defacer, SCHEME, f"Face {how} by defacedask with {defacer}", version)]
    if reversible:
        own.append(code(CODE[0], SCHEME, CODE[1], version))
    if visible or reversible:
        drop_cleaned(dataset)
    else:
        add_codes(dataset, [(CLEANED, "Clean Recognizable Visual Features Option")])
    _append(dataset, "DeidentificationMethodCodeSequence", *own)
    if image:
        dataset.RecognizableVisualFeatures = "YES" if visible or reversible else "NO"
    _append(dataset, "ContributingEquipmentSequence", _equipment(defacer, version, reversible))
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):  # of the source, not of this instance
        if keyword in dataset:
            delattr(dataset, keyword)


def _equipment(defacer: str, version: str, reversible: bool) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = Sequence([code("109103", "DCM", "Modifying Equipment")])
    item.Manufacturer = "The defacedask developers"
    item.ManufacturerModelName = "defacedask"
    item.SoftwareVersions = version
    item.ContributionDescription = f"{done(reversible)} with {defacer}"
    return item


def source_item(sop_class: str, sop_instance: str) -> Any:
    """Item of SourceImageSequence."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    purpose = code("121322", "DCM", "Source image for image processing operation")
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    return item


def derive(
    dataset: Any,
    defacer: str,
    version: str,
    digest: str,
    source: tuple[str, str],
    *,
    reversible: bool = False,
) -> None:
    """Say what a pixel object was derived from and how.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Of an image or dose.
    defacer, version, digest : str
        Name, version of the program, SHA-256 of the plan.
    source : (SOP class UID, SOP instance UID)
        Of the original: the one place where a source UID is meant to be.
    reversible : bool
        The face is covered, not removed.
    """
    from pydicom.sequence import Sequence

    kind = [str(v) for v in dataset.get("ImageType", None) or ("ORIGINAL", "PRIMARY")]
    dataset.ImageType = ["DERIVED", *kind[1:]] if len(kind) > 1 else ["DERIVED", "PRIMARY"]
    text = f"{done(reversible)} by defacedask {version} with {defacer}; plan SHA-256 {digest}"
    before = str(dataset.get("DerivationDescription", "") or "").strip()
    dataset.DerivationDescription = f"{before[:800]}; {text}" if before else text
    _append(dataset, "DerivationCodeSequence", code("113047", "DCM", "Pixel by pixel mask"))
    dataset.SourceImageSequence = Sequence([source_item(*source)])


#: DoseComment (3004,0006) of a dose grid that has more dose than it came with; of at most 64 characters.
CARRIED_ON = "Dose near face skin continued from deeper, not planned or given"


def carried_on(dataset: Any) -> None:
    """Say of a dose that part of it is a continuation: in (3004,0006), and in full in DerivationDescription."""
    before = str(dataset.get("DoseComment", "") or "").strip()
    dataset.DoseComment = CARRIED_ON
    text = str(dataset.get("DerivationDescription", "") or "")
    dataset.DerivationDescription = (
        f"{text}; at the face, in what was added and below the skin as far as the replaced part reaches, the dose of "
        "the original was continued outward from deeper: it was neither planned, calculated nor delivered like that"
        + (f"; DoseComment was: {before}" if before else "")
    )[:1024]


def file_meta(dataset: Any, syntax: str, version: str) -> Any:
    """File meta information of a new file (PS3.10 7.1); nothing of the source's is kept."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = f"DEFACEDASK_{version}"[:16]
    return meta

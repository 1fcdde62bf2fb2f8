"""Written files are read back and compared before anything of a case becomes visible."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import DefacedaskError
from defacedask.io.dicom.export.covered import CLEANED, problems
from defacedask.io.dicom.export.encoding import fit
from defacedask.io.dicom.export.image import Context, Written, start
from defacedask.io.dicom.export.references import instance_references, source_tokens
from defacedask.io.dicom.export.series_names import says_so, series_number
from defacedask.io.dicom.export.walking import walk
from defacedask.io.dicom.headers import DEFLATED, open_dataset, read_header
from defacedask.io.dicom.pixels import read_stored
from defacedask.modality import IMAGES

__all__ = ["check_header", "check_leaks", "check_pixels", "check_record", "header_bytes", "unresolved"]

#: What the record of defacing writes; everything else must be the original's with its references moved.
OWN = {
    0x00080008: "ImageType",
    0x00080012: "InstanceCreationDate",
    0x00080013: "InstanceCreationTime",
    0x0008103E: "SeriesDescription",
    0x00082111: "DerivationDescription",
    0x00082112: "SourceImageSequence",
    0x00089215: "DerivationCodeSequence",
    0x00120063: "DeidentificationMethod",
    0x00120064: "DeidentificationMethodCodeSequence",
    0x0018A001: "ContributingEquipmentSequence",
    0x00200011: "SeriesNumber",
    0x00280106: "SmallestImagePixelValue",
    0x00280107: "LargestImagePixelValue",
    0x00280108: "SmallestPixelValueInSeries",
    0x00280109: "LargestPixelValueInSeries",
    0x00280302: "RecognizableVisualFeatures",
    0x00282110: "LossyImageCompression",
    0x7FE00010: "PixelData",
}
#: Changed besides, by kind of object.
CONTENT = {"RTSTRUCT": {0x30060020, 0x30060039}, "RTDOSE": {0x30060020, 0x30060039, 0x30040006}, "SEG": set()}
#: Pixel objects that name what they were derived from.
DERIVED = (*IMAGES, "RTDOSE")
#: Of multi-frame images: frame types and the derivation group, and where the source lies.
EVIDENCE = 0x00089154
GROUPS = {0x52009229, 0x52009230, EVIDENCE}


def _fail(written: Written, what: str) -> DefacedaskError:
    return DefacedaskError(
        f"the defaced {written.modality} instance did not pass its check: {what}; nothing of the case was kept.",
        "Please report this.",
    )


def check_pixels(written: Written, defaced: np.ndarray, region: np.ndarray) -> None:
    """Read the written file and the original back.

    Parameters
    ----------
    written : Written
    defaced : (frames, rows, columns) array
        The plan's result, frames in the order of the file.
    region : bool array
        Where the plan may change the values.

    Raises
    ------
    DefacedaskError
        If a value outside the region differs from the original, or one inside from the plan's result.
    """
    now = read_stored(read_header(written.path))
    before = read_stored(header := read_header(written.source))
    if now.shape != before.shape or now.dtype != before.dtype:
        raise _fail(written, f"{now.shape} {now.dtype} values instead of {before.shape} {before.dtype}")
    outside = (now != before) & ~region
    if outside.any():
        raise _fail(written, f"{int(outside.sum())} values outside the region changed")
    values = header.values
    expected = fit(defaced, values["BitsStored"], values.get("PixelRepresentation") == 1)
    wrong = (now != expected) & region
    if wrong.any():
        raise _fail(written, f"{int(wrong.sum())} values inside the region are not the plan's")


def check_header(written: Written, context: Context) -> Any:
    """Compare the header with the original's, references moved.

    Returns
    -------
    pydicom.Dataset
        Of the written file, without pixels.

    Raises
    ------
    DefacedaskError
        If an element is missing, new or different that should not be.
    """
    old, _, _ = start(written.source, context)
    context.remap(old)
    new = open_dataset(written.path)
    free = {*OWN, *CONTENT.get(written.modality, ())}
    if "PerFrameFunctionalGroupsSequence" in old:
        free |= GROUPS
    for tag in sorted({*old.keys(), *new.keys()}):
        if int(tag) in free or tag.element == 0:  # group lengths are not written any more
            continue
        if tag not in new or tag not in old:
            raise _fail(written, f"element {tag} is {'missing' if tag not in new else 'new'}")
        if not _same(old, new, tag):
            raise _fail(written, f"element {tag} is not the original's")
    return new


def _same(old: Any, new: Any, tag: Any) -> bool:
    a, b = old.get_item(tag), new.get_item(tag)
    if a.is_raw and b.is_raw and a.VR == b.VR and a.value == b.value:
        return True
    if old[tag].VR == "SQ" and new[tag].VR == "SQ":
        pairs = list(old[tag].value or ()), list(new[tag].value or ())
        return len(pairs[0]) == len(pairs[1]) and all(map(_same_item, *pairs))
    first, second = old[tag].value, new[tag].value
    if bool(first == second) or (not first and not second and first != 0 and second != 0):
        return True
    try:
        return bool(np.array_equal(np.asarray(first, float), np.asarray(second, float), equal_nan=True))
    except (TypeError, ValueError):
        return str(first) == str(second)


def _same_item(old: Any, new: Any) -> bool:
    """Whether two items hold the same, group lengths aside."""
    tags = [tag for tag in old.keys() if tag.element]  # noqa: SIM118
    others = {tag for tag in new.keys() if tag.element}  # noqa: SIM118
    return others == set(tags) and all(_same(old, new, tag) for tag in tags)


def check_record(written: Written, dataset: Any, context: Context) -> None:
    """Whether the instance says what it is.

    Raises
    ------
    DefacedaskError
    """
    codes = [
        str(i.get("CodeValue", "")) for i in dataset.get("DeidentificationMethodCodeSequence", None) or ()
    ]
    shown = context.visible or context.reversible
    if (CLEANED in codes) == shown:
        raise _fail(written, f"it {'carries' if shown else 'does not carry'} code {CLEANED}")
    image = written.modality in DERIVED
    if image and str(dataset.get("RecognizableVisualFeatures", "")) != ("YES" if shown else "NO"):
        raise _fail(written, f"(0028,0302) is not {'YES' if shown else 'NO'}")
    for what in problems(dataset, image=image) if context.reversible else ():
        raise _fail(written, what)
    identity = context.remap.identity
    if identity and ("113100" not in codes or dataset.get("PatientIdentityRemoved") != "YES"):
        raise _fail(written, "it does not say that its header was de-identified")
    if str(dataset.SOPInstanceUID) != written.uid or written.uid == written.source_uid:
        raise _fail(written, "its SOP instance UID is not the new one")
    if str(dataset.file_meta.MediaStorageSOPInstanceUID) != written.uid:
        raise _fail(written, "its file meta information names another instance")
    if str(dataset.SeriesInstanceUID) in context.known:
        raise _fail(written, "its series UID is the source's")
    if series_number(dataset) in context.numbers:
        raise _fail(written, "its SeriesNumber is one of the source's")
    if not says_so(dataset):
        raise _fail(written, "its SeriesDescription does not say that it is derived")


def check_leaks(written: Written, dataset: Any, context: Context) -> None:
    """Source UIDs anywhere but in SourceImageSequence.

    Raises
    ------
    DefacedaskError
    """
    header = read_header(written.path)
    if header.transfer_syntax != DEFLATED:
        # what is written ends with the pixels, if there are any
        with Path(written.path).open("rb") as file:
            plain = file.read(header.pixel_offset or -1)
        found = source_tokens(plain, context.known)
        named = _sources(dataset) if written.modality in DERIVED else []  # pseudonyms are none of the known
        if found <= set(named) and all(plain.count(uid.encode()) == named.count(uid) for uid in found):
            return
    found = source_tokens(header_bytes(written, open_dataset(written.path)), context.known)
    if found:
        raise _fail(written, f"{len(found)} UIDs of the source are still in it")


def header_bytes(written: Written, dataset: Any) -> bytes:
    """All of a file but its pixels and the places where its source may be named; uses up the dataset."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    if written.modality in DERIVED:
        dataset = _without_sources(dataset)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = dataset.original_encoding
    write_dataset(buffer, dataset)
    meta = io.BytesIO()
    for element in dataset.file_meta:
        meta.write(str(element.value).encode() + b"\n")
    return buffer.getvalue() + meta.getvalue()


def _sources(dataset: Any) -> list[str]:
    """UIDs where the source may be named, once a place."""
    items = list(dataset.get("SourceImageSequence", None) or ())
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(keyword, None) or ():
            for part in group.get("DerivationImageSequence", None) or ():
                items += part.get("SourceImageSequence", None) or ()
    series = [
        one
        for study in dataset.get("SourceImageEvidenceSequence", None) or ()
        for one in study.get("ReferencedSeriesSequence", None) or ()
    ]
    items += [item for one in series for item in one.get("ReferencedSOPSequence", None) or ()]
    found = [str(item.get("ReferencedSOPInstanceUID", "")) for item in items]
    return found + [str(one.get("SeriesInstanceUID", "")) for one in series]


def _without_sources(dataset: Any) -> Any:
    """Drop what may name the source: SourceImageSequence, its evidence, and those of the derivation groups."""
    for own in (0x00082112, EVIDENCE):
        if own in dataset:
            del dataset[own]
    for item, tag, _ in list(walk(dataset)):
        if int(tag) in (0x52009229, 0x52009230):
            for group in item[tag].value or ():
                if 0x00089124 in group:
                    del group[0x00089124]
    return dataset


def unresolved(written: Written, dataset: Any, there: Collection[str]) -> list[str]:
    """Instances that a dataset refers to and that are not ``there``, each once; its own source does not count."""
    if written.modality in DERIVED:
        dataset = _without_sources(dataset)
    return sorted({uid for uid in instance_references(dataset) if uid not in there})

"""Pictures that are no slices of a volume, whatever their positions say: many slices side by side, or projections.

Siemens scanners write functional and diffusion MR as mosaics: one picture a time point, its slices in tiles, with the
position of the picture's corner. Other makers and work stations write montages of the same kind. A mosaic says so in
ImageType (0008,0008), in private elements, or by its size alone, where tools took the rest away.

A projection (MIP, volume rendering) shows a face wherever its own position may be. Of CT and MR a stack of many thin
ones is looked at like any image, and the face must be seen to be gone; a PET, and a stack in which no shape of a face
could be seen, is judged by position alone.
"""

from __future__ import annotations

import re
from typing import Any

from defacedask.geometry import Geometry
from defacedask.io.dicom.headers import Header
from defacedask.modality import FACES, NARROWEST, THICKEST

__all__ = ["projected", "tiled_by_header", "tiled_by_type"]

#: Words of ImageType that name a picture of tiles.
TYPES = {"MOSAIC", "MONTAGE", "TILED", "TILE", "COLLAGE", "MPR MONTAGE"}
#: Words of ImageType that name a projection or a rendering: PS3.3 C.8.3.1.1.1 and C.8.16.2, and makers.
PROJECTIONS = re.compile(
    r"\b(?:MIP|MAX(?:IMUM)?[ _]?IP|MIN(?:IMUM)?[ _]?IP|MINIP|CSAMIP|PROJECTION(?:[ _]IMAGE)?|VRT|SSD|VOLREN|"
    r"(?:VOLUME|SURFACE)[ _]RENDER(?:ING|ED)?|3D[ _]?RENDERING|RENDERED|REPROJECTION|"
    r"SCREEN[ _]?(?:SAVE|SHOT|CAPTURE)|SNAPSHOT|SECONDARY[ _]CAPTURE)\b"
)
#: Where else than in ImageType it is said: in a PET (PS3.3 C.8.9.1), in enhanced images (C.8.16.2.1.3).
SAID = ("SeriesType", "VolumeBasedCalculationTechnique")
#: Groups of enhanced images that say it of a frame.
FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")
#: Of ImageType, what says that an image was made afterwards, and what says that it has slices all the same.
LATER = "SECONDARY"
RESLICED = re.compile(r"\b(?:MPR|REFORMATTED|RESAMPLED|AXIAL|CORONAL|SAGITTAL|OBLIQUE|AVERAGE|REGISTERED)\b")
#: Creator of a private block, and the element in it that counts the slices of a mosaic.
COUNTS = (
    (0x0019, "SIEMENS MR HEADER", 0x0A),  # NumberOfImagesInMosaic
    (0x0065, "IMAGE PRIVATE HEADER", 0x50),  # United Imaging
)
#: The CSA header of Siemens, a binary block of named values.
CSA = (0x0029, "SIEMENS CSA HEADER", 0x10)
CSA_NAME = b"NumberOfImagesInMosaic"
#: No bore is wider than this many mm in both directions.
WIDEST = 750.0
SHOWS = "in which a face shows at whatever position: make it anew of the defaced images"
WHAT = "each of its pictures holds many slices side by side, which are no slices of a volume"
NEXT = "convert it to single slices or NIfTI first"


def tiled_by_type(header: Header) -> str:
    """Why an image is a picture of tiles by its ImageType, as a clause, or ""."""
    words = {str(word).upper().strip() for word in header.values.get("ImageType", ())}
    found = sorted(words & TYPES)
    return f"it is a mosaic: {WHAT} (ImageType says {found[0]}); {NEXT}" if found else ""


def projected(header: Header, modality: str, geometry: Geometry, dataset: Any = None) -> str:
    """Why an image is a projection that nobody could look at for a face, as a clause, or "".

    Parameters
    ----------
    header : Header
        One of the series.
    modality : str
    geometry : Geometry
        Of the series.
    dataset : pydicom.Dataset, optional
        Of the same file, without pixels: what else than ImageType says so, in the frames of an enhanced image too.
    """
    across = min(n * mm for n, mm in zip(geometry.shape, geometry.spacing, strict=True))
    if modality in FACES and max(geometry.spacing) <= THICKEST and across >= NARROWEST:
        return ""
    kind = "\\".join(map(str, header.values.get("ImageType", ()))).upper()
    places = {"ImageType": kind} | ({} if dataset is None else _said(dataset))
    for place, text in places.items():
        named = PROJECTIONS.search(text.upper())
        if named is not None:
            return f"it is a projection ({place} says {named[0]}), {SHOWS}"
    if how := "" if dataset is None else str(dataset.get("ConversionType", "") or "").strip():
        return f"it is a captured picture (ConversionType says {how}), {SHOWS}"
    if modality in FACES and LATER in kind.split("\\") and not RESLICED.search(kind):
        return (
            f"it was made after the examination (ImageType says {LATER}) and is too thin to be looked at: it may be "
            f"pictures of the head, {SHOWS}"
        )
    return ""


def _said(dataset: Any) -> dict[str, str]:
    """Keyword -> what a dataset says of how its pictures were made, those of its frames too."""
    found: dict[str, set[str]] = {}

    def add(item: Any, keyword: str) -> None:
        value = item.get(keyword, None)
        if value:
            text = value if isinstance(value, str) else "\\".join(map(str, value))
            found.setdefault(keyword, set()).add(text)

    for keyword in SAID:
        add(dataset, keyword)
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for frame in dataset.get(groups, None) or ():
            for name in FRAME_TYPES:
                for item in frame.get(name, None) or ():
                    add(item, "FrameType")
                    add(item, "VolumeBasedCalculationTechnique")
    return {keyword: "\\".join(sorted(values)) for keyword, values in found.items()}


def tiled_by_header(dataset: Any, header: Header) -> str:
    """Why an image is a picture of tiles by its private elements or its size, as a clause, or "".

    Parameters
    ----------
    dataset : pydicom.Dataset
        One image of the series, without pixels.
    header : Header
        Of the same.
    """
    count = _counted(dataset)
    if count > 1:
        return f"it is a mosaic: {WHAT} (its private header counts {count}); {NEXT}"
    rows, columns = header.values.get("Rows", 0), header.values.get("Columns", 0)
    spacing = header.values.get("PixelSpacing", ())
    if header.text("Modality") == "MR" and len(spacing) == 2:
        tall, wide = rows * spacing[0], columns * spacing[1]
        if min(tall, wide) > WIDEST:
            return (
                f"its pictures are {tall:.0f} x {wide:.0f} mm large, more than any scanner's bore: they seem to be "
                f"mosaics of many slices; {NEXT}"
            )
    return ""


def _counted(dataset: Any) -> int:
    """Slices in a mosaic by the private elements that count them, 0 where there are none."""
    for group, creator, element in COUNTS:
        value = _private(dataset, group, creator, element)
        try:
            number = int(float(value)) if value not in (None, "", b"") else 0
        except (TypeError, ValueError):
            number = int.from_bytes(value, "little") if isinstance(value, bytes) and len(value) <= 4 else 0
        if number > 1:
            return number
    return _csa_count(_private(dataset, *CSA))


def _private(dataset: Any, group: int, creator: str, element: int) -> Any:
    """Value of a private element, None if it is not there."""
    for block in range(0x10, 0x100):
        named = dataset.get((group, block))
        if named is None:
            continue
        if str(named.value).strip().upper() == creator:
            found = dataset.get((group, block << 8 | element))
            return None if found is None else found.value
    return None


def _csa_count(raw: Any) -> int:
    """NumberOfImagesInMosaic of a CSA header: a name of 64 bytes, 20 bytes of facts, then values as padded text."""
    if not isinstance(raw, bytes):
        return 0
    at = raw.find(CSA_NAME)
    if at < 0 or int.from_bytes(raw[at + 76 : at + 80], "little") == 0:
        return 0
    found = re.search(rb"(?<![0-9])([0-9]{1,4})[ \0]", raw[at + 84 : at + 84 + 64])
    return int(found[1]) if found else 0

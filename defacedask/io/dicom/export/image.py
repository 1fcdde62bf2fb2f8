"""CT, MR and PET series: the original dataset of every instance with the plan's stored values in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.errors import DefacedaskError, InputError
from defacedask.io.dicom.export.encoding import ALWAYS_LOSSY, fit, put_pixels, target_syntax
from defacedask.io.dicom.export.pictures import drop_pictures
from defacedask.io.dicom.export.record import derive, file_meta, mark_cleaned
from defacedask.io.dicom.export.references import Remap
from defacedask.io.dicom.export.series_names import rename
from defacedask.io.dicom.headers import DEFLATED, open_dataset, read_header, tags_behind
from defacedask.io.dicom.series_facts import Series
from defacedask.whole_files import file_hash

__all__ = ["Context", "Written", "behind", "save", "write_images", "write_one"]


@dataclasses.dataclass(frozen=True)
class Context:
    """What all writers of one case share.

    Attributes
    ----------
    remap : Remap
        The cohort's UID map, and what of it this case knows.
    defacer, version, digest : str
        Name of the defacer, version of the program, SHA-256 of the plan.
    private : str
        ``keep`` or ``drop``.
    visible : bool
        The face, or much of it, is known to be left.
    reversible : bool
        The face is covered, not removed.
    numbers : frozenset of int
        SeriesNumbers of the source's studies.
    """

    remap: Remap
    defacer: str
    version: str
    digest: str
    private: str = "keep"
    visible: bool = False
    reversible: bool = False
    numbers: frozenset[int] = frozenset()

    def mark(self, dataset: Any, *, image: bool) -> None:
        """`mark_cleaned` with what is known of this case, and the names of a derived series."""
        rename(dataset, self.defacer, self.numbers, visible=self.visible, reversible=self.reversible)
        mark_cleaned(
            dataset,
            self.defacer,
            self.version,
            image=image,
            visible=self.visible,
            reversible=self.reversible,
        )

    @property
    def known(self) -> Collection[str]:
        """Source UIDs of the case."""
        return self.remap.known


@dataclasses.dataclass
class Written:
    """One instance that was written.

    Attributes
    ----------
    source, path : str
        File read, file written.
    modality : str
    source_uid, uid : str
        SOP instance UIDs.
    input_sha256, output_sha256 : str
        Of the files' bytes.
    voxels_changed : int
    dropped, notes : tuple of str
        Elements left out; what a reader of the record should know.
    made : bool
        It was made here, as a mask is, and is no version of its source.
    """

    source: str
    path: str
    modality: str
    source_uid: str
    uid: str
    input_sha256: str
    output_sha256: str = ""
    voxels_changed: int = 0
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made: bool = False


def start(source: str, context: Context) -> tuple[Any, str, list[str]]:
    """Open an original without its pixels, ready to be changed: (dataset, transfer syntax, what was dropped)."""
    from pydicom.uid import UID

    dataset = open_dataset(source)
    meta = getattr(dataset, "file_meta", None)
    syntax = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    if not syntax:
        implicit, little = dataset.original_encoding
        syntax = (
            "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
        )
    if "SOPInstanceUID" not in dataset:
        raise InputError(f"{source} has no SOP instance UID any more.", "Scan again.")
    try:
        dropped = drop_pictures(dataset, private=context.private)
        return dataset, str(UID(syntax)), sorted([*dropped, *behind(source)])
    except InputError as error:
        what = error.message.rstrip(".")
        raise InputError(f"{source} cannot be looked through: {what}.", "Repair the file.") from None
    except Exception as error:  # the first time that every element is looked at: pydicom raises what it likes
        text = " ".join(str(error).split())[:120]
        raise InputError(f"the header of {source} is damaged ({text}).", "Repair the file.") from None


def behind(source: str) -> list[str]:
    """What stands in a file behind the picture of its header, and is not read: named, for it is left out."""
    header = read_header(source)
    length = header.pixel_length
    if length <= 0 or header.transfer_syntax == DEFLATED:
        return []
    values = header.values
    bits = (
        values.get("Rows", 0)
        * values.get("Columns", 0)
        * values.get("NumberOfFrames", 1)
        * values.get("SamplesPerPixel", 1)
        * values.get("BitsAllocated", 16)
    )
    found = []
    if length > bits // 8 + 1 > 1:
        found.append("more pixel data than the picture needs (7fe0,0010)")
    return found + [f"element behind the pixel data ({name})" for name in tags_behind(header)]


def save(dataset: Any, path: Path, syntax: str, context: Context) -> str:
    """Write a finished dataset; gives the SHA-256 of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = file_meta(dataset, syntax, context.version)
    dataset.preamble = b"\0" * 128
    dataset.save_as(path, enforce_file_format=True, overwrite=False)
    return file_hash(path)


def write_images(
    series: Series,
    slices: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
    place: Callable[[str], Path],
    context: Context,
    *,
    step: int = 32,
) -> Iterator[Written]:
    """Write a derived series of single-frame images.

    Parameters
    ----------
    series : Series
        The original, or one volume of it.
    slices : callable
        ``slices(first, last) -> (original, defaced)`` stored values of those slices, ascending along the stack.
    place : callable
        Source file -> file to write.
    context : Context
    step : int
        Slices held in memory at a time.

    Yields
    ------
    Written
        After each file.

    Raises
    ------
    InputError
        If an original is not what was scanned.
    """
    count = len(series.files)
    for first in range(0, count, step):
        last = min(first + step, count)
        original, defaced = slices(first, last)
        for k in range(first, last):
            yield write_one(
                series.files[k],
                series.instances[k],
                series.modality,
                original[k - first][None],
                defaced[k - first][None],
                place,
                context,
            )


def write_one(
    source: str,
    instance: str,
    modality: str,
    original: np.ndarray,
    defaced: np.ndarray,
    place: Callable[[str], Path],
    context: Context,
    finish: Callable[[Any], None] | None = None,
) -> Written:
    """Write one instance with pixels.

    Parameters
    ----------
    source, instance : str
        File, and the SOP instance UID it must have.
    modality : str
    original, defaced : (frames, rows, columns) arrays
        Stored values, frames in the order of the file.
    place, context
        See `write_images`.
    finish : callable, optional
        Called with the dataset before its pixels are set.

    Raises
    ------
    InputError
        If the file is not what was scanned.
    """
    dataset, syntax, dropped = start(source, context)
    if str(dataset.SOPInstanceUID) != instance:
        raise InputError(f"{source} is not the file that was scanned.", "Scan again.")
    notes: list[str] = []
    if syntax in ALWAYS_LOSSY and dataset.get("LossyImageCompression") != "01":
        # the syntax was all that told it (PS3.3 C.7.6.1.1.5), and it is not kept
        dataset.LossyImageCompression = "01"
    syntax, note = target_syntax(syntax)
    notes += [note] if note else []
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    values = fit(defaced, bits, signed)
    if values is not defaced:
        notes.append(f"the fill was clipped to the {bits} bits that are stored")
    if np.dtype(defaced.dtype).itemsize * 8 != int(dataset.BitsAllocated):
        raise DefacedaskError(
            f"{source}: the stored values do not have the {dataset.BitsAllocated} bits of the file."
        )
    changed = int(np.count_nonzero(values != original))
    source_uid, source_class = str(dataset.SOPInstanceUID), str(dataset.SOPClassUID)
    context.remap(dataset)
    origin = (source_class, context.remap.source(source_uid))
    derive(dataset, context.defacer, context.version, context.digest, origin, reversible=context.reversible)
    context.mark(dataset, image=True)
    _ranges(dataset, values, signed)
    if finish:
        finish(dataset)
    syntax, note = put_pixels(dataset, values, syntax)
    notes += [note] if note else []
    path = place(source)
    digest = save(dataset, path, syntax, context)
    return Written(
        source,
        str(path),
        modality,
        source_uid,
        str(dataset.SOPInstanceUID),
        file_hash(source),
        digest,
        changed,
        tuple(dropped),
        tuple(notes),
    )


def _ranges(dataset: Any, values: np.ndarray, signed: bool) -> None:
    """Correct the smallest and largest value where the header states them; those of the series are left out."""
    from pydicom.dataelem import DataElement

    for tag, value in ((0x00280106, values.min()), (0x00280107, values.max())):
        if tag in dataset and -32768 <= int(value) <= 65535:
            dataset[tag] = DataElement(tag, "SS" if signed else "US", int(value))
        elif tag in dataset:
            del dataset[tag]
    for tag in (0x00280108, 0x00280109):
        if tag in dataset:
            del dataset[tag]

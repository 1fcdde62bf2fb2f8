"""One DICOM file's header, read without its pixels and without building pydicom objects.

A scan meets thousands of files, and from most of them needs some forty elements. `read_header` walks the
elements by their lengths and decodes only those; it checks on the way that the pixel data the header promises
is really in the file. What it cannot walk goes to pydicom, and what pydicom cannot read either is refused with
the reason.
"""

from __future__ import annotations

import dataclasses
import io
import os
import stat
from pathlib import Path
from typing import Any

from defacedask.errors import DamagedError, InputError
from defacedask.io.dicom.elements import (
    BIG_ENDIAN,
    CHARACTER_SET,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ITEM,
    LONG_VRS,
    MAX_INFLATED,
    PIXELS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    WANTED,
    Odd,
    Walk,
    Window,
    decode_values,
    file_meta,
    inflate,
)
from defacedask.io.dicom.no_image import EMPTY, LOOKED_AT, what_else

__all__ = ["Cut", "Header", "open_dataset", "read_header", "tags_behind"]

DICOMDIR = "1.2.840.10008.1.3.10"


@dataclasses.dataclass(slots=True)
class Header:
    """What a scan needs of one file.

    Parameters
    ----------
    path : str
    size : int
        Bytes of the file.
    values : dict
        Keyword -> text, tuple of str (``ImageType``), tuple of float, or int; absent elements are absent.
        A number that cannot be parsed is NaN (float) or absent (int).
    transfer_syntax : str
    pixel_offset, pixel_length : int
        Where the pixel data's value lies in the file; length -1 if encapsulated, 0 if there is none. Offsets of a
        deflated file are in its inflated dataset.
    """

    path: str
    size: int
    values: dict[str, Any]
    transfer_syntax: str = ""
    pixel_offset: int = 0
    pixel_length: int = 0

    def text(self, keyword: str) -> str:
        """Value as text, "" where absent."""
        value = self.values.get(keyword, "")
        return value if isinstance(value, str) else ""

    def number(self, keyword: str, default: float | None = None) -> Any:
        """First number of a value, or the default."""
        value = self.values.get(keyword)
        if isinstance(value, tuple):
            value = value[0] if value else None
        return default if value is None else value


class Cut(DamagedError):
    """A file ends before it should, but what it belongs to could be read.

    Parameters
    ----------
    message : str
        The reason, as a clause about "it".
    header : Header
        What of the header is there.
    """

    def __init__(self, message: str, header: Header) -> None:
        super().__init__(message)
        self.header = header


def _plausible_start(window: Window, position: int) -> bool:
    """Whether a dataset without the DICM mark starts here: first element in group 0008, or the file meta."""
    if position + 8 > window.size:
        return False
    head = window.bytes(position, 8)
    return head[:2] in (b"\x08\x00", b"\x02\x00", b"\x00\x08") and head[2] < 0x20


def _light(path: str, descriptor: int, size: int) -> Header:
    window = Window(descriptor, size)
    marked = size >= 132 and window.bytes(128, 4) == b"DICM"
    if not marked and not _plausible_start(window, 0):
        raise InputError(what_else(path, os.pread(descriptor, LOOKED_AT, 0)))
    position, syntax, media = file_meta(window)
    if media == DICOMDIR:
        raise InputError("it is an index of other files (DICOMDIR)")
    header = Header(path, size, {}, syntax)
    if syntax == DEFLATED:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(position)
            data = inflate(file.read(MAX_INFLATED), MAX_INFLATED)
        window, position = Window(None, 2**62, data), 0
        explicit, endian = True, "<"
    elif syntax == BIG_ENDIAN:
        explicit, endian = True, ">"
    elif syntax in ("", IMPLICIT, EXPLICIT):
        # told by looking: some writers declare the one and write the other
        if position + 8 > size:
            raise DamagedError("it ends after its file meta information")
        endian = ">" if not syntax and window.bytes(position, 2) == b"\x00\x08" else "<"
        vr = window.bytes(position + 4, 2)
        explicit = vr in SHORT_VRS or vr in LONG_VRS
        if not syntax:
            header.transfer_syntax = (BIG_ENDIAN if endian == ">" else EXPLICIT) if explicit else IMPLICIT
    else:
        explicit, endian = True, "<"
    walk = Walk(window, explicit, endian)
    try:
        raw, header.pixel_offset, header.pixel_length = walk.collect(position)
    except Odd as odd:
        if "ends in the middle" not in str(odd) or syntax == DEFLATED:
            raise
        header.values = decode_values(walk.found, endian)
        raise Cut(f"it is truncated ({odd})", header) from None
    header.values = decode_values(raw, endian)
    if header.pixel_length == -1 and syntax != DEFLATED:
        _check_fragments(walk, header)
    elif syntax == DEFLATED:
        pass
    elif header.pixel_offset + header.pixel_length > size:
        missing = header.pixel_offset + header.pixel_length - size
        raise Cut(f"it is truncated ({missing} bytes of its pixel data are missing)", header)
    return header


def _check_fragments(walk: Walk, header: Header) -> None:
    """See that encapsulated pixel data ends where it says, inside the file."""
    position = header.pixel_offset
    try:
        while True:
            tag, _, position, length = walk.element(position, True)
            if tag == SEQUENCE_END:
                return
            if tag != ITEM or length == UNDEFINED or position + length > walk.window.size:
                break
            position += length
    except Odd:
        pass
    raise Cut("it is truncated (its compressed pixel data are incomplete)", header)


def _slow(path: str, size: int) -> Header:
    """The same through pydicom, for files the light walk does not understand."""
    import pydicom

    raw: dict[int, bytes] = {}
    dataset = open_dataset(path, specific_tags=[*WANTED, CHARACTER_SET])
    for tag in (*WANTED, CHARACTER_SET):
        if tag not in dataset:
            continue
        item = dataset.get_item(tag)
        if tag in WANTED and WANTED[tag][1] == "present":
            raw[tag] = b"1"
        elif isinstance(item.value, bytes):
            raw[tag] = item.value
        elif isinstance(item.value, str):
            raw[tag] = item.value.encode("utf-8", "replace")
    meta = getattr(dataset, "file_meta", pydicom.Dataset())
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if not syntax:
        syntax = EXPLICIT if dataset.original_encoding[0] is False else IMPLICIT
    endian = ">" if syntax == BIG_ENDIAN else "<"
    return Header(path, size, decode_values(raw, endian), syntax, 0, -1 if "Rows" in dataset else 0)


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what a scan needs of one file.

    Raises
    ------
    InputError
        If it is no regular readable file, empty, not DICOM, truncated, or cannot be parsed; the message is the
        reason as a clause about "it".
    """
    path = os.fspath(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise DamagedError(f"it cannot be opened ({error.strerror})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("it is not a regular file")
        if status.st_size == 0:
            raise InputError(EMPTY)
        try:
            return _light(path, descriptor, status.st_size)
        except Odd as odd:
            reason = str(odd)
        except OSError as error:
            raise DamagedError(f"it cannot be read ({error.strerror})") from None
    finally:
        os.close(descriptor)
    if "ends in the middle" in reason:
        raise DamagedError(f"it is truncated ({reason})")
    try:
        return _slow(path, status.st_size)
    except InputError:
        raise
    except Exception:
        # pydicom raises whatever the bytes lead it to; the light walk's reason says more
        raise DamagedError(f"it is damaged ({reason})") from None


def tags_behind(header: Header) -> list[str]:
    """Tags of the elements behind uncompressed pixel data, such as ``7fe1,1010``; trailing padding is none."""
    position = header.pixel_offset + header.pixel_length
    if header.pixel_length <= 0 or position + 8 > header.size:
        return []
    found: list[str] = []
    with Path(header.path).open("rb") as file:
        big = header.transfer_syntax == BIG_ENDIAN
        walk = Walk(
            Window(file.fileno(), header.size), header.transfer_syntax != IMPLICIT, ">" if big else "<"
        )
        try:
            while position + 8 <= header.size and len(found) < 64:
                tag, vr, position, length = walk.element(position, walk.explicit)
                if tag >> 16 == 0xFFFC:
                    break
                found.append(f"{tag >> 16:04x},{tag & 0xFFFF:04x}")
                unknown = length == UNDEFINED
                position = (
                    walk.skip(position, walk.explicit and vr != b"UN") if unknown else position + length
                )
        except (Odd, InputError):
            found = found or ["no elements"]
    return found


def open_dataset(
    path: str | os.PathLike[str],
    *,
    pixels: bool = False,
    specific_tags: list[int] | None = None,
    limit: int = MAX_INFLATED,
) -> Any:
    """Read a file with pydicom, deflated ones with a bound on what they inflate to.

    Parameters
    ----------
    path : path
    pixels : bool
        Whether to read the pixel data too.
    specific_tags : list of int, optional
        Only these elements.
    limit : int
        Bytes a deflated dataset may inflate to.

    Returns
    -------
    pydicom.Dataset

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    import pydicom
    from pydicom.dataset import FileDataset
    from pydicom.filereader import read_dataset, read_file_meta_info
    from pydicom.tag import Tag

    path = os.fspath(path)
    try:
        meta = read_file_meta_info(path) if _has_mark(path) else None
        if meta is not None and str(meta.get("TransferSyntaxUID", "")) == DEFLATED:
            with Path(path).open("rb") as file:
                window = Window(file.fileno(), os.fstat(file.fileno()).st_size)
                start, _, _ = file_meta(window)
                file.seek(start)
                data = inflate(file.read(limit), limit + 1)
            if len(data) > limit and pixels:
                raise InputError(f"it inflates to more than {limit >> 20} MB")
            stop = None if pixels else (lambda tag, vr, length: tag in PIXELS)
            tags: Any = None if specific_tags is None else [Tag(t) for t in specific_tags]
            body = read_dataset(io.BytesIO(data), False, True, stop_when=stop, specific_tags=tags)
            dataset = FileDataset(path, body, file_meta=meta, is_implicit_VR=False, is_little_endian=True)
            return dataset
        return pydicom.dcmread(path, stop_before_pixels=not pixels, force=True, specific_tags=specific_tags)
    except InputError:
        raise
    except Exception as error:
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"it cannot be read as DICOM ({text})") from None


def _has_mark(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(132)[128:] == b"DICM"

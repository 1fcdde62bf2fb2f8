"""One DICOM file's header, read without its pixels and without building pydicom objects.

A scan meets thousands of files, and from most of them needs some forty elements. `read_header` walks the
elements by their lengths in a small window of the file and decodes only those; it checks on the way that the
pixel data the header promises is really in the file. What it cannot walk goes to pydicom, and what pydicom
cannot read either is refused with the reason. Element encoding: PS3.5 section 7; file meta: PS3.10 section 7.
"""

from __future__ import annotations

import dataclasses
import io
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import Any

from defacedask.errors import InputError

__all__ = ["MAX_INFLATED", "Header", "open_dataset", "read_header"]

#: A deflated header may inflate to this many bytes before it is refused (a zip bomb inflates a thousandfold).
MAX_INFLATED = 64 * 2**20
WINDOW = 8192
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SHORT_VRS = {
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN"),
    *(b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
}
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

# kind of value -> the elements read from every file
_WANTED = {
    "text": {
        0x00080016: "SOPClassUID",
        0x00080018: "SOPInstanceUID",
        0x00080021: "SeriesDate",
        0x00080022: "AcquisitionDate",
        0x00080023: "ContentDate",
        0x0008002A: "AcquisitionDateTime",
        0x00080031: "SeriesTime",
        0x00080032: "AcquisitionTime",
        0x00080033: "ContentTime",
        0x00080060: "Modality",
        0x0008103E: "SeriesDescription",
        0x00100020: "PatientID",
        0x00185100: "PatientPosition",
        0x0020000D: "StudyInstanceUID",
        0x0020000E: "SeriesInstanceUID",
        0x00200052: "FrameOfReferenceUID",
        0x00209161: "ConcatenationUID",
        0x00280004: "PhotometricInterpretation",
        0x00280301: "BurnedInAnnotation",
        0x00281054: "RescaleType",
        0x00540400: "ImageID",
    },
    "codes": {0x00080008: "ImageType"},
    "int": {
        0x00200011: "SeriesNumber",
        0x00200012: "AcquisitionNumber",
        0x00200013: "InstanceNumber",
        0x00200100: "TemporalPositionIdentifier",
        0x00280008: "NumberOfFrames",
        0x00180086: "EchoNumbers",
    },
    "float": {
        0x00180050: "SliceThickness",
        0x00180088: "SpacingBetweenSlices",
        0x00180081: "EchoTime",
        0x00180082: "InversionTime",
        0x00181060: "TriggerTime",
        0x00181242: "ActualFrameDuration",
        0x00200032: "ImagePositionPatient",
        0x00200037: "ImageOrientationPatient",
        0x00280030: "PixelSpacing",
        0x00281052: "RescaleIntercept",
        0x00281053: "RescaleSlope",
        0x00541300: "FrameReferenceTime",
    },
    "ushort": {
        0x00280002: "SamplesPerPixel",
        0x00280010: "Rows",
        0x00280011: "Columns",
        0x00280100: "BitsAllocated",
        0x00280101: "BitsStored",
        0x00280102: "HighBit",
        0x00280103: "PixelRepresentation",
        0x00280120: "PixelPaddingValue",
    },
    "double": {0x00189087: "DiffusionBValue"},
    "present": {0x00283000: "ModalityLUTSequence", 0x52009230: "PerFrameFunctionalGroupsSequence"},
}
WANTED = {tag: (name, kind) for kind, group in _WANTED.items() for tag, name in group.items()}
CHARACTER_SET = 0x00080005


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


class _Odd(Exception):
    """The light walk does not understand this file."""


class _Window:
    """Random access to a file (or to bytes) through a small buffer."""

    def __init__(self, descriptor: int | None, size: int, data: bytes = b"") -> None:
        self.descriptor, self.size = descriptor, size
        self.buffer, self.base = data, 0
        if descriptor is not None:
            self.buffer = os.pread(descriptor, WINDOW, 0)

    def at(self, position: int, count: int) -> int:
        """Index of ``position`` in ``buffer``, which then holds ``count`` bytes from there."""
        index = position - self.base
        if index < 0 or index + count > len(self.buffer):
            if position + count > self.size:
                raise _Odd("it ends in the middle of its header")
            if self.descriptor is None:
                raise _Odd(f"its header inflates to more than {MAX_INFLATED >> 20} MB")
            self.buffer = os.pread(self.descriptor, max(WINDOW, count), position)
            self.base, index = position, 0
            if len(self.buffer) < count:
                raise _Odd("it ends in the middle of its header")
        return index

    def bytes(self, position: int, count: int) -> bytes:
        index = self.at(position, count)
        return self.buffer[index : index + count]


class _Walk:
    """Elements of one dataset, met in order, by their lengths."""

    def __init__(self, window: _Window, explicit: bool, endian: str = "<") -> None:
        self.window, self.explicit = window, explicit
        self.two, self.long = struct.Struct(endian + "HH"), struct.Struct(endian + "I")
        self.short = struct.Struct(endian + "H")

    def element(self, position: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """(tag, VR or b"", position of the value, its length) of the element at ``position``."""
        index = self.window.at(position, 8)
        buffer = self.window.buffer
        group, number = self.two.unpack_from(buffer, index)
        tag = group << 16 | number
        if not explicit or group == 0xFFFE:
            return tag, b"", position + 8, self.long.unpack_from(buffer, index + 4)[0]
        vr = buffer[index + 4 : index + 6]
        if vr in SHORT_VRS:
            return tag, vr, position + 8, self.short.unpack_from(buffer, index + 6)[0]
        if vr not in LONG_VRS:
            raise _Odd("its elements cannot be told apart")
        index = self.window.at(position, 12)
        return tag, vr, position + 12, self.long.unpack_from(self.window.buffer, index + 8)[0]

    def skip(self, position: int, explicit: bool, depth: int = 0) -> int:
        """Position after a sequence of undefined length whose first item starts at ``position``."""
        if depth > 16:
            raise _Odd("its sequences are nested too deeply")
        while True:
            tag, _, position, length = self.element(position, explicit)
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM:
                raise _Odd("a sequence of its header is broken")
            if length != UNDEFINED:
                position += length
                continue
            while True:
                tag, vr, position, length = self.element(position, explicit)
                if tag == ITEM_END:
                    break
                if length == UNDEFINED:
                    # PS3.5 6.2.2: unknown VR of undefined length holds implicit elements
                    position = self.skip(position, explicit and vr != b"UN", depth + 1)
                else:
                    position += length

    def collect(self, position: int) -> tuple[dict[int, bytes], int, int]:
        """Raw values of the wanted elements, and where the pixel data lies."""
        raw: dict[int, bytes] = {}
        window, explicit, last = self.window, self.explicit, -1
        while position < window.size:
            tag, vr, position, length = self.element(position, explicit)
            if tag in PIXELS:
                return raw, position, -1 if length == UNDEFINED else length
            if tag <= last:
                raise _Odd("its elements are not in order")
            last = tag
            kind = WANTED.get(tag)
            if kind is not None and kind[1] == "present":
                raw[tag] = b"" if length == 0 else b"1"
            elif (kind is not None or tag == CHARACTER_SET) and length < 4096:
                raw[tag] = window.bytes(position, length)
            if length == UNDEFINED:
                position = self.skip(position, explicit and vr != b"UN")
            else:
                position += length
        if position > window.size:
            raise _Odd("it ends in the middle of its header")
        return raw, 0, 0


def _texts(raw: bytes, character_set: bytes) -> str:
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        from pydicom.charset import convert_encodings, decode_bytes

        names = [name.strip() for name in character_set.decode("ascii", "replace").split("\\")]
        try:
            text = decode_bytes(raw, convert_encodings(names), set())
        except Exception:
            text = raw.decode("utf-8", "replace")
    return text.strip("\0 \t\r\n")


def _floats(raw: bytes) -> tuple[float, ...]:
    out = []
    for part in raw.strip(b"\0 ").split(b"\\"):
        try:
            out.append(float(part))
        except ValueError:
            out.append(float("nan"))
    return tuple(out)


def _decode(raw: dict[int, bytes], endian: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    character_set = raw.get(CHARACTER_SET, b"")
    for tag, data in raw.items():
        if tag == CHARACTER_SET or (not data.strip(b"\0 ") and WANTED[tag][1] not in ("ushort", "double")):
            continue
        name, kind = WANTED[tag]
        if kind == "text":
            values[name] = _texts(data, character_set)
        elif kind == "float":
            values[name] = _floats(data)
        elif kind == "ushort" and len(data) >= 2:
            values[name] = struct.unpack_from(endian + "H", data)[0]
        elif kind == "double" and len(data) >= 8:
            values[name] = struct.unpack_from(endian + "d", data)
        elif kind == "codes":
            values[name] = tuple(_texts(part, b"").upper() for part in data.split(b"\\"))
        elif kind == "present":
            values[name] = True
        elif kind == "int":
            try:
                values[name] = int(float(data.strip(b"\0 ").split(b"\\")[0]))
            except (ValueError, OverflowError):
                continue
    return values


def _inflate(data: bytes, limit: int) -> bytes:
    """Inflate at most ``limit`` bytes of a raw deflate stream (PS3.5 A.5)."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limit)
    except zlib.error as error:
        raise InputError(f"its deflated data are damaged ({error})") from None


def _meta(window: _Window) -> tuple[int, str]:
    """(start of the dataset, transfer syntax UID or "") of a file."""
    start = 0
    if window.size >= 132 and window.bytes(128, 4) == b"DICM":
        start = 132
    syntax = b""
    walk, position = _Walk(window, True), start
    while position + 8 <= window.size and window.bytes(position, 2) == b"\x02\x00":
        tag, _, position, length = walk.element(position, True)
        if length > 2**20:
            raise _Odd("its file meta information is broken")
        if tag == 0x00020010:
            syntax = window.bytes(position, length)
        position += length
    return position, syntax.decode("ascii", "replace").strip("\0 ")


def _plausible_start(window: _Window, position: int) -> bool:
    """Whether a dataset without the DICM mark starts here: first element in group 0008, or the file meta."""
    if position + 8 > window.size:
        return False
    head = window.bytes(position, 8)
    return head[:2] in (b"\x08\x00", b"\x02\x00", b"\x00\x08") and head[2] < 0x20


def _light(path: str, descriptor: int, size: int) -> Header:
    window = _Window(descriptor, size)
    marked = size >= 132 and window.bytes(128, 4) == b"DICM"
    if not marked and not _plausible_start(window, 0):
        raise InputError("it is not a DICOM file")
    position, syntax = _meta(window)
    header = Header(path, size, {}, syntax)
    if syntax == DEFLATED:
        # the header lies at the front of the stream: 1 MB inflated holds all but the strangest
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(position)
            data = _inflate(file.read(MAX_INFLATED), MAX_INFLATED)
        window, position = _Window(None, 2**62, data), 0
        explicit, endian = True, "<"
    elif syntax == BIG_ENDIAN:
        explicit, endian = True, ">"
    elif syntax in ("", IMPLICIT, EXPLICIT):
        # told by looking: some writers declare the one and write the other
        if position + 8 > size:
            raise InputError("it ends after its file meta information")
        endian = ">" if not syntax and window.bytes(position, 2) == b"\x00\x08" else "<"
        vr = window.bytes(position + 4, 2)
        explicit = vr in SHORT_VRS or vr in LONG_VRS
        if not syntax:
            header.transfer_syntax = (BIG_ENDIAN if endian == ">" else EXPLICIT) if explicit else IMPLICIT
    else:
        explicit, endian = True, "<"
    walk = _Walk(window, explicit, endian)
    raw, header.pixel_offset, header.pixel_length = walk.collect(position)
    header.values = _decode(raw, endian)
    if header.pixel_length == -1 and syntax != DEFLATED:
        _check_fragments(walk, header.pixel_offset)
    elif syntax == DEFLATED:
        pass
    elif header.pixel_offset + header.pixel_length > size:
        missing = header.pixel_offset + header.pixel_length - size
        raise InputError(f"it is truncated ({missing} bytes of its pixel data are missing)")
    return header


def _check_fragments(walk: _Walk, position: int) -> None:
    """See that encapsulated pixel data ends where it says, inside the file."""
    try:
        while True:
            tag, _, position, length = walk.element(position, True)
            if tag == SEQUENCE_END:
                return
            if tag != ITEM or length == UNDEFINED or position + length > walk.window.size:
                break
            position += length
    except _Odd:
        pass
    raise InputError("it is truncated (its compressed pixel data are incomplete)")


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
    return Header(path, size, _decode(raw, endian), syntax, 0, -1 if "Rows" in dataset else 0)


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
        raise InputError(f"it cannot be opened ({error.strerror})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("it is not a regular file")
        if status.st_size == 0:
            raise InputError("it is empty")
        try:
            return _light(path, descriptor, status.st_size)
        except _Odd as odd:
            reason = str(odd)
        except OSError as error:
            raise InputError(f"it cannot be read ({error.strerror})") from None
    finally:
        os.close(descriptor)
    if "ends in the middle" in reason:
        raise InputError(f"it is truncated ({reason})")
    try:
        return _slow(path, status.st_size)
    except InputError:
        raise
    except Exception:
        # pydicom raises whatever the bytes lead it to; the light walk's reason says more
        raise InputError(f"it is damaged ({reason})") from None


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
                window = _Window(file.fileno(), os.fstat(file.fileno()).st_size)
                start, _ = _meta(window)
                file.seek(start)
                data = _inflate(file.read(limit), limit + 1)
            if len(data) > limit and pixels:
                raise InputError(f"it inflates to more than {limit >> 20} MB")
            stop = None if pixels else (lambda tag, vr, length: tag in PIXELS)
            tags = None if specific_tags is None else [Tag(t) for t in specific_tags]
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

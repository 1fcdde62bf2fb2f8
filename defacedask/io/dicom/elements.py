"""Elements of a DICOM file met by their lengths, in a small window of the file (PS3.5 section 7, PS3.10 section 7).

Only the elements a scan wants are decoded; everything else is stepped over without being read.
"""

from __future__ import annotations

import functools
import os
import struct
import zlib
from typing import Any

from defacedask.errors import InputError

__all__ = [
    "CHARACTER_SET",
    "MAX_INFLATED",
    "WANTED",
    "Odd",
    "Walk",
    "Window",
    "decode_values",
    "file_meta",
    "inflate",
]

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
GROUPS = {
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
        0x00080050: "AccessionNumber",
        0x00080090: "ReferringPhysicianName",
        0x00081048: "PhysiciansOfRecord",
        0x00081050: "PerformingPhysicianName",
        0x00081060: "NameOfPhysiciansReadingStudy",
        0x00081070: "OperatorsName",
        0x00100010: "PatientName",
        0x00100020: "PatientID",
        0x00100030: "PatientBirthDate",
        0x00100040: "PatientSex",
        0x00101000: "OtherPatientIDs",
        0x00101001: "OtherPatientNames",
        0x00101005: "PatientBirthName",
        0x00101060: "PatientMotherBirthName",
        0x00120063: "DeidentificationMethod",
        0x00102297: "ResponsiblePerson",
        0x00181210: "ConvolutionKernel",
        0x00185100: "PatientPosition",
        0x0020000D: "StudyInstanceUID",
        0x0020000E: "SeriesInstanceUID",
        0x00200052: "FrameOfReferenceUID",
        0x00209161: "ConcatenationUID",
        0x00280004: "PhotometricInterpretation",
        0x00280301: "BurnedInAnnotation",
        0x00280302: "RecognizableVisualFeatures",
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
        0x00180060: "KVP",
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
    "present": {
        0x00101002: "OtherPatientIDsSequence",
        0x00120064: "DeidentificationMethodCodeSequence",
        0x00283000: "ModalityLUTSequence",
        0x7FE00008: "FloatPixelData",
        0x7FE00009: "FloatPixelData",
    },
}
WANTED = {tag: (name, kind) for kind, group in GROUPS.items() for tag, name in group.items()}
CHARACTER_SET = 0x00080005


class Odd(Exception):
    """The light walk does not understand this file."""


class Window:
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
                raise Odd("it ends in the middle of its header")
            if self.descriptor is None:
                raise InputError(f"its header inflates to more than {MAX_INFLATED >> 20} MB, or ends early")
            self.buffer = os.pread(self.descriptor, max(WINDOW, count), position)
            self.base, index = position, 0
            if len(self.buffer) < count:
                raise Odd("it ends in the middle of its header")
        return index

    def bytes(self, position: int, count: int) -> bytes:
        """``count`` bytes from ``position``."""
        index = self.at(position, count)
        return self.buffer[index : index + count]


class Walk:
    """Elements of one dataset, met in order, by their lengths."""

    def __init__(self, window: Window, explicit: bool, endian: str = "<") -> None:
        self.window, self.explicit = window, explicit
        #: What `collect` has found so far.
        self.found: dict[int, bytes] = {}
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
            raise Odd("its elements cannot be told apart")
        index = self.window.at(position, 12)
        return tag, vr, position + 12, self.long.unpack_from(self.window.buffer, index + 8)[0]

    def skip(self, position: int, explicit: bool, depth: int = 0) -> int:
        """Position after a sequence of undefined length whose first item starts at ``position``."""
        if depth > 16:
            raise Odd("its sequences are nested too deeply")
        while True:
            tag, _, position, length = self.element(position, explicit)
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM:
                raise Odd("a sequence of its header is broken")
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
        raw = self.found
        window, explicit, last = self.window, self.explicit, -1
        while position < window.size:
            tag, vr, position, length = self.element(position, explicit)
            if tag in PIXELS:
                if tag in WANTED:
                    raw[tag] = b"1"
                return raw, position, -1 if length == UNDEFINED else length
            if tag <= last:
                raise Odd("its elements are not in order")
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
            raise Odd("it ends in the middle of its header")
        return raw, 0, 0


# the slices of a series share most of their values: one object for all of them saves memory and time
@functools.lru_cache(maxsize=16384)
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


@functools.lru_cache(maxsize=16384)
def _floats(raw: bytes) -> tuple[float, ...]:
    out = []
    for part in raw.strip(b"\0 ").split(b"\\"):
        try:
            out.append(float(part))
        except ValueError:
            out.append(float("nan"))
    return tuple(out)


def decode_values(raw: dict[int, bytes], endian: str) -> dict[str, Any]:
    """Raw elements as keyword -> value; see `Header.values`. ``endian`` is "<" or ">"."""
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


def inflate(data: bytes, limit: int) -> bytes:
    """Inflate at most ``limit`` bytes of a raw deflate stream (PS3.5 A.5)."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limit)
    except zlib.error as error:
        raise InputError(f"its deflated data are damaged ({error})") from None


def file_meta(window: Window) -> tuple[int, str, str]:
    """(start of the dataset, transfer syntax UID, media storage SOP class UID) of a file; "" where not stated."""
    start = 0
    if window.size >= 132 and window.bytes(128, 4) == b"DICM":
        start = 132
    found = {0x00020002: b"", 0x00020010: b""}
    walk, position = Walk(window, True), start
    while position + 8 <= window.size and window.bytes(position, 2) == b"\x02\x00":
        tag, _, position, length = walk.element(position, True)
        if length > 2**20:
            raise Odd("its file meta information is broken")
        if tag in found:
            found[tag] = window.bytes(position, length)
        position += length
    media, syntax = (value.decode("ascii", "replace").strip("\0 ") for value in found.values())
    return position, syntax, media

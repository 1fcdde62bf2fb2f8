"""What could show the face beside the pixel data, and is therefore taken out of every dataset that is written.

A second picture may be an icon, an overlay or an encapsulated document, but also a copy that a vendor keeps in an
element of its own, in any value representation: bytes, numbers, coded text, in one element or a row an element. What
it means cannot be known, so its size and form decide: what is large enough for a picture stays only where it is
evidently something else. A name of a vendor is no evidence.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

import numpy as np

from defacedask.io.dicom.export.walking import walk

__all__ = [
    "COMPRESSED",
    "PIECE",
    "SAMPLES",
    "TOGETHER",
    "count_of",
    "drop_pictures",
    "holds_signature",
    "is_coded",
    "is_text",
]

# elements that hold a second picture, or sound: tag -> name
PICTURES = {
    0x00880200: "icon image",
    0x54000100: "waveform",
    0x56000020: "spectroscopy data",
    0x00420011: "encapsulated document",
    0x00287FE0: "pixel data provider",
    0x7FE00008: "float pixel data",
    0x7FE00009: "double float pixel data",
}
PIXELS = 0x7FE00010
#: Void once the pixels change, or pointing past the end of what is kept.
VOID = {
    0xFFFAFFFA: "digital signature",
    0x4FFE0001: "MAC parameters",
    0xFFFCFFFC: "trailing padding",
    0x7FE00001: "extended offset table",
    0x7FE00002: "extended offset table lengths",
    0x7FE00003: "encapsulated pixel data value total length",
}
_BYTES = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}
#: Numbers: VR -> bytes of one.
_NUMBERS = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "AT": 4, "FL": 4, "FD": 8, "SV": 8, "UV": 8}
_DECIMALS = {"DS", "IS"}
_TEXTS = {"LO", "LT", "SH", "ST", "UC", "UR", "UT", "CS", "PN"}
#: Whatever is written in characters.
_CHARACTERS = {*_TEXTS, *_DECIMALS, "AE", "AS", "DA", "DT", "TM", "UI"}
#: Public elements of many bytes that are no picture: lookup tables (seen by their values), profiles, the vectors of a
#: deformable registration (judged by where they lie, see `defacedask.io.dicom.export.objects`).
_TABLES = {0x00283006, *range(0x00281201, 0x00281205), *range(0x00281221, 0x00281225)}
#: What an item is nothing without: LUTData, RealWorldValueLUTData. Readers stop at a descriptor that has no table.
_ALL_OF_IT = {0x00283006, 0x00409212}
_PUBLIC = {0x00282000, 0x00640009}
#: Public elements of many numbers that are no picture: contours, histograms and offsets of a dose, apertures and
#: spots of beams; reliefs of beams are judged in `defacedask.io.dicom.export.objects`.
_LISTS = {
    0x30060050,  # ContourData: cut where it is written
    0x30040058,  # DVHData
    0x3004000C,  # GridFrameOffsetVector
    0x300A0106,  # BlockData
    0x300A0394,  # ScanSpotPositionMap
    0x300A0396,  # ScanSpotMetersetWeights
    0x300A00EB,  # CompensatorTransmissionData
    0x300A00EC,  # CompensatorThicknessData
    0x300A02E2,  # SourceToCompensatorDistance
}
_SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG|\xff\x4f\xff\x51|GIF8|II\*\0|MM\0\*|%PDF|RIFF|\0\0\0\x0cjP")
#: Samples of the smallest picture that shows somebody: 32 x 32, one byte each, and of the smallest compressed one.
SAMPLES, COMPRESSED = 1024, 256
#: Pieces of at least this many samples add up to a picture, if there are enough of one creator at one place.
PIECE, TOGETHER = 32, 4 * SAMPLES
#: A table's way up and down, in parts of its range: a curve needs 1, a colour map few, each row of a picture some.
TURNS = 32.0
#: Bytes that stand in no text; escape begins another character set in it.
_CONTROLS = bytes(code for code in range(32) if code not in (9, 10, 12, 13, 27))
#: What a private block of a vendor's protocol may inflate to.
_INFLATED = 2**20


def drop_pictures(dataset: Any, *, private: str = "keep") -> list[str]:
    """Take out what could show the face beside the pixel data, and what the new pixels make void.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Changed in place, items of sequences too.
    private : str
        ``keep``: private elements stay, except those that hold or may hold a picture; ``drop``: all go.

    Returns
    -------
    list of str
        What was dropped, such as ``overlay (6000,xxxx)``; sorted, each once.

    Raises
    ------
    InputError
        If its sequences are nested too deeply to be looked through.
    """
    dropped: set[str] = set()
    void: set[int] = set()  # ids of items that lost what they were for
    pieces: dict[tuple[int, int, str], list[tuple[Any, Any, int]]] = {}
    for item, tag, vr in list(walk(dataset)):
        name = _name(tag, item is dataset)
        if name is None and tag.is_private and private == "drop":
            name = "private element"
        if name is None and tag in item:
            value = item.get_item(tag).value
            if tag.is_private:
                name = _private(value, vr)
                size = 0 if name else _piece(value, vr)
                if size:
                    key = (id(item), tag.group, _creator(item, tag))
                    pieces.setdefault(key, []).append((item, tag, size))
            else:
                name = _public(int(tag), value, vr)
        if name is not None and tag in item:
            del item[tag]
            void |= {id(item)} if int(tag) in _ALL_OF_IT and item is not dataset else set()
            group = f"{tag.group:04x},xxxx" if name in ("overlay", "curve", "private element") else None
            dropped.add(f"{name} ({group or f'{tag.group:04x},{tag.element:04x}'})")
    for some in pieces.values():
        if sum(size for _, _, size in some) < TOGETHER:
            continue
        for item, tag, _ in some:
            if tag in item:
                del item[tag]
                dropped.add(f"private pieces of a picture ({tag.group:04x},xxxx)")
    if void:
        _drop_items(dataset, void)
    return sorted(dropped)


def _drop_items(dataset: Any, void: set[int]) -> None:
    """Take items out of their sequences, by their ids; no sequence is left empty."""
    for item, tag, vr in list(walk(dataset)):
        if vr != "SQ" or tag not in item:
            continue
        items = list(item[tag].value)
        kept = [one for one in items if id(one) not in void]
        if kept and len(kept) < len(items):
            item[tag].value = kept
        elif len(kept) < len(items):
            del item[tag]


def _name(tag: Any, top: bool) -> str | None:
    """What an element is by its tag alone, if it has to go."""
    name = PICTURES.get(int(tag)) or VOID.get(int(tag))
    if name is None and int(tag) == PIXELS and not top:
        return "pixel data of an item"
    if name is None and 0x6000 <= tag.group <= 0x60FF and not tag.group % 2:
        return "overlay"
    if name is None and 0x5000 <= tag.group <= 0x50FF and not tag.group % 2:
        return "curve"
    return name


def _creator(item: Any, tag: Any) -> str:
    found = item.get((tag.group, tag.element >> 8)) if tag.element > 0xFF else None
    return str(found.value) if found is not None else ""


def _raw(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return value if isinstance(value, bytes) else b""


def count_of(value: Any, vr: str) -> int:
    """How many samples a value could hold."""
    if isinstance(value, bytes):
        return value.count(b"\\") + 1 if vr in _DECIMALS else len(value) // _NUMBERS.get(vr, 1)
    if value is None or isinstance(value, (str, int, float)):
        return len(value) if isinstance(value, str) else 1
    return len(value)


def _private(value: Any, vr: str) -> str | None:
    """Name of a private element that may be a picture, else None."""
    if vr in _CHARACTERS and _is_no_text(_raw(value)):
        return "private text that is none"
    if vr in _NUMBERS or vr in _DECIMALS:
        return "private list of numbers" if count_of(value, vr) >= SAMPLES else None
    raw = _raw(value)
    if vr in _TEXTS:
        return "private coded text" if is_coded(raw) else None
    if vr not in _BYTES or len(raw) < COMPRESSED:
        return None
    if _SIGNATURES.match(raw) or raw[128:132] == b"DICM":
        return "private picture"
    if is_text(raw):
        return "private coded text" if is_coded(raw) else None
    if _is_header(raw):
        return None
    if _SIGNATURES.search(raw):
        return "private picture"
    return "private binary element" if len(raw) >= SAMPLES else None


def _piece(value: Any, vr: str) -> int:
    """Samples of a private value that could be a row of a picture, else 0."""
    if vr not in _BYTES and vr not in _NUMBERS and vr not in _DECIMALS:
        return 0
    size = count_of(value, vr)
    if size < PIECE or (vr in _BYTES and (is_text(_raw(value)) or _is_header(_raw(value)))):
        return 0
    return size


def _public(tag: int, value: Any, vr: str) -> str | None:
    """Name of a public element that may be a picture, else None."""
    raw = _raw(value)
    # the dictionary leaves it to other elements, and a file in an implicit syntax says nothing
    if " or " in vr:
        vr = "OW" if "OW" in vr else "US"
    if tag in _TABLES:
        raw = raw or _as_words(value)
        return (
            "lookup table that turns like a picture" if len(raw) >= SAMPLES and not _is_curve(raw) else None
        )
    if vr in _CHARACTERS and _is_no_text(raw):
        return "text that is none"
    if vr in _NUMBERS or vr in _DECIMALS:
        if tag in _LISTS or count_of(value, vr) < SAMPLES or _goes_on(value, vr):
            return None
        return "list of numbers that turns like a picture"
    if vr in _TEXTS or (vr in _BYTES and is_text(raw)):
        return "coded text" if is_coded(raw) else None
    if vr in _BYTES and len(raw) >= SAMPLES and tag not in _PUBLIC and tag != PIXELS:
        return "unknown binary element"
    return None


def holds_signature(raw: bytes) -> bool:
    """Whether bytes hold the beginning of a picture, a document or a DICOM file."""
    return bool(_SIGNATURES.search(raw)) or raw[128:132] == b"DICM"


def _as_words(value: Any) -> bytes:
    """Values of a table that was read as numbers, as bytes."""
    if value is None or isinstance(value, (str, bytes, int, float)):
        return b""
    return np.array([int(one) & 0xFFFF for one in value], "<u2").tobytes()


def _goes_on(value: Any, vr: str) -> bool:
    """Whether a list of numbers goes up or down as times and places of frames do."""
    if isinstance(value, bytes):
        if vr in _DECIMALS:
            value = value.split(b"\\")
        else:
            kind = {"US": "u2", "SS": "i2", "FL": "f4", "FD": "f8", "SV": "i8", "UV": "u8", "SL": "i4"}.get(
                vr, "u4"
            )
            whole = value[: len(value) // _NUMBERS[vr] * _NUMBERS[vr]]
            # in whichever order of its bytes
            return any(_turns(np.frombuffer(whole, order + kind)) <= TURNS for order in "<>")
    try:
        return _turns(np.array([float(one) for one in value])) <= TURNS
    except (TypeError, ValueError):
        return False


def _turns(values: np.ndarray) -> float:
    """Way up and down, in parts of the range; infinite where a value is no number."""
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        return float("inf")
    with np.errstate(all="ignore"):
        way = float(np.abs(np.diff(values)).sum())
        return way / float(np.ptp(values)) if way else 0.0


def is_text(raw: bytes) -> bool:
    """Whether bytes are text: printable all but for padding at the end."""
    plain = raw.rstrip(b"\0 ")
    if not plain or b"\0" in plain:
        return False
    odd = sum(plain.count(bytes([code])) for code in range(32) if code not in (9, 10, 12, 13))
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError:
        odd += len(plain) - len(plain.translate(None, bytes(range(128, 256))))
    return odd <= 0.02 * len(plain)


def _is_no_text(raw: bytes) -> bool:
    """Whether characters are bytes of something else: no character set has control characters in its letters."""
    plain = raw.rstrip(b"\0 ")
    if len(plain) < COMPRESSED:
        return False
    if _SIGNATURES.match(plain):
        return True
    controls = len(plain) - len(plain.translate(None, _CONTROLS))
    return controls > 0.02 * len(plain)


def is_coded(raw: bytes) -> bool:
    """Whether text holds bytes or numbers enough for a picture: base 64, hexadecimal, or a list of numbers.

    Lines of base 64 have 64 or 76 characters; words of that length, without a point, are in nothing that is read.
    """
    if len(raw) < SAMPLES:
        return False
    if sum(map(len, re.findall(rb"[A-Za-z0-9+/=_-]{61,}", raw))) >= SAMPLES:
        return True
    run = 0
    for word in re.split(rb"[\s,;:|\\\[\](){}]+", raw):
        run = run + 1 if re.fullmatch(rb"[-+]?[0-9.]+(?:[eE][-+]?\d+)?|(?:0x)?[0-9A-Fa-f]{2}", word) else 0
        if run >= SAMPLES:
            return True
    return False


def _is_header(raw: bytes) -> bool:
    """Whether bytes are one of the vendors' headers that converters read: Siemens' CSA, GE's protocol."""
    number = np.frombuffer(raw[:16].ljust(16, b"\0"), "<u4")
    if raw[:4] == b"SV10" and 1 <= number[2] <= 512 and number[3] == 77:
        return True
    if 1 <= number[0] <= 512 and number[1] == 77:
        return True
    for start in (0, 4):
        if raw[start : start + 2] == b"\x1f\x8b":
            try:
                inside = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(raw[start:], _INFLATED)
            except zlib.error:
                return False
            return len(inside) < _INFLATED and is_text(inside) and not is_coded(inside)
    return False


def _is_curve(raw: bytes) -> bool:
    """Whether a lookup table goes up or down as curves and colour maps do, in whichever order of its bytes."""
    for kind in ("<u2", ">u2", "u1"):
        values = np.frombuffer(raw[: len(raw) // 2 * 2], kind).astype(np.int64)
        if np.abs(np.diff(values)).sum() <= TURNS * max(int(np.ptp(values)), 1):
            return True
    return False

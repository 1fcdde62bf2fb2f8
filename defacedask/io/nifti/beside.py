"""What a NIfTI file and its sidecar hold beside the voxels that a plan was asked for, as far as it could show a face.

A header that says "one volume" may stand before the bytes of two, an extension may hold a DICOM header with its icon,
a sidecar a thumbnail. No plan looks at these. What is large enough for a picture stays only where it is evidently
something else; the rule is that of private elements of DICOM (`defacedask.io.dicom.export.pictures`).
"""

from __future__ import annotations

import io
from typing import Any

from defacedask.io.dicom.export.pictures import (
    COMPRESSED,
    PIECE,
    SAMPLES,
    TOGETHER,
    drop_pictures,
    holds_signature,
    is_coded,
    is_text,
)

__all__ = ["header_size", "only_voxels", "without_pictures"]

#: ``ecode`` of an extension that holds a DICOM header, and of one that says nothing.
DICOM, NOTHING = 2, 0
#: Bytes of an extension's own size and code.
_HEAD = 8


def header_size(raw: bytes | bytearray) -> tuple[int, str]:
    """Bytes of a file's header, 348 or 540, and their order."""
    for order in ("little", "big"):
        size = int.from_bytes(raw[:4], order)
        if size in (348, 540):
            return size, order
    return 348, "little"


def only_voxels(raw: bytes | bytearray, offset: int, end: int) -> tuple[bytearray, tuple[str, ...]]:
    """A file without what could be a picture before or behind its voxels.

    Parameters
    ----------
    raw : bytes
        Of the whole file, decompressed.
    offset, end : int
        Where its voxels begin and end.

    Returns
    -------
    raw : bytearray
        Nothing follows the voxels. An extension that could be a picture is all zeros and has the code 0; what lies
        before the voxels and is no extension is zeros too. Nothing moves.
    notes : tuple of str
        What went.
    """
    out, notes = bytearray(raw[:end]), []
    if len(raw) > end:
        notes.append(f"{len(raw) - end} bytes behind its voxels left out")
    size, order = header_size(raw)
    at, gone, small = size + 4, 0, []
    if offset > size and out[size]:
        while at + _HEAD <= offset:
            length = int.from_bytes(out[at : at + 4], order)  # type: ignore[arg-type]
            if length < 2 * _HEAD or length % 16 or at + length > offset:
                break
            code = int.from_bytes(out[at + 4 : at + _HEAD], order)  # type: ignore[arg-type]
            value = bytes(out[at + _HEAD : at + length])
            plain = value.rstrip(b"\0")
            if may_be_picture(plain, code):
                gone += _blank(out, at, length)
            elif len(plain) >= PIECE and not is_text(plain) and code != DICOM:
                small.append((at, length))
            at += length
    if sum(length for _, length in small) >= TOGETHER:  # rows of one
        gone += sum(_blank(out, start, length) for start, length in small)
    if any(out[at:offset]):
        out[at:offset] = bytes(offset - at)
        notes.append("bytes before its voxels that are no extension left out")
    if gone:
        notes.append(f"{gone} extensions of its header that could hold a picture left out")
    return out, tuple(notes)


def _blank(out: bytearray, at: int, length: int) -> int:
    out[at + 4 : at + length] = bytes(length - 4)
    return 1


def may_be_picture(value: bytes, code: int) -> bool:
    """Whether the bytes of an extension are enough for a picture, and not evidently something else."""
    if len(value) < COMPRESSED:
        return False
    if is_text(value):
        return is_coded(value)
    if code == DICOM:
        return _shows(value)
    return len(value) >= SAMPLES or holds_signature(value)


def _shows(value: bytes) -> bool:
    """Whether a DICOM header has pixels of its own, an icon, or what else could be a picture; or cannot be read."""
    import pydicom

    try:
        found = pydicom.dcmread(io.BytesIO(value), force=True)
        return len(found) == 0 or "PixelData" in found or bool(drop_pictures(found))
    except Exception:  # bytes of strangers: whatever pydicom makes of them
        return True


def without_pictures(facts: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of a sidecar without those that hold bytes or numbers enough for a picture.

    Parameters
    ----------
    facts : dict
        As JSON gives them.

    Returns
    -------
    facts : dict
        Whole fields go.
    notes : tuple of str
        What went.
    """
    sizes = {name: _samples(value) for name, value in facts.items()}
    gone = {name for name, (size, _) in sizes.items() if size >= SAMPLES}
    rows = [name for name, (_, row) in sizes.items() if row]
    if sum(sizes[name][1] for name in rows) >= TOGETHER:
        gone.update(rows)
    if not gone:
        return facts, ()
    note = f"{len(gone)} fields that could hold a picture left out"
    return {name: value for name, value in facts.items() if name not in gone}, (note,)


def _samples(value: Any) -> tuple[int, int]:
    """(samples of the largest possible picture within a value, samples in lists long enough for a row of one)."""
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        picture = is_coded(raw) or (len(raw) >= COMPRESSED and raw.lstrip()[:11].lower() == b"data:image/")
        return (max(len(raw), SAMPLES) if picture else 0), 0
    if not isinstance(value, (dict, list)):
        return 0, 0
    inner = list(value.values() if isinstance(value, dict) else value)
    found = [_samples(one) for one in inner if isinstance(one, (str, dict, list))]
    # what lies in one list is one thing, a list of places too; the fields of a dict are rows at most
    numbers = _numbers(value) if isinstance(value, list) else sum(isinstance(v, (int, float)) for v in inner)
    rows = max(numbers if numbers >= PIECE else 0, sum(row for _, row in found))
    return max([rows, numbers, *(size for size, _ in found)]), rows


def _numbers(value: Any) -> int:
    """Numbers in a value and in all that lies in it."""
    if isinstance(value, (dict, list)):
        return sum(map(_numbers, value.values() if isinstance(value, dict) else value))
    return int(isinstance(value, (int, float)))

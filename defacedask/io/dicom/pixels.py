"""Stored values of one DICOM file, bit for bit: straight from the file where it is uncompressed, else by pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from defacedask.errors import InputError
from defacedask.io.dicom.elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT
from defacedask.io.dicom.headers import Header, open_dataset

__all__ = ["decode", "read_stored", "stored_dtype"]

NATIVE = {IMPLICIT: "<", EXPLICIT: "<", BIG_ENDIAN: ">"}
#: Room for the header beside the pixels of a deflated file.
SLACK = 64 * 2**20


def stored_dtype(header: Header) -> np.dtype:
    """Type of the stored values: signed or unsigned, as wide as allocated."""
    kind = "i" if header.values.get("PixelRepresentation") == 1 else "u"
    return np.dtype(f"{kind}{header.values['BitsAllocated'] // 8}")


def _shape(header: Header) -> tuple[int, int, int]:
    return header.values.get("NumberOfFrames", 1), header.values["Rows"], header.values["Columns"]


def _clean(array: np.ndarray, header: Header) -> np.ndarray:
    """Drop what is not part of the stored value (PS3.5 8.1.1: bits above BitsStored) and extend the sign."""
    spare = header.values["BitsAllocated"] - header.values["BitsStored"]
    if spare:
        np.left_shift(array, spare, out=array)
        np.right_shift(array, spare, out=array)
    return array


def read_stored(
    header: Header, out: np.ndarray | None = None, frames: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Stored values of a file.

    Parameters
    ----------
    header : Header
        From `read_header` of the same file.
    out : (frames, rows, columns) array, optional
        To be filled.
    frames : sequence of int, optional
        Only these, from 0, in this order; by default all.

    Returns
    -------
    (frames, rows, columns) array
        Of `stored_dtype`.

    Raises
    ------
    InputError
        If the pixel data are incomplete or cannot be decoded.
    """
    shape, dtype = _shape(header), stored_dtype(header)
    if frames is not None:
        return _frames(header, shape, dtype, np.asarray(frames, dtype=np.int64))
    if out is None:
        out = np.empty(shape, dtype)
    endian = NATIVE.get(header.transfer_syntax)
    # 8-bit big-endian data may be packed in 16-bit words: pydicom knows
    if endian is None or header.pixel_length <= 0 or (endian == ">" and dtype.itemsize == 1):
        out[...] = decode(header).reshape(shape)
        return out
    need = int(np.prod(shape)) * dtype.itemsize
    with Path(header.path).open("rb", buffering=0) as file:
        if header.pixel_length < need:
            raise InputError(
                f"{header.path} has {header.pixel_length} bytes of pixel data where {need} are needed."
            )
        file.seek(header.pixel_offset)
        if out.flags.c_contiguous:
            got = file.readinto(out.data.cast("B"))
        else:
            data = file.read(need)
            got = len(data)
            if got == need:
                out[...] = np.frombuffer(data, dtype).reshape(shape)
    if got != need:
        raise InputError(f"{header.path} is truncated.", "Copy it again from its source.")
    if endian == ">":
        out.byteswap(inplace=True)
    return _clean(out, header)


def _frames(header: Header, shape: tuple[int, int, int], dtype: np.dtype, wanted: np.ndarray) -> np.ndarray:
    """Some frames of a file: of an uncompressed one no more is read than they."""
    count, rows, columns = shape
    endian = NATIVE.get(header.transfer_syntax)
    some = len(wanted) < count and rows * columns * count * dtype.itemsize <= header.pixel_length
    if endian is None or not some or (endian == ">" and dtype.itemsize == 1):
        stored = read_stored(header)
        return stored if np.array_equal(wanted, np.arange(count)) else stored[wanted]
    out, size = np.empty((len(wanted), rows, columns), dtype), rows * columns * dtype.itemsize
    with Path(header.path).open("rb", buffering=0) as file:
        for k, frame in enumerate(wanted):
            file.seek(header.pixel_offset + int(frame) * size)
            if file.readinto(out[k].data.cast("B")) != size:
                raise InputError(f"{header.path} is truncated.", "Copy it again from its source.")
    if endian == ">":
        out.byteswap(inplace=True)
    return _clean(out, header)


def decode(header: Header) -> np.ndarray:
    """Stored values through pydicom's decoders, any transfer syntax they know.

    Raises
    ------
    InputError
        If they cannot.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    shape, dtype = _shape(header), stored_dtype(header)
    limit = int(np.prod(shape)) * dtype.itemsize + SLACK if header.transfer_syntax == DEFLATED else SLACK
    try:
        dataset = open_dataset(header.path, pixels=True, limit=limit)
        array, _ = get_decoder(UID(header.transfer_syntax)).as_array(dataset, raw=True)
    except InputError as error:
        raise InputError(f"{header.path} cannot be decoded: {error.message}.") from None
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a decoder written in Rust is no Exception
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"the pixels of {header.path} cannot be decoded ({text}).",
            "Copy it again from its source.",
        ) from None
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype != dtype or array.size != int(np.prod(shape)):
        raise InputError(
            f"{header.path} decodes to {array.shape} {array.dtype} where its header says {shape} {dtype}."
        )
    return array

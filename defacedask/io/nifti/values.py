"""Before the values of a NIfTI file are used: its compression is whole, and every value is a number."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from defacedask.errors import DamagedError, InputError, RefusedError

__all__ = ["numbers_only", "unpacked_size"]

#: Real numbers of this size stand for "nothing was measured here", as NaN does.
SENTINEL = 1e20
#: Real value of empty space in CT, HU.
CT_AIR = -1000.0
#: How a small file begins that stands for a large one.
POINTERS = {b"/annex/objects/": "git-annex, DataLad", b"version https://git-lfs": "Git LFS"}
_PIECE = 1 << 20


def unpacked_size(path: str) -> int:
    """Bytes of a NIfTI file once it is decompressed.

    All of a compressed file is read: a damaged or shortened stream shows only at its end.

    Raises
    ------
    RefusedError
        If its compression is damaged or incomplete, or its name says otherwise than its bytes.
    """
    try:
        return _unpacked_size(path)
    except OSError as error:
        raise DamagedError(f"it cannot be read ({error.strerror})") from None


def _unpacked_size(path: str) -> int:
    named = path.lower().endswith(".gz")
    with Path(path).open("rb") as file:
        start = file.read(64)
        head = start[:2]
        if not head:
            raise DamagedError("it is empty")
        for mark, who in POINTERS.items():
            if start.startswith(mark):
                raise DamagedError(
                    f"it only stands for a file that was not fetched ({who}): get its content first"
                )
        if head != b"\x1f\x8b":
            if named:
                raise RefusedError("its name ends in .gz, but it is not compressed (gzip): was it renamed?")
            return Path(path).stat().st_size
        if not named:
            raise RefusedError("it is compressed (gzip), but its name does not end in .gz: rename it")
        file.seek(0)
        unpack, size = zlib.decompressobj(31), 0
        try:
            while data := file.read(_PIECE):
                while data:
                    if unpack.eof:
                        data = data.lstrip(b"\0")  # padding between members, or after the last
                        if not data:
                            break
                        if data[0] != 0x1F:
                            raise DamagedError(
                                "something follows its compressed data that is no part of them (gzip): copy it again "
                                "from where it came"
                            )
                        unpack = zlib.decompressobj(31)
                    # in pieces, so that a bomb costs no memory
                    size += len(unpack.decompress(data, _PIECE))
                    while unpack.unconsumed_tail:
                        size += len(unpack.decompress(unpack.unconsumed_tail, _PIECE))
                    data = unpack.unused_data
        except zlib.error as error:
            kind = "its check sum is wrong" if "check" in str(error) else "its compressed data are damaged"
            raise DamagedError(f"{kind} (gzip): copy it again from where it came") from None
    if not unpack.eof:
        raise DamagedError(
            "it is truncated (its compressed data end too early): copy it again from where it came"
        )
    return size


def numbers_only(stored: np.ndarray, slope: float, intercept: float, modality: str) -> tuple[np.ndarray, int]:
    """Stored values with those that are no numbers replaced by the modality's background.

    NaN, infinities and numbers beyond 1e20 mark voxels where nothing was measured. They become air: -1000 HU in CT,
    elsewhere 0 or the smallest value that there is, if that is less.

    Parameters
    ----------
    stored : (z, y, x) array
        Of any type; integers pass unchanged.
    slope, intercept : float
        Of the file.
    modality : str

    Returns
    -------
    values : array
        Of the same type.
    count : int
        Voxels that were replaced.

    Raises
    ------
    InputError
        If not one value is a number.
    """
    if stored.dtype.kind != "f":
        return stored, 0
    with np.errstate(invalid="ignore"):
        good = np.abs(stored) < SENTINEL
    count = int(good.size - np.count_nonzero(good))
    if not count:
        return stored, 0
    if count == good.size:
        raise InputError("not one value of the image is a number.", "Is the file whole?")
    real = CT_AIR
    if modality != "CT":
        some = stored[good]
        real = min(0.0, *(float(end) * slope + intercept for end in (some.min(), some.max())))
    air = (real - intercept) / slope
    return np.where(good, stored, stored.dtype.type(air)), count

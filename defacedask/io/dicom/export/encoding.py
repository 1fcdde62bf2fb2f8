"""Stored values into a dataset, in the transfer syntax they came in where that can be written without loss."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ALWAYS_LOSSY", "fit", "put_pixels", "target_syntax"]

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
RLE, JPEG_LS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR, J2K, J2K_LOSSY = "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"

KEPT = {IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, RLE, JPEG_LS, J2K}
#: Lossy syntaxes whose family has a lossless member that can be written here.
LOSSLESS_TWIN = {JPEG_LS_NEAR: JPEG_LS, J2K_LOSSY: J2K}

#: Lossy whatever the header says; J2K_LOSSY may hold images that were coded without loss.
ALWAYS_LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", JPEG_LS_NEAR}


def target_syntax(syntax: str) -> tuple[str, str]:
    """Transfer syntax to write, and a note where it is not the one read.

    Parameters
    ----------
    syntax : str
        Of the input.
    """
    from pydicom.uid import UID

    if syntax in KEPT:
        return syntax, ""
    new = LOSSLESS_TWIN.get(syntax, EXPLICIT)
    return new, f"came as {UID(syntax).name}, written without loss as {UID(new).name}"


def fit(values: np.ndarray, bits_stored: int, signed: bool) -> np.ndarray:
    """Values clipped to what ``bits_stored`` bits hold."""
    low, high = (
        (-(1 << bits_stored - 1), (1 << bits_stored - 1) - 1) if signed else (0, (1 << bits_stored) - 1)
    )
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        return np.clip(values, low, high).astype(values.dtype)
    return values


def put_pixels(dataset: Any, frames: np.ndarray, syntax: str) -> tuple[str, str]:
    """Set the pixel data.

    Parameters
    ----------
    dataset : pydicom.Dataset
        With its pixel description (Rows, BitsStored, ...); its own pixel data are replaced.
    frames : (frames, rows, columns) array
        Stored values, of the type the description says.
    syntax : str
        Transfer syntax UID wanted.

    Returns
    -------
    syntax, note : str
        What was written, and why it is not what was wanted, or "".
    """
    from pydicom.dataelem import DataElement
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    note = ""
    if syntax in (RLE, JPEG_LS, J2K):
        pixels = frames if len(frames) > 1 else frames[0]
        if not hasattr(dataset, "file_meta"):
            dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)
        try:
            dataset.compress(UID(syntax), np.ascontiguousarray(pixels), generate_instance_uid=False)
            return syntax, ""
        except Exception as error:  # encoders raise what they like
            text = " ".join(str(error).split())[:120]
            note = f"could not be written as {UID(syntax).name} ({text}), written uncompressed"
            syntax = EXPLICIT
    order: Any = ">" if syntax == BIG_ENDIAN else "<"
    data = np.ascontiguousarray(frames, dtype=frames.dtype.newbyteorder(order)).tobytes()
    # 8-bit values as bytes: words would have to be swapped in big-endian files
    vr = "OB" if frames.dtype.itemsize == 1 and syntax != IMPLICIT else "OW"
    element = DataElement(0x7FE00010, vr, data + b"\0" * (len(data) % 2))
    dataset[0x7FE00010] = element
    return syntax, note

"""A NIfTI file opened by nibabel, which says nothing of its own on the terminal."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from defacedask.whole_files import state_of

__all__ = ["opened", "stored_values"]

_LOCK = threading.Lock()
#: The one file of several volumes that is being read.
_OPEN: dict[Any, Any] = {}


def opened(path: str | os.PathLike[str]) -> Any:
    """Image of a file, its values not read yet.

    nibabel mends odd headers (an unknown code, a voxel size of 0) and prints that without naming the file. What is
    wrong with one in a way that counts is said by whoever reads it.

    Parameters
    ----------
    path : path

    Returns
    -------
    nibabel image
    """
    import nibabel
    from nibabel.imageglobals import LoggingOutputSuppressor

    with LoggingOutputSuppressor():
        name = os.fspath(path)
        ends = name[len(name) - 7 :] if name.lower().endswith(".gz") else name[len(name) - 4 :]
        if ends in (ends.lower(), ends.upper()):
            return nibabel.load(path)
        # of a name that ends in .Nii nibabel would look for one that ends in .nii
        with nibabel.openers.ImageOpener(name) as file:
            start = file.read(nibabel.Nifti2Header.sizeof_hdr)
        two = nibabel.Nifti2Header.may_contain_header(start)
        kind = nibabel.Nifti2Image if two else nibabel.Nifti1Image
        return kind.from_file_map({"image": nibabel.fileholders.FileHolder(name)})


def stored_values(path: str | os.PathLike[str], image: Any, number: int = 0) -> np.ndarray:
    """Stored values of one volume of a file, in the file's byte order; no more of it is kept in memory.

    Parameters
    ----------
    path : path
    image : nibabel image
        Of `opened`.
    number : int
        From 0, along the fourth dimension.

    Returns
    -------
    (z, y, x) array

    Raises
    ------
    EOFError
        If the file ends before.
    """
    dtype, shape = np.dtype(image.header.get_data_dtype()), image.shape[2::-1]
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    last = number == int(np.prod(image.shape[3:], dtype=np.int64)) - 1
    with _LOCK, _stream(os.fspath(path), close=last) as file:
        file.seek(int(image.dataobj.offset) + number * size)
        data = bytearray(file.read(size))
    if len(data) < size:
        raise EOFError("its values end too early")
    return np.frombuffer(data, dtype).reshape(shape)


@contextlib.contextmanager
def _stream(path: str, *, close: bool) -> Iterator[Any]:
    """A file that stays open for its next volume: those that are read in order are decompressed once."""
    from nibabel.openers import ImageOpener

    key = path, state_of(path)
    for other in [other for other in _OPEN if other != key]:
        _OPEN.pop(other).close()
    file = _OPEN[key] if key in _OPEN else _OPEN.setdefault(key, ImageOpener(path))
    try:
        yield file
    except BaseException:
        close = True
        raise
    finally:
        if close:
            _OPEN.pop(key).close()

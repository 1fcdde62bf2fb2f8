"""A NIfTI file opened by nibabel, which says nothing of its own on the terminal."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["opened"]


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
        return nibabel.load(path)

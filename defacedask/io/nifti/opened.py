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

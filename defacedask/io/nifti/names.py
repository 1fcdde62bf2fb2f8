"""Names of NIfTI files, with and without their ends."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["ENDS", "names_an_image", "stem_of"]

#: ``.nii`` and ``.nii.gz`` at the end of a name.
ENDS = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)

#: Words of names that say what an image shows, or what was done with it, and never who it is.
_IMAGE = frozenset(
    """
    t1 t1w t2 t2w t2star t2starw t1rho pd pdw flair dwi dti adc fa swi swan mra angio tof asl cbf bold epi mprage
    mp2rage unit1 spgr flash bravo space tse fse fspgr gre megre mese mr mri ct cta cbct pet pt suv fdg dose
    anat anatomy anatomical structural image img scan volume vol head brain orig original nu norm raw bias corrected
    reg registered resampled iso pre post gd gad gado contrast ce native plain
    ax axial cor coronal sag sagittal tra transversal 2d 3d w weighted map
    """.split()  # noqa: SIM905
)


def names_an_image(stem: str) -> bool:
    """Whether a name is made of words for images alone, such as ``T1_post``; a number could be somebody's."""
    words = [word for word in re.split(r"[^a-z0-9]+", stem.lower()) if word]
    return bool(words) and all(word in _IMAGE for word in words)


def stem_of(path: str | os.PathLike[str]) -> str:
    """Name of a file without folders and without its end."""
    return ENDS.sub("", Path(path).name)

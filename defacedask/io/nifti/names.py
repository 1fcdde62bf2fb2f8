"""Names of NIfTI files, with and without their ends."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["ENDS", "stem_of"]

#: ``.nii`` and ``.nii.gz`` at the end of a name.
ENDS = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


def stem_of(path: str | os.PathLike[str]) -> str:
    """Name of a file without folders and without its end."""
    return ENDS.sub("", Path(path).name)

"""Virtual patients: deformed copies of the average head, scanned and written as DICOM.

>>> from defacedask.phantom import write_phantom
>>> write_phantom("cohort", 4, seed=1, scans=2)  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["write_phantom"]


def write_phantom(out: str | Path, subjects: int, **options: Any) -> list[Path]:
    """Write virtual patients as DICOM; options and errors as in `defacedask.phantom.write.write_phantom`."""
    from defacedask.phantom import write

    return write.write_phantom(out, subjects, **options)

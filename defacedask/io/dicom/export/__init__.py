"""Defaced DICOM out: derived images, dose, structures, and everything that refers to them, under new UIDs."""

from __future__ import annotations

from defacedask.io.dicom.export.image import Context, Written, write_images
from defacedask.io.dicom.export.names import clean_name, output_names
from defacedask.io.dicom.export.references import Remap
from defacedask.io.dicom.export.uids import UidMap

__all__ = [
    "Context",
    "Remap",
    "UidMap",
    "Written",
    "clean_name",
    "output_names",
    "write_images",
]

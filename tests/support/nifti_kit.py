"""NIfTI files as scanners and programs leave them."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np


def write(path: Path, dtype: str, *, slope=None, inter=None, order="<", extension=False) -> Path:
    """Write a small image; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    values = rng.integers(0, 200, (14, 16, 12)).astype(dtype)
    if values.dtype.kind == "f":
        values[0, 0, 0] = values[13, 15, 11] = np.nan
    affine = np.array([[-1.5, 0, 0, 10], [0, 1.25, 0.1, -9], [0, -0.1, 2, -11], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(values, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 2)
    if extension:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"as it came"))
    header = image.header.as_byteswapped(">") if order == ">" else image.header
    image = nibabel.Nifti1Image(values, None, header)
    raw = bytearray(image.to_bytes())
    if slope is not None:
        raw[112:120] = np.array([slope, inter], f"{order}f4").tobytes()
    raw[148:160] = b"a description"[:12]
    path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    return path

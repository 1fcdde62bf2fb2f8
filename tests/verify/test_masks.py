"""A published mask is looked at beside the image of its own defacer, of which a study has several."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from defacedask.io.dicom.export.audit import audit_line
from defacedask.verify.masks import masks
from defacedask.whole_files import file_hash

PARTS = {"first": np.s_[:4], "second": np.s_[8:]}


class Found:
    def __init__(self, folder):
        self.folder, self.told = folder, []

    def say(self, file, check, what):
        self.told.append((file, what))


@pytest.fixture
def study(tmp_path):
    """Two defacers that changed different parts of one original, and their masks."""
    values = np.arange(1000, dtype=np.int16).reshape(10, 10, 10) + 1
    lines = []

    def write(name, array):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        nib.Nifti1Image(array, np.eye(4)).to_filename(path)
        return path

    original = write("original.nii.gz", values)
    for defacer, part in PARTS.items():
        defaced, mask = values.copy(), np.zeros(values.shape, np.uint8)
        defaced[part], mask[part] = 0, 1
        for name, array, modality in (("T1w", defaced, "MR"), ("mask", mask, "defacemask")):
            file = f"{defacer}/{name}.nii.gz"
            write(file, array)
            about = {"case": "a", "defacer": defacer, "modality": modality}
            lines.append(audit_line("written", file, **about, input_sha256=file_hash(original)))
    return tmp_path, lines, original


def test_each_mask_is_of_its_own_defacer(study):
    folder, lines, original = study
    found = Found(folder)
    masks(found, lines, [str(original)])
    assert found.told == []


@pytest.mark.parametrize("defacer", PARTS)
def test_what_changed_outside_of_a_mask_is_told(study, defacer):
    folder, lines, original = study
    path = folder / defacer / "T1w.nii.gz"
    values = np.asarray(nib.load(path).dataobj).copy()
    values[5, 5, 5] = 0
    nib.Nifti1Image(values, np.eye(4)).to_filename(path)
    found = Found(folder)
    masks(found, lines, [str(original)])
    assert found.told == [(f"{defacer}/mask.nii.gz", "1 voxels outside of the mask are not the original's")]

"""One plan a subject and session for images in one space, and plans of their own for all others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.bids_kit import AFFINE, data_set, image, write

from defacedask.io.dicom.catalogue import scan


def groups(folder: Path) -> list[list[str]]:
    return sorted([Path(s.files[0]).name for s in case.images] for case in scan(folder).cases)


def test_one_grid_one_plan_and_the_t1_first(tmp_path):
    cases = scan(data_set(tmp_path)).cases
    assert [len(case.images) for case in cases] == [2, 2]
    for case in cases:
        assert Path(case.primary.files[0]).name.endswith("_T1w.nii.gz")
        assert {s.geometry["frame_of_reference"] for s in case.images} == {case.frame_of_reference}
        assert case.frame_of_reference == case.primary.uid


def test_the_id_of_a_case_is_the_same_with_and_without_a_neighbour(tmp_path):
    root = data_set(tmp_path / "a")
    together = {case.id for case in scan(root).cases}
    shutil.copytree(root, tmp_path / "b")
    for path in (tmp_path / "b").rglob("*_T2w.nii.gz"):
        path.unlink()
    assert {case.id for case in scan(tmp_path / "b").cases} == together


def shifted(mm: float) -> np.ndarray:
    other = AFFINE.copy()
    other[0, 3] += mm
    return other


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sub-01/ses-b/anat/sub-01_ses-b_T2w.nii.gz", {}),
        ("sub-02/ses-a/anat/sub-02_ses-a_T2w.nii.gz", {}),
        ("sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz", {"affine": shifted(0.1), "code": 2}),
        ("sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz", {"shape": (64, 60, 48), "code": 4}),
        ("sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz", {"affine": shifted(500)}),
        ("sub-01/ses-a/pet/sub-01_ses-a_pet.nii.gz", {"affine": shifted(0.1)}),
        ("sub-01/ses-a/anat/sub-01_ses-a_space-T1w_T2w.nii.gz", {"affine": shifted(0.1)}),
        ("sub-01/ses-a/anat/T2w.nii.gz", {}),
        ("sub-01/ses-a/anat/sub-01_ses-a_T1w.nii", {}),
    ],
)
def test_all_others_have_plans_of_their_own(tmp_path, name, options):
    write(tmp_path / "dataset_description.json", "{}")
    image(tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", 1)
    image(tmp_path / name, 2, **options)
    assert sorted(map(len, groups(tmp_path))) == [1, 1]


@pytest.mark.parametrize("options", [{"affine": shifted(0.1)}, {"shape": (64, 60, 40)}])
def test_another_grid_in_the_same_scanner_is_one_plan(tmp_path, options):
    write(tmp_path / "dataset_description.json", "{}")
    image(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz", 1, shape=(40, 40, 40))
    other = tmp_path / "sub-01/anat/sub-01_T2w.nii.gz"
    image(other, 2, **options)
    (case,) = scan(tmp_path).cases
    # the T1w, though the T2w has more voxels
    assert Path(case.primary.files[0]).name == "sub-01_T1w.nii.gz"
    assert case.primary.uid == case.frame_of_reference
    write(tmp_path / "T1w.json", '{"DeviceSerialNumber": "1"}')
    assert len(groups(tmp_path)) == 1
    write(tmp_path / "T2w.json", '{"DeviceSerialNumber": "2"}')
    assert len(groups(tmp_path)) == 2


def test_one_standard_space_is_one_plan(tmp_path):
    write(tmp_path / "dataset_description.json", '{"DatasetType": "derivative"}')
    for k, name in enumerate(("space-A_T1w", "space-A_T2w", "space-B_T2w")):
        image(tmp_path / "sub-01" / "anat" / f"sub-01_{name}.nii.gz", k, shape=(40, 40, 40 + k), code=4)
    assert sorted(map(len, groups(tmp_path))) == [1, 2]


def test_the_same_label_in_two_data_sets_is_two_subjects(tmp_path):
    for k, name in enumerate(("one", "two")):
        write(tmp_path / name / "dataset_description.json", "{}")
        image(tmp_path / name / "sub-01" / "anat" / f"sub-01_T{k + 1}w.nii.gz", k)
    assert sorted(map(len, groups(tmp_path))) == [1, 1]


def test_phase_is_planned_on_last(tmp_path):
    for k, part in enumerate(("phase", "mag")):
        image(tmp_path / "sub-01" / "anat" / f"sub-01_part-{part}_T1w.nii.gz", k)
    assert groups(tmp_path) == [["sub-01_part-mag_T1w.nii.gz", "sub-01_part-phase_T1w.nii.gz"]]


def test_a_sidecar_above_says_that_an_image_is_defaced(tmp_path):
    root = data_set(tmp_path)
    write(root / "T2w.json", '{"RecognizableVisualFeatures": "NO"}')
    found = {
        Path(s.files[0]).name[-10:-7]: "already_defaced" in s.facts
        for c in scan(root).cases
        for s in c.images
    }
    assert found == {"T1w": False, "T2w": True}

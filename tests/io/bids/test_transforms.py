"""Images of a session that a transform relates share one plan; a wrong transform leaves no face in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from support.bids_kit import AFFINE, image, write

from defacedask.errors import RefusedError
from defacedask.flow.stages.ingest import case_key
from defacedask.io.bids.transforms import read_matrix, transforms_of
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.image import read_image
from defacedask.io.dicom.registration import own_geometry
from defacedask.runs.deface import deface
from defacedask.volume import geometry_of

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rigid(degrees: float, shift: tuple[float, float, float]) -> np.ndarray:
    angle = np.radians(degrees)
    out = np.eye(4)
    out[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    out[:3, 3] = shift
    return out


#: LPS mm of the T1w's space -> LPS mm of the T2w's.
TURN = rigid(12, (15, -20, 25))
NAME = "sub-01_from-T2w_to-T1w_mode-image_xfm.txt"


def itk(path: Path, matrix: np.ndarray) -> Path:
    """Write a transform of ITK that maps points by a matrix."""
    one = SimpleITK.AffineTransform(3)
    one.SetMatrix(matrix[:3, :3].ravel().tolist())
    one.SetTranslation(matrix[:3, 3].tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteTransform(one, str(path))
    return path


def session(root: Path, matrix: np.ndarray = TURN) -> Path:
    """A T1w, and a T2w on another grid of a turned space."""
    write(root / "dataset_description.json", "{}")
    image(root / "sub-01/anat/sub-01_T1w.nii.gz", 1)
    other = image(root / "sub-01/anat/sub-01_T2w.nii.gz", 2, RAS @ matrix @ RAS @ AFFINE, (60, 64, 40))
    aligned(other)
    return root


def aligned(path: Path) -> None:
    """Let an image say that its positions are not the scanner's."""
    one = nibabel.load(path)
    one.set_sform(one.affine, 2)
    one.set_qform(one.affine, 2)
    values = np.asarray(one.dataobj)
    nibabel.save(nibabel.Nifti1Image(values, None, one.header), path)


def groups(root: Path) -> list[list[str]]:
    return sorted([Path(s.files[0]).name[7:10] for s in case.images] for case in scan(root).cases)


ALONE, TOGETHER = [["T1w"], ["T2w"]], [["T1w", "T2w"]]


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        (NAME, TURN),
        ("sub-01_from-T2w_to-T1w_xfm.tfm", TURN),
        ("sub-01_from-T1w_to-T2w_mode-image_xfm.h5", np.linalg.inv(TURN)),
        ("sub-01_from-T2w_to-T1w_mode-points_xfm.mat", np.linalg.inv(TURN)),
    ],
)
@pytest.mark.parametrize("home", ["sub-01/anat", "derivatives/smriprep/sub-01/anat"])
def test_a_transform_leads_where_its_name_says(tmp_path, home, name, matrix):
    root = session(tmp_path)
    assert groups(root) == ALONE
    itk(root / home / name, matrix)
    (case,) = scan(root).cases
    t1, t2 = case.images
    assert case.primary is t1
    assert t1.uid == case.frame_of_reference
    fact = t2.facts["registered"]
    assert np.allclose(fact["matrix"], np.linalg.inv(TURN), atol=1e-5)
    assert fact["frame_of_reference"] == case.frame_of_reference
    # the middle of the T2w, by its own header and through the transform
    own = own_geometry(t2).centre
    assert np.allclose(geometry_of(read_image(t2)).centre, (np.linalg.inv(TURN) @ [*own, 1])[:3], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "matrix", "because"),
    [
        (NAME, rigid(0, (900, 0, 0)), "leads an image to where the other is not"),
        (NAME, np.diag([-1.0, 1, 1, 1]), "mirrors"),
        (NAME, np.diag([2.0, 2, 2, 1]), "stretches"),
        ("sub-01_from-T2w_to-T1w_mode-field_xfm.txt", TURN, "neither image nor points"),
        ("sub-01_from-T2w_to-MNI152_mode-image_xfm.txt", TURN, ""),
        ("sub-01_ses-x_from-T2w_to-T1w_mode-image_xfm.txt", TURN, ""),
        ("sub-01_run-1_from-T2w_to-T1w_mode-image_xfm.txt", TURN, ""),
        ("sub-02_from-T2w_to-T1w_mode-image_xfm.txt", TURN, ""),
    ],
)
def test_what_is_not_used_is_said_if_it_was_meant_for_these(tmp_path, name, matrix, because):
    root = session(tmp_path)
    itk(root / "sub-01" / "anat" / name, matrix)
    assert groups(root) == ALONE
    notes = [note for note in scan(root).notes if "transform" in note]
    assert bool(notes) == bool(because)
    assert all(because in note for note in notes)


def test_files_of_other_kinds_and_deformable_ones_are_refused(tmp_path):
    folder = tmp_path / "sub-01" / "anat"
    write(folder / NAME, "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    write(folder / NAME.replace(".txt", ".lta"), "type = 1\n")
    field = SimpleITK.DisplacementFieldTransform(SimpleITK.Image([4, 4, 4], SimpleITK.sitkVectorFloat64, 3))
    SimpleITK.WriteTransform(field, str(folder / NAME.replace(".txt", ".h5")))
    reasons = []
    for one in transforms_of(tmp_path, "01"):
        with pytest.raises(RefusedError) as caught:
            read_matrix(one)
        reasons.append((one.path.suffix, caught.value.message))
    assert [suffix for suffix, _ in reasons] == [".h5", ".lta", ".txt"]
    for (_, reason), words in zip(reasons, ("deformable", "not read", "cannot be read"), strict=True):
        assert words in reason


def test_transforms_that_disagree_are_not_used(tmp_path):
    root = session(tmp_path)
    itk(root / "sub-01/anat" / NAME, TURN)
    itk(root / "derivatives/a/sub-01/anat" / NAME, TURN)
    assert groups(root) == TOGETHER
    itk(root / "derivatives/b/sub-01/anat" / NAME, rigid(12, (15, -20, 30)))
    assert groups(root) == ALONE
    assert any("disagree by 5 mm" in note for note in scan(root).notes)


def test_a_chain_of_transforms(tmp_path):
    root = session(tmp_path)
    more = rigid(-20, (5, 5, 5))
    aligned(
        image(root / "sub-01/anat/sub-01_FLAIR.nii.gz", 3, RAS @ more @ TURN @ RAS @ AFFINE, (60, 50, 40))
    )
    itk(root / "sub-01/anat" / NAME, TURN)
    itk(root / "sub-01/anat/sub-01_from-FLAIR_to-T2w_mode-image_xfm.txt", more)
    (case,) = scan(root).cases
    assert len(case.images) == 3
    fact = case.images[2].facts["registered"]
    assert np.allclose(fact["matrix"], np.linalg.inv(more @ TURN), atol=1e-5)


def test_a_name_that_fits_two_spaces_is_not_used(tmp_path):
    root = session(tmp_path)
    aligned(image(root / "sub-01/anat/sub-01_run-2_T2w.nii.gz", 3, AFFINE, (60, 50, 40)))
    itk(root / "sub-01/anat" / NAME, TURN)
    assert len(groups(root)) == 3
    assert any("fits images in 2 spaces" in note for note in scan(root).notes)
    (root / "sub-01/anat" / NAME).rename(root / "sub-01/anat" / NAME.replace("_from", "_run-2_from"))
    assert sorted(map(len, groups(root))) == [1, 2]


def test_another_transform_is_another_input(tmp_path):
    root = session(tmp_path)
    keys = set()
    for matrix in (TURN, rigid(12, (15, -20, 26))):
        itk(root / "sub-01/anat" / NAME, matrix)
        (case,) = scan(root).cases
        keys.add(case_key(case))
    assert len(keys) == 2


@pytest.mark.parametrize(("matrix", "plans"), [(TURN, "1"), (rigid(-12, (-15, 60, -25)), "2")])
def test_a_wrong_transform_leaves_no_face_in(patient_of_three, tmp_path, matrix, plans):
    (case,) = scan(patient_of_three).cases
    volume = case.image("MR").load()
    affine = geometry_of(volume).affine[:, [2, 1, 0, 3]]
    write(tmp_path / "in" / "dataset_description.json", json.dumps({"Name": "Made", "BIDSVersion": "1.9.0"}))
    for suffix, where, code, first in (("T1w", affine, 1, 0), ("T2w", TURN @ affine, 2, 3)):
        cut = np.eye(4)
        cut[0, 3] = first
        one = nibabel.Nifti1Image(volume.values.T[first:].astype(np.int16), RAS @ where @ cut)
        one.set_sform(one.affine, code)
        path = tmp_path / "in" / "sub-01" / "anat" / f"sub-01_{suffix}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(one, path)
    itk(tmp_path / "in" / "sub-01" / "anat" / NAME, matrix)
    assert groups(tmp_path / "in") == TOGETHER
    out = tmp_path / "out"
    assert deface(tmp_path / "in", out, "quickshear").ok
    with (out / "participants_defacing.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert (row["images_defaced"], row["plans"]) == ("2", plans)
    assert float(row["face_moved"]) > 0.9

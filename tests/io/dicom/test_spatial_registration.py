"""Spatial registrations: an MR in a frame of its own joins the CT's case, and is cut at the same place."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pydicom
import pytest

import defacedask as dd
from defacedask.anatomy.template import load_template
from defacedask.defacers.base import Plan
from defacedask.defacers.moved import plan_for
from defacedask.errors import RefusedError
from defacedask.flow.stages.ingest import ingest
from defacedask.io.dicom.registration import matrix_of, own_geometry, read_relations
from defacedask.io.store import CaseStore
from defacedask.phantom import write_phantom
from defacedask.phantom.shape import Pose
from defacedask.phantom.write import OTHER_DAY
from defacedask.volume import geometry_of


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    out = tmp_path_factory.mktemp("registered") / "cohort"
    write_phantom(out, 1, seed=3, modalities=("CT", "MR"), size="coarse", registered=True)
    return out


@pytest.fixture(scope="module")
def truth():
    """MR's frame -> CT's, as the virtual patient lay."""
    return np.linalg.inv(Pose.draw(3, 1, 1).matrix) @ Pose.draw(3, 1, OTHER_DAY + 1).matrix


@pytest.fixture
def copy(patient, tmp_path):
    shutil.copytree(patient, tmp_path / "in")
    return tmp_path / "in"


def edit(folder, change):
    (path,) = folder.rglob("REG.*.dcm")
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def step(dataset, k=1):
    return dataset.RegistrationSequence[k].MatrixRegistrationSequence[0].MatrixSequence[0]


def set_matrix(dataset, matrix, k=1):
    step(dataset, k).FrameOfReferenceTransformationMatrix = [f"{v:.10f}"[:16] for v in np.ravel(matrix)]


def modalities(scan):
    return sorted(sorted(s.modality for s in case.images) for case in scan.cases)


def test_the_mr_is_part_of_the_cts_case(patient, truth):
    scan = dd.scan(patient)
    (case,) = scan.cases
    assert [s.modality for s in case.images] == ["CT", "MR"]
    assert case.primary.modality == "CT"
    (reg,) = case.others
    assert reg.modality == "REG"
    mr = case.images[1]
    assert mr.frame_of_reference != case.frame_of_reference
    fact = mr.facts["registered"]
    np.testing.assert_allclose(fact["matrix"], truth, atol=1e-6)
    assert abs(truth[:3, 3]).max() > 5  # it is another place
    grid = geometry_of(case.image("MR"))
    np.testing.assert_allclose(grid.affine, truth @ own_geometry(mr).affine, atol=1e-4)
    assert grid.frame_of_reference == case.frame_of_reference
    assert dd.scan(patient).cases[0].id == case.id
    assert type(case).from_dict(case.to_dict()) == case


@pytest.mark.parametrize("way", ["mr first", "third frame", "images only"])
def test_whichever_way_it_is_written(copy, truth, way):
    def change(dataset):
        ct, mr = dataset.RegistrationSequence
        if way == "mr first":
            dataset.FrameOfReferenceUID = mr.FrameOfReferenceUID
            set_matrix(dataset, np.eye(4), 1)
            set_matrix(dataset, np.linalg.inv(truth), 0)
        elif way == "third frame":
            turn = np.array([[0, -1, 0, 30], [1, 0, 0, -20], [0, 0, 1, 7], [0, 0, 0, 1.0]])
            dataset.FrameOfReferenceUID = "1.2.3.4.5"
            set_matrix(dataset, turn, 0)
            set_matrix(dataset, turn @ truth, 1)
        else:
            del ct.FrameOfReferenceUID
            del mr.FrameOfReferenceUID

    edit(copy, change)
    (case,) = dd.scan(copy).cases
    np.testing.assert_allclose(case.images[1].facts["registered"]["matrix"], truth, atol=1e-6)


def test_several_matrices_are_multiplied_in_their_order():
    a = np.array([[0, -1, 0, 30], [1, 0, 0, -20], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    b = np.array([[1, 0, 0, 3], [0, 0, -1, 4], [0, 1, 0, 5], [0, 0, 0, 1.0]])
    item = pydicom.Dataset()
    part = pydicom.Dataset()
    part.MatrixSequence = []
    for matrix in (a, b):
        one = pydicom.Dataset()
        one.FrameOfReferenceTransformationMatrix = matrix.ravel().tolist()
        one.FrameOfReferenceTransformationMatrixType = "RIGID"
        part.MatrixSequence.append(one)
    item.MatrixRegistrationSequence = [part]
    np.testing.assert_allclose(matrix_of(item), a @ b)


def mirrored(dataset):
    set_matrix(dataset, np.diag([-1.0, 1, 1, 1]))


def stretched(dataset):
    step(dataset).FrameOfReferenceTransformationMatrixType = "AFFINE"
    set_matrix(dataset, np.diag([1.0, 2.0, 1, 1]))


def not_rigid(dataset):
    set_matrix(dataset, np.diag([1.0, 1.1, 1, 1]))


def projective(dataset):
    set_matrix(dataset, np.eye(4) + np.outer([0, 0, 0, 1], [0.1, 0, 0, 0]))


def short(dataset):
    step(dataset).FrameOfReferenceTransformationMatrix = [1.0] * 12


def empty(dataset):
    dataset.RegistrationSequence[1].MatrixRegistrationSequence = []


def deformable(dataset):
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.3"
    dataset.DeformableRegistrationSequence = dataset.RegistrationSequence
    del dataset.RegistrationSequence


def far_away(dataset):
    matrix = np.eye(4)
    matrix[0, 3] = 900.0
    set_matrix(dataset, matrix)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (mirrored, "mirrors"),
        (stretched, "stretches by 2.00"),
        (not_rigid, "rigid and is not"),
        (projective, "no affine map"),
        (short, "sixteen numbers"),
        (empty, "holds no matrix"),
        (deformable, "deformable"),
        (far_away, "outside the CT"),
    ],
)
def test_what_cannot_be_used_leaves_the_mr_a_case_of_its_own(copy, change, reason):
    edit(copy, change)
    scan = dd.scan(copy)
    assert modalities(scan) == [["CT"], ["MR"]]
    assert any(reason in note for note in scan.notes), scan.notes
    assert not any("registered" in s.facts for case in scan.cases for s in case.series)


def test_without_a_registration_nothing_is_joined(copy):
    (path,) = copy.rglob("REG.*.dcm")
    path.unlink()
    assert modalities(dd.scan(copy)) == [["CT"], ["MR"]]


def test_registrations_that_disagree_are_not_used(copy, truth):
    (path,) = copy.rglob("REG.*.dcm")
    other = pydicom.dcmread(path)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    shifted = truth.copy()
    shifted[2, 3] += 12
    set_matrix(other, shifted)
    other.save_as(path.with_name("REG.0002.dcm"))
    scan = dd.scan(copy)
    assert modalities(scan) == [["CT"], ["MR"]]
    assert any("disagree by 12 mm" in note for note in scan.notes)


def test_moving_its_own_frame_is_a_contradiction(copy):
    (path,) = copy.rglob("REG.*.dcm")
    dataset = pydicom.dcmread(path)
    set_matrix(dataset, np.array([[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), 0)
    with pytest.raises(RefusedError, match="moves its own frame"):
        read_relations(dataset)


@pytest.fixture(scope="module")
def stored(patient, tmp_path_factory):
    case = dd.scan(patient).cases[0]
    made = ingest(case=case.to_dict(), root=str(tmp_path_factory.mktemp("store")))
    return case, CaseStore(made.facts["store"])


@dataclasses.dataclass(frozen=True, eq=False)
class Plane(Plan):
    """Everything in front of an oblique plane becomes air."""

    normal: tuple[float, float, float]
    offset: float

    def wanted(self, geometry, xp=np):
        x, y, z = geometry.positions(xp, np.float64)
        return x * self.normal[0] + y * self.normal[1] + z * self.normal[2] > self.offset


def test_the_face_goes_at_the_same_place_in_both(stored, truth):
    """The MR's cut lies where the CT's does, judged through the pose in which the virtual patient truly lay."""
    case, store = stored
    # through the face of the CT: the average's nose tip, as the patient lay there
    nose = np.linalg.inv(Pose.draw(3, 1, 1).matrix) @ np.append(load_template().landmarks["nose_tip"], 1.0)
    normal = np.array([0.1, -0.9, -0.42])
    plan = Plane(tuple(normal.tolist()), float(nose[:3] @ normal) - 40.0)
    series = case.images[1]
    grid = own_geometry(series)
    world = np.stack(np.broadcast_arrays(*grid.positions(dtype=np.float64)), axis=-1)
    height = (world @ truth[:3, :3].T + truth[:3, 3]) @ normal - plan.offset
    sure = np.abs(height) > 0.01  # mm; a voxel is 2 x 2 x 4
    # as the study does it: stored in the case's frame, changed there
    before = store.volume("images/MR").load()
    after = plan.apply(before)
    seen = before.values > 0
    changed = after.values != before.values
    assert 3000 < changed.sum() < seen.sum() / 2
    np.testing.assert_array_equal(changed[sure & seen], (height > 0)[sure & seen])
    # and in its own coordinates, as contours and segmentations are cut
    np.testing.assert_array_equal(plan_for(plan, series.facts).region(grid)[sure], (height > 0)[sure])
    # to leave the registration out would cut elsewhere
    assert (plan.region(grid) != (height > 0)).sum() > 3000
    # the CT's own cut, asked at the same places of the patient
    ct = own_geometry(case.primary)
    np.testing.assert_array_equal(
        plan.region(ct), np.broadcast_to(_height(ct, normal, plan.offset) > 0, ct.shape)
    )


def _height(grid, normal, offset):
    x, y, z = grid.positions(dtype=np.float64)
    return x * normal[0] + y * normal[1] + z * normal[2] - offset


@pytest.mark.slow
def test_a_registration_that_misses_the_head_refuses_the_case(copy, truth, tmp_path):
    from defacedask.flow.result import TaskResult
    from defacedask.flow.stages.plans import make_plans

    wrong = truth.copy()
    wrong[2, 3] += 45

    edit(copy, lambda dataset: set_matrix(dataset, wrong))
    (case,) = dd.scan(copy).cases
    made = ingest(case=case.to_dict(), root=str(tmp_path / "store"))
    result = TaskResult("ingest", case.id, "", "", facts=made.facts)
    with pytest.raises(RefusedError, match=r"puts its head 4\d mm from that of the CT"):
        make_plans(result, plans=str(tmp_path), defacers={"none": {}}, run_key=b"k", case=case.id)

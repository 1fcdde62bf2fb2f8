"""Every image of a case is judged itself before anything is written: the real chain, from files to files."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from support import diffusion, make

import defacedask as dd
from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Head
from defacedask.anatomy.witness import Sighting
from defacedask.flow.stages import witnessing
from defacedask.io.dicom.export.audit import read_lines
from defacedask.io.dicom.image import read_image
from defacedask.runs.deface import deface
from defacedask.volume import geometry_of


@pytest.fixture(scope="module")
def case_of_two(patient_of_three, tmp_path_factory):
    """CT and MR of one frame; the MR's patient had moved by 34 mm since."""
    folder = tmp_path_factory.mktemp("moved_between")
    shutil.copytree(patient_of_three, folder / "in", ignore=shutil.ignore_patterns("PT"))
    for file in sorted((folder / "in").glob("VP-*/*/MR/*.dcm")):
        dataset = pydicom.dcmread(file)
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y + 26.0, z + 22.0]
        dataset.save_as(file)
    return folder


@pytest.mark.slow
def test_an_image_whose_patient_moved_is_held_back_alone(case_of_two):
    done = deface(dd.scan(case_of_two / "in"), case_of_two / "out", "quickshear")
    assert witnessing._solid.cache_info().currsize == 0  # no volume stays in memory
    row = done.cases[0]
    assert row["status"] == "done"
    assert set(row["written"]) >= {"CT"}
    assert "MR" not in row["written"]
    reasons = {held["reason"] for held in row["held_back"]}
    assert any("away from where the plan has it" in reason for reason in reasons), reasons
    lines = [json.loads(line) for line in (case_of_two / "out" / "audit.jsonl").read_text().splitlines()]
    written = [line for line in lines if line["status"] == "written" and line["modality"] == "CT"]
    assert written
    assert all(line["witness"]["moved"] >= 0.9 and line["face_moved"] >= 0.9 for line in written)
    assert {line["status"] for line in lines if line["modality"] == "MR"} == {"refused"}
    assert not list((case_of_two / "out").rglob("MR/*.dcm"))


@pytest.mark.slow
def test_a_pet_whose_patient_moved_is_held_back_alone(patient_of_three, tmp_path):
    """A PET shows no face by itself: it is laid on the CT."""
    shutil.copytree(patient_of_three, tmp_path / "in", ignore=shutil.ignore_patterns("MR"))
    still = deface(dd.scan(tmp_path / "in"), tmp_path / "still", "quickshear").cases[0]
    assert set(still["written"]) >= {"CT", "PT"}
    for file in sorted((tmp_path / "in").glob("VP-*/*/PT/*.dcm")):
        dataset = pydicom.dcmread(file)
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y + 25.0, z - 30.0]
        dataset.save_as(file)
    row = deface(dd.scan(tmp_path / "in"), tmp_path / "out", "quickshear").cases[0]
    assert "CT" in row["written"]
    assert "PT" not in row["written"]
    assert any("away from where the CT shows the face" in held["reason"] for held in row["held_back"])
    assert not list((tmp_path / "out").rglob("PT/*.dcm"))


@pytest.fixture
def turned_witness(monkeypatch):
    """A witness who sees each face at the back of the head."""
    real = witnessing._sighting

    def turned(url, key, path):
        seen = real(url, key, path)
        flip = np.diag([-1.0, -1.0, 1.0])
        return Sighting(
            seen.centre + flip @ (seen.place - seen.centre),
            flip @ seen.facing,
            seen.sure,
            seen.cues,
            "",
            seen.centre,
            flip @ seen.axes,
        )

    monkeypatch.setattr(witnessing, "_sighting", turned)


@pytest.mark.slow
@pytest.mark.usefixtures("turned_witness")
def test_a_wrong_pose_does_not_prove_itself_right(virtual_patients, tmp_path):
    """The plan's own measure passes; the witness, who sees the face elsewhere, stops the case."""
    first = sorted(virtual_patients.glob("VP-*"))[0]
    done = deface(dd.scan(first), tmp_path / "out", "quickshear")
    row = done.cases[0]
    assert row["status"] == "refused"
    assert "away from where the plan has it" in row["reason"]
    assert "missing" not in row["reason"]
    assert not list((tmp_path / "out").rglob("*.dcm"))
    record = next((tmp_path / "out.work" / "record").rglob("*.jsonl"))
    assert {line["status"] for line in read_lines(record)} == {"refused"}


@pytest.fixture(scope="module")
def cut_at_the_eyes(virtual_patients, tmp_path_factory):
    """A patient whose face was cut away above the nose, down to behind the eyes."""
    folder = tmp_path_factory.mktemp("cut") / "in"
    shutil.copytree(virtual_patients / "VP-0002", folder)
    volume = read_image(dd.scan(folder).cases[0].primary).load()
    head, grid = Head(volume), geometry_of(volume)
    brain = resample(head.brain, head.grid, grid, nearest=True)
    _, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    gone = (z > head.landmark("nose_tip")[2] + 20.0) & (y < head.landmark("nasion")[1] + 30.0) & ~brain
    for file in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        if dataset.Modality == "CT":
            k = int(np.rint(grid.to_index(np.array(dataset.ImagePositionPatient, float))[0]))
            air = round((-1024 - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope))
            stored = np.where(gone[k], air, dataset.pixel_array)
            dataset.PixelData = stored.astype(dataset.pixel_array.dtype).tobytes()
            dataset.save_as(file)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("turned_witness")
def test_where_a_part_of_the_face_is_missing_the_reason_says_so(cut_at_the_eyes, tmp_path):
    row = deface(dd.scan(cut_at_the_eyes), tmp_path / "out", "quickshear").cases[0]
    assert row["status"] == "refused"
    assert "away from where the plan has it" in row["reason"]
    assert "a part of its face is missing already" in row["reason"]


@pytest.mark.slow
def test_a_missing_part_of_the_face_is_noted(cut_at_the_eyes, tmp_path):
    row = deface(dd.scan(cut_at_the_eyes), tmp_path / "out", "quickshear").cases[0]
    assert "a part of its face is missing already" in " ".join(row["notes"])


def weighted(folder, name, volumes):
    """A multi-frame image of several b-values on the grid that all share."""
    order = [(v, k) for v in range(len(volumes)) for k in range(len(volumes[0][1]))]

    def own(dataset):
        make.set_pixels(dataset, np.stack([volumes[v][1][k] for v, k in order]))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = make.uid(name, "instance")
        for frame, (v, k) in zip(dataset.PerFrameFunctionalGroupsSequence, order, strict=True):
            frame.MRDiffusionSequence = [make.item(DiffusionBValue=float(volumes[v][0]))]
            frame.FrameContentSequence[0].InStackPositionNumber = k + 1
            frame.FrameContentSequence[0].TemporalPositionIndex = v + 1

    path, slices = folder / f"{name}.dcm", [k for _, k in order]
    make.write_enhanced(path, volumes[0][1], WEIGHTED, order=slices, series=name, change=own)


WEIGHTED = diffusion.grid(frame=make.uid("frame"))


@pytest.mark.slow
def test_diffusion_in_one_file_leaves_with_all_its_frames_or_not_at_all(tmp_path):
    """At b = 2500 no skin of the face is measured; it is judged at the place that b = 0 shows."""
    without = diffusion.magnitude(WEIGHTED, sigma=10.0)
    still = [(0, without), (2500, diffusion.magnitude(WEIGHTED, 2500.0, sigma=10.0, number=3))]
    away = diffusion.magnitude(WEIGHTED, 2500.0, sigma=10.0, number=3, moved=(0.0, 14.0, 14.0))
    weighted(tmp_path / "in", "still", still)
    weighted(tmp_path / "in", "moved", [(0, without), (2500, away)])
    weighted(tmp_path / "in", "phase", [(0, without), (1, diffusion.phase(WEIGHTED))])
    row = deface(dd.scan(tmp_path / "in"), tmp_path / "out", "quickshear").cases[0]
    assert row["status"] == "done"
    assert row["written"] == {"MR": 1}
    held = {one["what"].rsplit("/", 1)[-1]: one["reason"] for one in row["held_back"]}
    assert held.keys() == {"moved.dcm", "phase.dcm"}
    assert "20 mm away from there (at most 8 mm)" in held["moved.dcm"]
    assert "too little in common" in held["phase.dcm"]
    assert any("judged at the place of the face that the MR" in note for note in row["notes"]), row["notes"]
    (file,) = (tmp_path / "out").rglob("*.dcm")
    before, after = (pydicom.dcmread(f).pixel_array for f in (tmp_path / "in" / "still.dcm", file))
    assert before.shape == after.shape
    # every frame is cut where the first volume is
    both = (before != after).reshape(2, *WEIGHTED.shape)
    sure = np.stack([v > 30 for _, v in still])
    assert both.any(axis=(2, 3)).sum(axis=1).min() > 20
    np.testing.assert_array_equal(both[0][sure.all(axis=0)], both[1][sure.all(axis=0)])


def in_time(path, volumes):
    """A NIfTI file of four dimensions on the grid that all share."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ WEIGHTED.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(np.stack([v.T for v in volumes], axis=-1), affine)
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


@pytest.mark.slow
def test_four_dimensions_leave_together_if_the_head_lies_in_one_place(tmp_path):
    first, near, forward = (
        diffusion.magnitude(WEIGHTED, sigma=10.0, number=k, moved=(0.0, mm, 0.0))
        for k, mm in enumerate((0.0, -3.0, -20.0))
    )
    others = {"near": near, "forward": forward, "other": diffusion.t1(WEIGHTED, subject=5)}
    for name, volume in others.items():
        in_time(tmp_path / "in" / f"sub-{name}_bold.nii", [first, volume])
    rows = {
        row["patient"]: row for row in deface(dd.scan(tmp_path / "in"), tmp_path / "out", "quickshear").cases
    }
    assert rows["sub-near"]["written"] == {"MR": 1, "defacemask": 1, "sidecar": 1}
    # what moved forward would have passed by itself: all of its face was cut
    for name, words in (
        ("forward", "its face lies 20 mm away from where the MR of its series shows it"),
        ("other", "its own face lies 32 mm away from there"),
    ):
        assert rows[f"sub-{name}"]["status"] == "refused"
        assert words in rows[f"sub-{name}"]["reason"]
    assert {p.name for p in (tmp_path / "out").glob("*_bold.nii")} == {"sub-near_bold.nii"}
    assert dd.verify(tmp_path / "out", source=tmp_path / "in").ok

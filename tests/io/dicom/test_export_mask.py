"""The published mask of DICOM images, as a segmentation and as NIfTI, before judges that share nothing with it."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.pixels import pack_bits
from support import make
from support.export_kit import HalfSpace, ball, geometry, half_space, head_ct, run_export, write_patient  # noqa: F401
from support.judges import dcm2niix, named_errors

from defacedask.errors import DefacedaskError
from defacedask.io.dicom.export.audit import read_lines, seal_of, write_lines
from defacedask.verify import verify
from defacedask.whole_files import file_hash

MASKS = ["nifti", "seg"]


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A patient with everything, exported with both masks: (source, outcome, output)."""
    folder = tmp_path_factory.mktemp("mask")
    write_patient(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        from defacedask import defacers

        patch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
        outcome, out = run_export(folder / "in", folder, HalfSpace(-2.0), masks=MASKS)
    return folder / "in", outcome, out


def of_folder(folder, modality):
    found = [pydicom.dcmread(p) for p in sorted(folder.rglob("*.dcm"))]
    return [d for d in found if d.Modality == modality]


def test_the_segmentation_holds_all_that_changed_and_less_than_the_whole(patient):
    source, _, out = patient
    (mask,) = (d for d in of_folder(out, "SEG") if d.get("ContentLabel") == "DEFACEMASK")
    old = {tuple(map(float, d.ImagePositionPatient)): d.pixel_array for d in of_folder(source, "CT")}
    new = {tuple(map(float, d.ImagePositionPatient)): d.pixel_array for d in of_folder(out, "CT")}
    frames = np.asarray(mask.pixel_array).reshape(-1, mask.Rows, mask.Columns)
    places = [
        tuple(map(float, g.PlanePositionSequence[0].ImagePositionPatient))
        for g in mask.PerFrameFunctionalGroupsSequence
    ]
    assert len(frames) == len(places) == int(mask.NumberOfFrames)
    held = {place: frame != 0 for place, frame in zip(places, frames, strict=True)}
    changed = 0
    for place, before in old.items():
        differs = before != new[place]
        changed += differs.sum()
        assert not (differs & ~held.get(place, np.zeros(before.shape, bool))).any()
    assert changed > 100
    assert 0.05 < frames.mean() < 0.95
    assert mask.SegmentationType == "BINARY"


def test_its_references_are_the_defaced_slices(patient):
    _, _, out = patient
    (mask,) = (d for d in of_folder(out, "SEG") if d.get("ContentLabel") == "DEFACEMASK")
    slices = {d.SOPInstanceUID: tuple(map(float, d.ImagePositionPatient)) for d in of_folder(out, "CT")}
    series = {d.SeriesInstanceUID for d in of_folder(out, "CT")}
    assert {r.SeriesInstanceUID for r in mask.ReferencedSeriesSequence} == series
    for group in mask.PerFrameFunctionalGroupsSequence:
        of = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert slices[of] == tuple(map(float, group.PlanePositionSequence[0].ImagePositionPatient))


def test_dciodvfy_accepts_it_and_not_a_broken_one(patient, tmp_path):
    _, _, out = patient
    (path,) = out.rglob("defacemask_CT_*.dcm")
    assert named_errors(path) == set()
    broken = pydicom.dcmread(path)
    del broken.SegmentSequence[0].SegmentAlgorithmType
    broken.save_as(tmp_path / "broken.dcm")
    assert named_errors(tmp_path / "broken.dcm")


def test_the_nifti_lies_on_the_image_as_a_converter_sees_it(patient, tmp_path):
    source, _, out = patient
    (path,) = out.rglob("defacemask_CT_*.nii.gz")
    mask = nibabel.as_closest_canonical(nibabel.load(path))
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    for name, folder in (("old", source), ("new", out)):
        for k, dataset in enumerate(of_folder(folder, "CT")):
            dataset.save_as(tmp_path / name / f"{k}.dcm")
    images = []
    for name in ("old", "new"):
        values, affine = dcm2niix(tmp_path / name, tmp_path / f"{name}-nii")
        images.append(nibabel.as_closest_canonical(nibabel.Nifti1Image(values, affine)))
    old, new = images
    assert mask.affine == pytest.approx(old.affine, abs=1e-3)
    differs = np.asarray(old.dataobj) != np.asarray(new.dataobj)
    assert differs.any()
    assert not (differs & (np.asarray(mask.dataobj) == 0)).any()


@pytest.mark.parametrize("kind", ["dcm", "nii.gz"])
def test_verify_sees_a_voxel_outside_of_a_mask(patient, tmp_path, kind):
    """A mask that lost a piece: hash and record agree with it, the voxels do not."""
    source, _, made = patient
    shutil.copytree(made, tmp_path / "out")
    out = tmp_path / "out"
    lines = [line for part in (made.parent / "record").rglob("*.jsonl") for line in read_lines(part)]
    write_record(out, lines)
    assert verify(out, source=[source]).problems == []
    (path,) = out.rglob(f"defacemask_CT_*.{kind}")
    if kind == "dcm":
        mask = pydicom.dcmread(path)
        frames = np.asarray(mask.pixel_array).copy()
        frames[len(frames) // 2] = 0
        mask.PixelData = pack_bits(frames.ravel())
        mask.save_as(path)
    else:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj).copy()
        values[..., values.shape[2] // 2] = 0
        nibabel.save(nibabel.Nifti1Image(values, image.affine), path)
    name = path.relative_to(out).as_posix()
    for line in lines:
        if line["file"] == name:
            line["output_sha256"] = file_hash(path)
    write_record(out, lines)
    assert [p.file for p in verify(out, source=[source]).problems] == [name]
    assert "voxels outside of the mask" in verify(out, source=[source]).problems[0].what


def write_record(out, lines):
    write_lines(out / "audit.jsonl", lines)
    (out / "audit.seal.json").write_text(json.dumps(seal_of(out / "audit.jsonl")))


def test_the_record_names_the_structures_that_the_region_reaches(patient):
    _, outcome, _ = patient
    # Deep lies behind y = 2, the region in front of y = -2
    assert outcome.facts["not_to_be_analysed"] == ["BODY", "Brain"]
    assert any("not to be analysed" in note for note in outcome.facts["notes"])
    assert outcome.facts["written"]["defacemask"] == 1
    assert outcome.facts["written"]["SEG"] == 2


def test_numbers_and_descriptions_are_none_of_the_source(patient):
    source, _, out = patient
    before = {int(d.SeriesNumber) for d in map(pydicom.dcmread, source.rglob("*.dcm"))}
    series = {}
    for dataset in map(pydicom.dcmread, out.rglob("*.dcm")):
        assert int(dataset.SeriesNumber) not in before
        assert "[" in dataset.SeriesDescription
        series.setdefault(dataset.SeriesInstanceUID, set()).add(
            (int(dataset.SeriesNumber), dataset.SeriesDescription)
        )
    assert all(len(names) == 1 for names in series.values())


def test_a_plan_that_changes_more_than_its_mask_is_caught(tmp_path, monkeypatch):
    from defacedask.flow.stages import masking
    from defacedask.io.dicom.catalogue import scan
    from defacedask.volume import make_volume

    grid = geometry()
    make.write_series(tmp_path / "in", head_ct(grid), grid, "CT")
    series = scan(tmp_path / "in").cases[0].images[0]
    before = make_volume(head_ct(grid), grid, modality="CT", units="HU")
    monkeypatch.setattr("defacedask.defacers.hull.published", lambda *_: np.zeros(grid.shape, bool))
    with pytest.raises(DefacedaskError, match="outside of the mask"):
        masking.write_masks(["seg"], series, HalfSpace(-2.0), before, before + 1, [], None, None)


@pytest.mark.parametrize("tilt", ["oblique", "reversed"])
def test_any_orientation(tmp_path, tilt):
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    directions = {"oblique": turned, "reversed": np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0.0]])}[tilt]
    grid = geometry(directions)
    make.write_series(tmp_path / "in", head_ct(grid), grid, "CT")
    centre = float(grid.centre[1])
    _, out = run_export(tmp_path / "in", tmp_path, HalfSpace(centre - 2.0), masks=["seg"])
    (mask,) = of_folder(out, "SEG")
    (path,) = out.rglob("defacemask_*.dcm")
    assert named_errors(path) == set()
    slices = {d.SOPInstanceUID: d for d in of_folder(out, "CT")}
    for group in mask.PerFrameFunctionalGroupsSequence:
        of = slices[group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        there = [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        assert there == pytest.approx([float(v) for v in of.ImagePositionPatient], abs=1e-3)
    turned_by = mask.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    assert [float(v) for v in turned_by] == pytest.approx(
        [float(v) for v in of.ImageOrientationPatient], abs=1e-6
    )

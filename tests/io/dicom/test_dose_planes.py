"""RTDOSE as one file a plane: one dose in any order, out as it came; what makes no grid is refused."""

from __future__ import annotations

import copy

import numpy as np
import pydicom
import pytest
from support import make
from support.export_kit import KEY, HalfSpace, half_space, one_case, run_export, write_patient  # noqa: F401

from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.dose import read_dose
from defacedask.io.dicom.export.audit import collect
from defacedask.verify import verify
from defacedask.volume import geometry_of, real_values

PLAN = HalfSpace(-2.0)


def split(path, folder, *, tag="", scaling=None, order=None, change=None):
    """Planes of a dose file as files of one series; scaling(k) changes DoseGridScaling and keeps the dose."""
    whole = pydicom.dcmread(path)
    frames = whole.pixel_array
    offsets = [float(v) for v in whole.GridFrameOffsetVector]
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    order = list(range(len(frames))) if order is None else order
    for number, k in enumerate(order):
        one = copy.deepcopy(whole)
        one.SOPInstanceUID = make.uid(tag, "plane", k)
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        for keyword in ("NumberOfFrames", "FrameIncrementPointer", "GridFrameOffsetVector"):
            delattr(one, keyword)
        x, y, z = (float(v) for v in whole.ImagePositionPatient)
        one.ImagePositionPatient = make.ds([x, y, z + offsets[k]])
        factor = 1 if scaling is None else scaling(k)
        one.DoseGridScaling = make.ds([float(whole.DoseGridScaling) / factor])[0]
        one.PixelData = (frames[k] * factor).astype(np.uint16).tobytes()
        if change is not None and change(one, k) is False:
            continue
        one.save_as(folder / f"{tag}{number:03d}.dcm")
        out.append(folder / f"{tag}{number:03d}.dcm")
    return out


@pytest.fixture
def patient(tmp_path):
    """A patient, with the dose beside it as one file."""
    facts = write_patient(tmp_path / "in")
    (tmp_path / "in" / "RD.dcm").rename(tmp_path / "RD.dcm")
    return {**facts, "in": tmp_path / "in", "dose": tmp_path / "RD.dcm", "planes": tmp_path / "in" / "RD"}


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_planes_are_one_dose_and_leave_as_planes(patient, tmp_path, shuffled, scaled):
    order = np.random.default_rng(4).permutation(12).tolist() if shuffled else None
    files = split(
        patient["dose"], patient["planes"], order=order, scaling=(lambda k: 1 + k % 3) if scaled else None
    )
    case = one_case(patient["in"])
    (dose,) = case.doses
    assert len(dose.files) == len(dose.instances) == 12
    whole, joined = read_dose(patient["dose"]), read_dose(dose)
    assert geometry_of(joined).close_to(geometry_of(whole))
    assert np.allclose(real_values(joined), real_values(whole))
    outcome, out = run_export(patient["in"], tmp_path, PLAN)
    assert outcome.facts["written"]["RTDOSE"] == 12
    assert outcome.facts["held_back"] == []
    after = read_dose(one_case(out).doses[0])
    region = PLAN.region(geometry_of(whole))
    assert np.allclose(real_values(after).values[~region], real_values(whole).values[~region])
    assert (after.values[region] == 0).all()
    for source in files:
        old, new = pydicom.dcmread(source), pydicom.dcmread(out / "RD" / source.name)
        for keyword in ("ImagePositionPatient", "DoseGridScaling", "PixelSpacing"):
            assert old[keyword].value == new[keyword].value
    part = tmp_path / "record" / case.id / "half_space.jsonl"
    collect(out, [part], (), KEY)
    assert verify(out, key=KEY, source=[patient["in"]]).problems == []


def reference(beam=None, plan="plan"):
    def change(dataset, k):
        one = make.item(ReferencedSOPClassUID=make.SOP["RTPLAN"], ReferencedSOPInstanceUID=make.uid(plan))
        if beam is not None:
            beams = [make.item(ReferencedBeamNumber=beam)]
            group = make.item(ReferencedFractionGroupNumber=1, ReferencedBeamSequence=beams)
            one.ReferencedFractionGroupSequence = [group]
            dataset.DoseSummationType = "BEAM"
        dataset.ReferencedRTPlanSequence = [one]

    return change


def test_several_doses_in_one_series_are_told_apart(patient):
    """A plan's dose and those of its beams, planes in one heap."""
    split(patient["dose"], patient["planes"], tag="plan")
    split(patient["dose"], patient["planes"], tag="one", change=reference(1))
    split(patient["dose"], patient["planes"], tag="two", change=reference(2), scaling=lambda k: 2)
    split(patient["dose"], patient["planes"], tag="other", change=reference(plan="other"))
    found = scan(patient["in"])
    doses = found.cases[0].doses
    assert [len(dose.files) for dose in doses] == [12] * 4

    for dose in doses:
        assert len({f.rsplit("/", 1)[1].rstrip("0123456789.dcm") for f in dose.files}) == 1
        read_dose(dose)


def moved(axis, mm):
    def change(dataset, k):
        if k == 6:
            place = [float(v) for v in dataset.ImagePositionPatient]
            place[axis] += mm
            dataset.ImagePositionPatient = make.ds(place)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d, k: k != 5, "1 plane is missing"),
        (lambda d, k: k not in (3, 4, 8), "3 planes are missing"),
        (moved(2, 1), "unevenly spaced"),
        (moved(0, 2), "sideways"),
    ],
)
def test_what_makes_no_grid_is_refused_with_the_reason(patient, tmp_path, change, words):
    split(patient["dose"], patient["planes"], change=change)
    found = scan(patient["in"])
    assert found.cases[0].doses == ()
    (one,) = found.skipped
    assert words in one.reason
    assert one.modality == "RTDOSE"
    assert one.files >= 9
    _, out = run_export(patient["in"], tmp_path, PLAN)
    assert not (out / "RD").exists()


def test_two_doses_that_nothing_tells_apart_are_refused(patient):
    split(patient["dose"], patient["planes"], tag="a")
    split(patient["dose"], patient["planes"], tag="b", scaling=lambda k: 2)
    (one,) = scan(patient["in"]).skipped
    assert "nothing tells apart" in one.reason
    assert one.files == 24


def test_a_whole_dose_beside_planes_stays_one_of_its_own(patient):
    split(patient["dose"], patient["planes"])
    patient["dose"].rename(patient["in"] / "RD.dcm")
    assert sorted(len(dose.files) for dose in scan(patient["in"]).cases[0].doses) == [1, 12]

"""Objects that are damaged or cannot be judged are held back alone, with the true reason; the images go out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence
from support import make
from support.export_kit import HalfSpace, ball, geometry, half_space, run_export, write_patient  # noqa: F401
from support.rt_writers import contour, contours_of

from defacedask.io.dicom.export.objects import vectors_at_face
from defacedask.io.dicom.export.structures import clip_contours

GRID = geometry()
FILES = {"RTSTRUCT": "RS.dcm", "RTDOSE": "RD.dcm", "SEG": "SEG.dcm", "RTPLAN": "RP.dcm"}


def exported(
    folder: Path, modality: str, change: Callable[[Any], None]
) -> tuple[dict[str, Any], dict[str, str]]:
    """What was written, and modality -> reason of what was not, of a patient with one object changed."""
    write_patient(folder / "in")
    path = folder / "in" / FILES[modality]
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    outcome, _ = run_export(folder / "in", folder)
    lines = [json.loads(line) for line in next((folder / "record").rglob("*.jsonl")).read_text().splitlines()]
    return outcome.facts["written"], {
        line["modality"]: line["reason"] for line in lines if line["status"] == "refused"
    }


def no_contour_number(dataset):
    del dataset.ROIContourSequence[0].ReferencedROINumber


def no_number(dataset):
    dataset.StructureSetROISequence[1].ROINumber = None


def one_number_twice(dataset):
    """Whose contours are the body's cannot be known, so neither what may show the skin."""
    dataset.StructureSetROISequence[1].ROINumber = 1
    dataset.ROIContourSequence[1].ReferencedROINumber = 1


def uneven(dataset):
    dataset.GridFrameOffsetVector = make.ds([-3.0 * k - 0.2 * k * k for k in range(dataset.NumberOfFrames)])


def relative(dataset):
    dataset.DoseUnits = "RELATIVE"


def elsewhere(dataset):
    dataset.FrameOfReferenceUID = make.uid("elsewhere")


def drawn_elsewhere(dataset):
    """It refers to the image, and its coordinates are those of another."""
    elsewhere(dataset)
    for item in dataset.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = dataset.FrameOfReferenceUID
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = dataset.FrameOfReferenceUID


ODD = {
    "contours of nobody": (
        "RTSTRUCT",
        no_contour_number,
        "without a usable ROI number (ReferencedROINumber)",
    ),
    "a structure without a number": ("RTSTRUCT", no_number, "without a usable ROI number (ROINumber)"),
    "one number twice": ("RTSTRUCT", one_number_twice, "several of its structures have the ROI number 1"),
    "uneven dose planes": ("RTDOSE", uneven, "unevenly spaced"),
    "a relative dose": ("RTDOSE", relative, "in RELATIVE units, not in Gy"),
    "structures elsewhere": ("RTSTRUCT", drawn_elsewhere, "its structures lie in another frame of reference"),
    "segments elsewhere": ("SEG", elsewhere, "it lies in another frame of reference than the image"),
    "a dose elsewhere": ("RTDOSE", elsewhere, "it lies in another frame of reference"),
}


@pytest.mark.parametrize("what", ODD)
def test_it_is_held_back_alone_and_the_record_says_why(tmp_path, half_space, what):  # noqa: F811
    modality, change, reason = ODD[what]
    written, refused = exported(tmp_path, modality, change)
    assert written["CT"] == GRID.shape[0]
    assert modality not in written
    assert reason in refused[modality]
    assert list(refused) == [modality]


def fewer_planes(dataset):
    """Planes are 3 mm apart in the middle and 6 beside it, as planning systems save room."""
    kept = [0, 2, *range(4, 9), 11]
    offsets, stored = list(dataset.GridFrameOffsetVector), dataset.pixel_array[kept]
    dataset.GridFrameOffsetVector = [offsets[k] for k in kept]
    dataset.NumberOfFrames = len(kept)
    dataset.PixelData = stored.tobytes()


def test_a_dose_on_uneven_planes_is_cut_plane_by_plane(tmp_path, half_space):  # noqa: F811
    """Each plane comes out as it does among all planes, and nothing that was filled in is written."""
    (tmp_path / "even").mkdir()
    assert not exported(tmp_path / "even", "RTDOSE", lambda dataset: None)[1]
    written, refused = exported(tmp_path, "RTDOSE", fewer_planes)
    assert not refused
    assert written["RTDOSE"] == 1
    old, new, even = (
        pydicom.dcmread(path / "RD.dcm")
        for path in (tmp_path / "in", tmp_path / "out", tmp_path / "even" / "out")
    )
    assert new.GridFrameOffsetVector == old.GridFrameOffsetVector
    assert new.pixel_array.shape == old.pixel_array.shape == (8, *GRID.shape[1:])
    assert np.array_equal(new.pixel_array, even.pixel_array[[0, 2, *range(4, 9), 11]])
    assert (new.pixel_array != old.pixel_array).any()


def plan_with(points: int, ion: bool = False) -> Callable[[Any], None]:
    """A compensator of so many points in each of two beams."""

    def change(dataset):
        map_ = make.item(CompensatorThicknessData=make.ds(np.arange(points // 2) % 7))
        beams = [make.item(BeamNumber=n, CompensatorSequence=Sequence([map_])) for n in (1, 2)]
        dataset.BeamSequence = Sequence(beams)
        if ion:
            del dataset.BeamSequence
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.8"
            ions = [make.item(BeamNumber=n, IonRangeCompensatorSequence=Sequence([map_])) for n in (1, 2)]
            dataset.IonBeamSequence = Sequence(ions)

    return change


@pytest.mark.parametrize(
    ("points", "ion", "held"), [(1200, False, True), (1200, True, True), (1000, False, False)]
)
def test_compensators_that_may_be_a_relief_of_the_skin_stay(tmp_path, half_space, points, ion, held):  # noqa: F811
    written, refused = exported(tmp_path, "RTPLAN", plan_with(points, ion))
    assert written["CT"] == GRID.shape[0]
    assert ("RTPLAN" in refused) is held
    assert ("RTPLAN" in written) is not held
    if held:
        assert "maps of 1200 points, which may follow the skin" in refused["RTPLAN"]


def without_frame(dataset):
    """The frames' own references are all that tells whose image it is."""
    del dataset.FrameOfReferenceUID


def label_map(dataset):
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    values = dataset.pixel_array.astype(np.uint8)
    dataset.SegmentationType = "LABELMAP"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = values.tobytes()


@pytest.mark.parametrize("change", [without_frame, label_map])
def test_segmentations_of_all_kinds_find_their_image_and_are_cleared(tmp_path, half_space, change):  # noqa: F811
    written, refused = exported(tmp_path, "SEG", change)
    assert not refused
    assert written["SEG"] == 1
    new = pydicom.dcmread(tmp_path / "out" / "SEG.dcm").pixel_array
    region = HalfSpace(-2.0).region(GRID)
    assert not new[region].any()
    assert new[~region].any()


def registration(folder: Path, frame: str, origin: Any, filled: bool = True) -> Path:
    """A deformable registration whose vectors end at the edge of a ball."""
    dataset = make.new("REG", "P1", "deformable", instance=0, sop_class="1.2.840.10008.5.1.4.1.1.66.3")
    dataset.FrameOfReferenceUID = frame
    vectors = np.repeat(np.where(ball(GRID), 3.0, 0.0)[..., None], 3, axis=-1).astype("<f4")
    grid = make.item(
        ImagePositionPatient=make.ds(origin),
        ImageOrientationPatient=make.ds([1, 0, 0, 0, 1, 0]),
        GridDimensions=list(GRID.shape[::-1]),
        GridResolution=[float(mm) for mm in GRID.spacing[::-1]],
        VectorGridData=vectors.tobytes(),
    )
    part = make.item(SourceFrameOfReferenceUID=make.uid("other"))
    part.DeformableRegistrationGridSequence = Sequence([grid] if filled else [])
    dataset.DeformableRegistrationSequence = Sequence([part])
    return make.save(dataset, folder / "REG.dcm")


@pytest.mark.parametrize(
    ("frame", "away", "filled", "shown"),
    [
        (GRID.frame_of_reference, 0.0, True, True),
        (GRID.frame_of_reference, 200.0, True, False),
        (GRID.frame_of_reference, 0.0, False, False),
        ("1.2.3.4", 200.0, True, True),
    ],
    ids=["at the face", "behind it", "without a grid", "at a place that is not known"],
)
def test_vectors_that_reach_the_face_are_seen(tmp_path, frame, away, filled, shown):
    path = registration(tmp_path, frame, GRID.origin + np.array([0, away, 0]), filled)
    assert vectors_at_face(str(path), HalfSpace(-2.0), GRID.frame_of_reference) is shown


def test_a_deformable_registration_at_the_face_is_held_back(tmp_path, half_space):  # noqa: F811
    write_patient(tmp_path / "in")
    registration(tmp_path / "in", GRID.frame_of_reference, GRID.origin)
    outcome, out = run_export(tmp_path / "in", tmp_path)
    (held,) = outcome.facts["held_back"]
    assert "vector grid" in held["reason"]
    assert not list(out.rglob("REG*"))


class Shell(HalfSpace):
    """A layer 8 mm deep that follows the skin of a ball, and all before it: its inner edge draws the skin again."""

    defacer = "shell"
    flat = False

    def wanted(self, geometry, xp=np):
        x, y, z = geometry.positions(xp, np.float64)
        cx, cy, cz = GRID.centre
        return xp.broadcast_to(
            ((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 > 8.0**2) & (y < cy), geometry.shape
        )


def structures(lines: list[Any], name: str, kind: str) -> Any:
    dataset = make.new("RTSTRUCT", "P1", "structures", instance=0)
    dataset.FrameOfReferenceUID = GRID.frame_of_reference
    dataset.StructureSetROISequence = Sequence([make.item(ROINumber=1, ROIName=name)])
    dataset.RTROIObservationsSequence = Sequence(
        [make.item(ReferencedROINumber=1, RTROIInterpretedType=kind)]
    )
    dataset.ROIContourSequence = Sequence([make.item(ReferencedROINumber=1, ContourSequence=Sequence(lines))])
    return dataset


def left_of(dataset: Any) -> np.ndarray:
    return np.concatenate(
        [
            np.array(one.ContourData, dtype=float).reshape(-1, 3)
            for roi in dataset.ROIContourSequence
            for one in roi.get("ContourSequence", None) or ()
        ]
        or [np.zeros((0, 3))]
    )


def test_an_outline_between_the_slices_takes_the_surface_of_the_nearest():
    """Contours of a finer scan lie between the slices, and would keep the old skin's shape."""
    lines = [contour(points + np.array([0, 0, 1.1])) for points in contours_of(ball(GRID), GRID)]
    dataset = structures(lines, "BODY", "EXTERNAL")
    body = ball(GRID) & (GRID.positions(dtype=np.float64)[1] > GRID.centre[1])  # the front is gone
    asked = []

    def surface(k):
        asked.append(k)
        return body[k]

    clip_contours(dataset, Shell(0.0), GRID, surface)
    assert set(asked) <= set(range(GRID.shape[0]))
    assert len(asked) >= len(lines) - 1
    points = left_of(dataset) - GRID.centre
    assert len(points)
    skin = (np.linalg.norm(points[:, :2], axis=1) > 9.0) & (points[:, 1] < -2.5)
    assert not (skin & (np.abs(points[:, 2]) < 8.0)).any()


@pytest.mark.parametrize("name", ["BODY", "X1"])
def test_a_contour_across_the_slices_that_meets_a_curved_region_goes_whole(name):
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    cx, cy, cz = GRID.centre
    profile = np.stack([np.full(90, cx), cy + 16 * np.sin(angle), cz + 16 * np.cos(angle)], axis=1)
    dataset = structures([contour(profile)], name, "")
    (clipped,) = clip_contours(dataset, Shell(0.0), GRID, lambda k: None)
    assert clipped.removed == 1
    assert not len(left_of(dataset))
    # behind the region, and with a flat one, it stays or is cut as it always was
    behind = structures([contour(profile + np.array([0, 60, 0]))], name, "")
    assert not clip_contours(behind, Shell(0.0), GRID, lambda k: None)[0].touched
    flat = structures([contour(profile)], "X1", "")
    assert clip_contours(flat, HalfSpace(float(cy)), GRID, lambda k: None)[0].changed == 1

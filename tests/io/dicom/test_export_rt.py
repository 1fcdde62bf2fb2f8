"""What hangs on the image: structures clipped, dose cut, references moved, segmentations cleared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make
from support.export_kit import (
    KEY,
    HalfSpace,
    ball,
    geometry,
    half_space,  # noqa: F401
    head_ct,
    one_case,
    run_export,
    write_patient,
    write_segments,
    write_structures,
)
from support.rt_writers import contour, contours_of

from defacedask.flow.stages.ingest import ingest
from defacedask.io.dicom.dose import read_dose
from defacedask.io.dicom.export import UidMap
from defacedask.io.dicom.export.clip import PlaneRegions, pieces, plane_of
from defacedask.io.dicom.export.structures import clip_contours, is_outline, is_skin
from defacedask.io.dicom.overlap import as_polygon
from defacedask.io.dicom.structures import read_structures
from defacedask.volume import geometry_of

PLAN = HalfSpace(-2.0)


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """One patient, exported with the half-space."""
    from defacedask import defacers

    folder = tmp_path_factory.mktemp("patient")
    facts = write_patient(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
        outcome, out = run_export(folder / "in", folder)
    return {**facts, "in": folder / "in", "out": out, "outcome": outcome}


def masks(path: Path, grid) -> dict[str, np.ndarray]:
    return {s.original_name: s.full(grid.shape) for s in read_structures(path, grid)}


def raw_contours(path: Path) -> dict[str, list[bytes]]:
    dataset = pydicom.dcmread(path)
    names = {int(i.ROINumber): i.ROIName for i in dataset.StructureSetROISequence}
    return {
        names[int(roi.ReferencedROINumber)]: [
            c.get_item(0x30060050).value for c in roi.get("ContourSequence", None) or ()
        ]
        for roi in dataset.ROIContourSequence
    }


def test_everything_is_written(patient):
    assert patient["outcome"].facts["written"] == {
        "CT": 12,
        "RTDOSE": 1,
        "RTSTRUCT": 1,
        "RTPLAN": 1,
        "SEG": 1,
    }
    assert patient["outcome"].facts["held_back"] == []


def test_masks_lose_the_region_and_nothing_else(patient):
    grid = patient["grid"]
    region = PLAN.region(grid)
    before, after = masks(patient["structures"], grid), masks(patient["out"] / "RS.dcm", grid)
    assert list(before) == list(after)
    for name, mask in before.items():
        assert mask.any()
        assert (after[name] == (mask & ~region)).all(), name
    assert (before["BODY"] & region).any()
    assert (before["Brain"] & region).any()


def test_untouched_contours_keep_their_bytes(patient):
    before, after = raw_contours(patient["structures"]), raw_contours(patient["out"] / "RS.dcm")
    assert before["Deep"] == after["Deep"]
    assert before["BODY"] != after["BODY"]


def test_vertices_that_stay_keep_their_text(patient):
    before, after = raw_contours(patient["structures"]), raw_contours(patient["out"] / "RS.dcm")

    def triples(values: list[bytes]) -> set[tuple[bytes, ...]]:
        fields = [v.strip().split(b"\\") for v in values]
        return {tuple(f[i : i + 3]) for f in fields for i in range(0, len(f), 3)}

    old, new = triples(before["Brain"]), triples(after["Brain"])
    posterior = {t for t in old if float(t[1]) > -1.2}
    assert posterior <= new
    assert all(float(t[1]) > -2.8 for t in new)


def test_numbers_colours_types_and_points_fit(patient):
    old, new = pydicom.dcmread(patient["structures"]), pydicom.dcmread(patient["out"] / "RS.dcm")
    assert old.RTROIObservationsSequence == new.RTROIObservationsSequence
    assert old.StructureSetROISequence == new.StructureSetROISequence
    for roi in new.ROIContourSequence:
        for one in roi.ContourSequence:
            assert len(one.ContourData) == 3 * one.NumberOfContourPoints
            assert one.ContourGeometricType == "CLOSED_PLANAR"


def test_all_references_lead_to_what_was_written(patient):
    new = pydicom.dcmread(patient["out"] / "RS.dcm")
    images = {
        pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in patient["out"].glob("CT/*.dcm")
    }
    one = pydicom.dcmread(next(patient["out"].glob("CT/*.dcm")), stop_before_pixels=True)
    frame = new.ReferencedFrameOfReferenceSequence[0]
    study = frame.RTReferencedStudySequence[0]
    series = study.RTReferencedSeriesSequence[0]
    assert frame.FrameOfReferenceUID == one.FrameOfReferenceUID == patient["grid"].frame_of_reference
    assert study.ReferencedSOPInstanceUID == one.StudyInstanceUID
    assert series.SeriesInstanceUID == one.SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in series.ContourImageSequence} == images
    for roi in new.ROIContourSequence:
        for item in roi.ContourSequence:
            assert item.ContourImageSequence[0].ReferencedSOPInstanceUID in images
    assert all(
        r.ReferencedFrameOfReferenceUID == one.FrameOfReferenceUID for r in new.StructureSetROISequence
    )
    dose, plan = pydicom.dcmread(patient["out"] / "RD.dcm"), pydicom.dcmread(patient["out"] / "RP.dcm")
    assert dose.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == new.SOPInstanceUID
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == new.SOPInstanceUID
    segments = pydicom.dcmread(patient["out"] / "SEG.dcm")
    for group in segments.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID in images
    # the case of what was written is whole again for a reader
    case = one_case(patient["out"])
    assert [len(k) for k in (case.images, case.structures, case.doses, case.plans, case.others)] == [1] * 5


def test_dose_is_cut_and_keeps_grid_and_scaling(patient):
    before, after = read_dose(patient["in"] / "RD.dcm"), read_dose(patient["out"] / "RD.dcm")
    assert geometry_of(before) == geometry_of(after)
    region = PLAN.region(geometry_of(before))
    assert (before.slope == after.slope).all()
    assert (after.values[region] == 0).all()
    assert (after.values[~region] == before.values[~region]).all()
    assert before.values[region].all()
    old, new = pydicom.dcmread(patient["in"] / "RD.dcm"), pydicom.dcmread(patient["out"] / "RD.dcm")
    for keyword in (
        "DoseGridScaling",
        "GridFrameOffsetVector",
        "FrameIncrementPointer",
        "ImagePositionPatient",
    ):
        assert old[keyword].value == new[keyword].value


def test_segmentation_is_cleared(patient):
    old, new = pydicom.dcmread(patient["in"] / "SEG.dcm"), pydicom.dcmread(patient["out"] / "SEG.dcm")
    region = PLAN.region(patient["grid"])
    assert (old.pixel_array[region] != 0).any()
    assert (new.pixel_array == np.where(region, 0, old.pixel_array)).all()


def test_a_dose_in_another_frame_of_reference_is_neither_cut_nor_passed_on(tmp_path, half_space):  # noqa: F811
    """Its numbers may mean another place: a plan of the image would take something else, and leave the face."""
    write_patient(tmp_path / "in")
    (path,) = [p for p in (tmp_path / "in").rglob("*.dcm") if pydicom.dcmread(p).Modality == "RTDOSE"]
    dataset = pydicom.dcmread(path)
    dataset.FrameOfReferenceUID = pydicom.uid.generate_uid()
    dataset.save_as(path)
    facts = ingest(case=one_case(tmp_path / "in").to_dict(), root=str(tmp_path / "looked")).facts
    assert facts["doses"] == []
    assert any("another frame of reference" in note for note in facts["notes"])
    outcome, out = run_export(tmp_path / "in", tmp_path)
    assert [pydicom.dcmread(p).Modality for p in out.rglob("*.dcm")].count("RTDOSE") == 0
    assert len(outcome.facts["held_back"]) == 1


def test_a_segmentation_of_the_skin_is_held_back(tmp_path):
    grid = geometry()
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    write_segments(tmp_path / "in", files, grid, {"Skin": ball(grid)})
    outcome, out = run_export(tmp_path / "in", tmp_path)
    assert "skin" in outcome.facts["held_back"][0]["reason"]
    assert not (out / "SEG.dcm").exists()


def test_targets_that_were_clipped_are_facts_of_the_export(tmp_path):
    grid = geometry()
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    whole = contours_of(ball(grid, 6.0) & (grid.positions(dtype=np.float64)[1] > 2.0), grid)
    rois = [
        ("BODY", "EXTERNAL", contours_of(ball(grid), grid)),
        ("PTV70", "PTV", contours_of(ball(grid, 9.0), grid)),
        ("Boost", "GTV", whole),
        ("Brain", "ORGAN", contours_of(ball(grid, 12.0), grid)),
    ]
    write_structures(tmp_path / "in", files, grid, rois)
    outcome, _ = run_export(tmp_path / "in", tmp_path)
    (said,) = outcome.facts["targets"]
    assert said.startswith("PTV70: ")
    assert any(note == f"RTSTRUCT: {said}" for note in outcome.facts["notes"])
    assert any("Brain: " in note for note in outcome.facts["notes"])


def test_a_sliver_of_a_target_that_holds_no_voxel_is_a_note_and_no_lost_target(tmp_path):
    grid = geometry()
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    _, y, _ = grid.positions(dtype=np.float64)
    kept = contours_of(ball(grid, 6.0) & (y > 2.0), grid)
    # a tip into the region, whose edge runs at -1.5 mm, but not as far as its first voxel centres at -2.25 mm
    tip = kept[0].copy()
    tip[int(np.argmin(tip[:, 1])), 1] = -2.0
    write_structures(
        tmp_path / "in",
        files,
        grid,
        [("BODY", "EXTERNAL", contours_of(ball(grid), grid)), ("Boost", "GTV", [tip, *kept[1:]])],
    )
    outcome, _ = run_export(tmp_path / "in", tmp_path)
    assert any("Boost: 1 contour clipped" in note for note in outcome.facts["notes"])
    assert outcome.facts["targets"] == []


# --- contours of all kinds, without files


def clipped(grid, rois, plan=PLAN, surface=lambda k: None, **options):
    """Structure set of rois, clipped in memory."""
    dataset = make.item(StructureSetROISequence=[], ROIContourSequence=[], RTROIObservationsSequence=[])
    for number, (name, kind, lines) in enumerate(rois, 1):
        dataset.StructureSetROISequence.append(make.item(ROINumber=number, ROIName=name))
        items = [line if isinstance(line, pydicom.Dataset) else contour(line) for line in lines]
        dataset.ROIContourSequence.append(make.item(ReferencedROINumber=number, ContourSequence=items))
        dataset.RTROIObservationsSequence.append(
            make.item(ReferencedROINumber=number, RTROIInterpretedType=kind)
        )
    results = clip_contours(dataset, plan, grid, surface, **options)
    lines = [
        [np.array(c.ContourData, float).reshape(-1, 3) for c in roi.get("ContourSequence", None) or ()]
        for roi in dataset.ROIContourSequence
    ]
    return lines, results


def ring(z: float, radius: float, points: int = 40) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([radius * np.cos(t), radius * np.sin(t), np.full(points, z)])


def area(lines: list[np.ndarray]) -> float:
    """Area by the even-odd rule, mm²."""
    total = None
    for line in lines:
        one = as_polygon(line[:, :2])
        total = one if total is None else total.symmetric_difference(one)
    return 0.0 if total is None else total.area


def test_holes_and_keyholes():
    grid, z = geometry(), 112.0
    outer, inner = ring(z, 14), ring(z, 8)
    key = np.concatenate([outer, outer[:1], inner[:1], inner[::-1], outer[:1]])
    (two, keyhole), _ = clipped(grid, [("A", "ORGAN", [outer, inner]), ("B", "ORGAN", [key])])
    full = area([outer, inner])
    assert area([key]) == pytest.approx(full, rel=1e-6)
    assert area(two) == pytest.approx(area(keyhole), rel=1e-4)
    assert 0.4 * full < area(two) < 0.7 * full
    assert min(line[:, 1].min() for line in two) > -2.8


def test_an_island_of_the_region_inside_a_hole_of_its_own_does_not_fill_it():
    """A ring of region around a hole that is a contour of its own leaves twice the same piece, which is nothing."""

    class Ring(HalfSpace):
        defacer = "ring"

        def wanted(self, geometry, xp=np):
            x, y, _ = geometry.positions(xp, np.float64)
            away = np.hypot(x, y)
            return xp.broadcast_to((away > 7) & (away < 14), geometry.shape).copy()

    grid = geometry()
    (lines,), (found,) = clipped(grid, [("A", "PTV", [ring(112.0, 18), ring(112.0, 10)])], plan=Ring(0.0))
    # outside the ring of region the target stays; inside it there was a hole, and is
    assert len(lines) == 1
    assert np.hypot(lines[0][:, 0], lines[0][:, 1]).min() > 12
    assert (found.changed, found.removed, found.left) == (1, 1, 1)


def test_a_region_inside_a_contour_leaves_a_keyhole():
    import shapely

    area_ = shapely.Point(0, 0).buffer(10).difference(shapely.union_all(
        [shapely.Point(-4, 0).buffer(2), shapely.Point(4, 0).buffer(3)]
    ))  # fmt: skip
    (line,) = pieces(area_)
    assert as_polygon(line).area == pytest.approx(area_.area, rel=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_clipped_areas_never_enter_the_region(seed):
    rng = np.random.default_rng(seed)
    grid = geometry()
    t = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 30)))
    radius = rng.uniform(2, 18, len(t))
    z = 100.0 + rng.uniform(0, 33)
    line = np.column_stack([radius * np.cos(t), radius * np.sin(t), np.full(len(t), z)]).round(2)
    if rng.random() < 0.3:
        rng.shuffle(line)  # crosses itself
    (lines,), _ = clipped(grid, [("A", "ORGAN", [line])])
    plane = plane_of(line, grid)
    region = PlaneRegions(PLAN, grid).polygon(plane)
    before = as_polygon(plane.grid.to_index(line)[:, 1:])
    after = [as_polygon(plane.grid.to_index(part)[:, 1:]) for part in lines]
    assert sum(part.intersection(region).area for part in after) < 1e-2
    kept = before.difference(region).area
    assert sum(part.area for part in after) == pytest.approx(kept, abs=0.05)


def test_contours_between_slices_and_across_slices():
    grid = geometry()
    between = ring(113.4, 12)
    across = ring(0, 12)[:, [2, 1, 0]] + (0, 0, 115)  # sagittal
    (first, second), _ = clipped(grid, [("A", "ORGAN", [between]), ("B", "ORGAN", [across])])
    assert min(line[:, 1].min() for line in first) > -2.8
    assert all(line[:, 2] == pytest.approx(113.4) for line in first)
    assert min(line[:, 1].min() for line in second) > -3.0
    assert second[0][:, 0] == pytest.approx(0, abs=1e-3)


def test_points_and_open_lines_in_the_region_go():
    grid = geometry()
    inside, outside = (
        contour(np.array([[0.0, -10, 112]]), "POINT"),
        contour(np.array([[0.0, 8, 112]]), "POINT"),
    )
    line = contour(np.array([[0.0, 8, 112], [0, -9, 112], [1, -9, 112]]), "OPEN_PLANAR")
    (left,), results = clipped(grid, [("A", "MARKER", [inside, outside, line])])
    assert len(left) == 1
    assert left[0][0, 1] == 8
    assert results[0].removed == 2


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("PTV70", "", True),
        ("x", "GTV", True),
        ("Target", "", True),
        ("PTV_ring", "", False),
        ("Eye_L", "ORGAN", False),
    ],
)
def test_a_target_that_was_clipped_is_known_to_be_one(name, kind, target):
    grid = geometry()
    _, (cut,) = clipped(grid, [(name, kind, [ring(112, 9.0)])])
    _, (whole,) = clipped(grid, [(name, kind, [ring(112, 1.5)])])
    assert (cut.target, cut.touched) == (target, True)
    assert (whole.target, whole.touched) == (target, False)


def test_structures_in_another_frame_lose_their_contours():
    grid = geometry()
    dataset = make.item(
        StructureSetROISequence=[
            make.item(ROINumber=1, ROIName="A", ReferencedFrameOfReferenceUID="1.2.3.9")
        ],
        ROIContourSequence=[make.item(ReferencedROINumber=1, ContourSequence=[contour(ring(112, 5))])],
    )
    (result,) = clip_contours(dataset, PLAN, grid, lambda k: None)
    assert result.removed == 1
    assert "ContourSequence" not in dataset.ROIContourSequence[0]


def test_the_outline_takes_the_surface_of_the_defaced_image():
    grid = geometry()
    added = ball(grid, 16.0)
    added[:, : added.shape[1] // 2] |= np.roll(ball(grid, 16.0), -3, axis=1)[:, : added.shape[1] // 2]
    body = contours_of(ball(grid), grid)
    (lines,), _ = clipped(grid, [("BODY", "EXTERNAL", body)], surface=lambda k: added[k])
    from defacedask.io.dicom.contours import rasterise

    polygons, planes = [], []
    for line in lines:
        index = grid.to_index(line)
        polygons.append(index[:, 1:])
        planes.append(round(index[0, 0]))
    mask = np.zeros(grid.shape, bool)
    part, corner = rasterise(polygons, planes, grid.shape[1:], grid.shape[0])
    mask[:, corner[0] : corner[0] + part.shape[1], corner[1] : corner[1] + part.shape[2]] = part
    region = PLAN.region(grid)
    drawn = np.isin(np.arange(grid.shape[0]), planes)
    expected = (ball(grid) & ~region) | (added & region)
    large = drawn & (expected.sum(axis=(1, 2)) > 200)  # specks of new surface are no outline
    assert large.sum() > 5
    assert (mask[large] == expected[large]).all()


def test_what_follows_the_skin_loses_a_margin_or_goes():
    grid = geometry()
    lines = [ring(112, 15)]
    (organ, bolus), _ = clipped(grid, [("PTV", "PTV", lines), ("Bolus 5mm", "", lines)])
    assert min(p[:, 1].min() for p in organ) < -1.0
    assert min(p[:, 1].min() for p in bolus) > 6.0
    (organ, bolus), _ = clipped(grid, [("PTV", "PTV", lines), ("Bolus 5mm", "", lines)], additive=True)
    assert organ
    assert not bolus


def test_additive_plan_end_to_end(tmp_path):
    grid = geometry()
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    lines = contours_of(ball(grid), grid)
    write_structures(
        tmp_path / "in", files, grid, [("External", "EXTERNAL", lines), ("Skin shell", "", lines)]
    )
    plan = HalfSpace(-10.0, material=30.0)
    _, out = run_export(tmp_path / "in", tmp_path, plan)
    after = masks(out / "RS.dcm", grid)
    region = plan.region(grid)
    middle = slice(4, 8)
    assert after["External"][middle][region[middle]].all()
    assert not (after["Skin shell"] & region).any()
    assert (after["External"] & ~region == ball(grid) & ~region).all()


@pytest.mark.parametrize(
    ("name", "kind", "outline", "skin"),
    [
        ("BODY", "EXTERNAL", True, True),
        ("x", "EXTERNAL", True, False),
        ("External_1", "", True, True),
        ("Bolus 5mm", "", False, True),
        ("x", "BOLUS", False, True),
        ("Thermoplastic mask", "ORGAN", False, True),
        ("Brain", "ORGAN", False, False),
        ("Vertebral body C2", "ORGAN", False, False),
        ("PTV70", "PTV", False, False),
    ],
)
def test_names(name, kind, outline, skin):
    assert is_outline(name, kind) is outline
    assert is_skin(name, kind) is skin


def test_the_map_is_one_for_the_cohort(patient, tmp_path):
    uids = UidMap(KEY)
    case = one_case(patient["in"])
    expected = {uids(u) for s in case.series for u in s.instances}
    written = {s for k in one_case(patient["out"]).series for s in k.instances}
    assert written == expected


def test_a_dose_that_goes_on_says_so(tmp_path, monkeypatch):
    from defacedask.io.dicom.export.record import CARRIED_ON

    write_patient(tmp_path / "in")
    fill = HalfSpace.fill

    def more(self, values, region, geometry, modality, xp=np):
        dose = modality == "RTDOSE"
        return values + 1 if dose else fill(self, values, region, geometry, modality, xp)

    monkeypatch.setattr(HalfSpace, "fill", more)
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0))
    dataset = pydicom.dcmread(out / "RD.dcm")
    before = pydicom.dcmread(tmp_path / "in" / "RD.dcm")
    assert (dataset.pixel_array.astype(int) - before.pixel_array).max() > 0
    assert dataset.DoseComment == CARRIED_ON
    assert len(CARRIED_ON) <= 64
    assert "neither planned" in dataset.DerivationDescription
    assert any("goes on in front" in note for note in outcome.facts["notes"])


def test_the_region_in_a_box_is_that_of_the_whole_image():
    """Asked of the boxes of structures alone, slab by slab, it is what it is everywhere."""
    from scipy.ndimage import distance_transform_edt

    from defacedask.geometry import Geometry
    from defacedask.io.dicom.export.shape import _Regions, _spread

    class Slanted:
        asked = 0

        def region(self, grid):
            x, y, z = grid.positions(dtype=np.float64)
            self.asked += int(np.prod(grid.shape))
            return (x + 0.7 * y + 0.3 * z > 25.0) & (x + y < 60.0)

    grid = Geometry.from_spacing((40, 60, 60), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    plan = Slanted()
    whole = plan.region(grid)
    plan.asked = 0
    boxes = [(slice(20, 30), slice(5, 12), slice(4, 30)), (slice(0, 25), slice(0, 9), slice(8, 9))]
    regions = _Regions(plan, grid, boxes)
    far = distance_transform_edt(~whole, sampling=grid.spacing)
    for box in boxes:
        np.testing.assert_array_equal(regions.near(box), _spread(whole)[box])
        np.testing.assert_array_equal(regions.deep(box), ~_spread(~whole)[box])
        np.testing.assert_array_equal(regions.grown(box, 12.0), (far <= 12.0)[box])
        assert regions.near(box).any()
        assert not regions.deep(box).all()
    assert 0 < plan.asked < whole.size

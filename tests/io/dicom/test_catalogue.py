"""Grouping, ordering, linking and naming, on synthetic series."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make

from defacedask.errors import ConfigError, InputError
from defacedask.geometry import Geometry
from defacedask.io.dicom.bulk import read_headers
from defacedask.io.dicom.catalogue import Case, case_id, scan


def only_image(folder):
    result = scan(folder)
    assert not result.skipped, result.skipped
    (case,) = result.cases
    (image,) = case.images
    return image


def assert_same_place(image, geometry, slices=None):
    """Each file's slice lies where the grid puts it."""
    found = Geometry.from_dict(image.geometry)
    for k, path in enumerate(image.files):
        own = int(re.search(r"(\d{4})\.dcm$", path).group(1))
        for y, x in ((0, 0), (geometry.shape[1] - 1, 0), (0, geometry.shape[2] - 1)):
            np.testing.assert_allclose(found.to_world([k, y, x]), geometry.to_world([own, y, x]), atol=1e-6)


@pytest.mark.parametrize("number", range(48))
def test_all_orientations(tmp_path, number):
    geometry = make.grid(directions=make.orientations()[number])
    make.write_series(tmp_path, make.ramp(geometry.shape), geometry)
    image = only_image(tmp_path)
    assert_same_place(image, geometry)
    found = Geometry.from_dict(image.geometry)
    # ascending along row x column: the three axes are always right-handed as (x, y, z)
    assert np.linalg.det(found.directions[:, ::-1]) > 0
    assert found.frame_of_reference == geometry.frame_of_reference
    assert sorted(found.codes) == sorted(geometry.codes) or found.codes[1:] == geometry.codes[1:]


@settings(max_examples=20)
@given(
    angles=st.tuples(*[st.floats(-np.pi, np.pi)] * 3),
    spacing=st.tuples(st.floats(0.4, 6), st.floats(0.3, 5), st.floats(0.3, 5)),
    reverse=st.booleans(),
)
def test_oblique_stacks(tmp_path_factory, angles, spacing, reverse):
    (a, b, c) = angles
    turn = (
        np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        @ np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    )
    if reverse:
        turn[:, 0] *= -1
    folder = tmp_path_factory.mktemp("oblique")
    geometry = make.grid(shape=(3, 4, 5), spacing=spacing, directions=turn)
    make.write_series(folder, make.ramp(geometry.shape), geometry)
    assert_same_place(only_image(folder), geometry)


@pytest.mark.parametrize("degrees", [-30.0, 7.5, 20.0])
def test_gantry_tilt_is_a_shear(tmp_path, degrees):
    tilt = np.deg2rad(degrees)
    axes = np.array([[0, 0, 1.0], [0, np.cos(tilt), 0], [1, np.sin(tilt), 0]])[:, [0, 1, 2]]
    axes = np.column_stack([[0, 0, 1.0], [0, np.cos(tilt), np.sin(tilt)], [1.0, 0, 0]])
    geometry = make.grid(directions=axes, shape=(6, 8, 9))
    make.write_series(tmp_path, make.ramp(geometry.shape), geometry)
    image = only_image(tmp_path)
    assert_same_place(image, geometry)
    found = Geometry.from_dict(image.geometry)
    assert abs(found.directions[:, 0] @ found.directions[:, 1]) == pytest.approx(abs(np.sin(tilt)), abs=1e-9)


def test_rounded_positions_are_even(tmp_path):
    geometry = make.grid(shape=(40, 4, 4), spacing=(0.625, 1, 1))

    def rounded(dataset, k):
        dataset.ImagePositionPatient = [f"{float(v):.1f}" for v in dataset.ImagePositionPatient]

    make.write_series(tmp_path, make.ramp(geometry.shape), geometry, change=rounded)
    found = Geometry.from_dict(only_image(tmp_path).geometry)
    assert found.spacing[0] == pytest.approx(0.625, abs=0.1 / 39)


def test_names_and_order_of_files_do_not_matter(tmp_path):
    geometry = make.grid()
    paths = make.write_series(tmp_path / "a", make.ramp(geometry.shape), geometry)
    first = only_image(tmp_path / "a")
    for k, path in enumerate(paths):
        path.rename(path.with_name(f"{(k * 3) % 5}-{path.stem}"))
    assert only_image(tmp_path / "a").instances == first.instances


# --- cases


def test_cases_by_patient_and_frame(tmp_path):
    grid = make.grid()
    other = make.grid(frame=make.uid("other frame"))
    make.write_series(tmp_path, make.ramp(grid.shape), grid, series="ct")
    make.write_series(tmp_path, make.ramp(grid.shape), grid, "PT", series="pet")
    make.write_series(tmp_path, make.ramp(grid.shape), other, "MR", series="mr")
    make.write_series(tmp_path, make.ramp(grid.shape), grid, "MR", series="else", patient="P2")
    cases = scan(tmp_path).cases
    assert sorted((c.patient_id, sorted(s.modality for s in c.images)) for c in cases) == [
        ("P1", ["CT", "PT"]),
        ("P1", ["MR"]),
        ("P2", ["MR"]),
    ]
    assert len({case.id for case in cases}) == 3
    pair = next(case for case in cases if len(case.images) == 2)
    assert pair.primary.modality == "CT"
    assert Case.from_dict(json.loads(json.dumps(pair.to_dict()))) == pair


def test_same_series_uid_in_two_patients(tmp_path):
    grid = make.grid()
    same = make.uid("one series")
    for patient in ("P1", "P2"):
        make.write_series(
            tmp_path / patient,
            make.ramp(grid.shape),
            grid,
            patient=patient,
            change=lambda d, k: setattr(d, "SeriesInstanceUID", same),
        )
    result = scan(tmp_path)
    assert [case.patient_id for case in result.cases] == ["P1", "P2"] or len(result.cases) == 2
    for case in result.cases:
        assert all(f"/{case.patient_id}/" in file for file in case.primary.files)


def test_without_frame_each_series_is_its_own_case(tmp_path):
    grid = make.grid(frame="")
    for name in ("one", "two"):
        make.write_series(tmp_path, make.ramp(grid.shape), grid, "MR", series=name)
    make.write_struct(tmp_path / "rs.dcm", ["A"], series_uid=make.uid("P1", "two"))
    cases = scan(tmp_path).cases
    assert len(cases) == 2
    assert {case.primary.description: len(case.structures) for case in cases} == {"one": 0, "two": 1}


def test_objects_are_linked(tmp_path):
    grid = make.grid()
    make.write_series(tmp_path, make.ramp(grid.shape), grid)
    make.write_struct(
        tmp_path / "by_frame.dcm", ["Brain", "Eye_L"], series="s1", frame=grid.frame_of_reference
    )
    one = make.uid("P1", "images", "instance", 2)
    make.write_struct(tmp_path / "by_instance.dcm", ["PTV"], series="s2", instances=[one])
    struct = make.uid("P1", "s1", "instance", 0)
    plan = make.new("RTPLAN", "P1", "plan", instance=0)
    plan.RTPlanLabel = "PLAN"
    plan.ReferencedStructureSetSequence = [make.item(ReferencedSOPInstanceUID=struct)]
    make.save(plan, tmp_path / "plan.dcm")
    dose = make.new("RTDOSE", "P1", "dose", instance=0)
    dose.ReferencedRTPlanSequence = [make.item(ReferencedSOPInstanceUID=plan.SOPInstanceUID)]
    dose.DoseUnits, dose.NumberOfFrames = "GY", 2
    make.set_pixels(dose, np.zeros((2, 3, 4), np.uint16))
    make.save(dose, tmp_path / "dose.dcm")
    lonely = make.new("RTPLAN", "P1", "lonely plan", instance=0)
    make.save(lonely, tmp_path / "lonely.dcm")
    result = scan(tmp_path)
    (case,) = result.cases
    assert [len(x) for x in (case.structures, case.doses, case.plans)] == [2, 1, 1]
    assert sorted(len(s.facts["structures"]) for s in case.structures) == [1, 2]
    assert case.plans[0].references == (struct,)
    (skip,) = result.skipped
    assert skip.path.endswith("lonely.dcm")
    assert "it names no image" in skip.reason


def test_plan_is_found_through_its_dose(tmp_path):
    grid = make.grid()
    make.write_series(tmp_path, make.ramp(grid.shape), grid)
    plan = make.new("RTPLAN", "P1", "plan", instance=0)
    make.save(plan, tmp_path / "plan.dcm")
    dose = make.new("RTDOSE", "P1", "dose", instance=0)
    dose.FrameOfReferenceUID = grid.frame_of_reference
    dose.ReferencedRTPlanSequence = [make.item(ReferencedSOPInstanceUID=plan.SOPInstanceUID)]
    make.set_pixels(dose, np.zeros((3, 4), np.uint16))
    make.save(dose, tmp_path / "dose.dcm")
    (case,) = scan(tmp_path).cases
    assert len(case.doses) == len(case.plans) == 1


def test_another_patients_structures_are_not_taken(tmp_path):
    grid = make.grid()
    make.write_series(tmp_path, make.ramp(grid.shape), grid)
    make.write_struct(tmp_path / "rs.dcm", ["A"], patient="P2", frame=grid.frame_of_reference)
    result = scan(tmp_path)
    assert not result.cases[0].structures
    assert "another patient" in result.skipped[0].reason


# --- names of cases


@given(st.text(), st.text(), st.text(), st.text())
def test_case_ids_are_safe_and_distinct(patient, frame, patient2, frame2):
    name = case_id(patient, frame)
    assert re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})", name)
    assert name == case_id(patient, frame)
    if (patient, frame) != (patient2, frame2) and "\0" not in patient + patient2:
        assert name.lower() != case_id(patient2, frame2).lower()


@pytest.mark.parametrize(
    "patient", ["../../etc/passwd", "C:\\x", "a/b", "..", "", "CON", "-rf", "née", "x" * 500]
)
def test_no_path_tricks(tmp_path, patient):
    name = case_id(patient, "1.2.3")
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    (tmp_path / name).mkdir()


# --- inputs


@pytest.fixture
def two_series(tmp_path):
    grid = make.grid()
    folder = tmp_path / "data"
    make.write_series(folder / "a", make.ramp(grid.shape), grid, series="a")
    make.write_series(folder / "b" / "deep", make.ramp(grid.shape), grid, series="b")
    return folder


def found(result):
    return sorted(s.description for case in result.cases for s in case.images)


def test_links_are_followed_and_loops_are_safe(tmp_path, two_series):
    start = tmp_path / "start"
    start.mkdir()
    (start / "away").symlink_to(two_series, target_is_directory=True)
    (two_series / "b" / "up").symlink_to(two_series, target_is_directory=True)
    (start / "again").symlink_to(two_series / "a", target_is_directory=True)
    (start / "broken").symlink_to(tmp_path / "nowhere")
    result = scan(start)
    assert found(result) == ["a", "b"]
    (skip,) = result.skipped
    assert skip.path.endswith("broken")
    # a file reached over two ways is no copy
    assert not any("copy" in s.reason for s in scan(start, two_series).skipped)


def test_single_files_and_mixtures(two_series):
    files = sorted((two_series / "a").glob("*.dcm"))
    assert found(scan(*files)) == ["a"]
    assert found(scan(*files, two_series / "b")) == ["a", "b"]
    with pytest.raises(InputError, match="does not exist"):
        scan(two_series / "nothing")
    with pytest.raises(InputError, match="no input"):
        scan()
    with pytest.raises(InputError, match="s3://"):
        scan("s3://bucket/prefix")


def test_manifest_beside_the_data(two_series):
    manifest = two_series / "download.tcia"
    text = "downloadServerUrl=https://example.org/servlet\nincludeAnnotation=true\nmanifestVersion=3.0\n"
    manifest.write_text(text + f"ListOfSeriesToDownload=\n{make.uid('P1', 'b')}\n1.2.3.4\n")
    result = scan(manifest)
    assert found(result) == ["b"]
    (skip,) = result.skipped
    assert (skip.series_uid, skip.files) == ("1.2.3.4", 0)
    assert "not on the list" in result.notes[0]
    manifest.write_text(text)
    with pytest.raises(InputError, match="names no series"):
        scan(manifest)


def test_list_of_series(tmp_path, two_series):
    wanted = tmp_path / "elsewhere" / "series.txt"
    wanted.parent.mkdir()
    wanted.write_text(f"# the first\n{make.uid('P1', 'a')}\n\n")
    assert found(scan(wanted, two_series)) == ["a"]
    wanted.write_text("Dear all,\nthis is a letter.\n")
    result = scan(wanted, two_series)
    assert found(result) == ["a", "b"]
    assert "not a DICOM file" in result.skipped[0].reason


def test_empty_folder(tmp_path):
    result = scan(tmp_path)
    assert result.cases == result.skipped == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder(tmp_path, two_series):
    (two_series / "a").chmod(0)
    try:
        result = scan(two_series)
    finally:
        (two_series / "a").chmod(0o700)
    assert found(result) == ["b"]
    assert "cannot be read" in result.skipped[0].reason


def test_worker_processes_give_the_same(two_series):
    for k in range(3):
        shutil.copytree(two_series / "a", two_series / f"copy{k}")
    (two_series / "junk").write_bytes(b"no DICOM at all, and longer than a preamble" * 9)
    paths = sorted(str(p) for p in two_series.rglob("*") if p.is_file())
    assert read_headers(paths, workers=2) == read_headers(paths, workers=1)
    assert scan(two_series, workers=2) == scan(two_series)
    with pytest.raises(ConfigError):
        read_headers(paths, workers=0)

"""The same key with other content, other keys with the same content: settled or refused, never half."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from support import make

from defacedask.cli.scan import command
from defacedask.io.dicom.catalogue import scan

GRID = make.grid((8, 6, 7))


def write(folder, *, values=None, grid=GRID, **options):
    return make.write_series(folder, make.ramp(grid.shape) if values is None else values, grid, **options)


def change(files, **elements):
    for path in files:
        dataset = pydicom.dcmread(path)
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


def reasons(result):
    return sorted({skip.reason for skip in result.skipped})


@pytest.mark.parametrize("spelling", ["0000P1", "p1", "P1 ", "P-01"])
def test_a_series_under_two_spellings_is_whole_and_said(tmp_path, spelling):
    change(write(tmp_path / "ct")[:5], PatientID=spelling)
    result = scan(tmp_path)
    (case,) = result.cases
    assert len(case.primary.files) == 8
    assert not result.skipped
    if spelling.strip() != "P1":
        assert "written" in result.notes[0]
    done = CliRunner().invoke(command, [str(tmp_path)])
    assert done.exit_code == 0
    assert ("Note: PatientID" in done.output) == (spelling.strip() != "P1")


def test_what_hangs_on_an_image_may_spell_the_id_otherwise(tmp_path):
    files = write(tmp_path / "ct")
    path = make.write_struct(tmp_path / "rs.dcm", ["A"], patient="P1", frame=GRID.frame_of_reference)
    change([path], PatientID="0001P1".replace("0001", "000"))
    (case,) = scan(tmp_path).cases
    assert len(case.structures) == 1
    assert len(case.primary.files) == len(files)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_series_of_two_patients_is_refused_whole(tmp_path, count):
    change(write(tmp_path / "ct")[:count], PatientID="Q7")
    result = scan(tmp_path)
    assert not result.cases
    (skip,) = result.skipped
    assert skip.files == 8
    assert f"names 2 patients (P1: {8 - count}, Q7: {count})" in skip.reason.replace(
        "its slices name", "names"
    )


@pytest.mark.parametrize("part", [slice(0, 4), slice(0, 8, 2)])
def test_nor_does_another_frame_of_reference_make_two_series_of_it(tmp_path, part):
    """One study and series, the rest of the slices under another id and frame: none of the two is whole."""
    change(write(tmp_path / "ct")[part], PatientID="P2", FrameOfReferenceUID=make.uid("another"))
    result = scan(tmp_path)
    assert not result.cases
    assert "name 2 patients" in reasons(result)[0]


def test_a_series_of_one_id_and_two_persons_is_refused_whole(tmp_path):
    files = write(tmp_path / "ct")
    change(files[:4], PatientName="Meier^Anna", PatientBirthDate="19500101")
    change(files[4:], PatientName="Kunz^Bert", PatientBirthDate="19600101")
    (reason,) = reasons(scan(tmp_path))
    assert "differ in the patient's date of birth and name" in reason


def test_a_series_uid_of_two_studies(tmp_path):
    files = write(tmp_path / "ct")
    change(files[:4], StudyInstanceUID=make.uid("other study"))
    assert reasons(scan(tmp_path)) == ["its series UID is used in 2 studies of the same patient"]
    change(files[:4], FrameOfReferenceUID=make.uid("other frame"))
    result = scan(tmp_path)
    assert sorted(len(c.primary.files) for c in result.cases) == [4, 4]
    assert "is used by 2 studies" in result.notes[0]


def test_two_persons_under_one_id_and_frame_are_two_cases(tmp_path):
    for k, name in enumerate(("Meier^Anna", "Kunz^Bert")):
        files = write(tmp_path / str(k), series=f"s{k}")
        change(files, PatientName=name, PatientBirthDate=f"195{k}0101", StudyInstanceUID=make.uid(name))
    result = scan(tmp_path)
    assert sorted(c.patient_id for c in result.cases) == ["P1", "P1 [2]"]
    assert len({c.id for c in result.cases}) == 2
    assert "shared by 2 persons" in result.notes[0]
    facts = json.loads(json.dumps(result.to_dict()))
    assert "Meier" not in json.dumps(facts)  # names are for de-identification, not for lists


def test_one_instance_uid_with_other_pixels(tmp_path):
    files = write(tmp_path / "ct")
    shutil.copytree(tmp_path / "ct", tmp_path / "again")
    result = scan(tmp_path)
    assert len(result.cases) == 1
    assert [s.files for s in result.skipped] == [8]
    dataset = pydicom.dcmread(tmp_path / "again" / files[3].name)
    values = dataset.pixel_array.copy()
    values[2, 2] += 1  # one voxel, everything else the same
    dataset.PixelData = values.tobytes()
    dataset.save_as(tmp_path / "again" / files[3].name)
    result = scan(tmp_path)
    assert not result.cases
    assert [s.files for s in result.skipped] == [16]
    assert reasons(result) == ["different images in it have the same SOP instance UID"]


def test_the_same_pixels_in_another_encoding_are_a_copy(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", syntax=make.NATIVE[0])
    write(tmp_path / "c", syntax=make.NATIVE[3])
    result = scan(tmp_path)
    assert len(result.cases) == 1
    assert [s.files for s in result.skipped] == [16]


def test_an_object_with_one_uid_and_two_contents(tmp_path):
    write(tmp_path / "ct")
    for name, roi in (("a", "Brain"), ("b", "Brain"), ("c", "Eye")):
        make.write_struct(tmp_path / f"{name}.dcm", [roi], frame=GRID.frame_of_reference)
    result = scan(tmp_path)
    assert not result.cases[0].structures
    assert [s.files for s in result.skipped] == [3]
    (tmp_path / "c.dcm").unlink()
    assert len(scan(tmp_path).cases[0].structures) == 1


def test_a_series_copied_under_another_series_uid(tmp_path):
    write(tmp_path / "ct")
    shutil.copytree(tmp_path / "ct", tmp_path / "x")
    change(sorted((tmp_path / "x").iterdir()), SeriesInstanceUID=make.uid("copied"))
    result = scan(tmp_path)
    assert sum(len(c.images) for c in result.cases) == 1
    assert "copy of an instance" in result.skipped[0].reason
    # of other content it is not known which is meant
    change(sorted((tmp_path / "x").iterdir()), RescaleIntercept="-1024")
    result = scan(tmp_path)
    assert not result.cases
    assert sum(s.files for s in result.skipped) == 16
    assert "stand for something else" in reasons(result)[0]


def test_the_same_images_under_two_patients(tmp_path):
    write(tmp_path / "ct")
    shutil.copytree(tmp_path / "ct", tmp_path / "x")
    change(sorted((tmp_path / "x").iterdir()), PatientID="SOMEBODY ELSE")
    result = scan(tmp_path)
    assert not result.cases
    assert reasons(result) == ["the same images are also there under another patient's id"]


def test_case_ids_that_meet(tmp_path):
    """A study without an id whose UID is another patient's id, in one frame of reference."""
    study = make.uid("P1", "study")
    change(write(tmp_path / "a", series="a"), PatientID="")
    files = write(tmp_path / "b", series="b", values=make.ramp(GRID.shape, seed=3))
    change(files, PatientID=study, StudyInstanceUID=make.uid("another"))
    result = scan(tmp_path)
    assert len({c.id.casefold() for c in result.cases}) == len(result.cases) == 2
    assert any("came to the id" in note for note in result.notes)


def test_a_folder_given_twice_is_there_once(tmp_path):
    write(tmp_path / "in")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    result = scan(tmp_path / "in", tmp_path / "link", tmp_path / "in" / ".." / "in")
    assert len(result.cases) == 1
    assert not result.skipped
    assert np.prod(result.cases[0].primary.geometry["shape"]) == np.prod(GRID.shape)

"""A few pictures among the slices of a stack are left out by themselves; what could be a slice refuses the series."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from support import make

from defacedask.io.dicom.catalogue import scan

GRID = make.grid(shape=(12, 6, 7))
CORONAL = [1, 0, 0, 0, 0, -1]


def other(folder, number, change):
    """A picture of the series that is made of its first slice."""
    dataset = pydicom.dcmread(sorted(folder.glob("images.*"))[0])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = make.uid("other", number)
    change(dataset)
    dataset.save_as(folder / f"other.{number}.dcm")


def scout(dataset):
    dataset.ImageOrientationPatient = make.ds(CORONAL)


def large_scout(dataset):
    scout(dataset)
    make.set_pixels(dataset, np.zeros((31, 17), np.int16))


def colour(dataset):
    make.set_pixels(dataset, np.zeros((6, 7), np.uint8))
    dataset.PixelData, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = bytes(126), 3, "RGB"
    dataset.PlanarConfiguration = 0


def placeless(dataset):
    del dataset.ImagePositionPatient
    dataset.ImageType = ["DERIVED", "SECONDARY", "3D"]


def lost_place(dataset):
    del dataset.ImagePositionPatient


@pytest.fixture
def folder(tmp_path):
    make.write_series(tmp_path, make.ramp(GRID.shape), GRID)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([scout], "in another orientation"),
        ([large_scout, large_scout], "in another orientation"),
        ([colour], "a colour picture"),
        ([placeless, placeless, placeless], "without a position"),
        ([scout, colour, placeless], "without a position"),
    ],
)
def test_a_few_pictures_are_left_out_and_the_stack_is_whole(folder, changes, words):
    for number, change in enumerate(changes):
        other(folder, number, change)
    found = scan(folder)
    (series,) = found.cases[0].images
    assert len(series.files) == 12
    assert sum(one.files for one in found.skipped) == len(changes)
    assert any(words in one.reason for one in found.skipped)
    assert not any(one.damaged for one in found.skipped)


def last_slice_turned(dataset):
    """Where the next slice would lie, with an orientation that is not its own."""
    scout(dataset)
    dataset.ImagePositionPatient = make.ds(GRID.to_world([12, 0, 0]))


@pytest.mark.parametrize("changes", [[lost_place], [scout] * 5, [placeless, lost_place], [last_slice_turned]])
def test_what_may_be_a_slice_and_what_is_many_refuses_the_series(folder, changes):
    for number, change in enumerate(changes):
        other(folder, number, change)
    found = scan(folder)
    assert not found.cases
    assert sum(one.files for one in found.skipped) == 12 + len(changes)


def test_two_stacks_of_other_sizes_say_that_they_are_turned(folder):
    for number in range(9):
        other(folder, number, large_scout)
    (one,) = scan(folder).skipped
    assert one.reason.endswith("and 2 different orientations")


@pytest.mark.filterwarnings("ignore")  # pydicom's, of the numbers
@pytest.mark.parametrize("keyword", ["ImageOrientationPatient", "ImagePositionPatient"])
@pytest.mark.parametrize("value", ["1e300", "nan", "-0"])
def test_numbers_that_are_none_refuse_the_series_and_end_no_scan(folder, keyword, value):
    for path in sorted(folder.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        setattr(dataset, keyword, [value] * (6 if keyword.startswith("ImageO") else 3))
        dataset.save_as(path)
    found = scan(folder)
    assert not found.cases
    assert sum(one.files for one in found.skipped) == 12

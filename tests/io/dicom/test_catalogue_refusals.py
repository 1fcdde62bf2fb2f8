"""Each kind of unusable input is refused by itself with its own reason, and the rest goes on."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from support import make

from defacedask.errors import InputError
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.headers import read_header
from defacedask.io.dicom.image import read_image

GRID = make.grid(shape=(8, 6, 7))


@pytest.fixture
def folder(tmp_path):
    """A folder that already has one good series of another patient."""
    make.write_series(tmp_path / "good", make.ramp(GRID.shape), GRID, patient="GOOD")
    return tmp_path


def refused(folder, files=None):
    """Reason of the single refusal; the good series must be there."""
    result = scan(folder)
    assert [case.patient_id for case in result.cases] == ["GOOD"], [c.patient_id for c in result.cases]
    assert len(result.skipped) == 1, result.skipped
    if files is not None:
        assert result.skipped[0].files == files
    return result.skipped[0].reason


def bad(folder, change=None, modality="CT", grid=GRID, **options):
    return make.write_series(folder / "bad", make.ramp(grid.shape), grid, modality, change=change, **options)


def set_(keyword, value, only=None):
    def change(dataset, k):
        if only is None or k in only:
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value(k) if callable(value) else value)

    return change


def test_missing_slice(folder):
    bad(folder, only=[0, 1, 2, 5, 6, 7])
    assert "2 slices are missing: a gap of 9 mm after slice 3 of 6, where slices are 3 mm apart" in refused(
        folder, 6
    )


def test_every_second_slice_missing(folder):
    bad(folder, set_("SpacingBetweenSlices", "3"), "MR", only=[0, 2, 4, 6])
    assert "they lie 6 mm apart, and its header says 3 mm" in refused(folder)


@pytest.mark.parametrize(
    ("modality", "kind", "step", "leaves"),
    [
        ("PT", ["DERIVED", "SECONDARY", "MIP"], 3.0, True),
        ("MR", ["DERIVED", "PRIMARY", "PROJECTION IMAGE", "VRT"], 9.0, True),
        ("CT", ["DERIVED", "SECONDARY", "REFORMATTED", "MIP"], 3.0, False),  # looked at like any image
        ("PT", ["DERIVED", "SECONDARY", "TRIP", "MPR"], 3.0, False),
    ],
)
def test_projections_that_nobody_could_look_at(tmp_path, modality, kind, step, leaves):
    grid = make.grid(shape=(32, 48, 48), spacing=(step, 2.0, 2.0))

    def change(dataset, k):
        dataset.ImageType, dataset.SliceThickness = kind, str(step)

    make.write_series(tmp_path, make.ramp(grid.shape), grid, modality, change=change)
    found = scan(tmp_path)
    assert [skip.reason.startswith("it is a projection") for skip in found.skipped] == [True] * leaves
    assert len(found.cases) == 1 - leaves


def test_gap_between_slices_stated_as_spacing_is_no_reason(tmp_path):
    def change(dataset, k):
        dataset.SpacingBetweenSlices, dataset.SliceThickness = "0.3", "2.7"

    make.write_series(tmp_path, make.ramp(GRID.shape), GRID, "MR", change=change)
    assert scan(tmp_path).cases


def test_few_thin_slices(folder):
    grid = make.grid(shape=(3, 6, 7), spacing=(60, 1, 1))
    bad(folder, set_("SliceThickness", "1.2"), "MR", grid)
    assert "1.2 mm thick slices lie 60 mm apart" in refused(folder)


def test_uneven(folder):
    def change(dataset, k):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) + (1.2 if k > 3 else 0)]

    bad(folder, change)
    assert "unevenly spaced: from 3 to 4.2 mm" in refused(folder)


def test_half_a_millimetre_is_uneven(folder):
    bad(folder, set_("ImagePositionPatient", lambda k: [-40, -20, 100 + 3 * k + (0.5 if k == 4 else 0)]))
    assert "unevenly" in refused(folder)


def test_sideways(folder):
    bad(folder, set_("ImagePositionPatient", lambda k: [-40 + (2 if k == 4 else 0), -20, 100 + 3 * k]))
    assert "shifted against each other" in refused(folder)


def test_phases_that_contradict_each_other(folder):
    def first(dataset, k):
        dataset.EchoTime, dataset.AcquisitionNumber = "10", 1 + k % 2

    def second(dataset, k):
        dataset.EchoTime, dataset.SOPInstanceUID = "20", make.uid("second", k)
        dataset.AcquisitionNumber = 2 - k % 2
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    make.write_series(folder / "bad", make.ramp(GRID.shape), GRID, "MR", change=first)
    make.write_series(folder / "bad2", make.ramp(GRID.shape), GRID, "MR", change=second)
    reason = refused(folder, 16)
    assert "same position" in reason
    assert "2 echo times; AcquisitionNumber tells its volumes apart otherwise than what else does" in reason


def test_mixed_orientations(folder):
    bad(folder, set_("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], only=[6, 7]))
    assert "2 different orientations" in refused(folder)


def test_mixed_sizes(folder):
    def change(dataset, k):
        if k == 3:
            make.set_pixels(dataset, np.zeros((12, 7), np.int16))

    bad(folder, change)
    assert "different numbers of rows (6, 12)" in refused(folder)


def test_mixed_spacing(folder):
    bad(folder, set_("PixelSpacing", ["2", "2"], only=[2]))
    assert "different pixel spacings" in refused(folder)


def test_mixed_sign(folder):
    bad(folder, set_("PixelRepresentation", 0, only=[2]))
    assert "store their values differently (PixelRepresentation)" in refused(folder)


def test_localizer_is_refused_and_its_series_goes_on(folder):
    def change(dataset, k):
        if k == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    bad(folder, change)
    result = scan(folder)
    assert {c.patient_id: c.primary.geometry["shape"][0] for c in result.cases} == {"GOOD": 8, "P1": 7}
    (skip,) = result.skipped
    assert "localizer" in skip.reason


def test_secondary_capture(folder):
    def change(dataset, k):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = make.SOP["SC"]

    bad(folder, change)
    assert "secondary capture" in refused(folder)


def test_burned_in(folder):
    bad(folder, set_("BurnedInAnnotation", "YES", only=[5]))
    assert "burned into its pixels" in refused(folder)


def test_colour(folder):
    def change(dataset, k):
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"

    bad(folder, change)
    assert "colour" in refused(folder)


def test_other_object(folder):
    def change(dataset, k):
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"

    bad(folder, change, only=[0])
    assert "neither CT, MR nor PET but Encapsulated PDF" in refused(folder)


def test_single_slice(folder):
    bad(folder, only=[3])
    assert "single slice" in refused(folder)


def test_two_frames_of_reference(folder):
    bad(folder, set_("FrameOfReferenceUID", "1.2.3", only=[0]))
    assert "different frames of reference" in refused(folder)


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("PixelSpacing", ["0", "1"], "no usable pixel spacing"),
        ("PixelSpacing", None, "8 of its 8 slices have no usable pixel spacing"),
        ("ImagePositionPatient", None, "no usable position"),
        ("ImageOrientationPatient", None, "no usable orientation"),
        ("ImageOrientationPatient", [1, 0, 0, 0.7, 0.7, 0], "not orthogonal"),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0], "not orthogonal"),
        ("ImagePositionPatient", lambda k: [0, 0, 1e8 + k], "no usable position"),
        ("RescaleSlope", "0", "rescale slope is zero"),
        ("RescaleSlope", None, "Hounsfield units are not known"),
        ("RescaleType", "Z_EFF", "not Hounsfield units"),
        ("BitsStored", 17, "stored oddly"),
        ("BitsAllocated", 12, "stored oddly"),
        ("PixelData", None, "no pixel data"),
        ("Rows", 0, "no rows"),
        ("PixelRepresentation", None, "whether its values are signed"),
    ],
)
def test_numbers(folder, keyword, value, words):
    bad(folder, set_(keyword, value))
    assert words in refused(folder, 8)


@pytest.mark.parametrize("text", [b"nan", b"inf", b"1e9", b"-3.", b"    "])
def test_spacing_that_is_no_number(folder, text):
    for path in bad(folder):
        data = path.read_bytes()
        at = data.index(b"\x28\x00\x30\x00DS")
        length = struct.unpack("<H", data[at + 6 : at + 8])[0]
        value = b"1\\" + text
        path.write_bytes(data[: at + 8] + value.ljust(length)[:length] + data[at + 8 + length :])
    assert "no usable pixel spacing" in refused(folder)


def test_huge_dimensions(folder):
    def change(dataset, k):
        dataset.Rows = dataset.Columns = 65535

    bad(folder, change)
    assert "pixel data are too short" in refused(folder)


def test_huge_dimensions_compressed(folder):
    def change(dataset, k):
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.Rows = dataset.Columns = 65535

    bad(folder, change)
    assert "more than the 2147483648 that are read" in refused(folder)


def test_unknown_transfer_syntax(folder):
    for path in bad(folder):
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0", 1))
    assert "transfer syntax is not known here (the unknown class 1.2.840.10008.1.2.9)" in refused(folder)


def test_video_syntax(folder):
    for path in bad(folder):
        data = path.read_bytes()
        # same length: group length stays right
        data = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.", 1)
        path.write_bytes(data)
    assert "not known here" in refused(folder)


# --- single files


def write(folder, data, name="bad.dcm"):
    path = folder / name
    path.write_bytes(data)
    return path


def test_empty_file(folder):
    write(folder, b"")
    assert refused(folder) == "it is empty"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello", "it is not a DICOM file"),
        (b"\x89PNG\r\n" * 40, "it is not a DICOM file"),
        (b"\0" * 4000, "it holds zeros where its header should be: its content was never written"),
        (b"PK\x03\x04" + b"x" * 500, "it is packed (zip), and nobody looks into it: unpack it first"),
        (b"\x1f\x8b\x08" + b"x" * 500, "it is packed (gzip), and nobody looks into it: unpack it first"),
        (b"x" * 257 + b"ustar" + b"x" * 500, "it is packed (tar), and nobody looks into it: unpack it first"),
    ],
)
def test_not_dicom(folder, data, reason):
    write(folder, data)
    assert refused(folder) == reason


def test_only_the_mark(folder):
    write(folder, b"\0" * 128 + b"DICM")
    assert refused(folder) == "it ends after its file meta information"


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.9, 0.999])
def test_truncated(folder, share):
    (path,) = bad(folder, only=[0])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    reason = refused(folder)
    assert "truncated" in reason or "ends" in reason, reason


def test_truncated_compressed(folder):
    (path,) = bad(folder, only=[0], syntax=RLELossless)
    path.write_bytes(path.read_bytes()[:-20])
    assert "compressed pixel data are incomplete" in refused(folder)


@pytest.mark.parametrize("which", [0, 4, -1])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_truncated_file_makes_its_series_incomplete(folder, which, syntax):
    """Without its first or last slice a stack looks whole."""
    paths = bad(folder, syntax=syntax)
    paths[which].write_bytes(paths[which].read_bytes()[:-4])
    found = scan(folder)
    assert not [s for case in found.cases for s in case.series if str(paths[1]) in s.files]
    series, file = sorted((skip for skip in found.skipped), key=lambda skip: -skip.files)
    assert series.files == len(paths) - 1
    assert series.reason.startswith("1 of its files is not whole")
    assert paths[which].name in series.reason
    assert file.path == str(paths[which])
    assert "truncated (" in file.reason
    assert series.damaged
    assert file.damaged


def test_nothing_is_lost_with_a_copy_that_is_cut_off(folder):
    paths = bad(folder)
    (folder / "again.dcm").write_bytes(paths[-1].read_bytes()[:-4])
    found = scan(folder)
    assert sorted(len(case.primary.files) for case in found.cases) == [len(paths)] * 2
    (skip,) = found.skipped
    assert "the same instance is there whole" in skip.reason
    assert not skip.damaged


def test_what_is_cut_in_its_header_or_empty_is_damaged_and_a_mark_is_not(folder):
    paths = bad(folder)
    paths[-1].write_bytes(paths[-1].read_bytes()[:300])
    (folder / "again.dcm").write_bytes(b"")
    (folder / "DONE").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"hello")
    damaged = {Path(skip.path).name for skip in scan(folder).skipped if skip.damaged}
    assert damaged == {paths[-1].name, "again.dcm"}


@pytest.mark.parametrize("rest", [b"\0" * 4000, b"\xff" * 4000, b"<html>403 Forbidden</html>"])
@pytest.mark.parametrize(("ending", "lost"), [(".dcm", True), (".ima", True), ("", False)])
def test_what_is_named_as_the_images_beside_it_was_one_of_them(folder, rest, ending, lost):
    """A stack that lacks its last slice looks whole. Without an ending only a file that was never written tells."""
    paths = [path.rename(path.with_suffix(ending)) for path in bad(folder)]
    paths[-1].write_bytes(rest)
    (folder / "notes.txt").write_bytes(b"hello")
    (folder / "VERSION").write_bytes(b"hello")
    damaged = {Path(skip.path).name for skip in scan(folder).skipped if skip.damaged}
    assert damaged == ({paths[-1].name} if lost or rest[:1] == b"\0" else set())


def test_notes_of_macos_are_no_damage(folder):
    """On foreign disks macOS writes one beside each file, with the file's own ending."""
    for path in bad(folder):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7" + b"\0" * 4092)
    for name in ("._head.nii", "._head.nii.gz"):
        (folder / name).write_bytes(b"\0\5\x16\7" + b"\0" * 4092)
    (folder / "._spoiled.dcm").write_bytes(b"\0" * 4096)
    found = {skip.path: skip for skip in scan(folder).skipped}
    assert [Path(path).name for path, skip in found.items() if skip.damaged] == ["._spoiled.dcm"]
    notes = [skip for skip in found.values() if skip.reason == "it is a note of macOS on the file beside it"]
    assert len(notes) == len(found) - 1


def test_deflated_bomb(folder):
    (path,) = bad(folder, only=[0], syntax=DeflatedExplicitVRLittleEndian)
    data = path.read_bytes()
    start = data.index(b"DICM") + 4
    (length,) = struct.unpack("<I", data[start + 8 : start + 12])
    head = data[: start + 12 + length]
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = struct.pack("<HH2sHI", 0x0008, 0x0005, b"UN", 0, 2**31) + b"\0" * 2**20
    bomb = (
        squeeze.compress(body)
        + b"".join(squeeze.compress(b"\0" * 2**20) for _ in range(300))
        + squeeze.flush()
    )
    path.write_bytes(head + bomb)
    assert path.stat().st_size < 2 * 2**20
    assert "inflates to more than 64 MB" in refused(folder)


def test_copies_are_dropped_and_named(folder):
    shutil.copytree(folder / "good", folder / "again")
    assert "copy of an instance" in refused(folder, 8)


def test_different_images_with_one_instance_uid(folder):
    bad(folder)
    make.write_series(folder / "worse", make.ramp(GRID.shape), make.grid(shape=GRID.shape, origin=(0, 0, 0)))
    assert "same SOP instance UID" in refused(folder, 16)


def test_structures_of_a_refused_image(folder):
    bad(folder, only=[0, 1, 2, 6, 7])
    make.write_struct(folder / "rs.dcm", ["A"], instances=[make.uid("P1", "images", "instance", 1)])
    reasons = [skip.reason for skip in scan(folder).skipped]
    assert any("the image it refers to is refused (3 slices are missing" in reason for reason in reasons), (
        reasons
    )


@pytest.mark.filterwarnings("ignore")
def test_random_damage_never_raises_anything_else(tmp_path):
    (path,) = bad(tmp_path, only=[0])
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(7)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(400):
        copy = bytearray(data)
        for _ in range(rng.integers(1, 8)):
            copy[rng.integers(0, len(copy) - 90)] = rng.integers(0, 256)
        path.write_bytes(copy)
        try:
            read_header(path)
            outcomes["read"] += 1
        except InputError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_damaged_series_end_in_a_refusal_or_a_volume(tmp_path, syntax):
    paths = bad(tmp_path, syntax=syntax, modality="PT")
    whole = [path.read_bytes() for path in paths]
    rng = np.random.default_rng(11)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(40):
        for path, data in zip(paths, whole, strict=True):
            path.write_bytes(data)
        for k in rng.choice(len(paths), rng.integers(1, 4), replace=False):
            copy = bytearray(whole[k])
            for _ in range(rng.integers(1, 6)):
                at = rng.integers(132, len(copy))
                kind = rng.integers(0, 4)
                if kind == 0:
                    copy[at] = rng.integers(0, 256)
                elif kind == 1:
                    copy[at : at + 4] = b"\xff" * 4
                elif kind == 2:
                    del copy[at : at + rng.integers(1, 9)]
                else:
                    copy[at:at] = rng.bytes(rng.integers(1, 9))
            paths[k].write_bytes(copy)
        result = scan(tmp_path)
        outcomes["refused"] += bool(result.skipped)
        for image in (image for case in result for image in case.images):
            try:
                read_image(image)
                outcomes["read"] += 1
            except InputError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 3, outcomes


def test_headers_agree_with_pydicom(tmp_path):
    import pydicom

    (path,) = bad(tmp_path, only=[3], modality="PT")
    header, dataset = read_header(path), pydicom.dcmread(path)
    for keyword, value in header.values.items():
        theirs = dataset.get(keyword)
        if isinstance(value, tuple):
            theirs = tuple(theirs) if not isinstance(theirs, (str, float, int)) else (theirs,)
        assert value == theirs, keyword
    with path.open("rb") as file:
        file.seek(header.pixel_offset)
        assert file.read(header.pixel_length) == dataset.PixelData


@pytest.mark.parametrize(
    ("sop_class", "words"),
    [
        ("7", "secondary capture"),
        ("7.4", "secondary capture"),
        ("77.1.4", "but VL Photographic Image Storage"),
        ("77.1.4.1", "but Video Photographic Image Storage"),
    ],
)
def test_a_picture_is_called_what_its_class_is(folder, sop_class, words):
    def change(dataset, k):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = (
            f"1.2.840.10008.5.1.4.1.1.{sop_class}"
        )

    bad(folder, change)
    assert words in refused(folder, 8)

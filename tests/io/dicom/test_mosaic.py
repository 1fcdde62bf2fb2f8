"""Mosaics are refused by name, however they say what they are, and slices beside them go on."""

from __future__ import annotations

import struct

import pytest
from support import make

from defacedask.io.dicom.catalogue import scan

GRID = make.grid(shape=(8, 6, 7))


def csa(count: str) -> bytes:
    """A CSA header of two values, as Siemens writes it."""
    out = b"SV10\4\3\2\1" + struct.pack("<II", 2, 77)
    for name, values in (("EchoLinePosition", ["31"]), ("NumberOfImagesInMosaic", [count] if count else [])):
        out += name.encode().ljust(64, b"\0") + struct.pack("<i4siii", 1, b"US\0\0", 6, len(values), 77)
        for value in values:
            text = value.encode().ljust(8) + b"\0"
            out += struct.pack("<4i", len(text), len(text), 77, len(text)) + text.ljust(12, b"\0")
    return out


def private(group, creator, element, vr, value):
    def change(dataset, k):
        dataset.private_block(group, creator, create=True).add_new(element, vr, value)

    return change


def typed(*words):
    def change(dataset, k):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", *words]

    return change


def large(dataset, k):
    dataset.PixelSpacing = ["150", "140"]


MOSAICS = {
    "siemens": typed("M", "ND", "MOSAIC"),
    "derived": typed("DIFFUSION", "TRACEW", "MOSAIC"),
    "montage": typed("MONTAGE"),
    "csa": private(0x29, "SIEMENS CSA HEADER", 0x10, "OB", csa("36")),
    "numaris": private(0x19, "SIEMENS MR HEADER", 0x0A, "US", 36),
    "unknown vr": private(0x19, "SIEMENS MR HEADER", 0x0A, "UN", b"\x24\x00"),
    "size": large,
}


@pytest.mark.parametrize("kind", MOSAICS)
def test_a_mosaic_is_refused_by_name(tmp_path, kind):
    make.write_series(tmp_path, make.ramp(GRID.shape), GRID, "MR", change=MOSAICS[kind])
    found = scan(tmp_path)
    assert not found.cases
    (one,) = found.skipped
    assert "mosaic" in one.reason
    assert one.files == 8


@pytest.mark.parametrize(
    "change",
    [
        private(0x29, "SIEMENS CSA HEADER", 0x10, "OB", csa("")),
        private(0x29, "SIEMENS CSA HEADER", 0x10, "OB", csa("1")),
        private(0x19, "SIEMENS MR HEADER", 0x0A, "US", 1),
        private(0x19, "SOMEBODY ELSE", 0x0A, "US", 36),
        typed("M", "NORM", "MPR"),
    ],
)
def test_what_is_no_mosaic_is_read(tmp_path, change):
    make.write_series(tmp_path, make.ramp(GRID.shape), GRID, "MR", change=change)
    assert scan(tmp_path).cases


def test_slices_beside_a_mosaic_go_on(tmp_path):
    def change(dataset, k):
        if k == 7:
            dataset.ImageType = ["DERIVED", "PRIMARY", "MOSAIC"]

    make.write_series(tmp_path, make.ramp(GRID.shape), GRID, "MR", change=change)
    found = scan(tmp_path)
    assert len(found.cases[0].primary.files) == 7
    assert "mosaic" in found.skipped[0].reason


def test_an_enhanced_image_is_no_mosaic(tmp_path):
    def change(dataset):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "DIFFUSION", "MOSAIC"]

    make.write_enhanced(tmp_path / "e.dcm", make.ramp(GRID.shape), GRID, "MR", change=change)
    assert scan(tmp_path).cases


def pet(*words, **elements):
    """Change of a PET whose ImageType says nothing."""

    def change(dataset, k):
        dataset.ImageType = ["DERIVED", "SECONDARY", *words]
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        pet("SCREEN SAVE"),
        pet(SeriesType=["WHOLE BODY", "REPROJECTION"]),
        pet(ConversionType="WSD"),
        pet(VolumeBasedCalculationTechnique="SURFACE_RENDER"),
    ],
)
def test_a_picture_is_no_pet_whatever_says_so(tmp_path, change):
    """A PET is judged by position alone: nobody would see a face in it."""
    make.write_series(tmp_path, make.ramp(GRID.shape, low=0), GRID, "PT", change=change)
    found = scan(tmp_path)
    assert not found.cases
    assert "a face shows at whatever position" in found.skipped[0].reason


@pytest.mark.parametrize("where", ["frames", "shared"])
def test_a_frame_of_an_enhanced_pet_says_it(tmp_path, where):
    def change(dataset):
        groups = (
            dataset.PerFrameFunctionalGroupsSequence
            if where == "frames"
            else dataset.SharedFunctionalGroupsSequence
        )
        groups[-1].PETFrameTypeSequence = [make.item(FrameType=["DERIVED", "PRIMARY", "VOLUME", "MAX_IP"])]
        dataset.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "MIXED"]

    make.write_enhanced(tmp_path / "e.dcm", make.ramp(GRID.shape, low=0), GRID, "PT", change=change)
    found = scan(tmp_path)
    assert not found.cases
    assert "FrameType says MAX_IP" in found.skipped[0].reason


#: As wide as a face in all directions.
WIDE = make.grid(shape=(14, 14, 14), spacing=(7.0, 7.0, 7.0))


@pytest.mark.parametrize("change", [pet(ConversionType="WSD"), pet("MIP"), pet("3D")])
def test_what_can_be_looked_at_is_read_whatever_it_says_and_thin_stacks_are_not(tmp_path, change):
    """Pictures of the head, a few mm apart, make a stack in which no shape of a face could be seen."""
    make.write_series(tmp_path / "wide", make.ramp(WIDE.shape), WIDE, change=change)
    assert scan(tmp_path / "wide").cases
    make.write_series(tmp_path / "thin", make.ramp(GRID.shape), GRID, change=change)
    found = scan(tmp_path / "thin")
    assert not found.cases
    assert "a face shows at whatever position" in found.skipped[0].reason


@pytest.mark.parametrize("words", [("MPR",), ("REFORMATTED", "AVERAGE"), ("AXIAL",)])
def test_a_thin_reformat_has_slices(tmp_path, words):
    make.write_series(tmp_path, make.ramp(GRID.shape), GRID, "MR", change=pet(*words))
    assert scan(tmp_path).cases

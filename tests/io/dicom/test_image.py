"""Stored values bit for bit, rescale and units, whatever the transfer syntax; multi-frame files; NIfTI."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from support import make

from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.headers import read_header
from defacedask.io.dicom.image import read_image
from defacedask.io.dicom.pixels import decode, read_stored
from defacedask.volume import geometry_of, real_values

GRID = make.grid()
LARGE = make.grid(shape=(4, 66, 70))
SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG lossless (first order)": "dcmcjpeg +e1",
    "JPEG lossless (all predictors)": "dcmcjpeg +el +sv 6",
}


def read_one(folder):
    result = scan(folder)
    assert not result.skipped, result.skipped
    (case,) = result.cases
    return read_image(case.primary)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
@pytest.mark.parametrize("name", SYNTAXES)
def test_stored_values_in_every_transfer_syntax(tmp_path, name, dtype):
    syntax = SYNTAXES[name]
    if syntax.startswith("dcmcjpeg") and shutil.which("dcmcjpeg") is None:
        pytest.skip("dcmtk's dcmcjpeg is not installed: nothing here writes lossless JPEG")
    stored = make.waves(LARGE.shape, dtype)
    make.write_series(tmp_path, stored, LARGE, syntax=syntax, intercept=-1024)
    image = scan(tmp_path).cases[0].primary
    written = read_header(image.files[0]).transfer_syntax
    assert written == syntax or syntax.startswith("dcmcjpeg +e1") == (written == "1.2.840.10008.1.2.4.70")
    volume = read_image(image)
    assert volume.dtype == dtype
    np.testing.assert_array_equal(volume.values, stored)
    np.testing.assert_array_equal(real_values(volume).values, stored.astype(np.float32) - 1024)
    assert geometry_of(volume).close_to(LARGE)


@pytest.mark.parametrize("bits", [10, 12, 15])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_unused_high_bits_are_not_part_of_the_value(tmp_path, dtype, bits, syntax):
    low = -(1 << (bits - 1)) if dtype == np.int16 else 0
    high = (1 << (bits - 1 if dtype == np.int16 else bits)) - 1
    stored = make.ramp(GRID.shape, dtype, low=low, high=high)
    mask = np.uint16((1 << bits) - 1)
    dirt = make.ramp(GRID.shape, np.uint16, seed=2, high=2**16)
    dirty = ((stored.view(np.uint16) & mask) | (dirt & ~mask)).view(dtype)
    assert (dirty != stored).any()
    make.write_series(tmp_path, dirty, GRID, "MR", bits_stored=bits, syntax=syntax)
    np.testing.assert_array_equal(read_one(tmp_path).values, stored)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [12, 16])
def test_fast_path_equals_pydicom(tmp_path, syntax, bits):
    paths = make.write_series(
        tmp_path,
        make.ramp((3, 7, 5), high=2000),
        GRID.block((0, 0, 0), (3, 7, 5)),
        syntax=syntax,
        bits_stored=bits,
    )
    for path in paths:
        header = read_header(path)
        fast, slow = read_stored(header), decode(header)
        assert fast.dtype == slow.dtype
        np.testing.assert_array_equal(fast[0], slow.reshape(fast[0].shape))


def test_slices_with_their_own_number_of_bits(tmp_path):
    stored = make.ramp(GRID.shape, np.uint16, low=0, high=500)

    def change(dataset, k):
        dataset.BitsStored, dataset.HighBit = 10 + k, 9 + k

    make.write_series(tmp_path, stored, GRID, "MR", change=change)
    np.testing.assert_array_equal(read_one(tmp_path).values, stored)


def test_reversed_stack_comes_ascending(tmp_path):
    stored = make.ramp(GRID.shape)
    down = GRID.block((GRID.shape[0] - 1, 0, 0), (-1, *GRID.shape[1:]), (-1, 1, 1))
    make.write_series(tmp_path, stored[::-1], down)
    volume = read_one(tmp_path)
    np.testing.assert_array_equal(volume.values, stored)
    assert geometry_of(volume).close_to(GRID)


def test_slope_of_each_slice(tmp_path):
    stored, slope = make.ramp(GRID.shape), np.array([1.0, 0.5, 2.25, 3.0, 0.125])
    make.write_series(tmp_path, stored, GRID, slope=slope, intercept=np.arange(5) * 10.0 - 20)
    volume = read_one(tmp_path)
    np.testing.assert_array_equal(volume.coords["slope"], slope)
    expected = stored * slope[:, None, None] + (np.arange(5) * 10.0 - 20)[:, None, None]
    np.testing.assert_allclose(real_values(volume, np.float64).values, expected)


@pytest.mark.parametrize(("dtype", "padding"), [(np.int16, -2000), (np.uint16, 65535), (np.int16, -32768)])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_padding_value_is_kept(tmp_path, dtype, padding, syntax):
    def change(dataset, k):
        dataset.add_new(0x00280120, "SS" if dtype == np.int16 else "US", padding)

    make.write_series(tmp_path, make.ramp(GRID.shape, dtype), GRID, change=change, syntax=syntax)
    assert read_one(tmp_path).attrs["padding"] == padding


def test_units(tmp_path):
    for modality, units in (("CT", "HU"), ("MR", "1"), ("PT", "g/mL")):
        make.write_series(tmp_path / modality, make.ramp(GRID.shape), GRID, modality)
        volume = read_one(tmp_path / modality)
        assert (volume.attrs["modality"], volume.attrs["real_units"]) == (modality, units)


def test_lut_instead_of_rescale_is_refused(tmp_path):
    def change(dataset, k):
        dataset.ModalityLUTSequence = [
            make.item(LUTData=b"\0\0", ModalityLUTType="HU", LUTDescriptor=[1, 0, 16])
        ]

    make.write_series(tmp_path, make.ramp(GRID.shape), GRID, change=change)
    result = scan(tmp_path)
    assert not result.cases
    assert "lookup table" in result.skipped[0].reason


def test_a_decoder_that_panics_is_an_error(tmp_path, capfd):
    """The RLE decoder is written in Rust: too long a run makes it panic, which is no Exception in Python."""
    paths = make.write_series(tmp_path, make.waves(LARGE.shape), LARGE, syntax=RLELossless)
    image = scan(tmp_path).cases[0].primary
    data = bytearray(paths[1].read_bytes())
    start = read_header(paths[1]).pixel_offset + 20
    for at in range(start + 64, start + 2000, 50):
        copy = bytearray(data)
        copy[at : at + 8] = b"\x7f" * 8
        paths[1].write_bytes(copy)
        with contextlib.suppress(InputError):  # and nothing else
            read_image(image)
    if "panicked" not in capfd.readouterr().err:
        pytest.skip("this version of the decoder does not panic")


# --- lazy


@pytest.mark.parametrize("kind", ["single", "multi", "nifti"])
def test_lazy_is_the_same(tmp_path, kind):
    stored = make.ramp(GRID.shape)
    if kind == "single":
        make.write_series(tmp_path, stored, GRID, "PT", slope=np.arange(1, 6))
    elif kind == "multi":
        make.write_enhanced(tmp_path / "e.dcm", stored, GRID, order=[4, 2, 3, 1, 0], slope=np.arange(1, 6))
    else:
        write_nifti(tmp_path / "x.nii", stored, GRID, (2.0, 1.0))
    (case,) = scan(tmp_path)
    now, later = read_image(case.primary), read_image(case.primary, lazy=True, chunk=2)
    assert later.chunks[0] == ((2, 2, 1) if kind == "single" else (5,))
    assert later.dtype == now.dtype
    xr.testing.assert_identical(later.compute().rename(None), now)
    xr.testing.assert_identical(case.image().compute().rename(None), now)
    xr.testing.assert_identical(case.image(case.primary.modality, lazy=False), now)
    np.testing.assert_array_equal(later[1:4].values, stored[1:4])
    with pytest.raises(InputError, match="no SEG image"):
        case.image("SEG")
    # and it really is lazy
    Path(case.primary.files[-1]).unlink()
    with pytest.raises(InputError, match="cannot be"):
        later.compute()


# --- what goes wrong between scan and read


def test_files_that_change_are_an_error(tmp_path):
    paths = make.write_series(tmp_path, make.ramp(GRID.shape), GRID)
    image = scan(tmp_path).cases[0].primary
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[:-50])
    with pytest.raises(InputError, match="truncated"):
        read_image(image)
    paths[2].write_bytes(paths[1].read_bytes())
    with pytest.raises(InputError, match="not the file that was scanned"):
        read_image(image)
    paths[2].unlink()
    with pytest.raises(InputError, match="cannot be opened"):
        read_image(image)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_damaged_compressed_pixels_are_an_error(tmp_path, syntax):
    paths = make.write_series(tmp_path, make.waves((5, 64, 64)), make.grid(shape=(5, 64, 64)), syntax=syntax)
    image = scan(tmp_path).cases[0].primary
    data = bytearray(paths[2].read_bytes())
    start = read_header(paths[2]).pixel_offset + 20  # after the offset table and the fragment's head
    data[start : start + 64] = b"\xff" * 64
    paths[2].write_bytes(data)
    with pytest.raises(InputError, match="decode"):
        read_image(image)


# --- multi-frame


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless]
)
def test_enhanced(tmp_path, modality, syntax):
    stored, slope = make.waves(LARGE.shape), np.arange(1, 5) / 4
    order = [3, 0, 1, 2]
    make.write_enhanced(
        tmp_path / "e.dcm", stored, LARGE, modality, slope=slope, intercept=-7, order=order, syntax=syntax
    )
    (image,) = scan(tmp_path).cases[0].images
    assert len(image.files) == len(image.instances) == 1
    volume = read_image(image)
    np.testing.assert_array_equal(volume.values, stored)
    np.testing.assert_array_equal(volume.coords["slope"], slope)
    assert (volume.coords["intercept"] == -7).all()
    assert geometry_of(volume).close_to(LARGE)


@pytest.mark.parametrize("number", range(0, 48, 5))
def test_enhanced_orientations(tmp_path, number):
    grid = make.grid(directions=make.orientations()[number])
    stored = make.ramp(grid.shape)
    make.write_enhanced(tmp_path / "e.dcm", stored, grid)
    volume = read_one(tmp_path)
    found = geometry_of(volume)
    index = np.argwhere(volume.values >= volume.values.min())
    theirs = np.rint(grid.to_index(found.to_world(index))).astype(int)
    np.testing.assert_array_equal(volume.values.ravel(), stored[tuple(theirs.T)])


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
def test_simpleitk_reads_the_same_of_enhanced(tmp_path, modality, order):
    import SimpleITK as sitk

    turn = np.deg2rad(20)
    axes = np.array([[0, np.sin(turn), np.cos(turn)], [0, np.cos(turn), -np.sin(turn)], [1.0, 0, 0]]).T
    grid = make.grid(shape=(6, 20, 24), directions=axes)
    path = tmp_path / "e.dcm"
    make.write_enhanced(path, make.waves(grid.shape), grid, modality, slope=2.0, intercept=-5, order=order)
    volume = read_one(tmp_path)
    theirs = sitk.ReadImage(str(path))
    index = np.argwhere(np.ones(grid.shape))[::37]
    values = [
        theirs[theirs.TransformPhysicalPointToIndex(p)] for p in geometry_of(volume).to_world(index).tolist()
    ]
    np.testing.assert_array_equal(real_values(volume).values[tuple(index.T)], values)


def test_enhanced_per_frame_orientation_and_spacing(tmp_path):
    """Some writers put into every frame what others share."""

    def change(dataset):
        shared = dataset.SharedFunctionalGroupsSequence[0]
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
            frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
        dataset.SharedFunctionalGroupsSequence = [make.item()]

    stored = make.ramp(GRID.shape)
    make.write_enhanced(tmp_path / "e.dcm", stored, GRID, change=change)
    np.testing.assert_array_equal(read_one(tmp_path).values, stored)


def refusal(folder):
    result = scan(folder)
    assert not result.cases
    (skip,) = result.skipped
    return skip.reason


def test_enhanced_with_phases_that_nothing_tells_apart(tmp_path):
    def change(dataset):
        for n, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            frame.FrameContentSequence[0].TemporalPositionIndex = 1 + n // 3

    make.write_enhanced(
        tmp_path / "e.dcm", make.ramp(GRID.shape), GRID, order=[*range(5), *range(5)], change=change
    )
    reason = refusal(tmp_path)
    assert "same position" in reason
    assert "it holds 4 temporal positions; nothing in their headers tells whole volumes apart" in reason


def test_enhanced_with_two_stacks(tmp_path):
    def change(dataset):
        for frame in dataset.PerFrameFunctionalGroupsSequence[3:]:
            frame.FrameContentSequence[0].StackID = "2"
            frame.PlaneOrientationSequence = [make.item(ImageOrientationPatient=[0, 1, 0, 0, 0, 1])]

    make.write_enhanced(tmp_path / "e.dcm", make.ramp((6, 5, 4)), make.grid(shape=(6, 5, 4)), change=change)
    assert "it holds 2 stacks" in refusal(tmp_path)


def test_enhanced_refusals(tmp_path):
    def one_less(dataset):
        del dataset.PerFrameFunctionalGroupsSequence[-1]

    def concatenation(dataset):
        dataset.ConcatenationUID = "1.2.3"

    def no_rescale(dataset):
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            del frame.PixelValueTransformationSequence

    def huge(dataset):
        dataset.NumberOfFrames = 2**31 - 1

    def short(dataset):
        dataset.Rows = 4000

    def missing(dataset):
        dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0].ImagePositionPatient = make.ds(
            [0, 0, 1]
        )

    for change, words in [
        (one_less, "claims 5 frames and describes 4"),
        (concatenation, "concatenation"),
        (no_rescale, "Hounsfield units are not known"),
        (huge, "claims 2147483647 x"),
        (short, "too short"),
        (missing, "33 slices are missing"),
    ]:
        folder = tmp_path / change.__name__
        make.write_enhanced(folder / "e.dcm", make.ramp(GRID.shape), GRID, "CT", change=change)
        assert words in refusal(folder), change.__name__


def test_enhanced_pet_in_suv(tmp_path):
    def change(dataset):
        dataset.Units, dataset.PatientWeight = "BQML", "70"
        dataset.DecayCorrectionDateTime = "20240102101500.000000"
        dataset.RadiopharmaceuticalInformationSequence = [
            make.item(
                RadiopharmaceuticalStartDateTime="20240102091500",
                RadionuclideTotalDose="370000000",
                RadionuclideHalfLife="6586.2",
            )
        ]

    stored = make.ramp(GRID.shape, low=0)
    make.write_enhanced(tmp_path / "e.dcm", stored, GRID, "PT", slope=2.0, change=change)
    volume = read_one(tmp_path)
    factor = 70000 / (370e6 * 2 ** (-3600 / 6586.2))
    assert volume.attrs["real_units"] == "g/mL"
    np.testing.assert_allclose(real_values(volume, np.float64), stored * 2.0 * factor)


def real_world(code, slope):
    def change(dataset):
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            mapping = make.item(RealWorldValueSlope=slope, RealWorldValueIntercept=0.0)
            mapping.MeasurementUnitsCodeSequence = [make.item(CodeValue=code, CodingSchemeDesignator="UCUM")]
            frame.RealWorldValueMappingSequence = [mapping]

    return change


@pytest.mark.parametrize(
    ("code", "slope", "units"),
    [
        ("Bq/ml", 2.0, "Bq/mL"),
        ("g/ml{SUVbw}", 2.0, "g/mL"),
        ("g/ml{SUVbw}", 3.0, "1"),
        ("{counts}", 2.0, "1"),
    ],
)
def test_enhanced_pet_units_from_the_real_world_mapping(tmp_path, code, slope, units):
    path = tmp_path / "e.dcm"
    make.write_enhanced(path, make.ramp(GRID.shape), GRID, "PT", slope=2.0, change=real_world(code, slope))
    volume = read_one(tmp_path)
    assert volume.attrs["real_units"] == units, volume.attrs["suv_why"]
    assert (volume.coords["slope"] == 2).all()


@pytest.mark.parametrize(
    ("encode", "decode_again"), [("dcmcjpeg +ee +q 95", "dcmdjpeg"), ("dcmcjpls +en +md 2", "dcmdjpls")]
)
def test_lossy_images_are_read_as_dcmtk_reads_them(tmp_path, encode, decode_again):
    if shutil.which(decode_again) is None:
        pytest.skip(f"dcmtk's {decode_again} is not installed: nothing here writes that")
    stored = np.clip(make.waves(LARGE.shape, np.uint16) >> 4, 0, 4095)
    make.write_series(tmp_path, stored, LARGE, "MR", syntax=encode, bits_stored=12)
    image = scan(tmp_path).cases[0].primary
    assert image.facts["lossy"]
    volume = read_image(image)
    for k, path in enumerate(image.files):
        plain = tmp_path / "plain.dcm"
        subprocess.run([decode_again, path, plain], check=True, capture_output=True)
        theirs = read_stored(read_header(plain))[0]
        # the standard lets two JPEG decoders differ by one in the inverse cosine transform
        assert np.abs(volume.values[k].astype(int) - theirs).max() <= 1


@pytest.mark.filterwarnings("ignore")
def test_pydicoms_own_files():
    """Headers and uncompressed pixels of odd files from many writers, against pydicom."""
    import warnings

    import pydicom

    seen = 0
    for path in sorted(Path(pydicom.__file__).parent.glob("data/test_files/**/*")):
        try:
            header = read_header(path)
        except InputError:
            continue
        if (
            not header.values.get("Rows")
            or header.values.get("SamplesPerPixel") != 1
            or header.pixel_length <= 0
        ):
            continue
        if header.values["BitsAllocated"] < 8 or header.transfer_syntax == DeflatedExplicitVRLittleEndian:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = header.transfer_syntax
            try:
                expected = dataset.pixel_array
            except ValueError:  # some are meant to be unreadable
                continue
        np.testing.assert_array_equal(read_stored(header).reshape(expected.shape), expected, str(path))
        assert dataset.SOPInstanceUID == header.values["SOPInstanceUID"]
        seen += 1
    assert seen > 20


# --- NIfTI


def write_nifti(path, stored, geometry, scale=(1.0, 0.0), codes=(1, 1), **header):
    import nibabel

    lps = np.eye(4)
    lps[:3] = geometry.affine[:3][:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(np.ascontiguousarray(stored.T), np.diag([-1, -1, 1, 1]) @ lps)
    image.set_sform(image.affine, codes[0])
    image.set_qform(image.affine, codes[1])
    image.header.set_slope_inter(*scale)
    for key, value in header.items():
        image.header[key] = value
    if scale != (1.0, 0.0):
        # to_filename would rescale: write stored values and slope as they are
        image.header.set_data_dtype(stored.dtype)
        image = nibabel.Nifti1Image(np.ascontiguousarray(stored.T), image.affine, image.header)
        image.to_filename(path)
        raw = bytearray(path.read_bytes())
        raw[112:120] = np.array(scale, "<f4").tobytes()
        path.write_bytes(raw)
    else:
        image.to_filename(path)
    return path


@pytest.mark.parametrize("number", range(0, 48, 7))
def test_nifti(tmp_path, number):
    grid = make.grid(directions=make.orientations()[number])
    stored = make.ramp(grid.shape)
    write_nifti(tmp_path / "sub-01_T1w.nii", stored, grid, (0.5, 3.0))
    (case,) = scan(tmp_path / "sub-01_T1w.nii").cases
    assert (case.patient_id, case.primary.modality) == ("sub-01", "MR")
    volume = read_image(case.primary)
    assert volume.dtype == np.int16
    np.testing.assert_array_equal(volume.values, stored)
    np.testing.assert_allclose(real_values(volume), stored * 0.5 + 3)
    assert Geometry.close_to(geometry_of(volume), grid)


@pytest.mark.parametrize(
    ("name", "low", "modality", "units"),
    [
        ("head.nii.gz", 0, "MR", "1"),
        ("head.nii.gz", -1024, "CT", "HU"),
        ("head_ct.nii", 0, "CT", "HU"),
        ("s_pet.nii", 0, "PT", "1"),
    ],
)
def test_nifti_modality(tmp_path, name, low, modality, units):
    stored = make.ramp((9, 30, 30), low=low)
    write_nifti(tmp_path / name, stored, make.grid(shape=stored.shape))
    (case,) = scan(tmp_path).cases
    volume = read_image(case.primary)
    assert (volume.attrs["modality"], volume.attrs["real_units"]) == (modality, units)
    assert scan(tmp_path / name).cases[0].id == case.id


def test_nifti_sidecar(tmp_path):
    write_nifti(tmp_path / "x.nii.gz", make.ramp(GRID.shape, low=0), GRID)
    (tmp_path / "x.json").write_text('{"Modality": "PT", "Units": "Bq/mL"}')
    volume = read_image(scan(tmp_path / "x.nii.gz").cases[0].primary)
    assert (volume.attrs["modality"], volume.attrs["real_units"]) == ("PT", "Bq/mL")


def test_nifti_refusals(tmp_path):
    write_nifti(tmp_path / "nowhere.nii", make.ramp(GRID.shape), GRID, codes=(0, 0))
    write_nifti(tmp_path / "flat.nii", make.ramp((1, 6, 7)), make.grid(shape=(1, 6, 7)))
    write_nifti(tmp_path / "sub-1_desc-brain_mask.nii.gz", make.ramp(GRID.shape), GRID)
    (tmp_path / "broken.nii").write_bytes(b"no")
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b" + b"\0" * 400)
    time = write_nifti(tmp_path / "time.nii", make.ramp(GRID.shape), GRID)
    raw = bytearray(time.read_bytes())
    raw[40:52] = np.array([5, 7, 6, 5, 1, 2], "<i2").tobytes()
    time.write_bytes(raw)
    result = scan(tmp_path)
    assert not result.cases
    reasons = {skip.path.rsplit("/", 1)[1]: skip.reason for skip in result.skipped}
    assert "how it lies in the patient" in reasons["nowhere.nii"]
    assert "single slice" in reasons["flat.nii"]
    assert "mask" in reasons["sub-1_desc-brain_mask.nii.gz"]
    assert "5 dimensions" in reasons["time.nii"]
    assert "cannot be read" in reasons["broken.nii"]
    assert "compressed data are damaged" in reasons["broken.nii.gz"]


def test_truncated_nifti(tmp_path):
    path = write_nifti(tmp_path / "x_ct.nii", make.ramp(GRID.shape), GRID)
    image = scan(path).cases[0].primary
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        read_image(image)

"""Derived CT, MR and PET: values, headers, transfer syntaxes, UIDs and the record of defacing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless, RLELossless
from support import make
from support.export_kit import KEY, HalfSpace, ball, geometry, half_space, head_ct, one_case, run_export  # noqa: F401

from defacedask.errors import ConfigError
from defacedask.io.dicom.export import UidMap, clean_name, output_names
from defacedask.io.dicom.export.encoding import fit
from defacedask.io.dicom.image import read_image
from defacedask.volume import real_values


def compare(source: Path, out: Path, plan: HalfSpace) -> None:
    """What was written is the original outside the region and the plan's result inside."""
    before, after = read_image(one_case(source).primary), read_image(one_case(out).primary)
    from defacedask.volume import geometry_of

    assert geometry_of(before).affine == pytest.approx(geometry_of(after).affine, abs=0)
    assert before.dtype == after.dtype
    assert (before.slope == after.slope).all()
    assert (before.intercept == after.intercept).all()
    region = plan.region(geometry_of(before))
    assert 0.2 < region.mean() < 0.8
    assert (before.values[~region] == after.values[~region]).all()
    expected = plan.apply(before).values
    assert (after.values[region] == expected[region]).all()
    assert (before.values != after.values)[region].any()


@pytest.mark.parametrize(
    ("modality", "dtype", "slope", "intercept"),
    [
        ("CT", np.int16, 1.0, 0.0),
        ("CT", np.uint16, 1.0, -1024.0),
        ("MR", np.uint16, 1.0, 0.0),
        ("MR", np.uint8, 1.0, 0.0),
        ("PT", np.int16, np.linspace(0.5, 2.0, 12), 0.0),
    ],
)
def test_values(tmp_path, modality, dtype, slope, intercept):
    grid = geometry()
    stored = head_ct(grid) if modality == "CT" else np.abs(head_ct(grid)) // (9 if dtype is np.uint8 else 1)
    stored = (stored - int(np.min(intercept))).astype(dtype)
    make.write_series(tmp_path / "in", stored, grid, modality, slope=slope, intercept=intercept)
    outcome, out = run_export(tmp_path / "in", tmp_path)
    assert outcome.facts["written"] == {modality: 12}
    compare(tmp_path / "in", out, HalfSpace(-2.0))


@pytest.mark.parametrize("at", range(0, 48, 7))
def test_any_orientation(tmp_path, at):
    directions = make.orientations()[at]
    grid = geometry(directions)
    plan = HalfSpace(float(grid.centre[1]))
    values = (
        np.where(ball(grid), 40, -1000) + np.arange(np.prod(grid.shape)).reshape(grid.shape) % 17
    ).astype(np.int16)
    make.write_series(tmp_path / "in", values, grid)
    _, out = run_export(tmp_path / "in", tmp_path, plan)
    compare(tmp_path / "in", out, plan)


@pytest.mark.parametrize(
    "syntax",
    [*make.NATIVE, RLELossless, JPEGLSLossless, JPEG2000Lossless],
    ids=lambda s: pydicom.uid.UID(s).name,
)
def test_transfer_syntax_is_kept(tmp_path, syntax):
    grid = geometry()
    stored = head_ct(grid) + 1024
    make.write_series(
        tmp_path / "in", stored.astype(np.uint16), grid, intercept=-1024, bits_stored=12, syntax=syntax
    )
    _, out = run_export(tmp_path / "in", tmp_path)
    compare(tmp_path / "in", out, HalfSpace(-2.0))
    for path in out.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == syntax
        assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (16, 12, 11)


@pytest.mark.parametrize("bits", [8, 16])
def test_big_endian_and_odd_sizes(tmp_path, bits):
    grid = make.grid((9, 31, 33), (3.0, 1.5, 1.25), frame=make.uid("frame"))
    stored = (np.abs(head_ct(grid)) // 9).astype(f"uint{bits}")
    make.write_series(tmp_path / "in", stored, grid, "MR", syntax="1.2.840.10008.1.2.2")
    plan = HalfSpace(float(grid.centre[1]))
    _, out = run_export(tmp_path / "in", tmp_path, plan)
    compare(tmp_path / "in", out, plan)
    for path in out.rglob("*.dcm"):
        whole = pydicom.dcmread(path)
        assert whole.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2"


def test_lossless_jpeg_is_written_uncompressed_and_says_so(tmp_path):
    if not shutil.which("dcmcjpeg"):
        pytest.skip("dcmcjpeg (dcmtk) is not installed")
    grid = geometry()
    stored = (head_ct(grid) + 1024).astype(np.uint16)
    make.write_series(tmp_path / "in", stored, grid, intercept=-1024, syntax="dcmcjpeg +e1")
    _, out = run_export(tmp_path / "in", tmp_path)
    compare(tmp_path / "in", out, HalfSpace(-2.0))
    for path in out.rglob("*.dcm"):
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    lines = (tmp_path / "record").rglob("*.jsonl")
    assert all("came as JPEG Lossless" in text for p in lines for text in p.read_text().splitlines())


def test_lossy_input_is_written_without_loss_and_stays_marked_lossy(tmp_path):
    grid = geometry()

    def lossy(dataset, k):
        dataset.compress(JPEG2000, j2k_cr=[4], generate_instance_uid=False)
        dataset.LossyImageCompression, dataset.LossyImageCompressionRatio = "01", "4"

    make.write_series(
        tmp_path / "in", (head_ct(grid) + 1024).astype(np.uint16), grid, intercept=-1024, change=lossy
    )
    outcome, out = run_export(tmp_path / "in", tmp_path)
    compare(tmp_path / "in", out, HalfSpace(-2.0))
    for path in out.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
        assert dataset.LossyImageCompression == "01"
    assert any("CT: came as JPEG 2000" in note for note in outcome.facts["notes"])


def test_what_only_the_syntax_told_to_be_lossy_is_marked_so(tmp_path):
    grid = geometry()

    def near(dataset, k):
        dataset.compress(JPEGLSNearLossless, jls_error=2, generate_instance_uid=False)

    make.write_series(
        tmp_path / "in", (head_ct(grid) + 1024).astype(np.uint16), grid, intercept=-1024, change=near
    )
    assert not any("LossyImageCompression" in pydicom.dcmread(p) for p in (tmp_path / "in").rglob("*.dcm"))
    _, out = run_export(tmp_path / "in", tmp_path)
    for path in out.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == JPEGLSLossless
        assert dataset.LossyImageCompression == "01"


def test_fill_that_does_not_fit_is_clipped_to_the_bits_stored(tmp_path):
    grid = geometry()
    stored = (head_ct(grid) // 8 + 200).astype(np.uint16)  # air is 75: -1000 HU is not representable
    make.write_series(tmp_path / "in", stored, grid, intercept=-75, slope=1, bits_stored=9)
    _, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0, material=900.0, body=50.0))
    after = read_image(one_case(out).primary).values
    assert after.max() == 511


def test_enhanced_multi_frame(tmp_path):
    grid = geometry()
    order = [3, 1, 0, 2, *range(11, 3, -1)]
    stored = head_ct(grid)
    make.write_enhanced(tmp_path / "in" / "e.dcm", stored, grid, "CT", order=order)
    _, out = run_export(tmp_path / "in", tmp_path)
    compare(tmp_path / "in", out, HalfSpace(-2.0))
    dataset = pydicom.dcmread(out / "e.dcm")
    source = pydicom.dcmread(tmp_path / "in" / "e.dcm")
    assert dataset.ImageType[0] == "DERIVED"
    group = dataset.SharedFunctionalGroupsSequence[0].DerivationImageSequence[0]
    assert group.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    # required beside it: dciodvfy would have an error that the input has not
    (series,) = dataset.SourceImageEvidenceSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    places = [
        f.PlanePositionSequence[0].ImagePositionPatient for f in dataset.PerFrameFunctionalGroupsSequence
    ]
    assert places == [
        f.PlanePositionSequence[0].ImagePositionPatient for f in source.PerFrameFunctionalGroupsSequence
    ]


def test_enhanced_de_identified_names_its_source_by_pseudonyms(tmp_path):
    grid = geometry()
    path = make.write_enhanced(tmp_path / "in" / "e.dcm", head_ct(grid), grid, "CT")
    _, out = run_export(tmp_path / "in", tmp_path, identity_key=bytes(32))
    source = pydicom.dcmread(path)
    (written,) = out.rglob("*.dcm")
    (series,) = pydicom.dcmread(written).SourceImageEvidenceSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID.startswith("2.25.")
    for uid in (source.SeriesInstanceUID, source.StudyInstanceUID, source.SOPInstanceUID):
        assert uid.encode() not in written.read_bytes()


def busy(dataset, k):
    """Everything that could show the face or name the source, in one header."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.DeidentificationMethod = "by hand"
    dataset.DeidentificationMethodCodeSequence = Sequence(
        [make.item(CodeValue="113100", CodingSchemeDesignator="DCM", CodeMeaning="Basic Profile")]
    )
    dataset.WindowCenter, dataset.WindowWidth = ["40", "400"], ["300", "2000"]
    dataset.add_new(0x00280120, "SS", -2000)
    dataset.add_new(0x00280106, "SS", -9999)
    dataset.add_new(0x00280107, "SS", 9999)
    dataset.IconImageSequence = Sequence(
        [make.item(Rows=2, Columns=2, BitsAllocated=8, PixelRepresentation=0, PixelData=b"\0" * 4)]
    )
    dataset.add_new(0x60000010, "US", 4)
    dataset.add_new(0x60003000, "OW", b"\1" * 4)
    dataset.InstanceCreationDate = "20240102"
    scout = make.item(ReferencedSOPClassUID=make.SOP["CT"], ReferencedSOPInstanceUID=make.uid("scout"))
    dataset.ReferencedImageSequence = Sequence([scout])
    block = dataset.private_block(0x0029, "A VENDOR", create=True)
    block.add_new(1, "LT", f"made from {dataset.SOPInstanceUID}")
    block.add_new(2, "OB", b"\xff\xd8\xff\xe0" + b"a thumbnail" * 40)
    block.add_new(
        3, "OB", b"\0" + dataset.SeriesInstanceUID.encode() + b"\0" * (64 - len(dataset.SeriesInstanceUID))
    )
    block.add_new(4, "UI", dataset.SOPInstanceUID)
    block.add_new(5, "LO", "kept")
    block.add_new(6, "OB", bytes(range(256)) * 40)


@pytest.fixture
def busy_case(tmp_path):
    grid = geometry()
    make.write_series(tmp_path / "in", head_ct(grid), grid, change=busy)
    outcome, out = run_export(tmp_path / "in", tmp_path)
    (note,) = (note for note in outcome.facts["notes"] if "left out" in note)
    assert note.startswith("CT: left out: icon image (0088,0200), overlay (6000,xxxx)")
    name = "images.0004.dcm"
    return pydicom.dcmread(tmp_path / "in" / name), pydicom.dcmread(out / name), out


def test_record_of_defacing(busy_case):
    source, dataset, _ = busy_case
    codes = [(i.CodeValue, i.CodingSchemeDesignator) for i in dataset.DeidentificationMethodCodeSequence]
    assert codes == [("113100", "DCM"), ("113102", "DCM"), ("half_space", "99DEFACEDASK")]
    assert dataset.DeidentificationMethod[0] == "by hand"
    assert re.fullmatch(r"defacedask \S+ half_space", dataset.DeidentificationMethod[1])
    assert dataset.RecognizableVisualFeatures == "NO"
    assert list(dataset.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    (item,) = dataset.SourceImageSequence
    assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert item.ReferencedSOPClassUID == source.SOPClassUID
    assert "half_space" in dataset.DerivationDescription
    assert HalfSpace(-2.0).digest in dataset.DerivationDescription
    assert dataset.DerivationCodeSequence[0].CodeValue == "113047"
    assert dataset.ContributingEquipmentSequence[0].ManufacturerModelName == "defacedask"
    assert "PatientIdentityRemoved" not in dataset
    assert "InstanceCreationDate" not in dataset


def test_what_could_show_the_face_is_dropped_and_listed(busy_case, tmp_path):
    _, dataset, _ = busy_case
    assert "IconImageSequence" not in dataset
    assert 0x60003000 not in dataset
    private = dataset.private_block(0x0029, "A VENDOR")
    assert 2 not in private
    assert 6 not in private
    assert private[5].value == "kept"
    record = next((tmp_path / "record").rglob("*.jsonl")).read_text()
    for what in ("icon image (0088,0200)", "overlay (6000,xxxx)", "private picture (0029,1002)"):
        assert what in record


def test_the_rest_of_the_header_is_the_original(busy_case):
    source, dataset, _ = busy_case
    for keyword in (
        "WindowCenter",
        "WindowWidth",
        "PixelPaddingValue",
        "PixelSpacing",
        "ImagePositionPatient",
    ):
        assert dataset[keyword].value == source[keyword].value
    for keyword in (
        "PatientName",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "StudyDate",
    ):
        assert dataset[keyword].value == source[keyword].value
    array = dataset.pixel_array
    assert (dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue) == (array.min(), array.max())


def test_source_uids_are_nowhere_but_in_the_source_sequence(busy_case):
    source, dataset, out = busy_case
    uids = UidMap(KEY)
    assert (
        dataset.SOPInstanceUID == uids(source.SOPInstanceUID) == dataset.file_meta.MediaStorageSOPInstanceUID
    )
    assert dataset.SeriesInstanceUID == uids(source.SeriesInstanceUID)
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == uids(make.uid("scout"))
    private = dataset.private_block(0x0029, "A VENDOR")
    assert private[4].value == dataset.SOPInstanceUID
    assert len(private[3].value) == 66
    for path in out.rglob("*.dcm"):
        whole = pydicom.dcmread(path)
        del whole.SourceImageSequence
        text = path.read_bytes().replace(whole.PixelData, b"")
        assert text.count(make.uid("P1", "images").encode()) == 0
        others = [make.uid("P1", "images", "instance", k).encode() for k in range(12)]
        assert sum(text.count(other) for other in others) == 1


def test_private_elements_go_when_asked(tmp_path):
    grid = geometry()
    make.write_series(tmp_path / "in", head_ct(grid), grid, change=busy)
    _, out = run_export(tmp_path / "in", tmp_path, private="drop")
    for path in out.rglob("*.dcm"):
        assert not any(tag.is_private for tag in pydicom.dcmread(path).keys())  # noqa: SIM118


# --- the map of UIDs, and names


@given(st.from_regex(r"[0-2](\.[1-9][0-9]{0,8}){1,6}", fullmatch=True))
def test_new_uids_are_valid_and_depend_on_the_key(uid):
    one, same, other = UidMap(KEY), UidMap(bytes(KEY)), UidMap(KEY[::-1])
    new = one(uid)
    assert new == same(uid) == one(new.strip() and uid)
    assert new != other(uid)
    assert re.fullmatch(r"2\.25\.[1-9][0-9]*", new)
    assert len(new) <= 64
    assert int(new[5:]) < 2**128
    assert pydicom.uid.UID(new).is_valid


def test_a_short_key_is_no_key():
    with pytest.raises(ConfigError):
        UidMap(b"secret")


def test_key_is_in_no_output(tmp_path):
    grid = geometry()
    make.write_series(tmp_path / "in", head_ct(grid), grid)
    _, out = run_export(tmp_path / "in", tmp_path)
    for path in [*out.rglob("*"), *(tmp_path / "record").rglob("*")]:
        if path.is_file():
            data = path.read_bytes()
            assert KEY not in data
            assert KEY.hex().encode() not in data


def test_uids_in_names_are_replaced():
    uids, known = UidMap(KEY), {"1.2.826.0.7.12", "2.25.77123456"}
    assert clean_name("a/CT.1.2.826.0.7.12.dcm", uids, known) == f"a/CT.{uids('1.2.826.0.7.12')}.dcm"
    assert clean_name("1.2.826.0.7.12/5.dcm", uids, known) == f"{uids('1.2.826.0.7.12')}/5.dcm"
    assert clean_name("2.25.77123456.1", uids, known) == f"{uids('2.25.77123456')}.1"
    assert clean_name("1.2.826.0.7.123/v1.2.3.dcm", uids, known) == "1.2.826.0.7.123/v1.2.3.dcm"


def test_names_keep_the_shape_of_the_input_and_stay_inside(tmp_path):
    for name in ("a/p1/x.dcm", "b/p1/x.dcm", "c.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = [str(tmp_path / n) for n in ("a/p1/x.dcm", "b/p1/x.dcm", "c.dcm")]
    assert set(output_names(files, [tmp_path]).values()) == {"a/p1/x.dcm", "b/p1/x.dcm", "c.dcm"}
    two = output_names(files[:2], [tmp_path / "a", tmp_path / "b"])
    assert set(two.values()) == {"a/p1/x.dcm", "b/p1/x.dcm"}
    single = output_names(files[:2], [tmp_path / "a"])
    assert len(set(single.values())) == 2
    assert all(not v.startswith("/") and ".." not in v for v in single.values())


@given(st.integers(1, 16), st.booleans(), st.lists(st.integers(-32768, 32767), min_size=1, max_size=20))
def test_fit(bits, signed, values):
    array = np.array(values, np.int32)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    assert (fit(array, bits, signed) == np.clip(array, low, high)).all()


def test_real_values_of_air(tmp_path):
    grid = geometry()
    make.write_series(tmp_path / "in", (head_ct(grid) + 1024).astype(np.uint16), grid, intercept=-1024)
    _, out = run_export(tmp_path / "in", tmp_path)
    values = real_values(read_image(one_case(out).primary)).values
    assert (values[HalfSpace(-2.0).region(grid)] == -1000).all()

"""No second picture leaves in a header: whatever the element, its value representation, its vendor or its depth."""

import base64
import gzip
import io
import struct

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID
from support import make

from defacedask.errors import InputError
from defacedask.io.dicom.export.image import behind
from defacedask.io.dicom.export.pictures import drop_pictures

VENDORS = [
    "Philips Imaging DD 001",
    "SIEMENS MEDCOM HEADER",
    "SIEMENS CSA HEADER",
    "GEMS_IMAG_01",
    "ACME 1.0",
]
IMPLICIT, EXPLICIT = UID("1.2.840.10008.1.2"), UID("1.2.840.10008.1.2.1")


def picture(side=40, dtype=np.uint8):
    """A bright head before a dark ground, with noise: no constant, no text, no curve."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    noise = np.random.default_rng(side).integers(0, 30, (side, side))
    return (np.where(y**2 + x**2 < 0.16, 180, 5) + noise).astype(dtype)


def again(dataset, syntax=EXPLICIT):
    """As it is read from a file: elements raw, none converted yet."""
    dataset.SOPClassUID, dataset.SOPInstanceUID = make.SOP["CT"], make.uid("picture")
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def holding(vr, value, creator="ACME 1.0", group=0x0029):
    dataset = Dataset()
    dataset.private_block(group, creator, create=True).add_new(0x10, vr, value)
    return dataset


def left(dataset):
    """Bytes of everything that stays but the creators."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return len(buffer.getvalue())


@pytest.mark.parametrize("creator", VENDORS)
@pytest.mark.parametrize("vr", ["OB", "OW", "UN"])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_copy_of_the_pixels_goes_whatever_vendor_signs_it(creator, vr, syntax):
    dataset = again(holding(vr, picture().astype("<u2").tobytes(), creator), syntax)
    assert drop_pictures(dataset) == ["private binary element (0029,1010)"]
    assert left(dataset) < 600


def as_jpeg():
    Image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    Image.fromarray(picture(48)).save(buffer, "JPEG", quality=15)
    return (b"VENDOR-HEADER-16" + buffer.getvalue() + b"\0")[: (len(buffer.getvalue()) + 17) // 2 * 2]


FORMS = {
    "numbers": lambda: ("US", picture().ravel().tolist()),
    "signed numbers": lambda: ("SS", (picture().astype(int) - 99).ravel().tolist()),
    "floats": lambda: ("FL", picture().astype(float).ravel().tolist()),
    "doubles": lambda: ("FD", picture().astype(float).ravel().tolist()),
    "decimals": lambda: ("DS", [str(v) for v in picture().ravel()]),
    "integers": lambda: ("IS", [str(v) for v in picture().ravel()]),
    "words of 64 bits": lambda: ("OV", picture().tobytes()),
    "floating bytes": lambda: ("OF", picture().astype("<f4").tobytes()),
    "base 64": lambda: ("UT", base64.b64encode(picture().tobytes()).decode()),
    "base 64 in lines": lambda: ("UT", base64.encodebytes(picture().tobytes()).decode()),
    "base 64 as bytes": lambda: ("OB", base64.encodebytes(picture().tobytes()).ljust(2200)),
    "hexadecimal": lambda: ("LT", picture().tobytes().hex()),
    "hexadecimal, parted": lambda: ("UT", picture().tobytes().hex(" ")),
    "a list in text": lambda: ("UT", ", ".join(map(str, picture().ravel()))),
    "a smallest picture": lambda: ("OB", picture(32).tobytes()),
    "compressed, behind a header": lambda: ("OB", as_jpeg()),
    "gzip": lambda: ("OB", gzip.compress(picture(64).tobytes()).ljust(4000, b"\0")),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_goes_in_whatever_form(form):
    vr, value = FORMS[form]()
    dataset = again(holding(vr, value))
    assert len(drop_pictures(dataset)) == 1
    assert left(dataset) < 600


def test_rows_in_elements_of_their_own_are_one_picture():
    dataset = Dataset()
    block = dataset.private_block(0x0029, "ACME 1.0", create=True)
    for k, row in enumerate(picture(64, np.uint16)):
        block.add_new(k, "OB", row.tobytes())
    block.add_new(0xF0, "LO", "kept")
    dataset = again(dataset)
    assert drop_pictures(dataset) == ["private pieces of a picture (0029,xxxx)"]
    assert dataset.private_block(0x0029, "ACME 1.0")[0xF0].value == "kept"
    assert left(dataset) < 600


@pytest.mark.parametrize("depth", [0, 1, 5, 20])
@pytest.mark.parametrize("private", [False, True])
def test_pixel_data_of_an_item_go_at_any_depth(depth, private):
    item = Dataset()
    item.Rows, item.Columns, item.BitsAllocated, item.PixelRepresentation = 40, 40, 8, 0
    item.PixelData = picture().tobytes()
    item["PixelData"].VR = "OB"
    for _ in range(depth):
        outer = Dataset()
        outer.RequestAttributesSequence = Sequence([item])
        item = outer
    if private:
        dataset = holding("SQ", Sequence([item]))
    else:
        dataset = Dataset()
        dataset.ReferencedImageSequence = Sequence([item])
    dataset = again(dataset)
    assert drop_pictures(dataset) == ["pixel data of an item (7fe0,0010)"]
    assert left(dataset) < 1500


def test_what_is_nested_too_deeply_to_be_looked_through_is_refused():
    item = Dataset()
    item.PatientComments = "deep"
    for _ in range(30):
        outer = Dataset()
        outer.RequestAttributesSequence = Sequence([item])
        item = outer
    with pytest.raises(InputError, match="nested more than 24 deep"):
        drop_pictures(again(item))


def test_public_elements_are_looked_at_too():
    dataset = Dataset()
    dataset.ImageComments = base64.b64encode(picture().tobytes()).decode()
    dataset.add_new(0x00081777, "UN", picture().tobytes())
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [1600, 0, 16], picture().astype("<u2").tobytes()
    table["LUTData"].VR = "OW"
    dataset.VOILUTSequence = Sequence([table])
    assert drop_pictures(again(dataset)) == [
        "coded text (0020,4000)",
        "lookup table that turns like a picture (0028,3006)",
        "unknown binary element (0008,1777)",
    ]


#: Public elements of numbers that anything may be written into.
LISTS = {
    "FD": 0x00081163,
    "IS": 0x00181620,
    "DS": 0x00181065,
    "US": 0x00540010,
    "UL": 0x00603020,
    "FL": 0x00700253,
    "SS": 0x00189810,
}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("parsed", [False, True])
@pytest.mark.parametrize("vr", LISTS)
def test_public_lists_of_numbers_are_looked_at_too(vr, parsed, syntax):
    """The same number of them stays where they go on, as times and places of frames do."""
    values = [int(v) for v in picture().ravel()]
    for numbers, goes in ((values, True), (sorted(values), False), (values[:1000], False)):
        dataset = Dataset()
        dataset.add_new(LISTS[vr], vr, list(map(str, numbers)) if vr in ("IS", "DS") else numbers)
        dataset = again(dataset, syntax)
        if parsed:
            assert len(dataset[LISTS[vr]].value) == len(numbers)
        assert bool(drop_pictures(dataset)) is goes
        assert (LISTS[vr] in dataset) is not goes


TEXT_TAGS = {
    "LO": 0x00701A09,
    "UT": 0x00404001,
    "LT": 0x00204000,
    "DS": 0x00181065,
    "IS": 0x00181620,
    "UI": 0x00081167,
}


@pytest.mark.filterwarnings("ignore")  # pydicom's, of values that are too long
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("vr", TEXT_TAGS)
def test_bytes_that_call_themselves_characters_are_no_text(vr, private):
    """Floats, sixteen-bit pixels and JPEG under the VR of a text; implicit syntaxes take it from the dictionary."""
    for raw in (
        picture().tobytes(),
        picture(dtype="<f4").tobytes(),
        picture(dtype="<u2").tobytes(),
        as_jpeg(),
    ):
        tag = 0x00291010 if private else TEXT_TAGS[vr]
        dataset = Dataset()
        if private:
            dataset.private_block(0x0029, "ACME 1.0", create=True)
        dataset[tag] = RawDataElement(Tag(tag), vr, len(raw), raw, 0, False, True)
        dropped = drop_pictures(dataset)
        assert tag not in dataset
        assert dropped[0].startswith("private" if private else "text that is none"), dropped


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "shift_jis", "iso2022_jp", "euc_kr", "latin-1"])
def test_texts_of_any_character_set_stay(codec):
    words = {"latin-1": "Schädel Kopf ", "euc_kr": "머리 촬영 "}.get(codec, "頭部 検査 ")
    raw = (words * 60).encode(codec) + b"\r\n"
    for tag in (0x00204000, 0x00291010):
        dataset = Dataset()
        dataset.private_block(0x0029, "ACME 1.0", create=True)
        dataset[tag] = RawDataElement(Tag(tag), "LT", len(raw), raw, 0, False, True)
        assert drop_pictures(dataset) == []


def test_contours_and_what_is_judged_elsewhere_stay():
    dataset = Dataset()
    dataset.ContourData = [str(v) for v in picture().ravel()]
    dataset.DVHData = [str(v) for v in picture().ravel()]
    assert drop_pictures(again(dataset)) == []


def test_a_table_that_was_read_already_is_judged_like_one_that_was_not():
    dataset = Dataset()
    dataset.VOILUTSequence = Sequence([Dataset()])
    dataset.VOILUTSequence[0].add_new(0x00283006, "US", [int(v) for v in picture().ravel()])
    assert drop_pictures(dataset) == ["lookup table that turns like a picture (0028,3006)"]
    assert "VOILUTSequence" not in dataset  # a descriptor without its table is none


def csa(second):
    """A header as Siemens writes it: SV10 or its predecessor, tags of 84 bytes, junk behind each name."""
    tags = b"".join(
        b"EchoLinePosition".ljust(64, b"\x9d") + struct.pack("<i4siii", 1, b"IS\0\0", 6, 0, 77)
        for _ in range(40)
    )
    start = b"SV10\4\3\2\1" if second else b""
    return (start + struct.pack("<II", 40, 77) + tags).ljust(4096, b"\0")


def protocol():
    text = "".join(f'set SERIES{k} "value of {k}"\n' for k in range(400)).encode()
    packed = gzip.compress(text)
    return (struct.pack("<I", len(packed)) + packed).ljust(2048, b"\0")


def phoenix():
    return "### ASCCONV BEGIN ###\n" + "".join(
        f'sTXSPEC.aRFPULSE[{k}].tName\t=\t""ExtExciteRF""\nsSliceArray.asSlice[{k}].dThickness\t=\t{k}.25\n'
        for k in range(200)
    )


STAYS = {
    "CSA header": ("SIEMENS CSA HEADER", "OB", csa(True)),
    "older CSA header": ("SIEMENS CSA HEADER", "OB", csa(False)),
    "GE's protocol": ("GEMS_SERS_01", "OB", protocol()),
    "Siemens' protocol as bytes": ("SIEMENS MR SDS 01", "OB", phoenix().encode().ljust(30000)),
    "Siemens' protocol as text": ("SIEMENS MR SDS 01", "UT", phoenix()),
    "XML": (
        "SIEMENS MED NM",
        "UT",
        "<a uid='1.2.840.113619.2.55.3.604688119.868.1249343483.504'>x y</a>\n" * 90,
    ),
    "a matrix": ("Philips Imaging DD 001", "FL", [0.5] * 64),
    "one number": ("Philips PET Private Group", "DS", "0.000123"),
    "a small header": ("GEMS_PARM_01", "OB", bytes(range(200))),
}


@pytest.mark.parametrize("what", STAYS)
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_what_converters_read_stays(what, syntax):
    creator, vr, value = STAYS[what]
    dataset = again(holding(vr, value, creator), syntax)
    before = left(dataset)
    assert drop_pictures(dataset) == []
    assert left(dataset) == before


def test_curves_and_colour_maps_stay():
    dataset = Dataset()
    table = Dataset()
    curve = (65535 / (1 + np.exp(-np.linspace(-6, 6, 4096)))).astype("<u2")
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], curve.tobytes()
    table["LUTData"].VR = "OW"
    dataset.VOILUTSequence = Sequence([table])
    rainbow = (np.abs(np.sin(np.linspace(0, 9, 1024))) * 65535).astype("<u2")
    dataset.RedPaletteColorLookupTableDescriptor = [1024, 0, 16]
    dataset.RedPaletteColorLookupTableData = rainbow.tobytes()
    assert drop_pictures(again(dataset)) == []


@settings(max_examples=60, deadline=None)
@given(
    side=st.integers(32, 80),
    vr=st.sampled_from(["OB", "OW", "UN", "OF", "OD", "OL"]),
    creator=st.sampled_from([*VENDORS, "x"]),
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from(["u1", "<u2", "<f4"]),
)
def test_any_picture_of_bytes_goes(side, vr, creator, seed, width):
    values = picture(side) + np.random.default_rng(seed).integers(0, 40, (side, side))
    data = values.astype(width).tobytes()
    dataset = again(holding(vr, data + b"\0" * (-len(data) % 8), creator))
    assert len(drop_pictures(dataset)) == 1
    assert left(dataset) < 600


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_what_stands_behind_the_pixels_is_named(tmp_path, syntax):
    dataset = Dataset()
    dataset.Rows = dataset.Columns = 40
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = picture().astype("<u2").tobytes() * 2
    dataset["PixelData"].VR = "OW"
    dataset.private_block(0x7FE1, "SIEMENS CSA NON-IMAGE", create=True).add_new(
        0x10, "OB", picture().tobytes()
    )
    path = tmp_path / "two.dcm"
    again(dataset, syntax).save_as(path)
    assert behind(str(path)) == [
        "more pixel data than the picture needs (7fe0,0010)",
        "element behind the pixel data (7fe1,0010)",
        "element behind the pixel data (7fe1,1010)",
    ]
    del dataset[0x7FE10010], dataset[0x7FE11010]
    dataset.PixelData = picture().astype("<u2").tobytes()
    dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 64)
    again(dataset, syntax).save_as(path)
    assert behind(str(path)) == []

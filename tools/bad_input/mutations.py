"""Ways in which a file can be wrong: each takes the bytes or the dataset of a good one and a random generator.

Bytes are changed where a reader would stumble over them, datasets where a reader would believe them.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

__all__ = ["NAMES", "mutate"]

Rng = np.random.Generator
GEOMETRY = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
)
WANTED = (
    *(
        "SOPClassUID",
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "PatientID",
    ),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *(
        "PhotometricInterpretation",
        "PixelData",
        "Modality",
        *GEOMETRY,
        "GridFrameOffsetVector",
        "DoseGridScaling",
    ),
    *("ROIContourSequence", "StructureSetROISequence", "NumberOfFrames", "SegmentSequence", "DoseUnits"),
    *(
        "PerFrameFunctionalGroupsSequence",
        "SharedFunctionalGroupsSequence",
        "ReferencedFrameOfReferenceSequence",
    ),
)
NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-320",
    "0",
    "-0",
    "-3",
    "12,5",
    "1e",
    "",
    " ",
    "\\",
    "9" * 16,
)
PATHS = (
    *(
        "../../../tmp/escaped",
        "/etc/escaped",
        "..",
        ".",
        "a/b\\c:d*e?",
        "\0x",
        "C:\\escaped",
        "x" * 5000,
        "CON",
    ),
    *("\u202egnp.exe", "né\n\r\t", "~root", "$(touch escaped)", "%2e%2e%2f", " ", "-rf", "|true"),
)


# --- bytes


def truncated(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def flipped(data: bytes, rng: Rng) -> bytes:
    out = bytearray(data)
    for at in rng.integers(0, min(len(data), 4096), int(rng.integers(1, 24))):
        out[at] = int(rng.integers(0, 256))
    return bytes(out)


def _elements(data: bytes) -> list[int]:
    """Where elements with a two-letter VR begin."""
    known = {b"CS", b"UI", b"DS", b"IS", b"US", b"LO", b"PN", b"SQ", b"OW", b"DA", b"TM", b"SH", b"OB", b"UN"}
    end = min(len(data) - 8, 8192)
    return [i for i in range(132, end, 2) if data[i + 4 : i + 6] in known] or [132]


def wrong_length(data: bytes, rng: Rng) -> bytes:
    at = int(rng.choice(_elements(data)))
    out = bytearray(data)
    long = data[at + 4 : at + 6] in (b"SQ", b"OW", b"OB", b"UN")
    value = int(rng.choice([0, 1, 3, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]))
    if long:
        out[at + 8 : at + 12] = struct.pack("<I", value)
    else:
        out[at + 6 : at + 8] = struct.pack("<H", value & 0xFFFF)
    return bytes(out)


def wrong_vr(data: bytes, rng: Rng) -> bytes:
    at = int(rng.choice(_elements(data)))
    vr = [b"SQ", b"UN", b"OB", b"FD", b"AT", b"ZZ", b"\0\0", b"PN", b"US", b"DS"][int(rng.integers(0, 10))]
    return data[: at + 4] + vr + data[at + 6 :]


def elements_shuffled(data: bytes, rng: Rng) -> bytes:
    places = _elements(data)
    a, b = sorted(int(v) for v in rng.choice(places, 2))
    return data[:a] + data[b : b + 40] + data[a:b] + data[b:]


def nothing_or_noise(data: bytes, rng: Rng) -> bytes:
    kind = int(rng.integers(0, 4))
    noise = rng.integers(0, 256, 4000, dtype=np.uint8).tobytes()
    return [b"", b"\0" * 140, noise, data[:132] + noise][kind]


def meta_missing(data: bytes, rng: Rng) -> bytes:
    return data[int(rng.choice([128, 132, 144, 160])) :]


def zip_bomb(data: bytes, rng: Rng) -> bytes:
    """A deflated file that inflates a thousandfold, in its header or in its pixels."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    raw = buffer.getvalue()
    start = 144 + int.from_bytes(raw[140:144], "little")
    body = zlib.decompress(raw[start:], -zlib.MAX_WBITS)
    size = int(rng.choice([80, 1000, 3900]))
    if rng.random() < 0.5:
        first, last = body[:0], body
        head = struct.pack("<HH2sHI", 0x0008, 0x0000, b"UN", 0, size << 20)
    else:
        first, last = body, b""
        head = struct.pack("<HH2sHI", 0x7FE1, 0x0010, b"OB", 0, size << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start_of = packer.compress(first + head) + packer.flush(zlib.Z_FULL_FLUSH)
    # a block after a full flush stands for itself: the same kilobyte again and again is the whole bomb
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return raw[:start] + start_of + block * size + packer.compress(last) + packer.flush()


def deep_sequences(data: bytes, rng: Rng) -> bytes:
    """Items in items in items, as bytes: pydicom could not write them."""
    depth = int(rng.choice([20, 200, 3000, 40000]))
    head = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    nest = (head + item) * depth + (ends * depth if rng.random() < 0.7 else b"")
    at = data.find(b"\x10\x00\x10\x00PN")
    return data[:at] + nest + data[at:] if at > 0 else data + nest


# --- datasets


def tag_missing(dataset: Any, rng: Rng) -> None:
    there = [k for k in WANTED if k in dataset]
    for keyword in rng.choice(there, int(rng.integers(1, 3)), replace=False):
        delattr(dataset, str(keyword))


def tag_empty(dataset: Any, rng: Rng) -> None:
    there = [k for k in WANTED if k in dataset]
    dataset[str(rng.choice(there))].value = None


def wrong_numbers(dataset: Any, rng: Rng) -> None:
    there = [
        k for k in (*GEOMETRY, "DoseGridScaling", "GridFrameOffsetVector", "SliceThickness") if k in dataset
    ]
    if not there:
        return _contours(dataset, rng)
    keyword = str(rng.choice(there))
    text = str(dataset[keyword].value).strip("[]").replace("'", "").split(", ")
    text[int(rng.integers(0, len(text)))] = str(rng.choice(NUMBERS))
    _raw(dataset, keyword, "\\".join(text))
    return None


def _contours(dataset: Any, rng: Rng) -> None:
    rois = dataset.get("ROIContourSequence") or []
    if not rois or not rois[0].get("ContourSequence"):
        return
    one = rois[int(rng.integers(0, len(rois)))].ContourSequence[0]
    values = [str(v) for v in one.ContourData]
    kind = int(rng.integers(0, 6))
    if kind == 0:
        values[int(rng.integers(0, len(values)))] = str(rng.choice(NUMBERS))
    elif kind == 1:
        values = values[:-1]
    elif kind == 2:
        values = values[:3]
    elif kind == 3:
        values = [f"{v}e9" if i % 3 != 2 else v for i, v in enumerate(values)]
    elif kind == 4:
        values = values * 400
    else:
        one.NumberOfContourPoints = 10**9
    _raw(one, "ContourData", "\\".join(v[:16] for v in values))


def wrong_multiplicity(dataset: Any, rng: Rng) -> None:
    there = [k for k in (*GEOMETRY, "Rows", "PatientID", "SOPInstanceUID", "ImageType") if k in dataset]
    keyword = str(rng.choice(there))
    value = dataset[keyword].value
    many = list(value) if not isinstance(value, (str, int)) and hasattr(value, "__iter__") else [value]
    count = int(rng.choice([0, 1, 2, 7, 4000]))
    values = (many * (count // max(len(many), 1) + 1))[:count]
    if dataset[keyword].VR == "US":
        dataset[keyword]._value = values
    else:
        _raw(dataset, keyword, "\\".join(map(str, values)))


def huge_dimensions(dataset: Any, rng: Rng) -> None:
    for keyword in ("Rows", "Columns"):
        if rng.random() < 0.7:
            setattr(dataset, keyword, int(rng.choice([0, 1, 65535, 32768])))
    if rng.random() < 0.4:
        dataset.NumberOfFrames = str(rng.choice(["2147483647", "0", "-1", "99999999999", "1.5", "x"]))


def wrong_bits(dataset: Any, rng: Rng) -> None:
    if "BitsAllocated" not in dataset:
        return tag_missing(dataset, rng)
    keyword = str(
        rng.choice(["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"])
    )
    setattr(dataset, keyword, int(rng.choice([0, 1, 3, 7, 8, 12, 15, 16, 17, 32, 64, 65535])))
    return None


def short_pixels(dataset: Any, rng: Rng) -> None:
    if "PixelData" not in dataset:
        return _contours(dataset, rng)
    data = dataset.PixelData
    dataset["PixelData"]._value = data[: int(rng.integers(0, max(len(data), 1)))]
    return None


def wrong_syntax(dataset: Any, rng: Rng) -> None:
    """Pixels said to be compressed in some way, and fragments that are not."""
    kinds = (
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90",
    )
    kinds += ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.103", "1.2.3.4")
    dataset.file_meta.TransferSyntaxUID = str(rng.choice(kinds))
    if "PixelData" in dataset:
        from pydicom.encaps import encapsulate

        noise = rng.integers(0, 256, int(rng.integers(0, 600)), dtype=np.uint8).tobytes()
        magic = [b"", b"\xff\xd8\xff\xf7", b"\xff\x4f\xff\x51", struct.pack("<16I", 1, *[64] * 15)]
        dataset.PixelData = encapsulate([magic[int(rng.integers(0, 4))] + noise])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True


def path_tricks(dataset: Any, rng: Rng) -> None:
    for keyword in (
        "PatientID",
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "SeriesDescription",
        "FrameOfReferenceUID",
    ):
        if rng.random() < 0.4 and keyword in dataset:
            _raw(dataset, keyword, str(rng.choice(PATHS)))


def strange_text(dataset: Any, rng: Rng) -> None:
    dataset.SpecificCharacterSet = str(
        rng.choice(["ISO_IR 999", "ISO 2022 IR 87", "GB18030", "", "utf-8", "\\\\"])
    )
    raw = rng.integers(0, 256, int(rng.integers(1, 200)), dtype=np.uint8).tobytes()
    for keyword in ("PatientID", "PatientName", "SeriesDescription", "ImageType", "RescaleType", "DoseUnits"):
        if rng.random() < 0.5:
            _raw(dataset, keyword, raw.replace(b"\\", b"_"))


def huge_value(dataset: Any, rng: Rng) -> None:
    keyword = str(
        rng.choice(["ImageComments", "ImagePositionPatient", "DerivationDescription", "PatientComments"])
    )
    dataset.add(DataElement(keyword, "UT", "9" * int(rng.choice([70_000, 3_000_000]))))


def wrong_objects(dataset: Any, rng: Rng) -> None:
    """Numbers and references of structure sets, doses and segmentations that lead nowhere."""
    if "StructureSetROISequence" in dataset:
        rois = dataset.StructureSetROISequence
        kind = int(rng.integers(0, 5))
        if kind == 0:
            _raw(rois[0], "ROINumber", str(rng.choice(["x", "-1", "99999999999999", ""])))
        elif kind == 1:
            rois.append(rois[0])
        elif kind == 2:
            dataset.ROIContourSequence[0].ContourSequence = Sequence([Dataset()])
        elif kind == 3:
            del dataset.ROIContourSequence[0].ReferencedROINumber
        else:
            _contours(dataset, rng)
    elif "GridFrameOffsetVector" in dataset:
        values = ["nan", "0\\0\\0", "", "\\".join(map(str, range(70000))), "0\\1e300"]
        _raw(dataset, "GridFrameOffsetVector", str(rng.choice(values)))
    elif "SegmentSequence" in dataset:
        dataset.NumberOfFrames = int(rng.choice([0, 1, 10**6]))
        if rng.random() < 0.5:
            del dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    else:
        wrong_numbers(dataset, rng)


def same_instance(dataset: Any, rng: Rng) -> None:
    """Another file's UIDs, or another patient in the same series."""
    if rng.random() < 0.5:
        dataset.PatientID = "another"
    else:
        dataset.InstanceNumber, dataset.SOPInstanceUID = 1, "1.2.3"
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"


def _raw(dataset: Any, keyword: str, value: str | bytes) -> None:
    """Set a value that no library would let through."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    raw += b" " * (len(raw) % 2)
    tag = Tag(tag_for_keyword(keyword) or 0)
    dataset._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(raw), raw, 0, False, True)


BYTES: tuple[Callable[[bytes, Rng], bytes], ...] = (
    *(truncated, flipped, wrong_length, wrong_vr, elements_shuffled, nothing_or_noise, meta_missing),
    *(zip_bomb, deep_sequences),
)
DATASETS: tuple[Callable[[Any, Rng], None], ...] = (
    *(tag_missing, tag_empty, wrong_numbers, wrong_multiplicity, huge_dimensions, wrong_bits, short_pixels),
    *(wrong_syntax, path_tricks, strange_text, huge_value, wrong_objects, same_instance),
)
NAMES = tuple(f.__name__ for f in (*BYTES, *DATASETS))


def mutate(data: bytes, rng: Rng, kind: str) -> bytes:
    """Damage one file.

    Parameters
    ----------
    data : bytes
        A DICOM file, explicit little endian.
    rng : numpy.random.Generator
    kind : str
        One of `NAMES`.
    """
    for function in BYTES:
        if function.__name__ == kind:
            return function(data, rng)
    (change,) = [function for function in DATASETS if function.__name__ == kind]
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(data))
        buffer = io.BytesIO()
        try:
            change(dataset, rng)
            pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
        except Exception:  # too wrong even to be written this way: damaged as bytes instead
            return flipped(data, rng)
    return buffer.getvalue()

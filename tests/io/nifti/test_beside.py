"""What lies in a NIfTI file or its sidecar beside the voxels could show the face, and no plan was asked for it."""

from __future__ import annotations

import base64
import gzip
import io
import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from support.export_kit import HalfSpace, half_space, run_export  # noqa: F401
from support.nifti_kit import write
from test_nifti_out import raw

from defacedask.io.nifti.beside import only_voxels, without_pictures
from defacedask.io.nifti.write import sidecar_path

PICTURE = np.random.default_rng(3).integers(0, 256, 48 * 48, dtype=np.uint8).tobytes()


def header(*, icon: bool) -> bytes:
    """A DICOM header as converters put it into an extension, with or without a picture of its own."""
    dataset = Dataset()
    dataset.PatientName = "Doe"
    dataset.SeriesDescription = "what a scanner says " * 30
    if icon:
        small = Dataset()
        small.Rows = small.Columns = 48
        small.add_new("PixelData", "OW", PICTURE)
        dataset.IconImageSequence = [small]
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, implicit_vr=True, little_endian=True)
    return out.getvalue()


GONE = {
    "a picture's samples": (6, PICTURE),
    "a picture's samples under an unknown code": (40, PICTURE),
    "a JPEG": (0, b"\xff\xd8\xff\xe0" + PICTURE[:400]),
    "base 64": (6, base64.encodebytes(PICTURE)),
    "a list of numbers": (6, " ".join(map(str, PICTURE)).encode()),
    "a DICOM header with an icon": (2, header(icon=True)),
    "a DICOM file without pixels of its own but an icon": (0, bytes(128) + b"DICM" + header(icon=True)),
}
KEPT = {
    "words": (6, b"by hand, " * 200),
    "XML": (4, b"<AFNI_attributes>" + b"<AFNI_atr> x </AFNI_atr>\n" * 100 + b"</AFNI_attributes>"),
    "a DICOM header": (2, header(icon=False)),
    "a few bytes": (20, PICTURE[:40]),
}


def extended(path: Path, code: int, value: bytes) -> Path:
    image = nibabel.load(path)
    new = nibabel.Nifti1Image(np.array(image.dataobj), image.affine, image.header)
    new.header.extensions.append(nibabel.nifti1.Nifti1Extension(code, value))
    nibabel.save(new, path)
    return path


@pytest.mark.parametrize("what", [*GONE, *KEPT])
def test_an_extension_that_could_be_a_picture_goes(tmp_path, what):
    code, value = (GONE | KEPT)[what]
    source = extended(write(tmp_path / "in" / "sub-01_T1w.nii", "int16"), code, value)
    assert value[:200] in raw(source)  # or nothing could be seen to go
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(1.0))
    new = raw(out / "sub-01_T1w.nii")
    assert len(new) == len(raw(source))
    assert (value in new) == (what in KEPT)
    if what in GONE:
        assert not any(
            new[at : at + 24] in value for at in range(360, 360 + len(value), 24) if any(new[at : at + 24])
        )
    assert any("could hold a picture" in note for note in outcome.facts["notes"]) == (what in GONE)


@pytest.mark.parametrize("name", ["sub-01_T1w.nii", "sub-01_T1w.nii.gz"])
def test_nothing_is_written_behind_the_voxels(tmp_path, name):
    """A header of one volume before the bytes of two: the second has its whole face, and no plan was asked for it."""
    source = write(tmp_path / "in" / "sub-01_T1w.nii", "int16")
    voxels = raw(source)[int(nibabel.load(source).dataobj.offset) :]
    source.write_bytes(raw(source) + voxels)
    if name.endswith(".gz"):
        (source.parent / name).write_bytes(gzip.compress(source.read_bytes()))
        source.unlink()
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(1.0))
    new = raw(out / name)
    assert len(new) == len(raw(tmp_path / "in" / name)) - len(voxels)
    assert voxels not in new
    assert any(f"{len(voxels)} bytes behind" in note for note in outcome.facts["notes"])


def test_rows_of_a_picture_in_many_extensions_go(tmp_path):
    source = write(tmp_path / "in" / "sub-01_T1w.nii", "int16")
    rows = [np.random.default_rng(k).integers(128, 256, 88, dtype=np.uint8).tobytes() for k in range(60)]
    for row in rows:
        extended(source, 6, row)
    _, out = run_export(tmp_path / "in", tmp_path, HalfSpace(1.0))
    new = raw(out / "sub-01_T1w.nii")
    assert all(row in raw(source) and row not in new for row in rows)


@given(st.binary(max_size=900), st.integers(0, 40), st.booleans(), st.booleans())
def test_whatever_lies_before_the_voxels_nothing_moves_and_nothing_appears(junk, behind, flag, two):
    size = 540 if two else 348
    raw = bytearray(size.to_bytes(4, "little") + bytes(size - 4) + bytes([flag, 0, 0, 0]) + junk)
    offset = len(raw)
    voxels = b"voxels"
    new, notes = only_voxels(bytes(raw + voxels + b"x" * behind), offset, offset + len(voxels))
    assert bytes(new[offset:]) == voxels
    assert new[:size] == raw[:size]
    assert all(b in (0, a) for a, b in zip(raw[size:offset], new[size:offset], strict=True))
    assert bool(behind) == any("behind" in note for note in notes)


FIELDS = {
    "Thumbnail": base64.b64encode(PICTURE).decode(),
    "Preview": "data:image/jpeg;base64," + base64.b64encode(PICTURE[:300]).decode(),
    "Surface": [[float(k), 0.5, 1.5] for k in range(400)],
    "global": {"const": {"Icon": PICTURE.hex()}},
    "Points": [{"x": float(k), "y": 1.5, "z": 0.0} for k in range(400)],
    "Rows": {f"row{k}": list(range(40)) for k in range(30)},
}


def test_a_sidecar_carries_no_picture(tmp_path):
    source = write(tmp_path / "in" / "sub-01_T1w.nii.gz", "int16")
    kept = {
        "EchoTime": 0.003,
        "SliceTiming": [k / 100 for k in range(300)],
        "ImageComments": "said by hand " * 200,
        "ImageOrientationPatientDICOM": [1, 0, 0, 0, 1, 0],
    }
    sidecar_path(source).write_text(json.dumps({**kept, **FIELDS}))
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(1.0))
    facts = json.loads((out / "sub-01_T1w.json").read_text())
    assert {name: facts.get(name) for name in kept} == kept
    assert not FIELDS.keys() & facts.keys()
    assert any(f"{len(FIELDS)} fields" in note for note in outcome.facts["notes"])


def test_rows_of_a_picture_in_many_fields_go():
    rows = {f"row{k}": list(range(64)) for k in range(64)}
    assert without_pictures({"EchoTime": 1, **rows})[0] == {"EchoTime": 1}
    assert without_pictures({"EchoTime": 1, "row1": rows["row1"]})[1] == ()


def test_verify_sees_voxels_that_were_put_behind(tmp_path):
    from support.resealing import reseal

    from defacedask.io.dicom.export.audit import collect
    from defacedask.verify import verify

    write(tmp_path / "in" / "sub-01_T1w.nii", "int16")
    _, out = run_export(tmp_path / "in", tmp_path, HalfSpace(1.0))
    collect(out, sorted((tmp_path / "record").rglob("*.jsonl")))
    assert not verify(out).problems
    (out / "sub-01_T1w.nii").write_bytes(raw(out / "sub-01_T1w.nii") + b"more")
    reseal(out, lambda lines: None)
    assert any("4 bytes follow its voxels" in str(problem) for problem in verify(out).problems)

"""`verify` finds whatever was done to a folder after it was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom.sequence import Sequence
from support import make
from support.export_kit import KEY, run_export, tree, write_patient
from support.resealing import edit, reseal

from defacedask.cli.verify import command
from defacedask.errors import InputError
from defacedask.io.dicom.export.audit import AUDIT, SEAL, collect
from defacedask.verify import verify


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder as `deface` leaves it, and its source."""
    from defacedask import defacers

    folder = tmp_path_factory.mktemp("made")
    write_patient(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
        _, out = run_export(folder / "in", folder)
    collect(out, sorted((folder / "record").rglob("*.jsonl")), key=KEY)
    return folder


@pytest.fixture
def out(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "out", tmp_path / "out"))


def checks(out: Path, **options) -> set[tuple[str, str]]:
    return {(p.file, p.check) for p in verify(out, **options).problems}


def test_nothing_to_say(out, made):
    result = verify(out, key=KEY, source=[made / "in"])
    assert result.problems == []
    assert result.written == 16
    assert result.counts == {"CT": 12, "RTDOSE": 1, "RTSTRUCT": 1, "RTPLAN": 1, "SEG": 1}


def test_one_changed_byte(out):
    name = "CT/images.0003.dcm"
    data = bytearray((out / name).read_bytes())
    data[-1] ^= 1
    (out / name).write_bytes(data)
    assert checks(out) >= {(name, "hash")}


def test_missing_and_added_files(out):
    (out / "RS.dcm").unlink()
    (out / "run.key").write_text(KEY.hex())
    found = checks(out)
    assert ("RS.dcm", "record") in found
    assert ("run.key", "record") in found
    assert ("RD.dcm", "references") in found


def test_a_changed_record(out):
    text = (out / AUDIT).read_text()
    (out / AUDIT).write_text(text.replace('"voxels_changed": 0', '"voxels_changed": 1', 1))
    assert checks(out) == {(AUDIT, "record")}


def test_a_record_sealed_by_somebody_else(out):
    reseal(out, lambda lines: None)
    assert checks(out) == set()
    assert checks(out, key=KEY) == {(AUDIT, "record")}
    (out / SEAL).unlink()
    assert checks(out) == {(SEAL, "record")}


def test_a_record_that_points_outside(out):
    def outside(lines):
        lines[0]["file"] = "../in/CT/images.0000.dcm"

    reseal(out, outside)
    assert ("../in/CT/images.0000.dcm", "record") in checks(out)


@pytest.mark.parametrize(
    ("name", "change", "check"),
    [
        ("CT/images.0002.dcm", lambda d: delattr(d, "DeidentificationMethodCodeSequence"), "tags"),
        ("CT/images.0002.dcm", lambda d: setattr(d, "RecognizableVisualFeatures", "YES"), "tags"),
        ("CT/images.0002.dcm", lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY"]), "tags"),
        ("CT/images.0002.dcm", lambda d: setattr(d, "SeriesInstanceUID", make.uid("P1", "images")), "tags"),
        ("RD.dcm", lambda d: delattr(d, "SourceImageSequence"), "tags"),
        ("RS.dcm", lambda d: setattr(d, "DeidentificationMethod", "by hand"), "tags"),
        (
            "CT/images.0002.dcm",
            lambda d: setattr(d, "IconImageSequence", Sequence([make.item(Rows=2, Columns=2)])),
            "tags",
        ),
        (
            "RP.dcm",
            lambda d: setattr(
                d.ReferencedStructureSetSequence[0], "ReferencedSOPInstanceUID", "2.25.123456789"
            ),
            "references",
        ),
        (
            "RS.dcm",
            lambda d: setattr(
                d, "StructureSetDescription", "from " + make.uid("P1", "images", "instance", 4)
            ),
            "leaks",
        ),
        (
            "RS.dcm",
            lambda d: setattr(
                d.ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0],
                "ReferencedSOPInstanceUID",
                make.uid("P1", "images", "instance", 4),
            ),
            "leaks",
        ),
    ],
)
def test_what_a_file_says(out, name, change, check):
    edit(out, name, change)
    assert (name, check) in checks(out)


def test_series_uids_are_found_when_the_source_is_at_hand(out, made):
    edit(out, "RP.dcm", lambda d: setattr(d, "RTPlanDescription", f"on {make.uid('P1', 'images')}"))
    assert checks(out) == set()
    assert checks(out, source=[made / "in"]) == {("RP.dcm", "leaks")}


def test_names_are_looked_at_too(out):
    uid = make.uid("P1", "images", "instance", 4)
    (out / "CT" / "images.0004.dcm").rename(out / "CT" / f"{uid}.dcm")

    def rename(lines):
        for line in lines:
            if line["file"] == "CT/images.0004.dcm":
                line["file"] = f"CT/{uid}.dcm"

    reseal(out, rename)
    assert (f"CT/{uid}.dcm", "leaks") in checks(out)


def test_two_files_of_one_instance(out):
    shutil.copy(out / "CT" / "images.0004.dcm", out / "CT" / "again.dcm")
    reseal(out, lambda lines: lines.append({**lines[4], "file": "CT/again.dcm"}))
    assert any(check == "tags" for _, check in checks(out))


@pytest.mark.parametrize("text", [None, "not json\n", "[1]\n"])
def test_no_usable_record(out, text):
    if text is None:
        (out / AUDIT).unlink()
    else:
        (out / AUDIT).write_text(text)
    with pytest.raises(InputError):
        verify(out)


def test_command(out, tmp_path):
    key = tmp_path / "key"
    key.write_text(KEY.hex())
    good = CliRunner().invoke(command, [str(out), "--key", str(key)])
    assert good.exit_code == 0, good.output
    assert "16 instances on record as written" in good.output
    (out / "RP.dcm").unlink()
    bad = CliRunner().invoke(command, [str(out)])
    assert bad.exit_code == 1
    assert "RP.dcm: record: it is on record, but not there" in bad.output
    assert tree(out)

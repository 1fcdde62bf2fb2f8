"""``deface --deidentify`` on a cohort: no word of anybody anywhere, and `verify` finds one that is planted."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from pydicom.sequence import Sequence
from support import make
from support.export_kit import half_space, judge_as, stub_plan, write_patient  # noqa: F401

from defacedask.cli.deface import command as deface
from defacedask.cli.verify import command as verify_command
from defacedask.io.dicom.export.audit import AUDIT, collect, read_lines
from defacedask.io.dicom.export.words import Words, forms_of
from defacedask.runs import deface_stages
from defacedask.verify import verify
from defacedask.whole_files import file_hash

#: In turn over the files of the one patient: new and former name in four spellings, two spellings of the id.
NAMES = ("Ketterer^Ilse", "KETTERER^ILSE^^", "Ketterer, Ilse", "Bergmann^Ilse")
IDS = ("MRN-554433", "00MRN-554433", "mrn 554433")
OTHERS = ("Quastenberg^Yvo", "QX-778899")


def name_files(folder: Path) -> None:
    for k, path in enumerate(sorted(folder.rglob("*.dcm"))):
        d = pydicom.dcmread(path)
        d.PatientName, d.PatientID = NAMES[k % len(NAMES)], IDS[k % len(IDS)]
        d.ReferringPhysicianName, d.OtherPatientIDs = "Zwickelmeier^Kuno", "ALT-998877"
        if "StructureSetROISequence" in d:
            d.StructureSetLabel = "BERGMANN HN"
            d.StructureSetROISequence[1].ROIName = "BrainBergmann"
            d.StructureSetROISequence[2].ROIName = "Deep (s. Zwickelmeier, alt998877)"
            d.StructureSetROISequence[0].ROIDescription = "compare Quastenberg"
        if "DoseGridScaling" in d:
            d.DoseComment = "Plan Bergmann fx 1-30"
        if "SegmentSequence" in d:
            d.SegmentSequence[0].SegmentLabel = "Tumour of QX 778899"
        d.save_as(path)


def write_nifti(folder: Path) -> None:
    image = nibabel.Nifti1Image(
        np.random.default_rng(3).integers(0, 200, (14, 16, 12)).astype(np.int16), np.diag([3.0, 3, 3, 1])
    )
    image.set_sform(image.affine, 1)
    image.header["descrip"], image.header["db_name"] = b"scan of Bergmann", b"BERGMANN"
    image.header["aux_file"], image.header["intent_name"] = b"/home/bergmann", b"Bergmann"
    folder.mkdir(parents=True)
    data = image.to_bytes() + b"appended by Bergmann"
    (folder / "Bergmann_T1.nii.gz").write_bytes(gzip.compress(data))
    facts = {"PatientName": "Bergmann^Ilse", "Manufacturer": "Bergmann Scanners", "EchoTime": 0.003}
    (folder / "Bergmann_T1.json").write_text(json.dumps({**facts, "global": {"PatientName": NAMES[0]}}))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    write_patient(folder / "in" / "Ilse Bergmann")
    name_files(folder / "in")
    write_nifti(folder / "in" / "nifti Bergmann")
    # somebody else in the cohort, and a refused file that names a third name of the first
    other = make.new("SC", "x", "capture", instance=0)
    other.PatientName, other.PatientID = OTHERS
    make.set_pixels(other, np.zeros((4, 4), np.uint8))
    make.save(other, folder / "in" / "Quastenberg.dcm")
    last = make.new("SC", "y", "capture", instance=0)
    last.PatientName, last.PatientID, last.StudyInstanceUID = (
        "Obermoser^Ilse",
        IDS[0],
        make.uid("P1", "study"),
    )
    make.set_pixels(last, np.zeros((4, 4), np.uint8))
    make.save(last, folder / "in" / "photo.dcm")
    for path in (folder / "in").rglob("RS.dcm"):
        d = pydicom.dcmread(path)
        d.StructureSetDescription = d.SeriesDescription = "Obermoser"
        d.StructureSetROISequence[1].ROIName = "BrainBergmann obermoser"
        d.save_as(path)
    with pytest.MonkeyPatch.context() as patch:
        from defacedask import defacers
        from defacedask.flow.stages import witnessing

        patch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
        patch.setattr(witnessing, "judge", judge_as(1.0))
        patch.setattr(deface_stages, "plan_protected", stub_plan)
        options = ["--defacer", "half_space", "--cluster", "here", "--deidentify"]
        done = CliRunner().invoke(deface, [str(folder / "in"), "--out", str(folder / "out"), *options])
    assert done.exit_code == 0, done.output
    return folder


WORDS = (
    "ketterer",
    "bergmann",
    "ilse",
    "zwickelmeier",
    "kuno",
    "quastenberg",
    "obermoser",
    "554433",
    "778899",
    "998877",
)


def everything(out: Path) -> bytes:
    parts = []
    for path in sorted(out.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        parts += [
            str(path.relative_to(out)).encode(),
            gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data,
        ]
    return b"\0".join(parts).lower()


def test_no_word_of_anybody_is_left(made):
    data = everything(made / "out")
    assert [word for word in WORDS if word.encode() in data] == []
    assert all(word.encode() in everything(made / "in") for word in WORDS)  # the search itself works


def test_one_new_name_for_one_id(made):
    found = {
        (str(d.PatientID), str(d.PatientName))
        for d in map(pydicom.dcmread, sorted((made / "out").rglob("*.dcm")))
    }
    assert len(found) == 1
    again = Words(forms_of(NAMES, IDS))
    assert not any(again.find(text) for text in found.pop())


def test_what_is_no_name_stays(made):
    (path,) = [p for p in (made / "out").rglob("*.dcm") if "RTSTRUCT" in str(p)]
    d = pydicom.dcmread(path)
    assert d.StructureSetLabel == "X HN"
    assert [r.ROIName for r in d.StructureSetROISequence] == ["BODY", "BrainX X", "Deep (s. X, X)"]


def test_verify_says_what_it_saw_and_what_not(made, tmp_path):
    out = made / "out"
    assert verify(out, source=[made / "in"]).problems == []
    assert verify(out, key=bytes.fromhex((made / "out.work" / "run.key").read_text().strip())).problems == []
    done = CliRunner().invoke(verify_command, [str(out)])
    assert done.exit_code == 0, done.output
    assert "not looked for" not in done.output  # the key lies beside the output
    alone = shutil.copytree(out, tmp_path / "alone")
    done = CliRunner().invoke(verify_command, [str(alone)])
    assert done.exit_code == 0, done.output
    assert "not looked for" in done.output
    assert "--key" in done.output


def dicom(name, change):
    def plant(out: Path) -> None:
        path = next(p for p in sorted(out.rglob("*.dcm")) if f"/{name}-" in str(p))
        d = pydicom.dcmread(path)
        change(d)
        d.save_as(path)

    return plant


def nested(d):
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99LOCAL", "of Bergmann"
    d.StructureSetROISequence[0].RTROIIdentificationCodeSequence = Sequence([item])


def private(d):
    d.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "UN", b"head of Bergmann!")


def sidecar(out: Path) -> None:
    path = next(p for p in out.rglob("*.json") if p.name not in ("audit.seal.json",))
    path.write_text(json.dumps({**json.loads(path.read_text()), "SeriesDescription": "Bergmann"}))


def nifti(at: int):
    """Into the header, or with -1 behind the voxels."""

    def plant(out: Path) -> None:
        path = next(p for p in out.rglob("*.nii.gz") if "defacemask" not in p.name)
        data = bytearray(gzip.decompress(path.read_bytes()))
        if at < 0:
            data += b" Bergmann"
        else:
            data[at : at + 8] = b"Bergmann"
        path.write_bytes(gzip.compress(bytes(data)))

    return plant


PLANTED = {
    "label": dicom("RTSTRUCT", lambda d: setattr(d, "StructureSetLabel", "Bergmann")),
    "glued": dicom("RTSTRUCT", lambda d: setattr(d.StructureSetROISequence[1], "ROIName", "BrainBERGMANN2")),
    "sequence": dicom("RTSTRUCT", nested),
    "comment": dicom("RTDOSE", lambda d: setattr(d, "DoseComment", "plan bergmann")),
    "code string": dicom("CT", lambda d: setattr(d, "BodyPartExamined", "BERGMANN")),
    "station": dicom("CT", lambda d: setattr(d, "StationName", "KETTERER")),
    "person": dicom("CT", lambda d: setattr(d, "ReferringPhysicianName", "Zwickelmeier^K")),
    "id": dicom("CT", lambda d: setattr(d, "SeriesDescription", "of 554433")),
    "another patient": dicom("CT", lambda d: setattr(d, "SeriesDescription", "see Quastenberg")),
    "private": dicom("CT", private),
    "sidecar": sidecar,
    "descrip": nifti(148),
    "aux_file": nifti(228),
    "intent_name": nifti(328),
    "db_name": nifti(14),
    "after the voxels": nifti(-1),
}


def reseal(out: Path, change=lambda lines: None) -> None:
    """Hashes of what was changed; the words of the seal stay."""
    seal = json.loads((out / "audit.seal.json").read_text())
    lines = read_lines(out / AUDIT)
    for line in lines:
        if (out / line["file"]).is_file() and line["status"] == "written":
            line["output_sha256"] = file_hash(out / line["file"])
    change(lines)
    part = out.parent / "part.jsonl"
    part.write_text("".join(json.dumps(line) + "\n" for line in lines))
    collect(out, [part])
    now = json.loads((out / "audit.seal.json").read_text())
    (out / "audit.seal.json").write_text(json.dumps({**now, "words": seal["words"]}))


@pytest.fixture
def out(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "out", tmp_path / "out"))


def leaks(out: Path, **options) -> bool:
    return "leaks" in {p.check for p in verify(out, **options).problems}


@pytest.mark.parametrize("place", PLANTED)
def test_a_word_planted_in_a_file_is_found(made, out, place):
    key = bytes.fromhex((made / "out.work" / "run.key").read_text().strip())
    PLANTED[place](out)
    reseal(out)
    assert leaks(out, source=[made / "in"])
    assert leaks(out, key=key)
    assert not leaks(out, key=bytes(32))


@pytest.mark.parametrize("field", ["reason", "file", "case", "notes"])
def test_a_word_planted_in_the_record_or_a_name_is_found(made, out, field):
    key = bytes.fromhex((made / "out.work" / "run.key").read_text().strip())

    def change(lines):
        line = next(one for one in lines if one["status"] == ("refused" if field == "reason" else "written"))
        if field == "file":
            old = out / line["file"]
            line["file"] = str(Path(line["file"]).with_name("bergmann.dcm"))
            old.rename(out / line["file"])
        else:
            line[field] = ["of Bergmann"] if field == "notes" else "its slices name Bergmann"

    reseal(out, change)
    assert leaks(out, source=[made / "in"])
    assert leaks(out, key=key)


def test_two_names_for_one_id_and_what_should_be_gone_are_found_without_key_and_source(out):
    dicom("CT", lambda d: setattr(d, "PatientName", "SOMEBODY^NEW"))(out)
    dicom("RTDOSE", lambda d: setattr(d, "PatientComments", "lives there"))(out)
    reseal(out)
    said = {p.what for p in verify(out).problems}
    assert "one new PatientID stands with 2 different PatientNames" in said
    assert "it still holds PatientComments" in said

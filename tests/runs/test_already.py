"""Input that is defaced already: left out with the reason, defaced again, or passed on as it came."""

from __future__ import annotations

import json
import shutil

import pydicom
import pytest
from click.testing import CliRunner
from support import make
from support.export_kit import geometry, half_space, head_ct, stub_plan, tree, write_patient  # noqa: F401

from defacedask.cli.deface import command
from defacedask.cli.scan import command as scan_command
from defacedask.errors import InputError
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.export.audit import read_lines
from defacedask.io.dicom.export.record import mark_cleaned
from defacedask.runs import deface_stages
from defacedask.runs.preparing import prepare
from defacedask.verify import verify


@pytest.fixture(autouse=True)
def quick_plan(monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)


def run(*arguments: object):
    args = [str(a) for a in arguments]
    return CliRunner().invoke(command, [*args, "--defacer", "half_space", "--cluster", "here"])


def words(result) -> str:
    return " ".join(result.output.split())


def mark(folder, names):
    """Stamp files as if quickshear had been there."""
    for path in names:
        dataset = pydicom.dcmread(path)
        image = dataset.Modality in ("CT", "MR", "RTDOSE")
        mark_cleaned(dataset, "quickshear", "0.1.0", image=image)
        dataset.save_as(path)


@pytest.fixture
def defaced(tmp_path):
    """A patient whose CT, dose and structures are stamped; plan and segmentation are not."""
    folder = tmp_path / "in"
    write_patient(folder)
    mark(folder, [*folder.glob("CT/*.dcm"), folder / "RD.dcm", folder / "RS.dcm"])
    return folder


@pytest.fixture
def both(defaced):
    """Another patient beside it, as it came from the scanner."""
    other = defaced / "other"
    grid = geometry()
    make.write_series(other, head_ct(grid), grid, patient="P2")
    return defaced


def test_alone_it_is_left_out_and_nothing_is_claimed(defaced, tmp_path):
    result = run(defaced, "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert "already defaced (quickshear, defacedask 0.1.0)" in f"{result.output} {result.exception}"
    assert "visible" not in f"{result.output} {result.exception}"


def test_others_go_on(both, tmp_path):
    out = tmp_path / "out"
    result = run(both, "--out", out)
    assert result.exit_code == 0, result.output
    assert {name.split("/")[0] for name in tree(out)} == {"other", "audit.jsonl", "audit.seal.json"}
    reasons = {
        line["modality"]: line["reason"]
        for line in read_lines(out / "audit.jsonl")
        if line["status"] == "refused"
    }
    assert "already defaced (quickshear, defacedask 0.1.0)" in reasons["CT"]
    assert "already defaced" in reasons["RTDOSE"]
    assert "nothing says that it is too" in reasons["SEG"]
    assert verify(out, source=[both]).problems == []


def test_scan_and_dry_run_say_it(both, tmp_path):
    said = words(CliRunner().invoke(scan_command, [str(both)]))
    assert "already defaced (quickshear, defacedask 0.1.0)" in said
    assert "113102" in said
    said = words(run(both, "--out", tmp_path / "out", "--dry-run"))
    assert "already defaced" in said
    assert "1 cases would be defaced" in said
    said = words(run(both, "--out", tmp_path / "out", "--dry-run", "--already-defaced", "copy"))
    assert "3 series would be passed on as they came" in said


def test_again_defaces_it_like_any_other(both, tmp_path):
    out = tmp_path / "out"
    result = run(both, "--out", out, "--already-defaced", "again")
    assert result.exit_code == 0, result.output
    path = next((out / "CT").glob("*.dcm"))
    dataset = pydicom.dcmread(path)
    values = [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]
    assert values == ["113102", "quickshear", "half_space"]
    assert verify(out, source=[both]).problems == []


def test_copy_passes_the_files_on_and_says_that_nothing_was_done(both, tmp_path):
    out = tmp_path / "out"
    result = run(both, "--out", out, "--already-defaced", "copy")
    assert result.exit_code == 0, result.output
    assert "passed on as it came, and not looked at" in words(result)
    files, source = tree(out), tree(both)
    copied = {line["file"]: line for line in read_lines(out / "audit.jsonl") if line["status"] == "copied"}
    assert len(copied) == 14
    for name, line in copied.items():
        assert files[name] == source[name] == line["input_sha256"] == line["output_sha256"]
        assert line["defacer"] == line["plan_sha256"] == ""
        assert "already defaced (quickshear, defacedask 0.1.0)" in line["reason"]
    assert "SEG.dcm" not in files  # nothing says that it is cleared
    assert verify(out, source=[both]).problems == []
    # what is on record as copied is watched
    (out / "RS.dcm").write_bytes((out / "RS.dcm").read_bytes() + b" ")
    assert [(p.file, p.check) for p in verify(out).problems] == [("RS.dcm", "hash")]


@pytest.mark.parametrize(
    "order", [("copy", "skip"), ("copy", "again"), ("again", "copy"), ("again", "skip", "again")]
)
def test_a_choice_can_be_changed(both, tmp_path, order):
    """What an earlier run left is taken back; the last choice is what the folder holds, and its record."""
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    for mode in order:
        result = run(both, "--out", out, "--work", tmp_path / "w", "--already-defaced", mode)
        assert result.exit_code == 0, result.output
        assert verify(out, source=[both]).problems == [], mode
    shutil.copytree(
        tmp_path / "w", tmp_path / "w2", ignore=shutil.ignore_patterns("results", "record", "store")
    )
    assert run(both, "--out", fresh, "--work", tmp_path / "w2", "--already-defaced", order[-1]).exit_code == 0
    assert tree(out) == tree(fresh)


def test_copy_does_not_go_with_deidentify(both, tmp_path):
    result = run(both, "--out", tmp_path / "out", "--already-defaced", "copy", "--deidentify")
    assert result.exit_code != 0
    assert "does not go with --deidentify" in f"{result.output} {result.exception}"


def test_an_image_beside_it_is_defaced(defaced, tmp_path):
    """A case with an MR that is not marked: the MR goes on, the CT and what refers to it do not."""
    grid = geometry()
    make.write_series(defaced / "MR", abs(head_ct(grid)), grid, "MR", series="mr")
    result = run(defaced, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    lines = read_lines(tmp_path / "out" / "audit.jsonl")
    assert {line["modality"] for line in lines if line["status"] == "written"} == {"MR"}
    # its frames name slices of the CT
    [why] = [line["reason"] for line in lines if line["modality"] == "SEG"]
    assert "the image it lies on is already defaced" in why


@pytest.mark.parametrize(
    ("sidecar", "name", "copied"),
    [
        ({"DeidentificationMethod": ["pydeface 2.0.2"]}, "sub-01_T1w.nii.gz", True),
        (None, "sub-01_desc-defaced_T1w.nii.gz", False),
    ],
)
def test_nifti(tmp_path, sidecar, name, copied):
    import nibabel
    import numpy as np

    folder = tmp_path / "in"
    folder.mkdir()
    values = np.random.default_rng(1).integers(0, 200, (14, 16, 12)).astype("int16")
    image = nibabel.Nifti1Image(values, np.diag([1.5, 1.5, 2, 1]))
    image.set_sform(image.affine, 1)
    image.to_filename(folder / name)
    if sidecar:
        (folder / name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    assert "already_defaced" in scan(folder).cases[0].primary.facts
    assert run(folder, "--out", tmp_path / "skipped").exit_code != 0
    result = run(folder, "--out", tmp_path / "out", "--already-defaced", "copy")
    assert (result.exit_code == 0) == copied
    if copied:
        assert verify(tmp_path / "out").problems == []
        assert name in tree(tmp_path / "out")
    else:
        assert "its name says so, and nothing else" in f"{result.output} {result.exception}"


def test_a_study_leaves_it_out_too(both, defaced, tmp_path):
    prepared = prepare(both, tmp_path / "out", defacers="quickshear")
    assert [case.patient_id for case in prepared.cases] == ["P2"]
    assert any("already defaced (quickshear" in s.reason for s in prepared.skipped)
    # who names a case means that case
    found = scan(defaced)
    alone = [case for case in found.cases if case.patient_id != "P2"]
    assert [c.id for c in prepare(alone, tmp_path / "out2").cases] == [c.id for c in alone]
    shutil.rmtree(defaced / "other")
    with pytest.raises(InputError, match="already defaced"):
        prepare(defaced, tmp_path / "out3")

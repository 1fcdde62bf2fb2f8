"""Whatever is wrong with one case, the others are defaced, at every run; only the disk is fatal."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from support import make
from support.export_kit import geometry, half_space, head_ct, stub_plan  # noqa: F401

from defacedask.cli.deface import command
from defacedask.errors import OutputError
from defacedask.flow.stages import case_export
from defacedask.io.dicom.export.audit import read_lines
from defacedask.runs import deface_stages
from defacedask.verify import verify


@pytest.fixture(autouse=True)
def quick_plan(monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)


def run(folder: Path, *more: object):
    args = [str(folder / "in"), "--out", str(folder / "out"), *map(str, more)]
    return CliRunner().invoke(command, [*args, "--defacer", "half_space", "--cluster", "here"])


def image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 200, (14, 16, 12)).astype(np.int16)
    one = nibabel.Nifti1Image(values, np.diag([3.0, 3, 3, 1]))
    one.set_sform(one.affine, 1)
    data = one.to_bytes()
    path.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)
    return path


@pytest.fixture
def two(tmp_path) -> Path:
    """Two subjects with one image each."""
    image(tmp_path / "in" / "sub-01" / "sub-01_T1w.nii.gz", 1)
    image(tmp_path / "in" / "sub-02" / "sub-02_T1w.nii.gz", 2)
    return tmp_path


def outcome(done) -> dict[str, str]:
    """Subject -> status, from the table that is printed."""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    rows = [line.split("│") for line in done.output.splitlines() if line.startswith("│ sub-0")]
    return {row[1].strip()[:6]: row[2].strip() for row in rows}


BOTH = {"sub-01": "done", "sub-02": "done"}
FIRST_FAILS = {"sub-01": "failed", "sub-02": "done"}


def test_beside_its_own_gz_at_every_run(two):
    image(two / "in" / "sub-01" / "sub-01_T1w.nii", 7)
    for _ in range(3):
        done = run(two)
        assert done.exit_code == 0, done.output
        assert "3 of 3 cases written" in done.output
        assert "side by side and differ" in done.output
    names = {p.name for p in (two / "out").rglob("*") if p.is_file()}
    for stem, mask in (
        ("sub-01_T1w", "sub-01_mod-T1w_defacemask"),
        ("sub-01_T1w-2", "sub-01_T1w-2_defacemask"),
        ("sub-02_T1w", "sub-02_mod-T1w_defacemask"),
    ):
        assert {f"{stem}.json", f"{mask}.nii.gz"} <= names
    assert verify(two / "out", source=[two / "in"]).problems == []


def test_one_name_in_two_folders_at_every_run(tmp_path):
    for k in (1, 2):
        image(tmp_path / "in" / f"sub{k}" / "mri" / "orig.nii", k)
    for _ in range(3):
        done = run(tmp_path)
        assert done.exit_code == 0, done.output
    for k in (1, 2):
        before = nibabel.load(tmp_path / "in" / f"sub{k}" / "mri" / "orig.nii")
        after = nibabel.load(tmp_path / "out" / f"sub{k}" / "mri" / "orig.nii")
        kept = (
            np.asarray(nibabel.load(tmp_path / "out" / f"sub{k}" / "mri" / "orig_defacemask.nii.gz").dataobj)
            == 0
        )
        assert (np.asarray(before.dataobj)[kept] == np.asarray(after.dataobj)[kept]).all()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_somebody_elses_file_in_the_way(two, kind):
    place = two / "out" / "sub-01" / "sub-01_T1w.nii.gz"
    place.parent.mkdir(parents=True)
    if kind == "link":
        place.symlink_to(two / "nowhere")
    else:
        place.write_text("mine") if kind == "file" else place.mkdir()
    for _ in range(3):
        done = run(two)
        assert done.exit_code == 1
        assert outcome(done) == FIRST_FAILS
        assert "already in the output folder" in " ".join(done.output.split())
    assert not (two / "nowhere").exists()
    assert kind != "file" or place.read_text() == "mine"


def test_a_file_where_a_folder_should_be(two):
    (two / "out").mkdir()
    (two / "out" / "sub-01").write_text("mine")
    for _ in range(2):
        assert outcome(run(two)) == FIRST_FAILS


@pytest.mark.parametrize("place", ["store", "results", "record", "plans"])
def test_something_in_the_way_of_the_runs_own_data(two, place):
    from defacedask.io.dicom.catalogue import scan

    (name,) = [c.id for c in scan(two / "in").cases if c.patient_id == "sub-01"]
    path = two / "out.work" / place / (f"{name}.zarr" if place == "store" else name)
    path.parent.mkdir(parents=True)
    path.write_text("in the way")
    for _ in range(2):
        done = run(two)
        assert outcome(done)["sub-02"] == "done", done.output
        assert outcome(done)["sub-01"] in ("failed", "done")


@pytest.mark.parametrize(
    "text", ["{", "[]\n", '{"status": "written"}\n', "\udcff", '{"status": "written", "file": 3}\n']
)
@pytest.mark.parametrize("again", [False, True])
def test_a_damaged_record_is_written_anew(two, text, again):
    assert outcome(run(two)) == BOTH
    before = read_lines(two / "out" / "audit.jsonl")
    (path,) = (two / "out.work" / "record").glob("sub-01*/*.jsonl")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    if again:  # the record of the whole run is gone, too: then nothing says whose the files are
        (two / "out" / "audit.jsonl").unlink()
    for _ in range(2):
        done = run(two)
        assert outcome(done)["sub-02"] == "done", done.output
        if not again and "written" not in text:
            assert outcome(done) == BOTH
            assert len(read_lines(two / "out" / "audit.jsonl")) == len(before)


@pytest.mark.parametrize("text", ["", "{", "null", '{"status": "done"}'])
def test_damaged_results_run_again(two, text):
    assert outcome(run(two)) == BOTH
    for path in (two / "out.work" / "results").rglob("sub-01*/*.json"):
        path.write_text(text)
    assert outcome(run(two)) == BOTH


def test_names_that_are_long_or_no_text(two):
    image(two / "in" / "x" / ("b" * 247 + ".nii.gz"), 5)
    try:
        image(two / "in" / "x" / os.fsdecode(b"caf\xe9 \n'\"[red].nii"), 6)
    except OSError:
        pytest.skip("this file system takes text only")
    for _ in range(3):
        done = run(two)
        assert done.exit_code == 0, done.output
        assert "4 of 4 cases written" in done.output
    assert verify(two / "out").problems == []
    assert run(two, "--deidentify", "--work", two / "w2").exit_code in (0, 1)


def test_an_original_that_is_gone_or_closed(two, monkeypatch):
    path = two / "in" / "sub-01" / "sub-01_T1w.nii.gz"
    apply = deface_stages.apply_plan

    def gone(*results, case, **options):
        if case["patient_id"] == "sub-01" and path.exists():
            path.rename(path.with_suffix(".away"))
        return apply(*results, case=case, **options)

    monkeypatch.setattr(deface_stages, "apply_plan", gone)
    done = run(two)
    assert outcome(done) == FIRST_FAILS
    path.with_suffix(".away").rename(path)
    monkeypatch.setattr(deface_stages, "apply_plan", apply)
    assert outcome(run(two)) == BOTH


def test_a_case_that_cannot_be_taken_back_says_so(two, monkeypatch):
    assert outcome(run(two)) == BOTH
    real = case_export.CaseExport.give_up

    def fails(self, reason):
        if "sub-01" in self.case.id:
            raise PermissionError(errno.EACCES, "Permission denied", "x")
        return real(self, reason)

    def refuses(*results, case, **options):
        if case["patient_id"] == "sub-01":
            raise ValueError("odd")
        return stub_plan(*results, case=case, **options)

    monkeypatch.setattr(case_export.CaseExport, "give_up", fails)
    monkeypatch.setattr(deface_stages, "plan_protected", refuses)
    image(two / "in" / "sub-01" / "sub-01_T1w.nii.gz", 8)
    (two / "in" / "sub-02" / "sub-02_T1w.nii.gz").touch()
    done = run(two)
    assert outcome(done) == FIRST_FAILS
    assert "could not be taken back" in " ".join(done.output.split())


def test_a_case_that_cannot_even_be_submitted(two, monkeypatch):
    real = deface_stages.case_key

    def odd(case):
        if case.patient_id == "sub-01":
            raise UnicodeEncodeError("utf-8", "x", 0, 1, "odd")
        return real(case)

    monkeypatch.setattr(deface_stages, "case_key", odd)
    for _ in range(2):
        done = run(two)
        assert outcome(done) == FIRST_FAILS
        assert "could not be started" in " ".join(done.output.split())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_only_the_disk_is_fatal(two, monkeypatch, code):
    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("defacedask.io.nifti.write.save_bytes", full)
    done = run(two)
    assert isinstance(done.exception, OutputError)
    assert done.exception.fatal


@pytest.mark.parametrize(
    "code", [errno.ENAMETOOLONG, errno.EACCES, errno.ENOENT, errno.EIO, errno.EISDIR, errno.EMFILE]
)
def test_other_errors_of_the_file_system_concern_their_case(two, monkeypatch, code):
    from defacedask.io.nifti import write as nifti

    real = nifti.save_bytes

    def odd(path, data):
        if "sub-01" in str(path):
            raise OSError(code, os.strerror(code), str(path))
        real(path, data)

    monkeypatch.setattr(nifti, "save_bytes", odd)
    for _ in range(2):
        assert outcome(run(two)) == FIRST_FAILS


def test_half_a_series_is_never_exported(tmp_path):
    """One CT series whose lower half has the record number with leading zeros."""
    import pydicom

    grid = geometry()
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    for path in files[:6]:
        d = pydicom.dcmread(path)
        d.PatientID = "0000" + d.PatientID
        d.save_as(path)
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    assert "Note: PatientID P1 is also written 0000P1" in done.output
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 12
    for path in files[:6]:
        d = pydicom.dcmread(path)
        d.PatientID = "SOMEBODY"
        d.save_as(path)
    done = CliRunner().invoke(
        command,
        [str(tmp_path / "in"), "--out", str(tmp_path / "o2"), "--defacer", "half_space", "--cluster", "here"],
    )
    assert "its slices name 2 patients" in str(done.exception)
    assert not list((tmp_path / "o2").rglob("*"))

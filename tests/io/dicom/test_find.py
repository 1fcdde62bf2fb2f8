"""Files that inputs name: links and stores of version control, as data sets under git-annex and DataLad have them."""

from __future__ import annotations

import os

import pytest
from support.bids_kit import image

from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.find import STORES, find_files


def annexed(file, root, key="MD5E-s1--0123.nii.gz"):
    """Move a file into the annex, and leave a link to it, as ``git annex add`` does."""
    there = root / ".git" / "annex" / "objects" / "aB" / key / key
    there.parent.mkdir(parents=True, exist_ok=True)
    if there.exists():
        file.unlink()
    else:
        file.rename(there)
        there.chmod(0o444)
    file.symlink_to(os.path.relpath(there, file.parent))


def test_an_annexed_data_set_is_read_by_its_own_names(tmp_path):
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    for subject in ("01", "02"):
        annexed(image(tmp_path / f"sub-{subject}" / "anat" / f"sub-{subject}_T1w.nii.gz", 1), tmp_path)
    found = scan(tmp_path)
    # one file in the annex, but two images of two subjects
    assert [case.patient_id for case in found.cases] == ["sub-01", "sub-02"]
    assert [case.primary.facts["bids"] for case in found.cases] == [
        f"sub-{s}/anat/sub-{s}_T1w.nii.gz" for s in ("01", "02")
    ]
    assert any("same bytes" in note for note in found.notes)


def test_a_dropped_file_is_said(tmp_path):
    (tmp_path / "sub-01_T1w.nii.gz").symlink_to(".git/annex/objects/aB/x/x")
    (skipped,) = scan(tmp_path).skipped
    assert "was not fetched (git-annex, DataLad)" in skipped.reason


def test_a_link_to_nowhere_is_said(tmp_path):
    (tmp_path / "sub-01_T1w.nii.gz").symlink_to("there.nii.gz")
    (skipped,) = scan(tmp_path).skipped
    assert skipped.reason == "the link leads nowhere or in a circle"


@pytest.mark.parametrize("store", sorted(STORES))
def test_no_store_of_version_control_is_entered(tmp_path, store):
    for folder in (tmp_path, tmp_path / store, tmp_path / "sub" / store):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "x.nii").write_bytes(b"1")
    assert find_files([tmp_path]).files == [str(tmp_path / "x.nii")]
    # unless it is what was named
    assert find_files([tmp_path / store]).files == [str(tmp_path / store / "x.nii")]


def test_one_file_by_two_inputs_is_one(tmp_path):
    for name in ("a.nii", "b.dcm"):
        (tmp_path / name).write_bytes(b"1")
    assert len(find_files([tmp_path, tmp_path / "a.nii", tmp_path / "b.dcm"]).files) == 2

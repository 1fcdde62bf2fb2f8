"""NIfTI files of one name, beside their own .gz, copied: told apart by what they hold."""

from __future__ import annotations

import gzip
import os
import shutil

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.io.dicom.catalogue import scan


def write(path, seed=0, shape=(8, 9, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 100, shape).astype(np.int16)
    image = nibabel.Nifti1Image(values, np.diag([2.0, 2, 2, 1]))
    image.set_sform(image.affine, 1)
    data = image.to_bytes()
    path.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("ends", [".nii", ".nii.gz", ".NII"])
def test_one_name_in_two_folders(tmp_path, ends):
    for k in (1, 2, 3):
        write(tmp_path / f"subject{k}" / "mri" / f"orig{ends}", seed=k)
    result = scan(tmp_path)
    assert sorted(case.patient_id for case in result.cases) == ["subject1", "subject2", "subject3"]
    assert len({case.id for case in result.cases}) == 3
    assert "3 different files are called orig" in result.notes[0]
    alone = scan(tmp_path / "subject2")  # the id does not depend on what lies beside it
    assert alone.cases[0].id in {case.id for case in result.cases}


def test_folders_that_say_nothing_alone_are_named_in_full(tmp_path):
    for k, folder in enumerate(("a/one", "a/two", "b/one")):
        write(tmp_path / folder / "T1.nii", seed=k)
    assert sorted(case.patient_id for case in scan(tmp_path).cases) == ["a/one", "a/two", "b/one"]


def test_subjects_of_a_data_set_keep_their_label(tmp_path):
    write(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz", 1)
    write(tmp_path / "sub-02" / "anat" / "T1w.nii.gz", 2)
    write(tmp_path / "sub-03" / "ses-1" / "T1w.nii.gz", 3)
    result = scan(tmp_path)
    assert sorted(case.patient_id for case in result.cases) == ["sub-01", "sub-02", "sub-03"]
    assert not result.notes


def test_a_copy_is_said(tmp_path):
    write(tmp_path / "a" / "x.nii")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    result = scan(tmp_path)
    assert len(result.cases) == 1
    assert "the name and the bytes of another file" in result.skipped[0].reason
    (tmp_path / "b" / "x.nii").rename(tmp_path / "b" / "y.nii")
    result = scan(tmp_path)
    assert len(result.cases) == 2
    assert "hold the same bytes" in result.notes[0]


def test_beside_its_own_gz(tmp_path):
    write(tmp_path / "x.nii")
    write(tmp_path / "x.nii.gz")
    result = scan(tmp_path)
    assert len(result.cases) == 1
    assert result.skipped[0].reason == "it is the same image as x.nii beside it"
    write(tmp_path / "x.nii.gz", seed=5)
    result = scan(tmp_path)
    assert len(result.cases) == 2
    assert "lie side by side and differ" in result.notes[0]


@pytest.mark.parametrize("cut", [20, 200, -5])
def test_a_spoiled_gz_stops_nobody(tmp_path, cut):
    write(tmp_path / "x.nii")
    data = write(tmp_path / "x.nii.gz").read_bytes()
    (tmp_path / "x.nii.gz").write_bytes(data[:cut])
    result = scan(tmp_path)
    assert any(case.primary.files[0].endswith("x.nii") for case in result.cases)


def test_a_name_that_is_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.nii")
    try:
        write(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes text only")
    (case,) = scan(tmp_path).cases
    assert case.id.isascii()


def people(tmp_path, names):
    for k, name in enumerate(names):
        write(tmp_path / name, seed=k)
    found = scan(tmp_path)
    return {
        os.path.relpath(s.files[0], tmp_path): case.patient_id for case in found.cases for s in case.images
    }, found.notes


@pytest.mark.parametrize(
    "names",
    [
        ("ann/T1.nii", "bob/T1.nii", "ann/T2.nii"),  # a name that only one of them has
        ("ann/one/T1.nii", "bob/T1.nii", "ann/two/T2.nii"),
        ("a/ann/T1.nii", "b/bob/T1.nii", "a/ann/T2.nii", "a/cat/T2.nii"),  # by T1 alone the first is "a"
    ],
)
def test_all_images_of_a_person_have_one_name(tmp_path, names):
    """Or one person would get two new faces, and be a stranger to himself in a gallery."""
    found, _ = people(tmp_path, names)
    owner = {name: next(who for who in ("ann", "bob", "cat") if who in name) for name in names}
    for one in names:
        for other in names:
            assert (found[one] == found[other]) == (owner[one] == owner[other]), (one, other)


def labels_of(tree):
    from defacedask.io.dicom.model import Series
    from defacedask.io.nifti.keys import settle_files

    files = [
        Series(
            uid=name, modality="MR", sop_class_uid="", patient_id=name.rpartition("/")[2][:-4], study_uid="",
            frame_of_reference=name, description="", number=0, files=(f"/data/{name}",), instances=(name,),
            geometry=None, facts={"sha256": name},
        )
        for name in sorted(tree)
    ]  # fmt: skip
    return {s.uid: s.facts.get("patient", s.patient_id) for s in settle_files(files).files}


@given(
    st.sets(
        st.builds(
            "/".join,
            st.tuples(
                st.sampled_from(["ann", "bob", "cat"]),
                st.sampled_from(["one", "two", "."]),
                st.sampled_from(["T1.nii", "T2_post.nii", "john.nii", "mary.nii", "001.nii"]),
            ),
        ).map(lambda name: name.replace("/./", "/")),
        min_size=1,
    )
)
def test_who_shares_a_name_with_whom(tree):
    """Whatever the tree: one name in two folders is two persons, and nobody's name is another's."""
    found = labels_of(tree)
    places = {name: name.rpartition("/")[::2] for name in tree}
    twins = {last for folder, last in places.values() if sum(p[1] == last for p in places.values()) > 1}
    for one, (folder, last) in places.items():
        for other, (its_folder, its_last) in places.items():
            images = {last, its_last} <= {"T1.nii", "T2_post.nii"}
            if last == its_last and folder != its_folder:
                assert found[one] != found[other]
            if last != its_last and not images:
                assert found[one] != found[other]
            if folder == its_folder and images and {last, its_last} & twins:
                assert found[one] == found[other]


def test_two_people_with_two_versions_each_do_not_become_one(tmp_path):
    found, _ = people(tmp_path, ("raw/john.nii", "raw/mary.nii", "old/john.nii", "old/mary.nii"))
    assert sorted(found.values()) == ["old/john", "old/mary", "raw/john", "raw/mary"]


@pytest.mark.parametrize(
    ("stem", "is_one"), [("T1", True), ("3D_T1w-post", True), ("john_T1", False), ("7", False)]
)
def test_names_that_say_nothing_of_a_person(stem, is_one):
    from defacedask.io.nifti.names import names_an_image

    assert names_an_image(stem) is is_one


def test_a_label_in_two_data_sets_is_said(tmp_path):
    for k, root in enumerate(("one", "two", "one/derivatives/pipe")):
        write(tmp_path / root / "sub-01" / "anat" / "sub-01_T1w.nii", seed=k)
        (tmp_path / root / "dataset_description.json").write_text("{}")
    assert any("sub-01: in more than one data set" in note for note in scan(tmp_path).notes)
    assert not any("more than one data set" in note for note in scan(tmp_path / "one").notes)

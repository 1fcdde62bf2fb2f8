"""NIfTI files of four dimensions: read volume by volume, cut by one plan, each judged, and written as one file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from support.export_kit import HalfSpace, geometry, half_space, head_ct, judge_of, run_export  # noqa: F401

import defacedask as dd
from defacedask.io.bids.carrying import carry_on
from defacedask.io.dicom.image import read_image
from defacedask.io.nifti.opened import opened, stored_values
from defacedask.runs.apart import _apart

GRID = geometry()
#: Three volumes that no two share, (z, y, x).
VOLUMES = [head_ct(GRID, np.int16, 1100 + 40 * k) for k in range(3)]
BVAL, BVEC = "1000 0 700\n", "1 0 0\n0 0 1\n0 0 0\n"


def write(path, volumes=VOLUMES, dtype="<i2", shape=None):
    """A file with scaling and an odd header; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.stack([v.T for v in volumes], axis=-1).astype(dtype)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ GRID.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(values if shape is None else values.reshape(shape), affine)
    image.header.set_data_dtype(dtype)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.5
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([0.5, 3.0], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    return path


def weighted(folder):
    """A diffusion-weighted image with what lies beside it."""
    path = write(folder / "sub-1_dwi.nii.gz")
    for end, text in (("bval", BVAL), ("bvec", BVEC), ("json", json.dumps({"EchoTime": 0.08}))):
        (folder / f"sub-1_dwi.{end}").write_text(text)
    return path


@pytest.mark.parametrize("name", ["sub-1_bold.nii", "sub-1_bold.nii.gz"])
def test_volumes_are_read_one_by_one_in_any_order(tmp_path, name):
    path = write(tmp_path / name)
    (case,) = dd.scan(tmp_path).cases
    assert [one.volume for one in case.images] == [1, 2, 3]
    assert len({one.key for one in case.images}) == 3
    assert case.primary is case.images[0]
    for k in (2, 0, 1, 1):
        volume = read_image(case.images[k])
        np.testing.assert_array_equal(volume.values, VOLUMES[k])
        np.testing.assert_array_equal(read_image(case.images[k], lazy=True).values, VOLUMES[k])
        assert volume.attrs["series_key"] == case.images[k].key
        np.testing.assert_array_equal(
            stored_values(path, opened(path), k).T, np.asarray(opened(path).dataobj.get_unscaled())[..., k]
        )
    # nobody reads what was there before
    write(path, VOLUMES[::-1])
    np.testing.assert_array_equal(read_image(case.images[0]).values, VOLUMES[2])


def test_a_head_is_looked_for_where_nothing_is_weighted(tmp_path):
    weighted(tmp_path)
    (case,) = dd.scan(tmp_path).cases
    assert case.primary.volume == 2
    assert [one.facts["volume"]["by"]["b-value"] for one in case.images] == ["1000", "0", "700"]
    (tmp_path / "sub-1_dwi.bval").write_text("1000 0\n")  # of another image
    assert dd.scan(tmp_path).cases[0].primary.volume == 1


def test_there_and_back(tmp_path):
    source = weighted(tmp_path / "in")
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0))
    assert outcome.facts["written"] == {"MR": 1, "defacemask": 1, "sidecar": 1, "bval": 1, "bvec": 1}
    old, new = (gzip.decompress(p.read_bytes()) for p in (source, out / source.name))
    start = int(opened(source).dataobj.offset)
    assert len(old) == len(new)
    assert old[:start] == new[:start]
    _, y, _ = GRID.positions(dtype=np.float64)
    gone = np.broadcast_to(y < -2.0, GRID.shape)
    mask = np.asarray(opened(out / "sub-1_mod-dwi_defacemask.nii.gz").dataobj).T != 0
    assert mask.shape == GRID.shape
    for k, stored in enumerate(VOLUMES):
        after = stored_values(out / source.name, opened(out / source.name), k)
        np.testing.assert_array_equal(after[~gone], stored[~gone])
        assert (after[gone] != stored[gone]).mean() > 0.3
        np.testing.assert_array_equal(after[~mask], stored[~mask])
    assert (out / "sub-1_dwi.bval").read_text() == BVAL
    assert (out / "sub-1_dwi.bvec").read_text() == BVEC
    assert json.loads((out / "sub-1_dwi.json").read_text())["EchoTime"] == 0.08


def test_what_goes_on_beside_an_image_is_not_left_out(tmp_path):
    weighted(tmp_path / "in")
    (tmp_path / "in" / "notes.bval").write_text("1 2 3\n")
    found = dd.scan(tmp_path / "in")
    _, used = carry_on(
        found, {}, tmp_path, (), tmp_path / "own.jsonl", defacer="quickshear", reversible=False
    )
    left = {Path(one.path).name for one in found.skipped if one.path not in used}
    assert left == {"notes.bval"}
    assert len(found.skipped) == 4


@pytest.mark.parametrize("text", ["1 0 0 of Mrs. Bergmann\n", "1 0 0\n" * 341])
def test_what_is_no_direction_a_volume_is_not_carried_on(tmp_path, text):
    weighted(tmp_path / "in")
    (tmp_path / "in" / "sub-1_dwi.bvec").write_text(text)
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0))
    assert "bvec" not in outcome.facts["written"]
    assert not (out / "sub-1_dwi.bvec").exists()


@pytest.mark.parametrize("held", [1, 2])
def test_one_volume_that_may_not_leave_keeps_the_file(tmp_path, held):
    write(tmp_path / "in" / "sub-1_bold.nii.gz")
    with pytest.raises(dd.errors.RefusedError, match="its face is left"):
        run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0), judge=judge_of({held}))
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_a_file_that_does_not_fit_the_plan_of_another_stays_whole(tmp_path):
    write(tmp_path / "sub-1_bold.nii.gz")
    (case,) = dd.scan(tmp_path).cases
    alone = _apart(case, case.images)
    assert [one.volume for one in alone.images] == [1, 2, 3]
    assert {one.frame_of_reference for one in alone.images} == {case.images[0].uid}


def test_what_is_no_row_of_volumes(tmp_path):
    write(tmp_path / "one_bold.nii", VOLUMES[:1])
    write(tmp_path / "five_bold.nii", VOLUMES[:2], shape=(*GRID.shape[::-1], 1, 2))
    colour = np.zeros(GRID.shape[::-1], [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, np.diag([1.0, 1.0, 3.0, 1.0])), tmp_path / "colour.nii")
    many = write(tmp_path / "many_bold.nii", VOLUMES[:2])
    raw = bytearray(many.read_bytes())
    raw[48:50] = np.array(20000, "<i2").tobytes()
    many.write_bytes(raw)
    cut = write(tmp_path / "short_bold.nii", VOLUMES[:2])
    cut.write_bytes(cut.read_bytes()[:-1])
    found = dd.scan(tmp_path)
    (case,) = found.cases
    assert [one.volume for one in case.images] == [0]
    reasons = {skip.path.rsplit("/", 1)[1]: skip.reason for skip in found.skipped}
    assert "5 dimensions" in reasons["five_bold.nii"]
    assert "neither integers nor real numbers" in reasons["colour.nii"]
    assert "20000 volumes" in reasons["many_bold.nii"]
    assert "truncated" in reasons["short_bold.nii"]

"""NIfTI as it is found: spoiled compression is skipped with its reason, and a background of NaN is read as air."""

from __future__ import annotations

import gzip
import json

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.export_kit import HalfSpace, half_space, one_case, run_export  # noqa: F401

from defacedask.errors import InputError
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.image import read_image
from defacedask.io.nifti.values import numbers_only
from defacedask.io.nifti.write import mask_path
from defacedask.volume import real_values

AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])
SHAPE = (14, 16, 12)


def image(values: np.ndarray) -> nibabel.Nifti1Image:
    one = nibabel.Nifti1Image(
        values, AFFINE - np.array([[0, 0, 0, 10], [0, 0, 0, 12], [0, 0, 0, 9], [0, 0, 0, 0]])
    )
    one.set_sform(one.affine, 1)
    return one


def values(dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(1).integers(20, 200, SHAPE).astype(dtype)


WHOLE = gzip.compress(image(values("int16")).to_bytes(), mtime=0)
SPOILED = {
    "truncated": (WHOLE[:-200], "truncated"),
    "without its end": (WHOLE[:-4], "truncated"),
    "only its start": (WHOLE[:300], "truncated"),
    "check sum": (WHOLE[:-6] + bytes([WHOLE[-6] ^ 1]) + WHOLE[-5:], "check sum is wrong"),
    "a bit in the middle": (
        WHOLE[: len(WHOLE) // 2] + bytes([WHOLE[len(WHOLE) // 2] ^ 16]) + WHOLE[len(WHOLE) // 2 + 1 :],
        "",
    ),
    "something behind": (WHOLE + b"<html>moved</html>", "no part of them"),
    "something behind padding": (WHOLE + bytes(512) + b"PK", "no part of them"),
    "half a member behind": (WHOLE + WHOLE[:100], "truncated"),
    "a pointer of git-annex": (b"/annex/objects/MD5E-s1254065--b84d.nii.gz\n", "was not fetched (git-annex"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "(Git LFS)"),
    "not compressed": (image(values("int16")).to_bytes(), "not compressed"),
    "something else": (b"<html>Access denied</html>" * 30, "not compressed"),
    "empty": (b"", "empty"),
    "short inside": (
        gzip.compress(image(values("int16")).to_bytes()[:-500]),
        "500 bytes of its values are missing",
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
@pytest.mark.parametrize("twin", [False, True])
def test_a_spoiled_file_is_skipped_and_the_others_go_on(tmp_path, kind, twin):
    data, words = SPOILED[kind]
    (tmp_path / "sub-01_T1w.nii.gz").write_bytes(data)
    (tmp_path / "sub-02_T1w.nii.gz").write_bytes(WHOLE)
    if twin:
        image(values("int16")).to_filename(tmp_path / "sub-01_T1w.nii")
    found = scan(tmp_path)
    (one,) = found.skipped
    assert one.path.endswith("sub-01_T1w.nii.gz")
    assert words in one.reason
    assert [c.patient_id for c in found.cases] == (["sub-01"] if twin else []) + ["sub-02"]
    for case in found.cases:
        read_image(case.primary)


def test_compressed_under_a_plain_name(tmp_path):
    (tmp_path / "x.nii").write_bytes(WHOLE)
    assert "rename it" in scan(tmp_path).skipped[0].reason


def test_several_members_are_one_file(tmp_path):
    """As bgzip writes it, and with padding behind."""
    raw = image(values("int16")).to_bytes()
    parts = b"".join(gzip.compress(raw[k : k + 3000]) for k in range(0, len(raw), 3000))
    (tmp_path / "x.nii.gz").write_bytes(parts + bytes(512) + gzip.compress(b"") + bytes(512))
    assert np.array_equal(read_image(scan(tmp_path).cases[0].primary).values, values("int16").T)


HEADERS = {
    "values inside the header": (108, np.array([0], "<f4"), "inside its header"),
    "a size of nothing": (42, np.array([0], "<i2"), "gives it no size"),
    "a negative size": (42, np.array([-14], "<i2"), "gives it no size"),
    "one slice": (46, np.array([1], "<i2"), "single slice"),
    "more than anybody has": (42, np.array([32767] * 3, "<i2"), "more than the"),
    "positions of no number": (280, np.array([np.nan], "<f4"), "holds what is no number"),
    "positions in metres": (123, np.array([1], "u1"), "not millimetres"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_cannot_be_meant_is_one_sentence(tmp_path, kind, capfd):
    offset, bytes_, words = HEADERS[kind]
    data = bytearray(image(values("int16")).to_bytes())
    data[offset : offset + bytes_.nbytes] = bytes_.tobytes()
    (tmp_path / "x.nii").write_bytes(data)
    found = scan(tmp_path)
    assert not found.cases
    assert words in found.skipped[0].reason
    assert capfd.readouterr().err == ""


MARKS = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "1e30": 1e30, "-1e30": -1e30, "max": 3.4028235e38}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize(("dtype", "name"), [("float32", "sub-01_T1w.nii.gz"), ("float64", "sub-01_T1w.nii")])
def test_a_background_without_numbers_is_air_and_stays_as_it_was(tmp_path, mark, dtype, name):
    stored = values(dtype)
    stored[:4] = stored[:, 14:] = MARKS[mark]
    (tmp_path / "in").mkdir()
    image(stored).to_filename(tmp_path / "in" / name)
    case = one_case(tmp_path / "in")
    assert case.primary.modality == "MR"
    volume = read_image(case.primary)
    assert np.isfinite(volume.values).all()
    assert (volume.values.T[~(np.abs(stored) < 1e20)] == 0).all()
    assert "hold no number" in volume.attrs["note"]
    assert np.array_equal(read_image(case.primary, lazy=True).values, volume.values)
    _, out = run_export(tmp_path / "in", tmp_path, HalfSpace(1.0))
    (path,) = out.rglob(name)
    new = np.asanyarray(nibabel.load(path).dataobj)
    region = np.asarray(nibabel.load(mask_path(path)).dataobj) > 0
    assert 0.2 < region.mean() < 0.8
    assert new[~region].tobytes() == stored[~region].tobytes()
    assert (new[region] == 0).all()  # the edge of what had numbers would show the skin
    assert any(not np.isfinite(v) or abs(v) > 1e20 for v in new[~region])


@pytest.mark.parametrize("mark", [np.nan, np.inf, -0.0])
def test_a_mask_holds_what_is_the_same_number_in_other_bytes(tmp_path, monkeypatch, mark):
    """A region may be wider than what changed, as that of mri_reface is: its mark for nothing goes there, too."""
    monkeypatch.setattr(HalfSpace, "hull", lambda self, to_template: (((0.0, -1.0, 0.0, 8.0 - self.y),),))
    stored = values()
    stored[:, 8:13] = mark
    (tmp_path / "in").mkdir()
    image(stored).to_filename(tmp_path / "in" / "x.nii")
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(1.0))
    assert outcome.facts["written"]["MR"] == 1
    new, mask = (nibabel.load(path) for path in (out / "x.nii", mask_path(out / "x.nii")))
    inside = np.asarray(mask.dataobj) != 0
    assert np.asanyarray(new.dataobj)[~inside].tobytes() == stored[~inside].tobytes()
    assert inside[:, 8:13].any()


def test_a_ct_gets_air_in_hounsfield_units(tmp_path):
    stored = values()
    stored[:4] = np.nan
    image(stored).to_filename(tmp_path / "head_ct.nii")
    volume = read_image(scan(tmp_path).cases[0].primary)
    assert (real_values(volume).values.T[:4] == -1000).all()


@pytest.mark.parametrize("mark", [-1000, -9999])
@pytest.mark.parametrize(
    ("name", "modality"), [("x_T1w", "MR"), ("x_FLAIR", "MR"), ("x", "CT"), ("x_ct", "CT")]
)
def test_a_mark_for_no_signal_does_not_make_a_ct(tmp_path, mark, name, modality):
    some = values()
    some[:4], some[5] = mark, 900
    image(some).to_filename(tmp_path / f"{name}.nii")
    (case,) = scan(tmp_path).cases
    assert case.primary.modality == modality


def test_infinities_do_not_make_a_ct(tmp_path):
    stored = values()
    stored[0], stored[1] = -np.inf, np.inf
    image(stored).to_filename(tmp_path / "x.nii")
    assert scan(tmp_path).cases[0].primary.modality == "MR"


def test_nothing_but_nan_is_said(tmp_path):
    image(np.full(SHAPE, np.nan, "float32")).to_filename(tmp_path / "x.nii")
    with pytest.raises(InputError, match="not one value"):
        read_image(scan(tmp_path).cases[0].primary)


@given(
    st.lists(
        st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -3.0, -0.5, 0.0, 2.0, 900.0]), min_size=2, max_size=40
    ),
    st.sampled_from([1.0, 0.5, -2.0]),
    st.sampled_from([0.0, 10.0]),
    st.sampled_from(["MR", "PT", "CT"]),
)
def test_background_is_never_above_a_value_and_numbers_stay(given_values, slope, intercept, modality):
    stored = np.array(given_values, "float32")[None, None]
    good = np.abs(stored) < 1e20
    if not good.any():
        return
    out, count = numbers_only(stored, slope, intercept, modality)
    assert count == (~good).sum()
    assert np.array_equal(out[good], stored[good])
    real = out.astype(float) * slope + intercept
    if count:
        lowest = -1000.0 if modality == "CT" else min(0.0, (stored[good] * slope + intercept).min())
        assert real[~good] == pytest.approx(lowest, rel=1e-5, abs=1e-4)


def test_the_note_reaches_who_asked(tmp_path):
    from defacedask.flow.stages.ingest import ingest

    stored = values()
    stored[:4] = np.nan
    image(stored).to_filename(tmp_path / "x_T1w.nii")
    facts = ingest(case=scan(tmp_path).cases[0].to_dict(), root=str(tmp_path / "store")).facts
    assert f"{int(np.isnan(stored).sum())} voxels hold no number" in json.dumps(facts["notes"])

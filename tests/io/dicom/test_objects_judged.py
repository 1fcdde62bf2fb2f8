"""The contour and dose that attacks look at are those that the export writes."""

from __future__ import annotations

import numpy as np
import pytest
from support import make
from support.export_kit import (
    HalfSpace,
    ball,
    geometry,
    half_space,  # noqa: F401
    head_ct,
    one_case,
    run_export,
    write_dose,
    write_patient,
    write_structures,
)
from support.rt_writers import contours_of

from defacedask.flow.stages.body_slices import body_in, body_slices
from defacedask.flow.stages.layout import store_path, volume_path
from defacedask.flow.stages.objects import clipped_outline, dose_level, find_outline, shown_objects
from defacedask.geometry import Geometry
from defacedask.io.dicom.structures import read_structures
from defacedask.io.store import CaseStore, write_volume
from defacedask.volume import geometry_of, make_volume

BOTH = ("body_contour", "dose_grid")


def judged(folder, work, plan):
    run_export(folder, work, plan)
    store = CaseStore(store_path(str(work / "store"), one_case(folder).id))
    before = {s.modality: s for s in shown_objects(store, "original", None, BOTH, {})}
    levels = {s.path: s.level for s in before.values()}
    return store, before, {s.modality: s for s in shown_objects(store, plan.defacer, plan, BOTH, levels)}


@pytest.mark.parametrize("plan", [HalfSpace(-2.0), HalfSpace(-10.0, material=30.0)], ids=["cut", "laid on"])
def test_the_outline_that_is_judged_is_the_one_that_is_written(tmp_path, plan):
    grid = geometry()
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    rois = [
        ("Skin", "ORGAN", contours_of(ball(grid, 5.0), grid)),
        ("BODY", "", contours_of(ball(grid), grid)),
    ]
    write_structures(tmp_path / "in", files, grid, rois)
    _, before, after = judged(tmp_path / "in", tmp_path, plan)
    assert (before["RTSTRUCT"].values == ball(grid)).all()
    frameless = Geometry(grid.shape, grid.affine)
    written = find_outline(read_structures(tmp_path / "out" / "RS.dcm", frameless)).full(grid.shape)
    assert (after["RTSTRUCT"].values == written).all()
    assert (written != ball(grid)).sum() > 500


def test_the_dose_is_contoured_at_the_originals_level(tmp_path):
    write_patient(tmp_path / "in")
    _, before, after = judged(tmp_path / "in", tmp_path, HalfSpace(-2.0))
    assert set(before) == set(after) == {"RTSTRUCT", "RTDOSE"}
    assert (
        before["RTDOSE"].level == after["RTDOSE"].level == pytest.approx(0.02 * before["RTDOSE"].values.max())
    )
    assert (before["RTDOSE"].values != after["RTDOSE"].values).sum() > 500


def test_a_dose_that_is_held_back_is_not_judged(tmp_path):
    # it ends at the skin, and the plan lays its material in front of that
    grid, plan = geometry(), HalfSpace(-10.0, material=30.0)
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    write_structures(tmp_path / "in", files, grid, [("BODY", "EXTERNAL", contours_of(ball(grid), grid))])
    uid = make.uid("P1", "structures", "instance", 0)
    write_dose(tmp_path / "in", uid, "1.2.3", grid, (~plan.region(grid) * 2000).astype(np.uint16))
    _, before, after = judged(tmp_path / "in", tmp_path, plan)
    assert set(before) == {"RTSTRUCT", "RTDOSE"}
    assert set(after) == {"RTSTRUCT"}
    assert not list((tmp_path / "out").rglob("RD.dcm"))


def test_only_what_is_asked_for(tmp_path):
    write_patient(tmp_path / "in")
    store, _, _ = judged(tmp_path / "in", tmp_path, HalfSpace(-2.0))
    assert [s.modality for s in shown_objects(store, "original", None, ["dose_grid", "plain"], {})] == [
        "RTDOSE"
    ]
    assert list(shown_objects(store, "original", None, ["plain"], {})) == []


def with_couch(store):
    """What is not body in the image, with some of the body in it."""
    path = store.images[0]
    volume = store.volume(path)
    couch = np.zeros(volume.shape, np.uint8)
    couch[:, couch.shape[1] // 2] = 1
    head = make_volume(couch, geometry_of(volume), modality="SEG", units="")
    write_volume(store.url, f"head/{path}", head)
    return path, couch


def test_the_body_is_the_exports(tmp_path):
    write_patient(tmp_path / "in")
    plan = HalfSpace(-2.0)
    store, _, _ = judged(tmp_path / "in", tmp_path, plan)
    path, couch = with_couch(store)
    for who in ("original", plan.defacer):
        one = body_slices(store, path, who)
        volume = store.volume(volume_path(who, path))
        whole = body_in(volume, couch)
        assert (whole == np.stack([one(k) for k in range(volume.shape[0])])).all()
        assert (whole != body_in(volume)).any()
        assert whole.any()
    shifted = (volume.values + 1024).astype(np.uint16)
    bright = make_volume(shifted, geometry_of(volume), modality="MR", units="")
    write_volume(store.url, "images/MR", bright)
    one = body_slices(store, "images/MR", "original")
    assert (body_in(store.volume("images/MR")) == np.stack([one(k) for k in range(len(shifted))])).all()
    assert body_in(volume.assign_attrs(modality="PT")) is None


def test_a_body_that_is_known_is_not_read_again(tmp_path, monkeypatch):
    write_patient(tmp_path / "in")
    plan = HalfSpace(-10.0, material=30.0)
    store, _, _ = judged(tmp_path / "in", tmp_path, plan)
    path, couch = with_couch(store)
    (read,) = shown_objects(store, plan.defacer, plan, ["body_contour"], {})
    body = body_in(store.volume(volume_path(plan.defacer, path)), couch)
    monkeypatch.setattr("defacedask.flow.stages.objects._read_body", lambda *_: pytest.fail("read again"))
    (shown,) = shown_objects(store, plan.defacer, plan, ["body_contour"], {}, {path: body})
    assert (shown.values == read.values).all()
    assert not shown.unchanged


def test_what_a_plan_leaves_is_said_to_be_unchanged(tmp_path):
    write_patient(tmp_path / "in")
    plan = HalfSpace(-2.0)
    store, before, after = judged(tmp_path / "in", tmp_path, plan)
    levels = {s.path: s.level for s in before.values()}
    assert not any(s.unchanged for s in after.values())
    for path in (*store.images, *store.doses):
        write_volume(store.url, volume_path(plan.defacer, path), store.volume(path))
    nothing = HalfSpace(float(geometry().corners[:, 1].min()) - 50.0)  # in front of everything
    left = {s.modality: s for s in shown_objects(store, plan.defacer, nothing, BOTH, levels)}
    assert {m: s.unchanged for m, s in left.items()} == {"RTSTRUCT": True, "RTDOSE": True}
    assert all((s.values == before[m].values).all() for m, s in left.items())


def test_specks_of_new_surface_are_no_outline():
    grid = Geometry.from_spacing((1, 20, 20), (3.0, 2.0, 2.0))
    mask = np.zeros(grid.shape, bool)
    mask[0, 10:, 5:15] = True
    region = np.zeros(grid.shape, bool)
    region[0, :12] = True
    body = np.zeros(grid.shape[1:], bool)
    body[2:8, 2:8] = True  # 144 mm2
    body[2:4, 15:17] = True  # 16 mm2
    out = clipped_outline(mask, region, lambda k: body, grid)
    assert out[0, 2:8, 2:8].all()
    assert not out[0, :12, 12:].any()
    assert (out[0, 12:] == mask[0, 12:]).all()
    assert (clipped_outline(mask, region, lambda k: None, grid) == mask & ~region).all()


def test_no_outline_and_no_dose():
    assert find_outline([]) is None
    assert dose_level(np.zeros((2, 2, 2))) == 0

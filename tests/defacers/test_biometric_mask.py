"""Boxes: the published ones and the strict ones, on any grid, in any chunking, with each fill."""

from __future__ import annotations

import json

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.heads import placed, posed
from support.strategies import geometries

from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Head
from defacedask.anatomy.template import load_template
from defacedask.defacers import get_defacer, plan_from_dict
from defacedask.defacers.biometric_mask import FACE, FROM_MNI, TO_MNI, published_boxes
from defacedask.defacers.boxes import FAR, Box, in_boxes
from defacedask.errors import ConfigError, RefusedError
from defacedask.faces.surface_change import surface_change
from defacedask.sampling import apply_affine
from defacedask.volume import geometry_of, real_values

KEY = b"a secret of the run"
NAMES = ("biometric_mask", "biometric_mask_strict")


@pytest.fixture(scope="module")
def head():
    return placed(*posed("CT", pitch=8, yaw=5, spacing=(4.0, 3.5, 3.5), couch=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fill", ["air", "minimum", "shuffle"])
def test_brain_and_outside_stay(head, name, fill):
    plan = get_defacer(name, fill=fill).plan(head, key=KEY)
    volume = head.volume
    out = plan.apply(volume)
    grid = geometry_of(volume)
    changed = out.values != volume.values
    assert changed.any()
    assert out.dtype == volume.dtype
    assert not (changed & ~plan.region(grid)).any()
    assert not (changed & resample(head.brain, head.grid, grid, nearest=True)).any()


def test_the_published_boxes_leave_the_eyes_and_the_strict_ones_do_not(head):
    template = load_template("average_ct")
    gone = {}
    for name in NAMES:
        plan = get_defacer(name).plan(head, key=KEY)
        back = np.linalg.inv(head.to_template)
        for mark in ("eye_left", "nasion", "nose_tip", "stomion", "pogonion"):
            # a little below the skin, in the patient
            point = back @ np.append(template.landmarks[mark] + np.array([0, 4.0, 0]), 1.0)
            place = tuple(np.array([v]) for v in point[:3])
            inside = [
                box.contains(np.stack(apply_affine(plan.to_boxes, *place), axis=-1))[0] for box in plan.boxes
            ]
            gone[name, mark] = any(inside)
    assert not gone["biometric_mask", "eye_left"]
    assert not gone["biometric_mask", "nasion"]
    assert all(gone["biometric_mask", m] for m in ("nose_tip", "stomion", "pogonion"))
    assert all(v for (name, _), v in gone.items() if name == "biometric_mask_strict")
    assert "Eyes, brow and upper nose stay" in get_defacer(NAMES[0]).plan(head, key=KEY).summary()["covers"]


def test_only_the_strict_boxes_move_the_whole_face(head):
    moved = {
        n: surface_change(head, get_defacer(n).plan(head, key=KEY).apply(head.volume)).moved for n in NAMES
    }
    assert moved["biometric_mask"] < 0.8
    assert moved["biometric_mask_strict"] > 0.95


def test_the_boxes_are_where_the_module_says():
    """The published numbers, and their place in the built-in average."""
    corners = np.array([[x, y, z] for x in (-39, 41) for y in (-91, -44) for z in (-71, -57)], float)
    there = corners @ FROM_MNI[:3, :3].T + FROM_MNI[:3, 3]
    assert np.allclose(there.min(axis=0)[[0, 2]], [-36, -57], atol=1.5)
    assert np.allclose(there.max(axis=0), [37, -64, -41], atol=1.5)
    assert np.allclose(TO_MNI @ FROM_MNI, np.eye(4), atol=1e-12)
    face = published_boxes(-FAR)[0]
    assert face.high[2] == (FACE.low[2] + FACE.high[2]) / 2  # the middle of its height
    assert face.low[1] <= -FAR
    assert face.low[2] <= -FAR


@given(geometries(max_size=8), st.data())
@settings(max_examples=40)
def test_boxes_are_a_function_of_place(geometry, data):
    matrix = np.eye(4)
    matrix[:3, :3] += np.array(data.draw(st.lists(st.floats(-0.2, 0.2), min_size=9, max_size=9))).reshape(
        3, 3
    )
    at = matrix[:3, :3] @ geometry.centre
    boxes = [Box("a", tuple(at - 6), tuple(at + 4)), Box("b", (at[0], -FAR, -FAR), (FAR, at[1] + 2, at[2]))]
    whole = in_boxes(boxes, matrix, geometry)
    places = apply_affine(matrix, *geometry.positions(dtype=np.float64))
    points = np.stack(np.broadcast_arrays(*places), axis=-1)
    assert np.array_equal(whole, boxes[0].contains(points) | boxes[1].contains(points))
    start = [data.draw(st.integers(0, n - 1)) for n in geometry.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, geometry.shape, strict=True)]
    cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    assert np.array_equal(whole[cut], in_boxes(boxes, matrix, geometry.block(start, stop)))


@given(data=st.data())
@settings(max_examples=8)
def test_any_chunking_equals_the_whole(head, data):
    fill = data.draw(st.sampled_from(["air", "minimum", "shuffle"]))
    plan = get_defacer("biometric_mask_strict", fill=fill).plan(head, key=KEY)
    volume = head.volume
    chunks = [data.draw(st.integers(max(1, n // 3), n)) for n in volume.shape]
    lazy = volume.copy(data=dask.array.from_array(volume.values, chunks=chunks))
    with dask.config.set(scheduler="synchronous"):
        assert np.array_equal(plan.apply(lazy).values, plan.apply(volume).values)


def test_shuffled_values_are_the_regions_own(head):
    plan = get_defacer("biometric_mask", fill="shuffle").plan(head, key=KEY)
    region = plan.region(geometry_of(head.volume))
    old = real_values(head.volume).values[region]
    new = real_values(plan.apply(head.volume)).values[region]
    assert np.allclose(np.quantile(old, [0.1, 0.5, 0.9]), np.quantile(new, [0.1, 0.5, 0.9]), atol=30)
    assert abs(np.corrcoef(old, new)[0, 1]) < 0.05
    other = get_defacer("biometric_mask", fill="shuffle").plan(head, key=b"other")
    assert (real_values(other.apply(head.volume)).values[region] != new).mean() > 0.3


def test_a_plan_survives_json_and_is_small(head):
    plan = get_defacer("biometric_mask", fill="shuffle").plan(head, key=KEY)
    text = json.dumps(plan.to_dict())
    assert len(text) < 100_000
    again = plan_from_dict(json.loads(text))
    assert again.digest == plan.digest
    assert np.array_equal(again.apply(head.volume).values, plan.apply(head.volume).values)


def test_the_face_box_is_bounded_where_the_view_goes_on_and_open_on_request(head):
    auto = get_defacer("biometric_mask").plan(head, key=KEY)
    published = get_defacer("biometric_mask", bounded="no").plan(head, key=KEY)
    assert auto.bounded
    assert not published.bounded
    # what lies below the chin in front of the neck is air on this head, so the boxes are compared, not the tissue
    assert published.region(head.geometry).sum() > 1.2 * auto.region(head.geometry).sum()
    assert published.tissue_ml >= auto.tissue_ml


@pytest.mark.parametrize("name", NAMES)
def test_a_head_without_its_face_is_refused(name):
    volume, _ = posed("CT", spacing=(4.0, 3.0, 3.0), bottom=-20.0)
    with pytest.raises(RefusedError, match="holds nothing"):
        get_defacer(name).plan(Head(volume), key=KEY)


def test_options_are_checked():
    with pytest.raises(ConfigError, match="shuffle"):
        get_defacer("biometric_mask", fill="water")
    with pytest.raises(ConfigError, match="auto"):
        get_defacer("biometric_mask", bounded="perhaps")

"""What stands before a face with air between: found, and the skin behind it and its own relief looked at."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes, distance_transform_edt, label
from support.heads import placed, posed

from defacedask.faces.standing import standing_before
from defacedask.faces.surface_change import surface_change
from defacedask.flow.stages.residual import LEAST_MOVED
from defacedask.volume import geometry_of

AIR, PLASTIC = -1000, 120


@functools.cache
def _bare(pitch: float, yaw: float):
    """A head, and mm before its skin of all voxels on its face's side."""
    volume, truth = posed("CT", pitch=pitch, yaw=yaw)
    head = placed(volume, truth)
    parts, _ = label(volume.values > -300)
    body = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    body = np.stack([binary_fill_holes(one) for one in body])
    grid = geometry_of(volume)
    away = distance_transform_edt(~body, sampling=grid.spacing)
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    pose = np.asarray(head.pose)
    at = [pose[k, 0] * x + pose[k, 1] * y + pose[k, 2] * z + pose[k, 3] for k in range(3)]
    ears = (pose @ np.append(head.landmark("tragion_left"), 1.0))[:3]
    chin = (pose @ np.append(head.landmark("menton"), 1.0))[:3]
    nose = (pose @ np.append(head.landmark("nose_tip"), 1.0))[:3]
    return (
        volume,
        truth,
        body,
        away,
        [c - o for c, o in zip(at, (nose[0], ears[1], chin[2]), strict=True)],
        nose - ears,
    )


def _with(volume, thing, value=PLASTIC):
    changed = volume.copy(data=volume.values.copy())
    changed.values[thing] = value
    return changed


def _mask(away, at, mm, sealed=False):
    """A shell 5 mm thick, so many mm before the skin, from below the chin to above the brow; sealed: no way in."""
    _, behind, up = at
    thing = (away > mm) & (away <= mm + 5) & (behind < 0) & (up > -15) & (up < 150)
    if sealed:
        rim = ((behind > -8) & (behind < 4)) | ((up < -9) & (behind < 4)) | ((up > 144) & (behind < 4))
        thing |= rim & (away > 0) & (away <= mm + 5) & (up > -15) & (up < 150)
    return thing


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("pitch", [-25.0, 0.0, 20.0])
def test_nothing_stands_before_a_bare_face(modality, pitch):
    volume, truth = posed(modality, pitch=pitch)
    found = standing_before(placed(volume, truth), volume)
    assert found.columns < 0.1
    assert not found.there


@pytest.mark.parametrize(("modality", "there"), [("CT", True), ("MR", False)])
def test_dark_fat_below_the_skin_of_an_mr_is_no_air(modality, there):
    bare, truth = posed(modality)
    solid = bare.values > placed(bare, truth).level
    depth = distance_transform_edt(solid, sampling=geometry_of(bare).spacing)
    volume = _with(bare, (depth > 4) & (depth < 12), AIR if modality == "CT" else 0)
    assert standing_before(placed(volume, truth), volume).there == there


@pytest.mark.parametrize(("pitch", "yaw"), [(0.0, 0.0), (-25.0, 10.0)])
@pytest.mark.parametrize("mm", [6.0, 12.0, 25.0])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_mask_and_the_skin_behind_it(pitch, yaw, mm, sealed):
    bare, truth, body, away, at, _ = _bare(pitch, yaw)
    thing = _mask(away, at, mm, sealed)
    volume = _with(bare, thing)
    head = placed(volume, truth)
    found = standing_before(head, volume)
    assert found.there
    assert found.cast
    assert (found.thing, found.skin) == (0.0, 0.0)
    layer = (away > 0) & (away < mm) & (at[1] < 0)
    for what, values, left in [
        ("the face is cut and the mask stays", (body & (at[1] < -40), AIR), "thing"),
        ("a layer is laid between them", (layer, 40), "thing"),
        ("the mask alone is taken off", (thing, AIR), "skin"),
        ("both are cut", ((body | thing) & (at[1] < -30), AIR), ""),
    ]:
        found = standing_before(head, _with(volume, *values))
        assert (found.thing < LEAST_MOVED) == (left == "thing"), (what, found)
        assert (found.skin < LEAST_MOVED) == (left == "skin"), (what, found)


def test_a_shield_is_no_cast():
    bare, truth, _, away, at, nose = _bare(0.0, 0.0)
    board = (at[1] < nose[1] - 8) & (at[1] > nose[1] - 14) & (np.abs(at[0]) < 80) & (away > 0)
    volume = _with(bare, board)
    found = standing_before(placed(volume, truth), volume)
    assert found.there
    assert not found.cast


def test_a_new_face_laid_on_a_sealed_mask_leaves_the_old_one():
    """The outermost skin has moved, and all of the face is in the image still."""
    from defacedask.defacers.mri_reface import MriReface

    bare, truth, _, away, at, _ = _bare(0.0, 0.0)
    volume = _with(bare, _mask(away, at, 10.0, sealed=True))
    head = placed(volume, truth)
    defaced = MriReface().plan(head, key=b"k" * 32).apply(volume)
    assert surface_change(head, defaced, count_brain=False).moved >= LEAST_MOVED
    assert standing_before(head, defaced).skin < 0.5

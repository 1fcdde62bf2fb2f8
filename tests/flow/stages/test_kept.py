"""The count of what changed where nothing may: on the mask's own grid, on others, and none of it by mistake."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from defacedask.anatomy.registration import rotation
from defacedask.errors import StoreError
from defacedask.flow.stages.kept import Kept, compare, load_kept, save_kept
from defacedask.geometry import Geometry
from defacedask.volume import make_volume

GRID = Geometry.from_spacing((20, 24, 28), (3.0, 2.0, 2.0), (-27.0, -23.0, 40.0))


def turned(shape, spacing, angles, centre) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = (rotation(*angles) @ np.diag(spacing[::-1]))[:, ::-1]
    affine[:3, 3] = centre - affine[:3, :3] @ (np.array(shape) / 2)
    return Geometry(shape, affine)


@pytest.fixture
def kept() -> Kept:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[6:12, 8:15, 9:20] = True
    return Kept("Box", mask, GRID)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_every_changed_voxel_of_the_mask_is_counted_and_no_other(kept, dtype, rng):
    stored = rng.integers(0, 500, GRID.shape).astype(dtype)
    new = stored.copy()
    touched = rng.random(GRID.shape) < 0.1
    new[touched] += 1
    if dtype is np.float32:
        stored[0], new[0] = np.nan, np.nan
        touched[0] = False
    before, after = (make_volume(v, GRID, modality="CT", units="HU") for v in (stored, new))
    total, inside = compare(before.chunk({"z": 7}), after, GRID, [kept])
    assert total == touched.sum()
    assert inside == {"Box": (touched & kept.mask).sum()}


def test_a_sign_of_zero_is_a_change(kept):
    stored = np.zeros(GRID.shape, np.float32)
    new = stored.copy()
    new[8, 10, 12] = -0.0
    before, after = (make_volume(v, GRID, modality="MR", units="1") for v in (stored, new))
    assert compare(before, after, GRID, [kept]) == (1, {"Box": 1})


def test_on_another_grid_the_inside_counts(kept):
    fine = Geometry.from_spacing((60, 48, 56), (1.0, 1.0, 1.0), (-27.0, -23.0, 40.0))
    number = kept.count(np.ones(fine.shape, bool), fine)
    # between the outermost voxels of the mask, ends included
    assert number == (5 * 3 + 1) * (6 * 2 + 1) * (10 * 2 + 1)
    assert kept.count(np.zeros(fine.shape, bool), fine) == 0
    away = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0), (400.0, 0.0, 0.0))
    assert kept.count(np.ones(away.shape, bool), away) == 0


@given(
    st.integers(0, 10_000),
    st.floats(0.3, 3.0),
    st.floats(0.6, 0.97),
    st.tuples(*[st.floats(0.7, 4.0)] * 3),
    st.tuples(*[st.floats(0.6, 4.0)] * 3),
    st.tuples(*[st.floats(-180.0, 180.0)] * 3),
    st.sampled_from([0.0, 1.0, 3.0]),
)
def test_what_the_base_keeps_is_never_counted(seed, grain, share, own, other, angles, margin):
    """So a sound defacer is never failed by the count, on whatever grid."""
    shape = (12, 14, 16)
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), grain)
    grid = Geometry.from_spacing(shape, own)
    one = Kept("Any", noise > np.quantile(noise, share), grid)
    protected = one.protected(margin)
    assert one.count(~protected.keep(grid), grid) == 0
    another = turned((20, 20, 20), other, angles, grid.to_world(np.array(shape) / 2))
    assert one.count(~protected.keep(another), another) == 0


@given(
    st.integers(0, 10_000),
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0])] * 3),
    st.tuples(*[st.floats(-3.0, 3.0)] * 3),
)
def test_axis_by_axis_is_counted_what_is_counted_voxel_by_voxel(seed, order, signs, steps, away):
    mask = np.random.default_rng(seed).random(GRID.shape) < 0.9
    one = Kept("Any", mask, GRID)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] * np.array(signs) * np.array(steps)
    shape = (17, 18, 19)
    affine[:3, 3] = GRID.centre + np.array(away) - affine[:3, :3] @ (np.array(shape) / 2)
    block = Geometry(shape, affine)
    by_axis = one._inside_block(block)
    every = np.argwhere(np.ones(shape, bool))
    assert by_axis is not None
    assert np.array_equal(by_axis.ravel(), one.inside(block, every))
    # turned a little, the axes are not the mask's
    assert one._inside_block(turned(shape, (1.0, 1.0, 1.0), (1.0, 0.0, 0.0), GRID.centre)) is None


def test_masks_come_back_as_they_were(kept, tmp_path):
    save_kept(
        tmp_path, "case", [kept, Kept("None", np.zeros((3, 3, 3), bool), GRID.block((0, 0, 0), (3, 3, 3)))]
    )
    again = load_kept(tmp_path, "case")
    assert [one.name for one in again] == ["Box", "None"]
    assert np.array_equal(again[0].mask, kept.mask)
    assert np.array_equal(again[0].grid.affine, GRID.affine)
    with pytest.raises(StoreError, match="cannot be read"):
        load_kept(tmp_path, "other")
    (tmp_path / "case" / "kept.npz").write_bytes(b"spoiled")
    with pytest.raises(StoreError, match="cannot be read"):
        load_kept(tmp_path, "case")

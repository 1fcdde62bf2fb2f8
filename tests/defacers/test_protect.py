"""Protected structures are kept whole, on any grid, block by block."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import geometries

from defacedask.defacers.protect import Protected, brain_of, unprotected
from defacedask.errors import InputError
from defacedask.geometry import Geometry


def ball(grid: Geometry, centre, radius: float) -> np.ndarray:
    x, y, z = grid.positions(dtype=np.float64)
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 <= radius**2


GRID = Geometry.from_spacing((30, 40, 40), (3.0, 2.0, 2.0), (-40.0, -40.0, -45.0))
BALL = ball(GRID, (0, 0, 0), 18.0)


@settings(max_examples=40, deadline=None)
@given(geometries(max_size=12), st.data())
def test_blocks_answer_like_the_whole(grid, data):
    # bring the random grid near the structure
    near = Geometry(
        grid.shape,
        np.vstack([np.column_stack([grid.affine[:3, :3], -grid.centre + grid.origin]), [0, 0, 0, 1]]),
    )
    kept = Protected.of("ball", BALL, GRID, margin_mm=3.0)
    whole = kept.keep(near)
    cuts = [sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=3))}) for n in near.shape]
    for a in zip(cuts[0], cuts[0][1:], strict=False):
        for b in zip(cuts[1], cuts[1][1:], strict=False):
            for c in zip(cuts[2], cuts[2][1:], strict=False):
                box = tuple(slice(*ends) for ends in (a, b, c))
                part = kept.keep(near.block((a[0], b[0], c[0]), (a[1], b[1], c[1])))
                assert np.array_equal(part, whole[box])


@pytest.mark.parametrize("margin", [0.0, 2.0, 5.0])
def test_the_margin_is_kept_and_hardly_more(margin):
    kept = Protected.of("ball", BALL, GRID, margin_mm=margin)
    fine = Geometry.from_spacing((90, 90, 90), (1.0, 1.0, 1.0), (-44.5, -44.5, -44.5))
    got = kept.keep(fine)
    # distances are to the centres of the structure's voxels, whose own size is 3 x 2 x 2 mm
    assert got[ball(fine, (0, 0, 0), 18.0 + margin - 2.5)].all()
    assert not got[~ball(fine, (0, 0, 0), 18.0 + margin + 2.5)].any()


def test_no_voxel_of_a_thin_structure_is_lost():
    grid = Geometry.from_spacing((40, 50, 50), (2.5, 1.0, 1.0))
    nerve = np.zeros(grid.shape, dtype=bool)
    nerve[20, np.arange(5, 45), np.arange(5, 45)] = True  # one voxel thick, oblique
    for margin in (0.0, 1.0):
        kept = Protected.of("OpticNrv_L", nerve, grid, margin_mm=margin, spacing=3.0)
        assert kept.keep(grid)[nerve].all()


def lost(kept: Protected, mask: np.ndarray, geometry: Geometry, other: Geometry) -> int:
    """Voxels of another grid whose middle lies inside of a voxel of the structure, and that may change."""
    x, y, z = np.broadcast_arrays(*other.positions(dtype=np.float64))
    index = np.rint(geometry.to_index(np.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1))).astype(int)
    there = ((index >= 0) & (index < geometry.shape)).all(axis=1)
    within = np.zeros(len(index), dtype=bool)
    within[there] = mask[tuple(index[there].T)]
    return int((within & ~kept.keep(other).ravel()).sum())


@settings(max_examples=60, deadline=None)
@given(
    geometries(max_size=9),
    geometries(max_size=16),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 1.1, 2.0]),
)
def test_nothing_inside_of_a_voxel_of_the_structure_changes_on_any_grid(grid, turned, seed, margin):
    random = np.random.default_rng(seed)
    mask = random.random(grid.shape) < random.choice([0.02, 0.3, 0.9])
    mask[tuple(random.integers(0, n) for n in grid.shape)] = True
    kept = Protected.of("Brain", mask, grid, margin_mm=margin)
    assert lost(kept, mask, grid, grid) == 0
    assert lost(kept, mask, grid, grid.resampled([s / 3 for s in grid.spacing])) == 0
    # a grid that lies anyhow, about the structure
    affine = turned.affine.copy()
    affine[:3, 3] += grid.centre - turned.centre
    assert lost(kept, mask, grid, Geometry(turned.shape, affine, grid.frame_of_reference)) == 0


def test_a_coarse_distance_alone_would_lose_a_lone_voxel(monkeypatch):
    """The positive control of the test above, and of what a real head showed."""
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[6, 6, 6] = True
    grid = Geometry.from_spacing(mask.shape, (3.0, 3.0, 3.0), (-18.0, -18.0, -18.0))
    fine = grid.resampled(0.5)
    assert lost(Protected.of("Brain", mask, grid), mask, grid, fine) == 0
    monkeypatch.setattr("defacedask.defacers.protect._holding", lambda steps, *_: steps)
    assert lost(Protected.of("Brain", mask, grid), mask, grid, fine) > 0


def test_far_away_nothing_is_kept():
    kept = Protected.of("ball", BALL, GRID, margin_mm=3.0)
    far = Geometry.from_spacing((4, 4, 4), (2.0, 2.0, 2.0), (500.0, 0.0, 0.0))
    assert not kept.keep(far).any()
    region = np.ones(GRID.shape, dtype=bool)
    left = unprotected(region, (kept,), GRID)
    assert not left[BALL].any()
    assert left[0, 0, 0]


def test_structure_at_the_border_of_the_image():
    grid = Geometry.from_spacing((10, 20, 20), (3.0, 2.0, 2.0))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[-2:, 5:15, 5:15] = True
    assert Protected.of("Brain", mask, grid).keep(grid)[mask].all()


def test_refusals():
    with pytest.raises(InputError, match="empty"):
        Protected.of("PTV", np.zeros(GRID.shape, dtype=bool), GRID)
    with pytest.raises(InputError, match="margin"):
        Protected.of("PTV", BALL, GRID, margin_mm=99)


@pytest.mark.gpu
def test_the_same_on_a_gpu(cupy):
    kept = Protected.of("ball", BALL, GRID, margin_mm=3.0)
    there = kept.keep(GRID, cupy)
    assert isinstance(there, cupy.ndarray)
    assert np.array_equal(there.get(), kept.keep(GRID))


@settings(max_examples=20, deadline=None)
@given(geometries(max_size=40), st.integers(0, 2**32 - 1))
def test_withdrawing_equals_keeping_everywhere(grid, seed):
    """Only tiles that may meet the structure are looked at; the answer is that of a look at every voxel."""
    random = np.random.default_rng(seed)
    mask = np.zeros(grid.shape, dtype=bool)
    low = [int(random.integers(0, n)) for n in grid.shape]
    mask[tuple(slice(a, a + 1 + int(random.integers(0, 6))) for a in low)] = True
    one = Protected.of("PTV", mask, grid, margin_mm=float(random.uniform(0, 8)))
    for other in (grid, grid.resampled(float(random.uniform(1.0, 6.0)))):
        region = random.random(other.shape) < 0.7
        assert np.array_equal(unprotected(region, (one,), other), region & ~one.keep(other))


@settings(max_examples=40)
@given(
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
    st.floats(0.6, 4.0),
    st.floats(0, 2),
    st.booleans(),
)
def test_whole_cells_tell_what_the_field_tells(order, signs, step, lean, large):
    """On grids along the structure's, in any order and direction, and on those that lean against it."""
    kept = Protected.of("ball", BALL, GRID, margin_mm=3.0)
    turn = np.radians(lean)
    axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = axes[:, list(order)] * np.array(signs) * step
    shape = (40, 44, 48) if large else (9, 8, 7)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Geometry(shape, affine, GRID.frame_of_reference)
    # the field itself, read at every voxel
    expected = kept._distance(grid.positions(dtype=np.float64), np) <= kept.margin_mm
    assert expected.any()
    assert np.array_equal(kept.keep(grid), np.broadcast_to(expected, grid.shape))


def test_what_is_made_of_the_fields_is_not_pickled():
    kept = Protected.of("ball", BALL, GRID, margin_mm=3.0)
    small = len(pickle.dumps(kept))
    kept.keep(GRID)
    assert len(pickle.dumps(kept)) == small
    assert np.array_equal(pickle.loads(pickle.dumps(kept)).keep(GRID), kept.keep(GRID))


def test_the_brain_of_a_head_is_measured_once():
    head = SimpleNamespace(brain=BALL, grid=GRID)
    one = brain_of(head, 2.0)
    assert brain_of(head, 2.0) is one
    assert brain_of(head, 1.0).margin_mm == 1.0
    head.brain = ball(GRID, (5, 0, 0), 12.0)  # another brain is another answer
    other = brain_of(head, 2.0)
    assert other is not one
    assert other.keep(GRID).sum() < one.keep(GRID).sum()


def test_the_grid_of_a_tight_box_tells_the_same_distances():
    """Inside a structure as outside, the distance is that of the whole grid."""
    from scipy.ndimage import distance_transform_edt, map_coordinates

    wide = np.pad(BALL, 30)
    into, out = (distance_transform_edt(one, sampling=GRID.spacing) for one in (wide, ~wide))
    signed = np.where(wide, -into, out).astype(np.float32)
    kept = Protected.of("ball", BALL, GRID, margin_mm=3.0)
    points = kept.grid.to_world(np.argwhere(np.ones(kept.grid.shape, bool)))
    at = GRID.to_index(points).T + 30
    there = map_coordinates(signed, at, order=1, mode="nearest", prefilter=False).reshape(kept.grid.shape)
    mm = kept.distance * 0.25
    inside = (there > -4.0) & (there < 0.0)
    # lowered, where at all, by what thin parts need; never raised
    assert inside.any()
    assert (mm[inside] <= there[inside] + 0.13).all()
    assert np.abs(mm[inside] - there[inside]).mean() < 0.5

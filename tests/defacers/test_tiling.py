"""What a coarse field rules out is not looked at, and nothing else; places have the bits of any other way to them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import geometries

from defacedask.defacers.fields import Stack
from defacedask.defacers.tiling import Tiling, places_of, tiles_of
from defacedask.geometry import Geometry
from defacedask.sampling import apply_affine

GRID = Geometry.from_spacing((12, 12, 12), (5.0,) * 3, (-30, -30, -30))


def turned(angle):
    a = np.radians(angle)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.1]]
    return matrix


@given(st.integers(0, 2**31), st.floats(-40, 40), st.tuples(*[st.floats(-40, 20)] * 3))
@settings(max_examples=20)
def test_no_voxel_above_the_limit_is_left_out(seed, angle, origin):
    """Blocks reach far beyond the field: there its border goes on."""
    rng = np.random.default_rng(seed)
    field = rng.normal(-2, 1, GRID.shape).astype(np.float32)
    matrix = turned(angle)
    block = Geometry.from_spacing((38, 50, 46), (1.3, 0.9, 1.0), origin)
    places = apply_affine(matrix, *block.positions(dtype=np.float64))
    x, y, z = (np.broadcast_to(p, block.shape).ravel() for p in places)
    there = (Stack(field[None], GRID).at((x, y, z))[0] > 0).reshape(block.shape)
    seen, tiled = np.zeros(block.shape, int), np.zeros(block.shape, int)
    for box, at in Tiling(field, GRID).voxels(block, matrix, 0.0):
        part = seen[box].ravel()
        part[at] += 1
        seen[box] = part.reshape(seen[box].shape)
    for box in Tiling(field, GRID).tiles(block, matrix, 0.0):
        tiled[box] += 1
    assert seen.max() <= 1
    assert not (there & (seen == 0)).any()
    assert not ((seen > 0) & (tiled == 0)).any()


def test_what_lies_far_from_the_region_is_not_looked_at():
    field = np.full(GRID.shape, -4.0, np.float32)
    field[1, 6, 6] = 1.0  # beside the border, which goes on outwards
    block = Geometry.from_spacing((80, 80, 80), (1.5,) * 3, (-60, -60, -60))
    looked_at = sum(at.size for _, at in Tiling(field, GRID).voxels(block, np.eye(4), 0.0))
    assert 0 < looked_at < 0.02 * 80**3


@given(geometries(max_size=9, sheared=True), st.floats(-40, 40), st.integers(0, 2**31))
@settings(max_examples=20)
def test_places_have_the_bits_of_positions(geometry, angle, seed):
    at = np.flatnonzero(np.random.default_rng(seed).random(geometry.shape).ravel() < 0.4)
    index = np.unravel_index(at, geometry.shape)
    expected = apply_affine(turned(angle), *geometry.positions_at(index))
    found = places_of(geometry, at, turned(angle))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, np.broadcast_to(other, at.shape))


def test_tiles_hold_every_brick_once(rng):
    chosen = rng.random((5, 7, 6)) < 0.1
    shape = (18, 50, 45)
    seen = np.zeros(shape, int)
    for box, bricks in tiles_of(chosen, shape, (16, 32, 32)):
        assert bricks.any()
        assert all(s.stop - s.start <= most for s, most in zip(box, (16, 32, 32), strict=True))
        seen[box] += 1
    every = np.kron(chosen, np.ones((4, 8, 8), int))[tuple(slice(n) for n in shape)]
    assert seen.max() == 1
    assert (seen[every > 0] == 1).all()

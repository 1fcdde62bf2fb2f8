"""One scan and its defaced version, and two scans that only look alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from defacedask.anatomy.grid import resample
from defacedask.attacks.likeness import OTHER, SAME, UNKNOWN, Likeness, compare, compare_moved
from defacedask.geometry import Geometry

GRID = Geometry.from_spacing((36, 60, 56), (4.0, 3.0, 3.0), (-84.0, -90.0, -70.0))


def head(seed: int) -> np.ndarray:
    """The same outline for everybody, and a texture of one's own."""
    x, y, z = np.broadcast_arrays(*GRID.positions(dtype=np.float64))
    inside = (x / 75) ** 2 + (y / 85) ** 2 + (z / 65) ** 2 < 1
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=GRID.shape), 1.5)
    return np.where(inside, 40 + 300 * texture, -1000).astype(np.float32)


ONE = head(1)
CUT = ONE.copy()
CUT[:, :20] = -1000


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v,
        lambda v: 0.3 * v + 500,
        lambda v: ndimage.gaussian_filter(v, 0.5),
        lambda v: v + np.random.default_rng(3).normal(0, 15, v.shape),
    ],
)
def test_a_defaced_version_is_the_same(change):
    assert compare(ONE, GRID, change(CUT), GRID).verdict == SAME


def test_on_another_grid():
    fine = Geometry.from_spacing((70, 88, 80), (2.0, 2.0, 2.0), GRID.origin + 0.7)
    assert compare(ONE, GRID, resample(CUT, GRID, fine), fine).verdict == SAME


def test_another_head_at_the_same_place_is_not():
    found = compare(ONE, GRID, head(2), GRID)
    assert found.verdict == OTHER
    assert compare_moved(ONE, GRID, head(2), GRID, np.eye(4)).verdict != SAME


def test_a_moved_head_is_found_again_and_another_one_is_not():
    from scipy.spatial.transform import Rotation

    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", [4, -5, 3], degrees=True).as_matrix()
    move[:3, 3] = (5, -4, 3)
    there = Geometry(GRID.shape, move @ GRID.affine)
    assert compare(ONE, GRID, CUT, there).verdict != SAME
    assert compare_moved(ONE, GRID, CUT, there, np.eye(4)).verdict == SAME
    assert compare_moved(ONE, GRID, head(2), there, np.eye(4)).verdict != SAME


def test_what_cannot_be_compared_is_unknown():
    assert Likeness().verdict == UNKNOWN
    assert compare(ONE, GRID, np.full(GRID.shape, 5.0), GRID).verdict == UNKNOWN
    assert compare(np.zeros(GRID.shape), GRID, ONE, GRID).verdict == UNKNOWN
    far = Geometry.from_spacing(GRID.shape, (4.0, 3.0, 3.0), GRID.origin + 900.0)
    assert compare(ONE, GRID, ONE, far).verdict == UNKNOWN

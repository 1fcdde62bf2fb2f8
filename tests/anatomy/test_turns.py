from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.anatomy.turns import (
    angle_between,
    different,
    motion,
    nearest_rigid,
    rotation,
    sphere,
    stretch,
)

angles = st.floats(-80, 80)
anyway = st.floats(-180, 180)


@given(angles, angles, angles, st.tuples(*[st.floats(0.8, 1.25)] * 3), st.tuples(*[st.floats(-90, 90)] * 3))
def test_the_nearest_rigid_motion(pitch, yaw, roll, scale, point):
    turn = rotation(pitch, yaw, roll)
    assert turn @ turn.T == pytest.approx(np.eye(3))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(scale)
    affine[:3, 3] = (10, -20, 30)
    rigid = nearest_rigid(affine, np.array(point))
    assert rigid[:3, :3] == pytest.approx(turn, abs=1e-9)
    assert rigid @ np.append(point, 1) == pytest.approx(affine @ np.append(point, 1))
    assert stretch(affine) == pytest.approx(sorted(scale, reverse=True))


@given(anyway, anyway, anyway)
def test_no_orientation_is_far_from_one_that_is_tried(pitch, yaw, roll):
    turns = sphere(600)
    assert angle_between(rotation(pitch, yaw, roll), turns).min() < 24.0


def test_turns_are_rotations_and_the_same_again():
    turns = sphere(50)
    assert turns @ turns.transpose(0, 2, 1) == pytest.approx(
        np.broadcast_to(np.eye(3), turns.shape), abs=1e-12
    )
    assert np.linalg.det(turns) == pytest.approx(np.ones(50))
    assert np.array_equal(turns, sphere(50))


@given(anyway, st.floats(1, 179), st.floats(0.8, 1.3))
def test_how_far_apart(yaw, by, scale):
    at = np.array([5.0, -7.0, 90.0])
    one = motion(rotation(0, yaw), np.array([1.0, 2, 3]), at)
    other = motion(rotation(0, by) * scale, at, at) @ one
    assert angle_between(one[:3, :3], other[:3, :3] / scale) == pytest.approx(by, abs=1e-4)
    for limit, apart in ((by + 0.1, False), (by - 0.1, True)):
        assert different(one, other[None], limit, 1.0, at)[0] == apart
    moved = motion(np.eye(3), at, at + np.array([0, 0, 12.0])) @ one
    assert list(different(one, np.array([moved, one]), 1.0, 11.9, at)) == [True, False]

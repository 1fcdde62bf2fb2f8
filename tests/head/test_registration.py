from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defacedask.head import Head
from defacedask.head.registration import nearest_rigid, rotation, stretch
from tests.heads import pose_error, posed

angles = st.floats(-80, 80)


@settings(max_examples=50, deadline=None)
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


POSES = [
    pytest.param({"pitch": 30, "yaw": 20}, id="chin-up"),
    pytest.param(
        {"yaw": -45, "pitch": 20, "roll": 15, "top": 40, "spacing": (5, 1.5, 1.5)}, id="turned-crown-cut-5mm"
    ),
    pytest.param({"modality": "MR", "yaw": 45, "flip": (-1, 1, -1)}, id="mr-turned-reversed"),
    pytest.param(
        {"modality": "MR", "pitch": -30, "spacing": (5, 2, 2)}, id="mr-chin-down", marks=pytest.mark.slow
    ),
    pytest.param({"yaw": 45, "couch": True}, id="turned-on-couch", marks=pytest.mark.slow),
    pytest.param({"top": 20, "spacing": (2, 3, 3)}, id="crown-cut-low", marks=pytest.mark.slow),
    pytest.param({"bottom": -90, "flip": (1, -1, -1)}, id="chin-cut", marks=pytest.mark.slow),
    pytest.param({"roll": 30, "pitch": 15}, id="tilted", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("options", POSES)
def test_any_pose_is_found(options):
    volume, truth = posed(**options)
    head = Head(volume)
    degrees, mm = pose_error(head.pose, truth)
    assert degrees < 2
    assert mm < 3
    assert head.ok, head.quality
    assert np.allclose(head.pose[:3, :3] @ head.pose[:3, :3].T, np.eye(3))


def test_the_same_bits_again():
    volume, _ = posed(yaw=15, spacing=(5.0, 4.0, 4.0), bottom=-130)
    a, b = Head(volume), Head(volume.copy(deep=True))
    assert np.array_equal(a.to_template, b.to_template)
    assert np.array_equal(a.brain, b.brain)

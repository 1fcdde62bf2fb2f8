import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defacedask.anatomy.template import load_template
from defacedask.geometry import Geometry
from defacedask.phantom.images import noise
from defacedask.phantom.shape import LEAST, Pose, Shape, subject_rng
from defacedask.phantom.warp import SLAB, Warp


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 500))
def test_no_subject_folds_and_all_differ_from_the_average(seed, subject):
    shape = Shape.draw(seed, subject)
    assert shape.squeeze() >= LEAST
    marks = np.array(list(load_template().landmarks.values())).T
    assert np.linalg.norm(shape.to_average(marks) - marks, axis=0).max() > 2


def test_subjects_depend_on_seed_and_number_only():
    first, again = Shape.draw(5, 3), Shape.draw(5, 3)
    assert np.array_equal(first.moves, again.moves)
    assert not np.allclose(first.moves, Shape.draw(5, 4).moves)
    assert not np.allclose(first.moves, Shape.draw(6, 3).moves)


def test_squeeze_sees_a_fold():
    shape = Shape.draw(0, 1, strength=3.0)  # draws milder ones until there is no fold
    assert shape.squeeze() >= LEAST
    wild = Shape(shape.scale, shape.centres, shape.widths, shape.moves * 5, shape.amounts)
    assert wild.squeeze() < 0


def test_rest_of_the_world_stays():
    """No trait moves what is far from the head, and without traits only the size is left."""
    shape = Shape.draw(1, 1)
    far = np.array([[400.0], [0.0], [300.0]])
    origin = np.array(shape.ORIGIN)[:, None]
    assert shape.to_average(far) == pytest.approx((far - origin) / shape.scale[:, None] + origin, abs=1e-3)


def test_pose_is_rigid_and_small():
    for scan in range(1, 6):
        pose = Pose.draw(3, 1, scan)
        assert pose.rotation @ pose.rotation.T == pytest.approx(np.eye(3), abs=1e-12)
        angle = np.degrees(np.arccos((np.trace(pose.rotation) - 1) / 2))
        assert angle < 10
        assert pose.to_subject(pose.shift) == pytest.approx(np.zeros(3))
    assert not np.allclose(Pose.draw(3, 1, 1).rotation, Pose.draw(3, 1, 2).rotation)


def test_positive_trait_moves_tissue_that_way():
    """A longer nose: what was the average's tip lies further forward (-y) in the subject."""
    average = Shape.draw(0, 1, strength=0.0)
    nose = np.array([0.0, -117.0, -63.0])
    shape = Shape(np.ones(3), nose[None], np.array([[12.0, 15.0, 13.0]]), np.array([[0.0, -5.0, 0.0]]), {})
    plain = Shape(np.ones(3), average.centres, average.widths, average.moves * 0, {})
    tip = np.array([[0.0], [-122.0], [-63.0]])
    assert shape.to_average(tip)[1] == pytest.approx(-117.5, abs=1.0)
    assert plain.to_average(tip) == pytest.approx(tip, abs=1e-4)


def test_warp_pulls_the_average_itself_when_nothing_moves():
    template = load_template("average_ct")
    still = Shape(np.ones(3), np.zeros((0, 3)), np.ones((0, 3)), np.zeros((0, 3)), {})
    pose = Pose(np.eye(3), np.zeros(3))
    start, stop = (90, 20, 30), (90 + 2 * SLAB + 3, 120, 100)
    part = template.geometry.block(start, stop)
    grid = Geometry.from_spacing(part.shape, part.spacing, part.origin)
    (pulled,) = Warp(still, pose, grid, template.geometry).pull(
        template.image.values.astype(np.float32), outside=(-1000.0,)
    )
    expected = template.image.values[tuple(map(slice, start, stop))]
    assert np.abs(pulled - expected).max() < 1.0


def test_noise_has_unit_variance_whatever_its_grain():
    for blur in (0.0, 0.7, 1.5):
        made = noise(subject_rng(0, "test"), (6, 128, 128), blur)
        assert made.std() == pytest.approx(1, abs=0.05)
        assert abs(made.mean()) < 0.05

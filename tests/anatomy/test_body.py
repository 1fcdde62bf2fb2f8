from __future__ import annotations

import numpy as np
import pytest
from support.heads import posed

from defacedask.anatomy.body import body_mask, material_level
from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Head
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, real_values


def phantom() -> tuple[np.ndarray, tuple]:
    """An egg with a nose of thin walls and two ears, a couch 20 mm behind, a tube before the mouth."""
    grid = Geometry.from_spacing((100, 130, 100), (2.0, 2.0, 2.0), (-100.0, -130.0, -100.0))
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    egg = (x / 70) ** 2 + (y / 90) ** 2 + (z / 85) ** 2 <= 1
    nose = (np.abs(x) < 14) & (y < -60) & (y > -110) & (np.abs(z) < 18)
    hollow = (np.abs(x) < 10) & (y < -70) & (y > -105) & (np.abs(z) < 14)
    ears = (np.abs(x) > 60) & (np.abs(x) < 88) & (np.abs(y) < 3) & (np.abs(z) < 25)
    couch = (y > 112) & (y < 118)
    tube = (np.abs(x) < 4) & (np.abs(z + 40) < 4) & (y < -60)
    values = np.full(grid.shape, -1000.0, dtype=np.float32)
    values[egg | (nose & ~hollow) | ears | couch | tube] = 40.0
    return values, (egg, nose, hollow, ears, couch, tube)


def test_nose_and_ears_stay_couch_goes():
    values, (egg, nose, hollow, ears, couch, tube) = phantom()
    body, other = body_mask(values, -300.0, 2.0)
    assert body[egg].all()
    assert body[nose & ~hollow].mean() > 0.97
    assert body[hollow].all(), "closed and filled"
    assert body[ears].mean() > 0.95
    assert not body[couch].any()
    assert other[couch].all()
    assert not (body & other).any()
    assert body.sum() < 1.06 * (egg | nose | ears | tube).sum()


def test_a_couch_that_touches_is_left_out_but_for_its_rim():
    values, (egg, _, _, _, couch, _) = phantom()
    values[:, 105:124, 48:51] = 40.0  # a fin between head and couch
    body, other = body_mask(values, -300.0, 2.0)
    assert body[egg].all()
    assert other[couch].mean() > 0.95


def test_levels():
    random = np.random.default_rng(0)
    head = np.abs(random.normal(0, 12, 200_000))
    head[:80_000] = random.normal(300, 80, 80_000)
    assert 30 < material_level(head.astype(np.float32), "MR") < 150
    assert material_level(head, "CT") == -300
    assert material_level(np.zeros(10, np.float32), "MR") == 0
    assert material_level(np.array([0, 0, 1.0, 5.0], np.float32), "PT") == pytest.approx(0.3, rel=0.1)


def test_drop_is_the_couch_on_the_acquisition_grid_and_no_air():
    volume, _ = posed(couch=True, spacing=(4.0, 2.5, 2.5), flip=(-1, 1, 1))
    head = Head(volume)
    drop = head.drop
    assert drop.shape == volume.shape
    values = real_values(volume).values
    assert (values[drop] > -300).all()
    near = resample(head.body, head.grid, geometry_of(volume), nearest=True)
    assert not (drop & near).any()
    bare, _ = posed(spacing=(4.0, 2.5, 2.5), flip=(-1, 1, 1))
    couch = (values > -300) & (real_values(bare).values < -500)
    assert drop[couch].mean() > 0.9

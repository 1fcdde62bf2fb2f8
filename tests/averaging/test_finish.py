"""The skin of a built average lies where its values say, between the voxels."""

from __future__ import annotations

import numpy as np
import pytest

from defacedask.averaging.finish import skin_distance
from defacedask.geometry import Geometry


@pytest.mark.parametrize("spacing", [2.0, 4.0])
@pytest.mark.parametrize(("modality", "air", "tissue"), [("CT", -1000.0, 40.0), ("MR", 0.0, 120.0)])
def test_the_distance_to_a_balls_skin(spacing, modality, air, tissue):
    n = int(180 / spacing)
    grid = Geometry.from_spacing((n, n, n), (spacing,) * 3, (-90.0, -90.0, -90.0))
    x, y, z = grid.positions(dtype=np.float64)
    truth = np.sqrt(x**2 + y**2 + z**2) - 61.3
    # an average's edge is soft: two voxels from air to tissue, half way at the skin
    level = -400.0 if modality == "CT" else 60.0
    inside = np.clip((tissue - level) / (2 * spacing) * -truth + level, level, tissue)
    outside = np.clip((level - air) / (2 * spacing) * -truth + level, air, level)
    found = skin_distance(np.where(truth < 0, inside, outside).astype(np.float32), grid, modality)
    near = np.abs(truth) < 0.8 * spacing
    assert np.abs(found - truth)[near].mean() < 0.15 * spacing
    assert (found[truth < -2 * spacing] < 0).all()
    assert (found[truth > 2 * spacing] > 0).all()

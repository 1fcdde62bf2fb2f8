"""The convert-only control changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from defacedask.defacers import get_defacer, plan_from_dict
from defacedask.geometry import Geometry
from defacedask.volume import make_volume


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_every_bit_stays(dtype):
    grid = Geometry.from_spacing((5, 6, 7), (3.0, 1.0, 1.0))
    stored = np.random.default_rng(2).integers(0, 3000, grid.shape).astype(dtype)
    volume = make_volume(stored, grid, modality="MR", units="1", slope=0.37, intercept=5.0)
    plan = get_defacer("none").plan(None)  # it looks at nothing
    new = plan_from_dict(plan.to_dict()).apply(volume)
    assert new.dtype == volume.dtype
    assert new.values.tobytes() == stored.tobytes()
    assert not plan.region(grid).any()
    assert plan.summary() == {"defacer": "none"}

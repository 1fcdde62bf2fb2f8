"""What beside the patient is as large as a face."""

from __future__ import annotations

import numpy as np
import pytest

from defacedask.anatomy.witness.solid import SPACING, as_large_as_a_face

SHAPE = (40, 40, 40)


def block(size, hollow=0):
    """A block, and that with caves in it, as a face on MR has (bone, sinuses)."""
    part = np.zeros(SHAPE, bool)
    part[3 : 3 + size, 3:33, 3:33] = True
    part[5 : 5 + hollow, 10:12, 5:30] = False
    return part


@pytest.mark.parametrize(
    ("part", "large"),
    [
        (block(20), True),
        (block(20, hollow=14), True),  # by its own voxels it would be too thin
        (block(8), False),
        (np.random.default_rng(1).random(SHAPE) < 0.4, False),  # noise hangs together
    ],
)
def test_what_is_as_large_as_a_face(part, large):
    found = as_large_as_a_face([(part, float(part.sum()) * SPACING**3 / 1000)])
    assert (found is not None) == large
    assert found is None or not (part & ~found).any()

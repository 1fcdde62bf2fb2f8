"""Hypothesis strategies: grids of every orientation; fields, and places to read them at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from defacedask.geometry import Geometry

#: All 48 ways to lay three array axes along L, P, S: permutations and signs.
ORIENTATIONS = [
    np.array(
        [[sign * (axis == row) for axis, sign in zip(order, signs, strict=True)] for row in range(3)],
        dtype=float,
    )
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]

orientations = st.sampled_from(ORIENTATIONS)
spacings = st.tuples(st.floats(0.3, 8), st.floats(0.3, 5), st.floats(0.3, 5))
origins = st.tuples(*[st.floats(-500, 500)] * 3)


@st.composite
def geometries(draw, max_size: int = 9, oblique: bool = True, sheared: bool = False) -> Geometry:
    """Grid of any orientation, anisotropic; optionally oblique and with a gantry tilt."""
    shape = draw(st.tuples(*[st.integers(1, max_size)] * 3))
    matrix = draw(orientations)
    if oblique:
        angles = draw(st.tuples(*[st.floats(-40, 40)] * 3))
        matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ matrix
    if sheared:
        tilt = np.tan(np.radians(draw(st.floats(-25, 25))))
        matrix = matrix @ np.array([[1, 0, 0], [tilt, 1, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = matrix * np.array(draw(spacings))
    affine[:3, 3] = draw(origins)
    return Geometry(shape, affine)


def field_and_places(
    shape: Sequence[int], seed: int, dtype: Any, count: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A field, and places along each axis: inside, on elements, on the edge, and beyond it on every side."""
    random = np.random.default_rng(seed)
    field = (random.normal(size=shape) * 10.0 ** random.integers(-3, 4)).astype(dtype)
    index = [random.uniform(-2.5, n + 1.5, count) for n in shape]
    for i, n in zip(index, shape, strict=True):
        i[::3] = np.rint(i[::3])
        i[1::7] = random.choice([-1.0, 0.0, n - 1.0, float(n), -1e-12, n - 1 + 1e-12], i[1::7].size)
    return field, index

"""Noise is a function of place and key, in any chunking, with the asked amplitude and grain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from support.strategies import geometries

from defacedask.defacers import noise, tiling
from defacedask.defacers.noise import (
    NoiseField,
    hashed,
    lattice_normals,
    lattice_uniform,
    sigma_from_correlation,
)
from defacedask.errors import InputError
from defacedask.geometry import Geometry

GRID = Geometry.from_spacing((24, 30, 28), (3.0, 1.0, 1.0), (-14, -20, 7))


def correlation(values: np.ndarray, axis: int) -> float:
    a = np.moveaxis(values, axis, 0)
    return float(np.corrcoef(a[1:].ravel(), a[:-1].ravel())[0, 1])


@given(
    st.tuples(*[st.integers(-50, 50)] * 3),
    st.tuples(*[st.integers(0, 5)] * 3),
    st.tuples(*[st.integers(1, 4)] * 3),
)
def test_a_lattice_point_has_its_bits_in_any_box(start, first, size):
    stop = [s + 9 for s in start]
    whole = hashed(b"key", start, stop)
    inner = [s + f for s, f in zip(start, first, strict=True)]
    part = hashed(b"key", inner, [i + n for i, n in zip(inner, size, strict=True)])
    cut = tuple(slice(f, f + n) for f, n in zip(first, size, strict=True))
    assert np.array_equal(whole[cut], part)


def test_numbers_are_well_spread():
    normal = lattice_normals(b"key", (-20, -20, -20), (20, 20, 20))
    assert normal.dtype == np.float32
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert max(abs(correlation(normal, axis)) for axis in range(3)) < 0.015
    uniform = lattice_uniform(b"key", (0, 0, 0), (40, 40, 40)).ravel()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert kstest(uniform, "uniform").pvalue > 1e-3
    # every bit is set in half of the points, and neighbouring indices share none of it
    bits = hashed(b"key", (0, 0, 0), (30, 30, 30)).ravel()
    share = [((bits >> np.uint64(k)) & np.uint64(1)).mean() for k in range(64)]
    assert np.allclose(share, 0.5, atol=0.02)


@pytest.mark.parametrize("sigma", [(0, 0, 0), (0.9, 0, 1.3), (0, 1.1, 0.6)])
def test_it_is_drawn_at_once_or_by_slabs_of_any_number_of_planes(sigma, monkeypatch):
    """A plane of the lattice has some 1,500 points: all at once, several planes, one, and less than one."""
    field = NoiseField.on(GRID, b"key", sigma=sigma)
    fields, drawn = [], []
    real = noise.lattice_normals

    def counted(*args, **options):
        drawn[-1] += 1
        return real(*args, **options)

    monkeypatch.setattr(noise, "lattice_normals", counted)
    for points in (2**30, 10_000, 2_500, 10):
        monkeypatch.setattr(noise, "_AT_ONCE", points)
        drawn.append(0)
        fields.append(field.at(GRID.positions(dtype=np.float64)))
    assert drawn[0] == 1 < drawn[1] < drawn[2]
    assert drawn[2] <= drawn[3]
    assert all(np.array_equal(fields[0], one) for one in fields)
    assert fields[0].std() > 0.5


def test_another_key_or_stream_gives_other_noise():
    box = ((0, 0, 0), (12, 12, 12))
    a = lattice_normals(b"key", *box)
    for other in (lattice_normals(b"kez", *box), lattice_normals(b"key", *box, stream="second")):
        assert abs(np.corrcoef(a.ravel(), other.ravel())[0, 1]) < 0.1


@given(geometries(max_size=7), st.data())
@settings(max_examples=40)
def test_any_block_of_any_grid_sees_the_same_noise(geometry, data):
    field = NoiseField.on(GRID, b"key", sigma=(0.0, 0.8, 0.5))
    whole = field.at(geometry.positions(dtype=np.float64))
    start = [data.draw(st.integers(0, n - 1)) for n in geometry.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, geometry.shape, strict=True)]
    part = field.at(geometry.block(start, stop).positions(dtype=np.float64))
    cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    assert np.array_equal(whole[cut], np.broadcast_to(part, whole[cut].shape))


@given(geometries(max_size=9, sheared=True), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=30)
def test_voxels_of_a_block_see_what_the_block_sees(geometry, own, seed):
    """Parallel to the lattice, where places are found once a row, and in any other position."""
    lattice = geometry.affine if own else GRID.affine
    field = NoiseField(b"key", lattice, (0.3, 0.7, 0.7), "s")
    block = geometry.block((0, 0, 0), geometry.shape)
    whole = field.at(block.positions(dtype=np.float64))
    at = np.flatnonzero(np.random.default_rng(seed).random(geometry.shape).ravel() < 0.4)
    assert np.array_equal(field.at_voxels(block, at), np.broadcast_to(whole, block.shape).ravel()[at])


def test_many_places_are_read_some_at_a_time(rng, monkeypatch):
    field = NoiseField.on(GRID, b"key", sigma=(0.3, 0.7, 0.7))
    places = tuple(rng.uniform(-10, 10, 1000) for _ in range(3))
    whole = field.at(places)
    monkeypatch.setattr(tiling, "PLACES", 170)
    assert np.array_equal(field.at(places), whole)


def test_a_number_is_the_sum_of_four():
    bits = hashed(b"key", (0, 0, 0), (9, 10, 11), stream="s")
    total = sum((bits >> np.uint64(16 * k)) & np.uint64(0xFFFF) for k in range(4)).astype(np.float64)
    drawn = lattice_normals(b"key", (0, 0, 0), (9, 10, 11), stream="s")
    assert np.allclose(drawn, (total - 131070) / np.sqrt(4 * (65536.0**2 - 1) / 12), rtol=1e-6)


def test_scattered_positions_see_what_the_grid_sees(rng):
    field = NoiseField.on(GRID, b"key", sigma=(0.3, 0.7, 0.7))
    turned = Geometry(
        GRID.shape, GRID.affine @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0.4], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    places = turned.positions(dtype=np.float64)
    whole = field.at(places)
    pick = rng.random(turned.shape) < 0.2
    flat = tuple(np.broadcast_to(p, turned.shape)[pick] for p in places)
    assert np.array_equal(whole[pick], field.at(flat))


@pytest.mark.parametrize("shift", [(0, 0, 0), (0.5, 0.5, 0.5), (0.31, 0.0, 0.77)])
def test_amplitude_stays_one_between_lattice_points(shift):
    field = NoiseField.on(GRID, b"key", sigma=(0.5, 1.0, 0.0))
    moved = Geometry.from_spacing((30, 40, 40), GRID.spacing, GRID.to_world(shift))
    values = field.at(moved.positions(dtype=np.float64))
    assert abs(values.std() - 1) < 0.06


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.85])
def test_grain_is_as_asked(rho):
    sigma = sigma_from_correlation(rho)
    grid = Geometry.from_spacing((40, 60, 60), (3.0, 1.0, 1.0), (0, 0, 0))
    values = NoiseField.on(grid, b"key", sigma=(0.0, sigma, sigma)).at(grid.positions(dtype=np.float64))
    assert abs(values.std() - 1) < 0.05
    assert abs(correlation(values, 0)) < 0.05
    assert correlation(values, 1) == pytest.approx(rho, abs=0.06)
    assert correlation(values, 2) == pytest.approx(rho, abs=0.06)


def test_no_positions_no_noise():
    empty = np.zeros(0)
    assert NoiseField.on(GRID, b"key").at((empty, empty, empty)).shape == (0,)


def test_a_flat_lattice_is_refused():
    with pytest.raises(InputError, match="inverted"):
        NoiseField(b"key", np.diag([1.0, 1.0, 0.0, 1.0]))


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits(cupy):
    field = NoiseField.on(GRID, b"key", sigma=(0.3, 0.7, 0.7))
    turned = Geometry(
        GRID.shape, GRID.affine @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0.4], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    for grid in (GRID, turned):
        here = field.at(grid.positions(dtype=np.float64))
        there = field.at(grid.positions(cupy, np.float64), cupy)
        assert isinstance(there, cupy.ndarray)
        assert np.array_equal(here, there.get())

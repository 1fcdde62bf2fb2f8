"""Rasterisation against independent point-in-polygon tests, exact at edges."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as MplPath

from defacedask.io.dicom.contours import rasterise, slices_from_planes

SHAPE = (13, 17)
anywhere = st.tuples(st.floats(-4, 17, width=32), st.floats(-4, 21, width=32))
on_grid = st.tuples(st.integers(-2, 14), st.integers(-2, 18))
on_half_grid = st.tuples(st.integers(-4, 28).map(lambda v: v / 2), st.integers(-4, 36).map(lambda v: v / 2))


def full(polygons, shape=SHAPE, planes=None) -> np.ndarray:
    part, (row, column) = rasterise(polygons, planes or [0] * len(polygons), shape)
    out = np.zeros((len(part), *shape), bool)
    out[:, row : row + part.shape[1], column : column + part.shape[2]] = part
    return out if planes else out[0]


def even_odd(polygon, row: int, column: int) -> bool:
    """Crossings at or left of the point, in exact arithmetic; edges half-open above."""
    inside = False
    for (r0, c0), (r1, c1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        (r0, c0), (r1, c1) = sorted(
            [(Fraction(r0), Fraction(c0)), (Fraction(r1), Fraction(c1))], key=lambda p: p[0]
        )
        if r0 <= row < r1 and c0 + (row - r0) * (c1 - c0) / (r1 - r0) <= column:
            inside = not inside
    return inside


def grid_points() -> np.ndarray:
    return np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1).reshape(-1, 2)


@given(st.lists(anywhere, min_size=3, max_size=12))
def test_random_polygons_equal_matplotlib(vertices):
    polygon = np.array(vertices, dtype=float)
    points = grid_points()
    ring = shapely.LineString(np.concatenate([polygon, polygon[:1]]))
    clear = shapely.distance(shapely.points(points), ring) > 1e-5
    expected = MplPath(np.concatenate([polygon, polygon[:1]]), closed=True).contains_points(points)
    got = full([polygon]).ravel()
    assert np.array_equal(got[clear], expected[clear])


@given(st.lists(st.one_of(on_grid, on_half_grid), min_size=3, max_size=9))
def test_vertices_and_edges_on_voxel_centres_follow_the_half_open_rule(vertices):
    expected = [even_odd(vertices, r, c) for r, c in grid_points()]
    assert np.array_equal(full([np.array(vertices, dtype=float)]).ravel(), expected)


@given(st.lists(st.lists(anywhere, min_size=3, max_size=6), min_size=2, max_size=4))
def test_several_polygons_are_combined_by_exclusive_or(several):
    polygons = [np.array(p, dtype=float) for p in several]
    expected = np.logical_xor.reduce([full([p]) for p in polygons])
    assert np.array_equal(full(polygons), expected)
    assert np.array_equal(full(polygons[::-1]), expected)


@given(
    st.tuples(st.floats(3, 9), st.floats(3, 12)),
    st.lists(st.floats(0.5, 6), min_size=5, max_size=9),
    st.floats(0.1, 0.9),
)
def test_holes_equal_shapely(centre, radii, part):
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    star = np.column_stack([np.sin(angle), np.cos(angle)]) * np.array(radii)[:, None]
    outer, hole = star + centre, part * star + centre
    area = shapely.Polygon(outer, [hole])
    points = shapely.points(grid_points())
    clear = shapely.distance(points, shapely.boundary(area)) > 1e-5
    assert np.array_equal(full([outer, hole]).ravel()[clear], shapely.contains(area, points)[clear])


@given(st.lists(anywhere, min_size=3, max_size=8), st.integers(0, 7), st.booleans())
def test_start_and_sense_do_not_matter(vertices, turn, back):
    polygon = np.array(vertices, dtype=float)
    other = np.roll(polygon, turn, axis=0)[:: -1 if back else 1]
    assert np.array_equal(full([polygon]), full([other]))


@given(anywhere, st.floats(1, 5), st.floats(0.2, 0.8))
def test_keyhole_equals_hole(shift, size, part):
    """A keyhole contour walks out to the hole and back on the same line, at any angle."""
    centre = np.array([6.03, 8.07])
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * size + np.array(shift) * 0.1 + centre
    hole = (corners - corners.mean(axis=0)) * part + corners.mean(axis=0)
    bridge = [corners, corners[:1], hole, hole[:1]]
    assert np.array_equal(full([np.concatenate(bridge)]), full([corners, hole]))


@settings(max_examples=30)
@given(st.lists(st.lists(anywhere, min_size=3, max_size=6), min_size=1, max_size=5))
def test_planes_do_not_touch_each_other(several):
    polygons = [np.array(p, dtype=float) for p in several]
    together = full(polygons, planes=list(range(len(polygons))))
    for plane, polygon in enumerate(polygons):
        assert np.array_equal(together[plane], full([polygon]))


def test_nothing_to_fill():
    part, _ = rasterise([], [], SHAPE)
    assert not part.any()
    part, _ = rasterise([np.array([[20.0, 30], [21, 30], [21, 31]])], [0], SHAPE)
    assert not part.any()
    part, _ = rasterise([np.array([[5.1, 5.1], [5.2, 5.1], [5.2, 5.2]])], [0], SHAPE)
    assert not part.any()


def test_huge_polygon_costs_only_the_image():
    polygon = np.array([[-1e6, -1e6], [-1e6, 1e6], [1e6, 1e6], [1e6, -1e6]])
    assert full([polygon]).all()


def test_plane_on_every_slice():
    assert slices_from_planes(np.arange(2.0, 6), 8, 3.0, 1.0).tolist() == [-1, -1, 0, 1, 2, 3, -1, -1]


@given(st.floats(-0.499, 0.499), st.integers(1, 8), st.booleans())
def test_planes_between_slices_go_to_the_nearest(shift, count, up):
    planes = np.arange(count) + 1 + shift
    got = slices_from_planes(planes, 10, 3.0, 1.0, up)
    assert np.flatnonzero(got >= 0).tolist() == list(range(1, count + 1))


@pytest.mark.parametrize(("up", "first"), [(True, 3), (False, 2)])
def test_halfway_goes_the_same_way_for_all(up, first):
    got = slices_from_planes(np.arange(4) + 2.5, 10, 3.0, 1.0, up)
    assert np.flatnonzero(got >= 0).tolist() == list(range(first, first + 4))


@given(st.integers(2, 5), st.integers(4, 6), st.floats(0, 0.99), st.booleans())
def test_thicker_contours_leave_no_gap_and_keep_the_volume(ratio, count, shift, up):
    planes = np.arange(count) * ratio + 10.0 + shift
    got = slices_from_planes(planes, 60, 1.0, float("nan"), up)
    used = np.flatnonzero(got >= 0)
    assert np.array_equal(used, np.arange(used[0], used[-1] + 1))
    assert np.bincount(got[used]).tolist() == [ratio] * count


@given(st.floats(0.2, 0.9), st.integers(4, 20))
def test_finer_contours_give_each_slice_one_plane(fine, count):
    planes = np.arange(count) * fine + 2.0
    got = slices_from_planes(planes, 30, 3.0, fine)
    used = np.flatnonzero(got >= 0)
    assert (np.abs(planes[got[used]] - used) <= 0.5 + 1e-6).all()
    nearest = np.abs(planes[None] - used[:, None]).min(axis=1)
    assert np.allclose(np.abs(planes[got[used]] - used), nearest, atol=2e-6)


def test_far_apart_parts_are_not_joined():
    planes = np.array([3.0, 4, 5, 20, 21, 22])
    assert np.flatnonzero(slices_from_planes(planes, 30, 1.0, 1.0) >= 0).tolist() == [3, 4, 5, 20, 21, 22]
    two_seeds = np.array([3.0, 23.0])
    assert np.flatnonzero(slices_from_planes(two_seeds, 30, 1.0, 20.0) >= 0).tolist() == [3, 23]

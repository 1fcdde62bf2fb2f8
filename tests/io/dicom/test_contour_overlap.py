"""Contours of one plane: crossing ones are one area, nested ones are holes; exclusive or is only where it is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import make
from support.export_kit import (
    HalfSpace,
    ball,
    geometry,
    half_space,  # noqa: F401
    head_ct,
    run_export,
    write_structures,
)
from support.rt_writers import FRAME, contour, contours_of, roi, square, write_struct

from defacedask.geometry import Geometry
from defacedask.io.dicom.structures import read_structures

GRID = Geometry.from_spacing((4, 60, 60), (3, 1, 1), frame_of_reference=FRAME)


def read(path, contours, kind="CLOSED_PLANAR"):
    items = [contour(c, kind) for c in contours]
    (one,) = read_structures(write_struct(path / "rs.dcm", [roi("a", items)]), GRID)
    return one, one.full(GRID.shape)


def blob(middle, radius, corners=40, wobble=0.0, seed=0, z=3.0):
    """A closed line around a point."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    r = radius * (1 + wobble * np.random.default_rng(seed).uniform(-1, 1, corners))
    return np.column_stack(
        [middle[0] + r * np.cos(angles), middle[1] + r * np.sin(angles), np.full(corners, z)]
    )


@st.composite
def chains(draw) -> list[tuple[float, float, float]]:
    """Circles (x, y, radius), each of which crosses the one before it well."""
    x, y, r = 30.0, 30.0, draw(st.floats(5, 11))
    out = [(x, y, r)]
    for _ in range(draw(st.integers(1, 3))):
        new, turn, part = draw(st.floats(5, 11)), draw(st.floats(0, 6.28)), draw(st.floats(0, 1))
        low, high = abs(r - new) + 1.5, r + new - 1.5
        apart = low + part * (high - low)
        x, y, r = x + apart * np.cos(turn), y + apart * np.sin(turn), new
        out.append((x, y, r))
    return out


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chains(), st.integers(0, 99))
def test_crossing_contours_are_united(tmp_path, circles, seed):
    """Each a little uneven, chained: the union of the masks of each alone."""
    lines = [blob((x, y), r, wobble=0.05, seed=seed + k) for k, (x, y, r) in enumerate(circles)]
    alone = [read(tmp_path, [line])[1] for line in lines]
    one, got = read(tmp_path, lines)
    assert np.array_equal(got, np.logical_or.reduce(alone))
    assert any("overlap in part" in w and "united" in w for w in one.warnings)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(8, 20), st.floats(0.2, 0.85), st.floats(-1, 1), st.floats(-1, 1))
def test_nested_contours_are_holes(tmp_path, radius, part, dx, dy):
    inner = radius * part
    room = (radius - inner - 0.3) / 1.5
    lines = [blob((30, 30), radius), blob((30 + dx * room, 30 + dy * room), inner)]
    alone = [read(tmp_path, [line])[1] for line in lines]
    one, got = read(tmp_path, lines)
    assert np.array_equal(got, alone[0] ^ alone[1])
    assert not one.warnings


def test_an_island_in_a_hole_and_a_thin_shell(tmp_path):
    rings = [blob((30, 30), r) for r in (20, 19.4, 12, 5)]
    alone = [read(tmp_path, [line])[1] for line in rings]
    _, got = read(tmp_path, rings)
    assert np.array_equal(got, alone[0] ^ alone[1] ^ alone[2] ^ alone[3])


def test_exclusive_or_is_exclusive_or(tmp_path):
    lines = [blob((25, 30), 10), blob((33, 30), 10)]
    alone = [read(tmp_path, [line])[1] for line in lines]
    one, got = read(tmp_path, lines, "CLOSEDPLANAR_XOR")
    assert np.array_equal(got, alone[0] ^ alone[1])
    assert (alone[0] & alone[1]).any()
    assert not one.warnings


@pytest.mark.parametrize("shift", [0.003, 0.02, 0.4])
def test_a_contour_drawn_twice_does_not_vanish(tmp_path, shift):
    lines = [blob((30, 30), 14), blob((30 + shift, 30), 14)]
    _, once = read(tmp_path, lines[:1])
    _, got = read(tmp_path, lines)
    assert (got >= once).all()
    assert got.sum() < once.sum() * 1.1


def test_a_hole_in_one_of_two_crossing_contours_stays(tmp_path):
    lines = [blob((22, 30), 12), blob((36, 30), 12), blob((17, 30), 3)]
    a, b, hole = (read(tmp_path, [line])[1] for line in lines)
    _, got = read(tmp_path, lines)
    assert np.array_equal(got, (a | b) & ~hole)


def test_neighbours_that_touch_are_no_overlap(tmp_path):
    one, got = read(tmp_path, [square(3, 4.5, 9.5), square(3, 4.5, 9.5) + np.array([5, 0, 0])])
    assert not one.warnings
    assert got.sum() == 50


# --- out again


def patient(folder, lines, name="Target", kind="PTV"):
    grid = geometry()
    files = make.write_series(folder / "CT", head_ct(grid), grid)
    body = contours_of(ball(grid), grid)
    path = write_structures(folder, files, grid, [("BODY", "EXTERNAL", body), (name, kind, lines)])
    return grid, path


def masks(path, grid):
    return {s.original_name: s.full(grid.shape) for s in read_structures(path, grid)}


def circle(grid, centre, radius, k):
    line = blob(centre, radius, z=0.0)
    line[:, 2] = grid.to_world((k, 0, 0))[2]
    return line


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0.0, 3.0, 7.0), (0.0, -3.0, 5.0)),  # what is left of the second lies within the first
        ((-3.0, 0.0, 8.0), (3.0, 0.0, 8.0)),  # both are cut
        ((-3.0, 8.0, 5.0), (2.0, 8.0, 5.0)),  # neither
        ((0.0, 2.0, 9.0), (0.0, -6.0, 3.5)),
    ],
)
def test_clipped_contours_are_the_union_without_the_region(tmp_path, first, second):
    grid = geometry()
    lines = []
    for k in range(3, 9):
        for x, y, r in (first, second):
            lines.append(circle(grid, (x, y), r, k))
    grid, path = patient(tmp_path / "in", lines)
    plan = HalfSpace(-2.0)
    _, out = run_export(tmp_path / "in", tmp_path, plan)
    before, after = masks(path, grid), masks(out / "RS.dcm", grid)
    both = np.zeros(grid.shape, bool)
    for one in (first, second):
        x, y, z = grid.positions(dtype=np.float64)
        inside = (np.hypot(x - one[0], y - one[1]) < one[2] - 1.0) & (z == z)
        both[3:9] |= inside[3:9]
    assert (before["Target"] >= both).all()
    assert np.array_equal(after["Target"], before["Target"] & ~plan.region(grid))


def test_an_outline_of_two_parts_is_clipped_as_one(tmp_path):
    grid = geometry()
    x = np.broadcast_to(grid.positions(dtype=np.float64)[0], grid.shape)
    lines = contours_of(ball(grid) & (x < 4), grid) + contours_of(ball(grid) & (x > -4), grid)
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    path = write_structures(tmp_path / "in", files, grid, [("BODY", "EXTERNAL", lines)])
    plan = HalfSpace(-2.0)
    _, out = run_export(tmp_path / "in", tmp_path, plan)
    assert np.array_equal(masks(path, grid)["BODY"], ball(grid))
    assert np.array_equal(masks(out / "RS.dcm", grid)["BODY"], ball(grid) & ~plan.region(grid))

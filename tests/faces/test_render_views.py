from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.made_heads import HEAD, around, balls
from support.offscreen import NoOpenGL, opengl
from support.vtk_pictures import render_depth, vtk_depth, vtk_views

from defacedask.errors import ConfigError, InputError
from defacedask.faces.render import (
    Framing,
    View,
    render_view,
    render_views,
    skin_surface,
    view_grid,
)
from defacedask.faces.software import rasterise
from defacedask.faces.views import BACKGROUND, LIGHTS

FRAME = Framing(focus=(0, 0, 0), extent=220.0, distance=1200.0)


@pytest.fixture(scope="module")
def head():
    geometry = around(2.5)
    return skin_surface(balls(geometry, HEAD), geometry, level=-500)


@pytest.fixture(scope="module")
def need_opengl():
    try:
        opengl()
    except NoOpenGL as error:
        pytest.skip(str(error))


def background(picture):
    return (picture == np.round(np.array(BACKGROUND) * 255)).all(axis=-1)


def middle(mask):
    return np.argwhere(mask).mean(axis=0)


def test_frontal_picture_is_upright_with_the_left_ear_on_the_right(head):
    picture = render_view(head, size=200, framing=FRAME)
    assert picture.shape == (200, 200, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    columns = np.flatnonzero(~background(picture).all(axis=0))
    assert 199 - columns[-1] < columns[0] - 5  # the marker sticks out at the picture's right
    depth = render_depth(head, size=200, framing=FRAME)
    row, column = np.unravel_index(np.nanargmax(depth), depth.shape)
    assert row == pytest.approx(99.5 + 20 * 200 / 220, abs=2)  # the nose tip, 20 mm below the middle
    assert column == pytest.approx(99.5, abs=2)


@pytest.mark.parametrize("renderer", ["ours", "vtk"])
def test_depth_is_in_millimetres(head, renderer, request):
    if renderer == "vtk":
        request.getfixturevalue("need_opengl")
    depth = (render_depth if renderer == "ours" else vtk_depth)(head, size=220, framing=FRAME)
    assert np.nanmax(depth) == pytest.approx(92, abs=1.0)  # nose: 78 + 14 mm in front of the centre
    y, x = np.indices(depth.shape) - 109.5
    skull = (np.hypot(x, y) < 60) & (np.hypot(x, y - 20) > 25)
    assert np.abs(depth - np.sqrt(np.maximum(75**2 - x**2 - y**2, 0)))[skull].max() < 1.2


def test_yaw_turns_to_the_left_and_negative_pitch_looks_down():
    geometry = around(2.5)
    left_eye = ((30.0, -68.0, 10.0), 10.0)
    surface = skin_surface(balls(geometry, [((0, 0, 0), 75.0), left_eye]), geometry, level=-500)

    def bump(yaw, pitch):
        depth = render_depth(surface, yaw=yaw, pitch=pitch, size=220, framing=FRAME)
        y, x = np.indices(depth.shape) - 109.5
        return middle(np.nan_to_num(depth - np.sqrt(np.maximum(75**2 - x**2 - y**2, 0))) > 3)

    row, column = bump(0, 0)
    assert column > 110
    assert row < 110
    assert bump(20, 0)[1] < column - 10  # seen from the left, what is left comes to the middle
    assert bump(0, -20)[0] > row + 10  # seen from above, the front of the head moves down


def test_camera_does_not_depend_on_the_surface(head):
    geometry = around(2.5)
    without_nose = skin_surface(balls(geometry, [HEAD[0], HEAD[2]]), geometry, level=-500)
    one, other = (
        render_views(s, None, [View(0, 0), View(30, -10)], size=200, framing=FRAME)
        for s in (head, without_nose)
    )
    for before, after in zip(one, other, strict=True):
        changed = (before != after).any(axis=-1)
        assert 200 < changed.sum() < 4000
        rows, columns = np.nonzero(changed)
        assert np.ptp(rows) < 60
        assert np.ptp(columns) < 60


def test_pose_undoes_the_position_of_the_head(head):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (25, -12, 33), degrees=True).as_matrix()
    turn[:3, 3] = (80, -40, 300)
    moved = head.copy()
    moved.points = (np.asarray(head.points) - turn[:3, 3]) @ turn[:3, :3]
    moved.point_data["Normals"] = np.asarray(head.point_data["Normals"]) @ turn[:3, :3]
    expected = render_view(head, size=200, framing=FRAME).astype(int)
    found = render_view(moved, turn, size=200, framing=FRAME).astype(int)
    assert (np.abs(expected - found).max(axis=-1) > 3).mean() < 0.002
    with pytest.raises(InputError, match="rigid"):
        render_view(head, 2 * np.eye(4))


def test_lights_differ_and_are_named(head):
    pictures = [render_view(head, light=name, size=120, framing=FRAME) for name in LIGHTS]
    assert all(np.abs(pictures[0].astype(int) - p).mean() > 1 for p in pictures[1:])
    # the key light comes from the upper left of the picture
    lit = pictures[0][..., 0].astype(float)
    assert lit[30:55, 30:55].mean() > lit[65:90, 65:90].mean() + 20
    with pytest.raises(ConfigError, match="light"):
        View(light="candle")
    with pytest.raises(ConfigError, match="pitch"):
        View(pitch=90)
    views = view_grid((0, 15), (-10, 0), ("studio", "head"))
    assert len({v.name for v in views}) == 8
    assert View(15, -10).name == "yaw+15_pitch-10"


def test_ours_draws_what_vtk_draws(head, need_opengl):
    views = [View(0, 0), View(40, -20, "head"), View(-90, 30, "side")]
    for framing in (FRAME, Framing((0, 0, 0), 220.0, math.inf)):
        ours = render_views(head, None, views, size=250, framing=framing)
        theirs = vtk_views(head, views, size=250, framing=framing)
        for a, b in zip(ours, theirs, strict=True):
            gap = np.abs(a.astype(int) - b)
            assert gap.mean() < 0.6
            assert (gap.max(axis=-1) > 16).mean() < 0.01  # only pixels on an outline


def test_any_thread_draws_the_same_bytes(head):
    expected = render_view(head, yaw=10, size=150, framing=FRAME)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(render_view, head, yaw=10, size=150, framing=FRAME) for _ in range(8)]
        assert all(np.array_equal(job.result(), expected) for job in jobs)


def test_empty_surface_is_background():
    geometry = around(5.0, half=40)
    surface = skin_surface(np.full(geometry.shape, -1000.0), geometry, level=-250.0)
    assert background(render_view(surface, size=64)).all()
    assert np.isnan(render_depth(surface, size=64)).all()


# --- the rasteriser


def test_large_triangles_are_filled_without_gaps():
    points = np.array([[-20.0, -20.0, 0.0], [-20.0, 300.0, 0.0], [300.0, -20.0, 10.0]])
    values, near = rasterise(points, np.array([[0, 1, 2]]), np.array([0.0, 0.0, 1.0]), 100)
    assert np.isfinite(values).all()
    # linear interpolation of both
    assert values[0, 50] == pytest.approx((50 + 20) / 320, abs=1e-6)
    assert np.allclose(near, 10 * values, atol=1e-5)


def test_nearest_wins_and_backs_are_hidden():
    square = np.array([[10, 10], [10, 30], [30, 30], [30, 10]], float)
    points = np.concatenate([np.column_stack([square, np.full(4, z)]) for z in (1.0, 5.0, 9.0)])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    values = np.repeat([1.0, 5.0, 9.0], 4)
    for order in ((0, 1), (1, 0)):
        drawn, _ = rasterise(points, np.concatenate([faces + 4 * k for k in order]), values, 40)
        assert (drawn[10:31, 10:31] == 5).all()
        assert np.isnan(drawn[:9]).all()
    turned = np.concatenate([faces, faces[:, ::-1] + 8])
    drawn, _ = rasterise(points, turned, values, 40)
    assert (drawn[10:31, 10:31] == 1).all()


def test_mesh_has_no_cracks(rng):
    n = 40
    grid = np.stack(np.meshgrid(np.linspace(-5, 104, n), np.linspace(-5, 104, n)), axis=-1).reshape(-1, 2)
    grid += rng.uniform(-0.9, 0.9, grid.shape)
    k = np.arange(n * n).reshape(n, n)
    a, b, c, d = k[:-1, :-1].ravel(), k[:-1, 1:].ravel(), k[1:, 1:].ravel(), k[1:, :-1].ravel()
    faces = np.concatenate([np.column_stack([a, d, c]), np.column_stack([a, c, b])])
    drawn, _ = rasterise(np.column_stack([grid, np.zeros(n * n)]), faces, np.ones(n * n), 100)
    assert (drawn == 1).all()


def test_importing_the_views_imports_no_vtk():
    import subprocess

    code = (
        "import sys, defacedask.faces.render, defacedask.faces.identification, "
        "defacedask.faces.recognition; "
        "sys.exit(any(n.split('.')[0] in ('vtk', 'vtkmodules', 'pyvista', 'dlib') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def draw_in_worker(points, normals, faces):
    import pyvista

    surface = pyvista.PolyData.from_regular_faces(points, faces)
    surface.point_data["Normals"] = normals
    return render_view(surface, yaw=20, size=100, framing=FRAME)


@pytest.mark.slow
def test_dask_workers_draw_the_same_bytes(head):
    from distributed import Client, LocalCluster

    arrays = [np.asarray(head.points), np.asarray(head.point_data["Normals"]), np.asarray(head.regular_faces)]
    with (
        LocalCluster(n_workers=1, threads_per_worker=3, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        data = client.scatter(arrays)
        jobs = [client.submit(draw_in_worker, *data, pure=False) for _ in range(4)]
        expected = draw_in_worker(*arrays)
        assert all(np.array_equal(picture, expected) for picture in client.gather(jobs))


def test_every_pixel_shows_a_triangle_that_nothing_lies_before():
    rng = np.random.default_rng(2)
    count, size = 300, 40
    middles = rng.uniform(0, size, (count, 1, 2)) + np.array([[-3.0, 3.0], [3.0, 3.0], [0.0, -3.0]])
    near = np.repeat(rng.integers(0, 3, count), 3).astype(float)  # many as near as others
    points = np.column_stack([middles.reshape(-1, 2), near])
    faces, values = np.arange(3 * count).reshape(-1, 3), np.repeat(np.arange(count, dtype=float), 3)
    drawn, depth = rasterise(points, faces, values, size)
    each = np.array([rasterise(points, faces[k : k + 1], values, size)[1] for k in range(count)])
    assert np.array_equal(depth, each.max(axis=0))
    there = depth > -np.inf
    assert np.array_equal(there, ~np.isnan(drawn))
    rows, columns = np.nonzero(there)
    assert np.array_equal(each[drawn[there].round().astype(int), rows, columns], depth[there])

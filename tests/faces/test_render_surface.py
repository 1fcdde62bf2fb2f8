from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from support.made_heads import HEAD, around, balls
from support.strategies import orientations

from defacedask.errors import InputError, OutputError, RefusedError
from defacedask.faces.render import HEAD_BOX, skin_level, skin_surface, write_surface
from defacedask.geometry import Geometry

LEVEL = -500.0


def signed_volume(surface) -> float:
    a, b, c = (np.asarray(surface.points, float)[surface.regular_faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def check_ball(surface, centre, radius, mm):
    out = np.asarray(surface.points, float) - centre
    distance = np.linalg.norm(out, axis=1)
    assert np.abs(distance - radius).max() < mm
    normals = np.asarray(surface.point_data["Normals"], float)
    assert np.einsum("ij,ij->i", normals, out / distance[:, None]).min() > 0.8
    assert signed_volume(surface) == pytest.approx(4 / 3 * np.pi * radius**3, rel=3 * mm / radius)
    assert surface.n_open_edges == 0


@settings(max_examples=15, deadline=None)
@given(
    matrix=orientations,
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
    spacing=st.tuples(st.floats(0.8, 3.2), st.floats(0.8, 2.0), st.floats(0.8, 2.0)),
    tilt=st.floats(-20, 20),
    centre=st.tuples(*[st.floats(-300, 300)] * 3),
)
def test_surface_is_where_the_body_is_on_any_grid(matrix, angles, spacing, tilt, centre):
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ matrix
    turn = turn @ np.array([[1, 0, 0], [np.tan(np.radians(tilt)), 1, 0], [0, 0, 1.0]])
    shape = tuple(int(90 / s) for s in spacing)
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing)
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    geometry = Geometry(shape, affine)
    values = balls(geometry, [(centre, 28.0)])
    check_ball(skin_surface(values, geometry, level=LEVEL, smooth_mm=0.5), np.array(centre), 28.0, 1.0)


def test_coarse_grid_is_interpolated():
    geometry = around((3.0, 4.7, 4.7), half=60)
    surface = skin_surface(balls(geometry, [((1, 2, 3), 40.0)]), geometry, level=LEVEL)
    check_ball(surface, np.array([1.0, 2, 3]), 40.0, 1.5)
    assert surface.n_points > 4 * 4 * np.pi * 40**2 / 4.7**2 / 3  # finer than the grid it came from


def test_what_is_dropped_reads_as_air():
    geometry = around(2.0, half=80)
    couch = ((0.0, 60.0, 0.0), 12.0)
    values = balls(geometry, [((0, 0, 0), 40.0), couch])
    drop = balls(geometry, [couch]) > -999
    both = skin_surface(values, geometry, level=LEVEL)
    alone = skin_surface(values, geometry, level=LEVEL, drop=drop)
    assert both.bounds[3] > 70
    check_ball(alone, np.zeros(3), 40.0, 1.0)


def test_small_pieces_can_be_left_out():
    geometry = around(2.0, half=80)
    values = balls(geometry, [((0, 0, 0), 40.0), ((0, 60, 0), 5.0)])
    kept = skin_surface(values, geometry, level=LEVEL, min_volume_ml=5.0)
    check_ball(kept, np.zeros(3), 40.0, 1.0)
    assert skin_surface(values, geometry, level=LEVEL, min_volume_ml=0.1).bounds[3] > 62


def test_body_that_leaves_the_field_of_view_is_closed():
    geometry = around(2.0, half=50)
    surface = skin_surface(balls(geometry, [((0, 0, 0), 65.0)]), geometry, level=LEVEL)
    assert surface.n_open_edges == 0
    assert np.abs(np.array(surface.bounds)).max() < 53


def test_pose_keeps_the_box_of_the_head_only():
    geometry = around(5.0, half=290)
    values = balls(geometry, [*HEAD, ((0, 0, -260), 25.0)])
    turn = np.eye(4)
    turn[:3, 3] = (5, -10, 0)
    surface = skin_surface(values, geometry, level=LEVEL, pose=turn)
    points = np.asarray(surface.points) + turn[:3, 3]
    low, high = np.array(HEAD_BOX)
    assert (points > low - 11).all()
    assert (points < high + 11).all()
    whole = skin_surface(values, geometry, level=LEVEL, pose=turn, box=None)
    assert whole.bounds[4] < -280 < surface.bounds[4]


def test_level_does_not_move_with_the_brightness_behind_the_skin():
    geometry = around(1.0, half=50)
    plain = balls(geometry, [((0, 0, 0), 40.0)])
    metal = np.where(balls(geometry, [((0, 0, 0), 37.0)]) > -200, 3000.0, plain).astype(np.float32)
    surface = skin_surface(metal, geometry, level=LEVEL, smooth_mm=1.5)
    check_ball(surface, np.zeros(3), 40.0, 0.7)


def test_nothing_at_the_level_is_an_empty_surface():
    geometry = around(5.0, half=40)
    surface = skin_surface(np.full(geometry.shape, -1000.0), geometry, level=-250.0, air=-1000.0)
    assert surface.n_points == 0


def test_masks_and_nan_are_fine():
    geometry = around(2.0, half=60)
    values = balls(geometry, [((0, 0, 0), 40.0)])
    mask = values > LEVEL
    check_ball(skin_surface(mask, geometry, level=0.5), np.zeros(3), 40.0, 2.0)
    values[0, 0, 0] = np.nan
    check_ball(skin_surface(values, geometry, level=LEVEL), np.zeros(3), 40.0, 1.0)


def test_refusals():
    geometry = around(5.0, half=40)
    values = np.zeros(geometry.shape)
    with pytest.raises(InputError, match="do not fit"):
        skin_surface(values[1:], geometry, level=-250)
    far = np.eye(4)
    far[:3, 3] = 2000
    with pytest.raises(RefusedError, match="outside the image"):
        skin_surface(values, geometry, level=-250, pose=far)


def test_skin_level():
    rng = np.random.default_rng(0)
    assert -500 < skin_level("CT", np.zeros(3)) < -150
    air, tissue = np.abs(rng.normal(0, 6, 60000)), rng.normal(300, 60, 40000)
    assert 20 < skin_level("MR", np.concatenate([air, tissue])) < 150
    # the scanner's scale does not matter
    assert skin_level("MR", 10 * np.concatenate([air, tissue])) == pytest.approx(
        10 * skin_level("MR", np.concatenate([air, tissue])), rel=0.02
    )
    with pytest.raises(InputError, match="contrast"):
        skin_level("MR", np.full(100, 7.0))
    with pytest.raises(InputError, match="modality"):
        skin_level("US", air)


@pytest.mark.parametrize("suffix", [".ply", ".vtp", ".stl"])
def test_surface_files_keep_lps_millimetres(tmp_path, suffix):
    import pyvista

    geometry = around(2.0, half=40)
    surface = skin_surface(balls(geometry, [((3, -8, 5), 20.0)]), geometry, level=LEVEL)
    path = write_surface(surface, tmp_path / f"skin{suffix}")
    back = pyvista.read(path)
    assert np.allclose(back.bounds, surface.bounds, atol=1e-3)
    assert back.n_cells == surface.n_cells


def test_surface_files_that_cannot_be_written(tmp_path):
    geometry = around(4.0, half=40)
    surface = skin_surface(balls(geometry, [((0, 0, 0), 20.0)]), geometry, level=LEVEL)
    with pytest.raises(OutputError, match="cannot be written as"):
        write_surface(surface, tmp_path / "skin.obj")
    with pytest.raises(OutputError, match="does not exist"):
        write_surface(surface, tmp_path / "none" / "skin.ply")

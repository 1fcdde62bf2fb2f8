from __future__ import annotations

import numpy as np
import pytest
from support.made_heads import around, balls
from support.vtk_pictures import render_depth

from defacedask.anatomy.template import load_template
from defacedask.attacks import ATTACK_SETS, BUILT_IN, Target, attempts, resolve_attacks
from defacedask.attacks.denoised_air import denoised_air
from defacedask.attacks.levels import level_attempts
from defacedask.attacks.target import target_of
from defacedask.attacks.template_filled import template_filled
from defacedask.attacks.unmasking import peeled, texture_split, unmasked
from defacedask.errors import ConfigError
from defacedask.faces.render import Framing, render_views, skin_level, skin_surface, view_grid
from defacedask.volume import geometry_of, real_values

FRAME = Framing(focus=(0, 0, 0), extent=220.0)


def target(values, geometry, modality="CT", level=-300.0):
    return Target(values, geometry, modality, level, np.eye(4))


def radius(attempt, geometry):
    surface = skin_surface(attempt.values, geometry, level=attempt.level, smooth_mm=0.5)
    return np.linalg.norm(np.asarray(surface.points), axis=1)


def test_peeling_finds_what_is_below_an_added_layer():
    geometry = around(1.5, half=60)
    inside = [((0, 0, 0), 40.0), ((0, -38, 0), 8.0)]  # a head with a nose
    covered = np.maximum(balls(geometry, inside), balls(geometry, [((0, 0, 0), 50.0)]))
    for thickness in (4.0, 8.0):
        found = radius(peeled(target(covered, geometry, level=-500.0), [thickness])[0], geometry)
        assert np.abs(found - (50 - thickness)).max() < 1.2
    # cavities of a head are not peeled from inside
    hollow = np.where(
        balls(geometry, [((0, 0, 0), 20.0)]) > -500, -1000.0, balls(geometry, [((0, 0, 0), 50.0)])
    )
    found = radius(peeled(target(hollow, geometry, level=-500.0), [5.0])[0], geometry)
    assert np.abs(found[found < 30] - 20).max() < 1.2


def test_level_finds_what_is_below_a_layer_of_fat():
    geometry = around(1.5, half=60)
    head = np.where(balls(geometry, [((0, 0, 0), 40.0)]) > -500, 60.0, -1000.0)
    covered = np.where((balls(geometry, [((0, 0, 0), 50.0)]) > -500) & (head < 0), -100.0, head).astype(
        np.float32
    )
    by_variant = {a.variant: a for a in unmasked(target(covered, geometry))}
    assert np.abs(np.median(radius(by_variant["level -60"], geometry)) - 40) < 1
    assert np.abs(np.median(radius(by_variant["peeled 10 mm"], geometry)) - 40) < 1
    assert {a.attack for a in by_variant.values()} == {"unmasked"}


def test_texture_finds_what_is_below_a_layer_of_the_same_intensity(rng):
    geometry = around(2.0, half=60)
    inside = balls(geometry, [((0, 0, 0), 40.0), ((0, -40, 0), 7.0)]) > -500
    around_it = balls(geometry, [((0, 0, 0), 52.0)]) > -500
    noise = rng.normal(0, 1, geometry.shape)
    body = np.where(inside, 40 + 25 * noise, np.where(around_it, 40 + 6 * noise, -1000.0)).astype(np.float32)
    (found,) = texture_split(target(body, geometry))
    assert found.variant == "texture"
    below = radius(found, geometry)
    assert abs(np.median(below) - 40) < 2
    # a head of one texture has no layer to take off
    plain = np.where(inside, 40 + 25 * noise, -1000.0).astype(np.float32)
    assert all(abs(np.median(radius(a, geometry)) - 40) < 3 for a in texture_split(target(plain, geometry)))


def test_attacks_are_named_or_come_in_sets():
    assert resolve_attacks("basic") == ("plain", "forced_crop")
    assert resolve_attacks("all") == tuple(BUILT_IN)
    assert resolve_attacks(["unmasked", " dose_grid"]) == ("plain", "unmasked", "dose_grid")
    for wrong, says in (("guess", "no attack 'guess'"), (" ,", "no attack was named")):
        with pytest.raises(ConfigError, match=says):
            resolve_attacks(wrong)


def test_template_puts_a_face_back():
    template = load_template("average_ct")
    geometry = geometry_of(template.image)
    values = real_values(template.image).values
    world = np.stack(np.broadcast_arrays(*geometry.positions()), axis=0)
    cut = np.where(world[1] < -60, -1000.0, values).astype(np.float32)
    filled = template_filled(target(cut, geometry))[0]
    before, after, whole = (
        render_depth(skin_surface(v, geometry, level=-300.0, smooth_mm=1.0), size=110)
        for v in (cut, filled.values, values)
    )
    face = np.nan_to_num(whole - before) > 10
    assert face.sum() > 500
    assert np.median(np.abs(after - whole)[face & ~np.isnan(after)]) < 1.5
    # what the image shows is kept
    assert (filled.values >= cut).all()
    back = world[1] > 0
    assert np.array_equal(filled.values[back], cut[back])


def test_template_fills_the_hole_and_leaves_what_is_there():
    template = load_template("average_ct")
    geometry = geometry_of(template.image)
    values = real_values(template.image).values.astype(np.float32)
    x, y, z = np.broadcast_arrays(*geometry.positions())
    tip = y[values > -300].min()
    hole = (np.abs(x) < 25) & (y < tip + 30) & (z < -60) & (z > -90)
    cut = np.where(hole, -1000, values).astype(np.float32)
    # this patient's brow lies a little behind the average's
    brow = (z > -30) & (y < y[(values > -300) & (z > -30)].min() + 3)
    cut = np.where(brow, -1000, cut).astype(np.float32)
    attempts_found = {a.variant: a.values for a in template_filled(target(cut, geometry))}
    everywhere, missing = attempts_found["everywhere"], attempts_found["where it is missing"]
    assert (everywhere[brow] > -300).sum() > (cut[brow] > -300).sum()
    assert np.array_equal(missing[brow], cut[brow])
    assert (missing[hole] > -300).sum() > 0.8 * (values[hole] > -300).sum()
    # of a face that is there only what lies inside is filled: nose and mouth
    for attempt in template_filled(target(values, geometry))[1:]:
        before, after = (
            render_depth(skin_surface(v, geometry, level=-300.0, smooth_mm=1.0), size=110)
            for v in (values, attempt.values)
        )
        assert (np.abs(np.nan_to_num(after - before)) > 1).mean() < 0.01


def test_denoising_finds_a_ghost_in_the_air(rng):
    geometry = around(2.0, half=70)
    head = (balls(geometry, [((0, 0, 0), 40.0)]) + 1000) / 1000 * 300
    ghost = (balls(geometry, [((0, -45, 0), 18.0)]) + 1000) / 1000 * 12
    image = np.abs(np.maximum(head, ghost) + rng.normal(0, 8, geometry.shape)).astype(np.float32)
    level = skin_level("MR", image)
    plain = skin_surface(image, geometry, level=level)
    assert render_depth(plain, size=110, framing=FRAME)[55, 55] < 45
    found = denoised_air(target(image, geometry, "MR", level))
    assert found
    depths = [
        render_depth(skin_surface(a.values, geometry, level=a.level), size=110, framing=FRAME)[55, 55]
        for a in found
    ]
    assert max(depths) == pytest.approx(63, abs=5)


def test_target_is_the_head_alone():
    geometry = around((2.5, 1.2, 2.5), half=210)
    values = balls(geometry, [((0, 0, 0), 75.0), ((0, 100, 0), 10.0)]).astype(np.int16)
    drop = balls(geometry, [((0, 100, 0), 14.0)]) > -999
    small = target_of(values, geometry, modality="CT", level=-500.0, pose=np.eye(4), drop=drop)
    assert small.values.size < values.size / 2
    surface = skin_surface(small.values, small.geometry, level=-500.0, pose=np.eye(4))
    assert np.abs(np.linalg.norm(np.asarray(surface.points), axis=1) - 75).max() < 1.0


@pytest.mark.parametrize("spacing", [0.6, 1.0, 1.156, 1.25])
def test_the_skin_lies_where_it_does_on_the_images_own_voxels(spacing):
    # The level is crossed between two averages whose voxels both meet the edge, which is 5 mm wide: the average of a
    # straight edge is a straight edge, so only the ball's curvature moves it, by h^2 / (12 R) at most.
    radius = 60.0
    geometry = around(spacing, half=70)
    values = balls(geometry, [((0, 0, 0), radius)])
    some = target_of(values, geometry, modality="CT", level=-500.0, pose=np.eye(4))
    step = max(some.geometry.spacing)
    front = skin_surface(some.values, some.geometry, level=-500.0, pose=np.eye(4), smooth_mm=0.0)
    points = np.asarray(front.points)
    # and straight lines between neighbours leave a curved edge by h^2 / (8 R)
    assert np.abs(np.linalg.norm(points, axis=1) - radius).max() < step**2 * (1 / 12 + 1 / 8) / radius + 0.05


def test_attempts_show_all_of_the_head_that_a_plain_look_shows():
    # shoulders lie behind the head; from above they are seen, and a detector goes by the whole picture
    geometry = around(4.0, half=220)
    values = balls(geometry, [((0, 0, 0), 75.0), ((0, 120, -120), 90.0)])
    some = target_of(values, geometry, modality="CT", level=-500.0, pose=np.eye(4))
    views = view_grid((0.0, 45.0), (-20.0, 0.0))
    pictures = [
        render_views(skin_surface(v, g, level=-500.0, pose=np.eye(4)), np.eye(4), views, size=120)
        for v, g in ((values, geometry), (some.values, some.geometry))
    ]
    assert np.abs(np.subtract(*np.array(pictures, int))).max() <= 1


def test_all_attacks_by_name():
    geometry = around(4.0, half=60)
    some = target(balls(geometry, [((0, 0, 0), 40.0)]), geometry)
    assert {a.attack for a in attempts(some, ["unmasked", "template_filled"])} == {
        "unmasked",
        "template_filled",
    }
    assert set(BUILT_IN) == set(ATTACK_SETS["all"])
    assert [a.level for a in level_attempts(some)] == [-600.0, -100.0]
    with pytest.raises(ConfigError, match="template_filled"):
        attempts(some, ["guess"])

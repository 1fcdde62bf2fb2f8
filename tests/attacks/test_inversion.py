"""Learned inversion on made heads: maps drawn from smooth noise, and a ball; no person."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from defacedask.attacks.inversion.evidence import nearness, paired
from defacedask.attacks.inversion.maps import (
    ANGLES,
    HEIGHTS,
    SHAPE,
    DepthMaps,
    face_rays,
    first_lasting,
    ray_scale,
)
from defacedask.attacks.inversion.placement import moved, without_placement
from defacedask.attacks.inversion.planted import CUT_MM, constant_cut, shrunken_mask
from defacedask.attacks.inversion.rebuild import rebuilt
from defacedask.attacks.inversion.regression import Inverter, Known, Prediction
from defacedask.attacks.target import Target
from defacedask.geometry import Geometry

PERSONS = 8


def skins(seed=0, count=PERSONS):
    """A ball with dents and bumps of some millimetres, another on each person."""
    rng = np.random.default_rng(seed)
    bumps = gaussian_filter(
        rng.standard_normal((count, *SHAPE)), (0, 7, 7), mode=("nearest", "nearest", "wrap")
    )
    return (90.0 + 4.0 * bumps / bumps.std()).reshape(count, -1).astype(np.float32)


def known(skin, left):
    return Known(
        np.array([f"p{k}" for k in range(len(skin))]), skin, left, np.full(skin.shape, np.nan, np.float32)
    )


def figures(whole, taught):
    scale, rows = np.ones(len(ANGLES)), []
    for k, person in enumerate(whole.persons):
        others = taught.without(person)
        found = Inverter(others).predict(taught.skin[k], taught.bone[k])
        near = nearness(found, whole.original[k], whole.skin[k], scale, others)
        rows.append((str(person), near.error_mm, near.average_mm, near.nearer))
    return paired(rows)


@pytest.fixture(scope="module")
def cut():
    """Everybody's face cut off to a constant depth, with what a scanner adds."""
    skin = skins()
    noise = np.random.default_rng(5).normal(0, 0.3, skin.shape).astype(np.float32)
    return known(skin, np.where(face_rays().ravel(), skin - CUT_MM, skin) + noise)


def test_a_constant_cut_is_seen_through_and_exchanged_faces_are_not(cut):
    found = figures(cut, cut)
    assert found.persons == PERSONS
    assert found.error_mm < 0.4 * found.average_mm
    assert found.better
    assert found.auc > 0.95
    nothing = figures(cut, cut.shuffled(7))
    assert not nothing.better
    assert nothing.error_mm > 0.9 * nothing.average_mm
    assert nothing.low < 0.5


def test_nothing_is_told_of_a_face_of_which_nothing_is_left():
    skin = skins()
    blank = np.where(face_rays().ravel(), 90.0, skins(seed=1)).astype(np.float32)
    found = figures(known(skin, blank), known(skin, blank))
    assert not found.better
    # the average face is always among the choices
    assert found.error_mm < 1.1 * found.average_mm


def test_who_is_predicted_does_not_teach(cut):
    first = cut.without("p3")
    other = cut.original.copy()
    other[3] += 20.0
    second = dataclasses.replace(cut, original=other).without("p3")
    one, two = (Inverter(k).predict(cut.skin[3], cut.bone[3]).learnt for k in (first, second))
    assert np.array_equal(one, two)
    # and each person is left out with all their scans
    twice = cut.joined(cut.chosen(np.array([3])))
    assert len(twice.without("p3").persons) == PERSONS - 1


def test_bone_alone_tells_of_the_skin():
    skin = skins()
    face = face_rays().ravel()
    bone = (skin - 12.0 + np.random.default_rng(2).normal(0, 0.5, skin.shape)).astype(np.float32)
    left = np.where(face, 60.0, skins(seed=1)).astype(np.float32)
    found = figures(*[dataclasses.replace(known(skin, left), bone=bone)] * 2)
    assert found.better
    assert found.error_mm < 0.6 * found.average_mm


def test_a_persons_several_scans_count_once():
    rows = [("a", 1.0, 2.0, 1.0), ("a", 3.0, 2.0, 0.0), ("b", 1.0, 2.0, 1.0)]
    found = paired(rows)
    assert found.persons == 2
    assert found.gain_mm == pytest.approx(0.5)
    assert found.auc == pytest.approx(0.75)
    assert paired([]).persons == 0


def test_exchanged_is_nobodys_own(cut):
    for seed in range(5):
        other = cut.shuffled(seed)
        assert not any(np.array_equal(a, b) for a, b in zip(cut.skin, other.skin, strict=True))


def ball(radius=80.0, step=3.0):
    n = int(2 * 115 / step)
    grid = Geometry.from_spacing((n, n, n), (step,) * 3, (-115.0 + step / 2,) * 3)
    x, y, z = grid.positions()
    away = radius - np.sqrt(x**2 + y**2 + z**2)
    values = np.clip(-1000.0 + 700.0 * (1.0 + away / step), -1000.0, 40.0).astype(np.float32)
    return Target(values, grid, "CT", -300.0, np.eye(4))


def test_depths_of_a_ball():
    found = DepthMaps.of(ball())
    rows = np.abs(HEIGHTS) < 60
    true = np.sqrt(80.0**2 - HEIGHTS[rows] ** 2)
    assert np.abs(found.skin[rows] - true[:, None]).max() < 1.0
    assert np.isnan(found.skin[HEIGHTS < -90]).all()
    # nothing of it is bone
    assert np.isnan(found.bone).all()


def test_maps_survive_as_text():
    maps = DepthMaps.of(ball())
    again = DepthMaps.unpacked(maps.packed())
    assert np.array_equal(np.isnan(again.skin), np.isnan(maps.skin))
    assert np.nanmax(np.abs(again.skin - maps.skin)) < 0.05
    assert np.isnan(again.bone).all()


def test_first_lasting_passes_over_a_speck():
    line = np.array([0.0, 0, 10, 0, 0, 10, 10, 10])
    assert first_lasting(line, 5.0) == pytest.approx(4.5)
    assert np.isnan(first_lasting(np.zeros(4), 5.0))


def test_a_rebuilt_head_shows_the_predicted_skin():
    target = ball()
    now = DepthMaps.of(target).skin.ravel()
    face = face_rays().ravel() & ~np.isnan(now) & (np.repeat(np.abs(HEIGHTS), len(ANGLES)) < 60)
    learnt = np.where(face, now + 6.0, now)
    found = rebuilt(target, Prediction(learnt, learnt, now, face.astype(float)))
    assert found.attack == "inversion"
    image = dataclasses.replace(target, values=found.values, geometry=found.geometry or target.geometry)
    after = DepthMaps.of(image).skin.ravel()
    # away from the edge of what was replaced
    inner = gaussian_filter(face.reshape(SHAPE).astype(float), 4).ravel() > 0.98
    assert inner.sum() > 50
    assert np.abs(after - now - 6.0)[inner].max() < 1.5
    back = np.repeat(np.abs(ANGLES)[None] > 120, len(HEIGHTS), axis=0).ravel() & ~np.isnan(now)
    assert np.array_equal(after[back], now[back])


@pytest.mark.parametrize("weak", [constant_cut, shrunken_mask])
def test_planted_defacers_take_the_face_and_nothing_else(weak):
    target = ball()
    now, after = DepthMaps.of(target).skin, DepthMaps.of(weak(target)).skin
    taken = now - after
    middle = face_rays() & (np.abs(HEIGHTS + 40) < 15)[:, None] & (np.abs(ANGLES) < 20)
    if weak is constant_cut:
        assert np.median(taken[middle]) == pytest.approx(CUT_MM, abs=2.0)
    else:
        assert (taken[middle] > 15.0).all()
    assert np.nan_to_num(np.abs(taken)[:, np.abs(ANGLES) > 120]).max() == 0.0


def test_placement_is_no_knowledge():
    one = skins(count=1)[0].astype(np.float64)
    ways = moved(one)
    ok = np.isfinite(ways).all(axis=0) & face_rays().ravel()
    shift = 2.0 * ways[0] + 1.0 * ways[4]
    assert np.abs(without_placement(shift[ok], ways[:, ok])).max() < 1e-6
    bump = skins(seed=3, count=1)[0][ok] - 90.0
    left = without_placement(bump, ways[:, ok])
    assert np.linalg.norm(left) > 0.5 * np.linalg.norm(bump)


def test_a_ball_that_is_shifted_shows_what_moved_says():
    """Shifted to the front: what `moved` expects of its first order."""
    target = ball()
    now = DepthMaps.of(target).skin
    matrix = np.eye(4)
    matrix[1, 3] = -3.0
    after = DepthMaps.of(dataclasses.replace(target, pose=matrix)).skin
    said = -3.0 * moved(now.ravel())[1].reshape(SHAPE)
    rows = np.abs(HEIGHTS) < 50
    assert np.abs((after - now - said)[rows]).max() < 1.0


def test_lengths_are_the_patients():
    matrix = np.diag([0.5, 2.0, 1.0, 1.0])
    scale = ray_scale(matrix)
    assert scale[np.argmin(np.abs(ANGLES))] == pytest.approx(0.5)
    assert scale[np.argmin(np.abs(ANGLES - 90))] == pytest.approx(2.0)

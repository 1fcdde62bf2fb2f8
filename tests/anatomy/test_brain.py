from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.anatomy.brain import enclosed_parts, enclosure, halved, outline_centre, rough_brain
from defacedask.geometry import Geometry


def shell(shape=(40, 48, 44), radius=16.0, thick=2.0):
    z, y, x = np.indices(shape)
    r = np.sqrt((z - shape[0] / 2) ** 2 + (y - shape[1] / 2) ** 2 + (x - shape[2] / 2) ** 2)
    return (r <= radius) & (r > radius - thick), r <= radius - thick, r <= radius + 3


def test_inside_a_closed_shell_bone_is_on_all_sides():
    bone, inside, body = shell()
    seen = enclosure(bone, body)
    assert (seen[inside] == 26).all()
    assert (seen[~body & (np.indices(body.shape)[0] < 3)] <= 9 + 9).all()


def test_by_hand_in_two_directions():
    bone = np.zeros((5, 5, 5), dtype=bool)
    bone[2, 2, 4] = True
    body = np.ones_like(bone)
    seen = enclosure(bone, body)
    # the 9 upward directions end at the top of the picture; one more sees the bone
    assert seen[2, 2, 0] == 10
    assert seen[2, 1, 0] == 9
    assert seen[0, 2, 2] == 9  # up and to the left lies the bone, which counts once


def test_a_crown_cut_by_the_field_of_view_still_encloses():
    bone, inside, body = shell()
    cut = 22
    seen = enclosure(bone[:cut], body[:cut])
    assert (seen[inside[:cut]] >= 22).mean() > 0.6
    assert enclosure(bone, body).shape == bone.shape


def test_rough_brain_is_the_enclosed_part_and_not_the_muscle():
    bone, inside, body = shell((60, 60, 60), 24.0, 3.0)
    values = np.full(bone.shape, -1000.0, dtype=np.float32)
    values[body] = 50.0
    values[bone] = 900.0
    values[10:18, 2:12, 2:12] = 55.0  # something else
    rough, _ = rough_brain(values, body)
    assert rough.any()
    assert not rough[~inside].any()
    assert rough.sum() > 0.5 * inside.sum()
    assert halved(values).shape == (30, 30, 30)


WAYS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


@pytest.mark.parametrize(("axes", "signs"), WAYS[::5])
def test_a_brain_is_enclosed_whichever_way_is_up(axes, signs):
    """A skull whose crown is cut by any border of the picture is among them; muscle beside it is not."""
    bone, inside, body = shell((60, 60, 60), 24.0, 3.0)
    values = np.full(bone.shape, -1000.0, dtype=np.float32)
    values[body], values[bone] = 50.0, 900.0
    values[:8, 2:20, 2:20] = 55.0
    turned = [
        np.ascontiguousarray(np.transpose(a[:48], axes)[tuple(slice(None, None, s) for s in signs)])
        for a in (values, values > -500, inside)
    ]
    parts = enclosed_parts(turned[0], turned[1])
    middle = np.argwhere(turned[2]).mean(axis=0)
    assert min(np.linalg.norm(part - middle) for part in parts) < 3.0
    muscle = np.argwhere(turned[0] == 55.0).mean(axis=0)
    assert all(np.linalg.norm(part - muscle) > 12.0 for part in parts)


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1))
def test_the_middle_below_the_top_goes_with_the_patient(up):
    """A rod whose top is where ``up`` says: 75 mm below its end, on its axis."""
    up = np.array(up) / np.linalg.norm(up)
    grid = Geometry.from_spacing((90, 90, 90), (4.0, 4.0, 4.0), (-178.0, -178.0, -178.0))
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    points = np.stack([x, y, z], axis=-1)
    along = points @ up
    across = np.linalg.norm(points - along[..., None] * up, axis=-1)
    rod = (across < 40.0) & (np.abs(along) < 120.0)
    assert outline_centre(rod, grid, up) == pytest.approx(45.0 * up, abs=8.0)

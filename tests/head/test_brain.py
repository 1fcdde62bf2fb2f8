from __future__ import annotations

import numpy as np

from defacedask.head.brain import enclosure, halved, rough_brain


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
    rough, _ = rough_brain(
        values.repeat(2, 0).repeat(2, 1).repeat(2, 2), body.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    )
    assert rough.any()
    assert not rough[~inside].any()
    assert rough.sum() > 0.5 * inside.sum()
    assert halved(values).shape == (30, 30, 30)

"""How far the skin of the face has moved: nothing, a known shift, the whole face gone; airways are no skin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import shift
from support.heads import placed, posed

from defacedask.errors import InputError
from defacedask.faces.outer_skin import outline
from defacedask.faces.surface_change import surface_change
from defacedask.volume import geometry_of


@pytest.fixture(scope="module")
def head():
    return placed(*posed(spacing=(2.0, 2.0, 2.0)))


def test_an_untouched_head_has_not_moved(head):
    change = surface_change(head, head.volume)
    assert change.points > 3000
    assert change.moved == 0
    assert change.median_mm == 0
    assert change.brain_voxels_changed == 0


@pytest.mark.parametrize(("voxels", "moved"), [(1, False), (4, True)])
def test_a_face_moved_forward(head, voxels, moved):
    """2 mm are not 3 mm, 8 mm are; a slope has moved by less than the way, across itself."""
    other = head.volume.copy(data=shift(head.volume.values, (0, -voxels, 0), order=0, mode="nearest"))
    change = surface_change(head, other)
    assert 0.5 * 2 * voxels < change.median_mm <= 2 * voxels + 0.5
    assert (change.moved > 0.75) == moved


def test_a_head_without_its_face_has_moved_altogether(head):
    values = head.volume.values.copy()
    position = geometry_of(head.volume).positions()
    front = np.broadcast_to(position[1] < head.landmark("tragion_left")[1] - 15, values.shape)
    values[front] = -1000
    change = surface_change(head, head.volume.copy(data=values))
    assert change.moved > 0.99
    assert change.brain_voxels_changed > 0


def test_another_grid_is_refused(head):
    with pytest.raises(InputError, match="another grid"):
        surface_change(head, head.volume[1:])


@pytest.mark.parametrize("sign", [-1, 1])
def test_airways_that_the_field_of_view_opens_are_no_skin(sign):
    body = np.zeros((60, 70, 60), dtype=bool)
    body[:, 20:, :] = True
    body[30:, 40:60, 20:40] = False  # a sinus, open at the top of the field of view
    body[25:30, 10:20, 25:30] = True  # a nose
    view = np.ones_like(body)
    if sign > 0:
        body, view = body[:, ::-1].copy(), view[:, ::-1]
    skin = outline(body, view, np.array([0.1, float(sign), 0.2]))
    assert skin.any()
    rows = np.flatnonzero(skin.any(axis=(0, 2)))
    near = rows if sign < 0 else 69 - rows
    assert near.min() == 10
    assert near.max() == 20

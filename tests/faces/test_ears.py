"""Ears apart: removed ears have moved, spared ones have not, and one that is not there is never 0."""

from __future__ import annotations

import numpy as np
import pytest
from support.heads import posed

from defacedask.anatomy.head import Head
from defacedask.anatomy.morphology import dilate
from defacedask.anatomy.registration import Registration
from defacedask.errors import InputError
from defacedask.faces.ears import CUT_OFF, NO_EAR, OUT_OF_VIEW, SIDES, ear_change, find_ear, together
from defacedask.faces.surface_change import surface_change
from defacedask.volume import geometry_of

LEFT, RIGHT = SIDES


def known(volume, truth):
    """The head of a volume, whose place is not looked for."""
    rigid = Registration(truth, truth, np.nan, np.nan, True, truth)
    head = Head(volume, registration=rigid)
    head.__dict__["drop"] = np.zeros(volume.shape, dtype=bool)
    return head


def plates(volume, truth, out=0.6):
    """An ear a side: a disc of 5 mm, 32 by 56 mm, that stands off the head towards its back; bool."""
    positions = np.broadcast_arrays(*geometry_of(volume).positions(dtype=np.float64))
    x, y, z = np.tensordot(truth[:3, :3], np.stack(positions), 1) + truth[:3, 3, None, None, None]
    found = []
    for sign in (1, -1):
        disc = ((y - 15) / 16) ** 2 + ((z + 45) / 28) ** 2 < 1
        found.append(disc & (np.abs(sign * x - 73 - out * y) < 2.5 * np.hypot(1, out)))
    return found


def eared(**options):
    volume, truth = posed(spacing=(2.0, 2.0, 2.0), **options)
    ears = plates(volume, truth)
    values = volume.values.copy()
    values[ears[0] | ears[1]] = 40
    return volume.copy(data=values), truth, ears


@pytest.fixture(scope="module")
def made():
    volume, truth, ears = eared()
    return known(volume, truth), ears


def without(volume, where):
    values = volume.values.copy()
    values[where] = -1000
    return volume.copy(data=values)


def rooted(ear):
    """An ear and 6 mm around: the head that it stands on belongs to it."""
    return dilate(ear, 3)


def changes(head, defaced):
    return [ear_change(head, defaced, find_ear(head, side)) for side in SIDES]


def test_an_untouched_head_keeps_its_ears(made):
    head, _ = made
    for ear in changes(head, head.volume):
        assert ear.points > 800
        assert (ear.moved, ear.untouched, ear.median_mm, ear.note) == (0, 1, 0, "")


def test_one_that_removes_only_the_ears_is_told_and_the_face_is_not(made):
    head, ears = made
    defaced = without(head.volume, rooted(ears[0] | ears[1]))
    for ear in changes(head, defaced):
        assert ear.moved > 0.8
        assert ear.untouched < 0.1
    assert surface_change(head, defaced, count_brain=False).moved == 0


def test_one_that_removes_all_but_the_ears_leaves_them(made):
    head, ears = made
    defaced = without(head.volume, ~rooted(ears[0] | ears[1]))
    for ear in changes(head, defaced):
        assert ear.moved < 0.1
        assert ear.untouched > 0.8
    assert surface_change(head, defaced, count_brain=False).moved == 1


@pytest.mark.parametrize("gone", [0, 1])
def test_each_ear_is_told_by_itself(made, gone):
    head, ears = made
    both = changes(head, without(head.volume, rooted(ears[gone])))
    assert both[gone].moved > 0.8
    assert both[1 - gone].moved == 0
    share = together(both)
    assert share.points == sum(ear.points for ear in both)
    assert 0.4 < share.moved < 0.6


def test_another_ear_on_the_spot_is_not_the_own_skin(made):
    """Skin of somebody else within 3 mm is kept by the distance; the values tell that it is not the patient's."""
    head, ears = made
    values = head.volume.values.copy()
    values[rooted(ears[0]) & (values > -300)] += 7
    ear = ear_change(head, head.volume.copy(data=values), find_ear(head, LEFT))
    assert ear.moved == 0
    assert ear.untouched < 0.1


def test_a_turned_and_tilted_head_says_the_same(made):
    volume, truth, ears = eared(pitch=20.0, yaw=35.0, roll=-15.0)
    head = known(volume, truth)
    one, other = changes(head, without(volume, rooted(ears[0])))
    assert one.moved > 0.8
    assert other.moved == 0
    straight = changes(made[0], made[0].volume)
    assert one.points == pytest.approx(straight[0].points, rel=0.15)


def test_a_head_whose_ears_do_not_stand_out_has_none_to_measure():
    volume, truth = posed(spacing=(2.0, 2.0, 2.0))
    positions = np.broadcast_arrays(*geometry_of(volume).positions(dtype=np.float64))
    x, y, z = np.tensordot(truth[:3, :3], np.stack(positions), 1) + truth[:3, 3, None, None, None]
    # pressed into the head: its sides are flat there
    volume = without(volume, (np.abs(x) > 68) & (np.abs(y - 15) < 45) & (np.abs(z + 45) < 55))
    ears = changes(known(volume, truth), volume)
    assert [ear.note for ear in ears] == [NO_EAR, NO_EAR]
    assert all(np.isnan([ear.moved, ear.untouched, ear.median_mm]).all() for ear in ears)
    both = together(ears)
    assert (both.points, both.note) == (0, NO_EAR)
    assert np.isnan(both.moved)


@pytest.mark.parametrize(("mm", "note"), [(60.0, OUT_OF_VIEW), (82.0, CUT_OFF), (115.0, "")])
def test_an_ear_that_the_field_of_view_cuts_is_not_measured(made, mm, note):
    head, _ = made
    volume = head.volume
    x = np.linalg.inv(head.pose)[0, 3] + mm  # the head is upright
    narrow = volume[:, :, : int(np.searchsorted(geometry_of(volume).positions()[0].ravel(), x))]
    left, right = changes(known(narrow, np.asarray(head.pose)), narrow)
    assert left.note == note
    assert np.isnan(left.moved) == bool(note)
    assert right.moved == 0
    both = together([left, right])
    assert (both.points, both.note) == (left.points + right.points, f"left: {note}" if note else "")


def test_another_grid_is_refused(made):
    with pytest.raises(InputError, match="another grid"):
        ear_change(made[0], made[0].volume[1:], find_ear(made[0], RIGHT))

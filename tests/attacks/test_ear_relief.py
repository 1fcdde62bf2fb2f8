"""Ears as a relief: drawn from noise for persons, and one of the average head's; no person."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from defacedask.anatomy.template import load_template
from defacedask.attacks.ear_relief import EarGallery, _window, ear_map, packed, relief, unpacked
from defacedask.volume import real_values


@pytest.fixture(scope="module")
def head():
    template = load_template("average_ct")
    return 100.0 - np.asarray(real_values(template.skin).values, np.float32), template.geometry


def of_average(head, side, place=None):
    values, grid = head
    return ear_map(values, grid, np.eye(4) if place is None else place, side, level=100.0, air=0.0)


def drawn(person, scan=0, noise=0.3, moved=(0, 0)):
    """An ear of its own on a head of any width, with what a scanner adds."""
    shape, rng = _shape(), np.random.default_rng(person)
    own = gaussian_filter(rng.standard_normal(np.add(shape, 20)), 2.5)
    own = 4.0 * own / own.std()
    down, along = 10 + moved[0], 10 + moved[1]
    own = own[down : down + shape[0], along : along + shape[1]]
    seen = np.random.default_rng([person, scan])
    slope = np.linspace(-8, 8, shape[1]) * seen.normal()
    return (85.0 + 5.0 * seen.normal() + slope + own + noise * seen.normal(size=shape)).astype(np.float32)


def _shape():
    return tuple(len(axis) for axis in _window("left"))


def test_the_average_ear_stands_out_where_it_is(head):
    left, right = (of_average(head, side) for side in ("left", "right"))
    for one in (left, right):
        ear = relief(one)
        assert 50 < np.nanmedian(one) < 100
        assert np.ptp(ear) > 5.0
        core = ear[8:-8, 8:-8]
        assert np.abs(core).mean() > np.abs(ear[:3]).mean()  # more than the skin around it
    # an affine that moves the head to the left by 5 mm moves the skin, and no relief
    place = np.eye(4)
    place[0, 3] = 5.0
    moved = of_average(head, "left", place)
    both = ~np.isnan(left) & ~np.isnan(moved)
    assert np.median((moved - left)[both]) == pytest.approx(5.0, abs=0.2)
    assert np.abs(relief(moved) - relief(left))[8:-8, 8:-8].mean() < 0.3


def test_a_map_is_kept_as_text(head):
    one = of_average(head, "right")
    again = unpacked(packed(one), "right")
    assert np.array_equal(np.isnan(one), np.isnan(again))
    assert np.nanmax(np.abs(one - again)) <= 1 / 16


def test_the_own_ear_is_the_most_alike_moved_or_on_a_wider_head():
    gallery = EarGallery([{"left": drawn(k), "right": drawn(100 + k)} for k in range(10)])
    for k in range(10):
        probe = {"left": drawn(k, 1, moved=(2, -3)), "right": drawn(100 + k, 1, moved=(-4, 0))}
        like = gallery.likeness(probe)
        assert like.argmax() == k
        assert like[k] > 0.9
        assert np.delete(like, k).max() < 0.8
    stranger = gallery.likeness({"left": drawn(50), "right": drawn(150)})
    assert stranger.max() < 0.8


def test_an_ear_that_is_gone_is_nobodys_and_a_side_that_is_missing_is_not_compared():
    both, left = {"left": drawn(1), "right": drawn(2)}, {"left": drawn(1)}
    gone = np.full(_shape(), np.nan, np.float32)
    gallery = EarGallery([both, left, {"right": drawn(2)}])
    assert gallery.likeness({"left": gone, "right": gone}).tolist() == [0.0, 0.0, 0.0]
    like = gallery.likeness(left)
    assert like[:2] == pytest.approx(1.0)
    assert np.isnan(like[2])
    flat = np.full(_shape(), 80.0, np.float32)
    assert np.abs(gallery.likeness({"left": flat, "right": flat})).max() < 0.3

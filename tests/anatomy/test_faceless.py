"""A face that is missing already is told from one that is there, from the image alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.heads import posed

from benchmarks.heads.data import openkbp
from defacedask.anatomy.faceless import LEAST_IN_VIEW, Faceless, front_of_face
from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Head
from defacedask.defacers import get_defacer
from defacedask.errors import RefusedError
from defacedask.volume import geometry_of


@pytest.fixture(scope="module")
def head():
    return Head(posed("CT", pitch=-12.0, yaw=8.0)[0])


def again(volume):
    """The head of an image, found anew."""
    return Head(volume)


def test_a_face_is_there(head):
    front = front_of_face(head)
    assert front.in_view > 0.95
    assert front.behind < 0.05
    assert abs(front.median_mm) <= 6
    front.require()


@pytest.mark.parametrize("defacer", ["quickshear", "biometric_mask_strict"])
def test_a_face_that_was_cut_is_missing(head, defacer):
    plan = get_defacer(defacer).plan(head, key=bytes(32))
    front = front_of_face(again(plan.apply(head.volume)))
    assert front.behind > 0.8
    assert front.median_mm > 20
    with pytest.raises(RefusedError, match=r"face is missing already: .* as after defacing"):
        front.require()


def test_a_face_of_which_a_part_was_cut_is_said_and_not_refused(head):
    """Nothing but the brain is left above the nose: as in data sets whose air was zeroed by a mask of the body."""
    grid = geometry_of(head.volume)
    brain = resample(head.brain, head.grid, grid, nearest=True)
    z = np.broadcast_to(grid.positions(dtype=np.float64)[2], grid.shape)
    gone = (z > head.landmark("nose_tip")[2] + 10.0) & ~brain
    front = front_of_face(again(head.volume.copy(data=np.where(gone, -1024, head.volume.values))))
    assert front.partly
    assert "a part of its face is missing already" in front.sentence
    front.require()
    assert not front_of_face(head).partly


def test_a_face_that_was_replaced_is_there(head):
    """Nothing but its tags tells: somebody's face is in the image."""
    plan = get_defacer("mri_reface").plan(head, key=bytes(32))
    assert not front_of_face(again(plan.apply(head.volume))).missing


def test_what_lies_outside_the_view_is_not_missing():
    """A field of view that ends below the eyes, or before the nose, was never taken."""
    low = front_of_face(Head(posed("CT", bottom=-75.0)[0]))
    assert low.in_view < 0.8
    assert not low.missing
    volume, _ = posed("CT")
    y = np.flatnonzero((volume.values > -300).any(axis=(0, 2)))
    cut = front_of_face(Head(volume[:, int(y[0]) + 12 :]))
    assert not cut.missing


def test_too_little_in_view_says_nothing():
    assert not Faceless(LEAST_IN_VIEW / 2, 1.0, 50.0).missing
    assert Faceless(LEAST_IN_VIEW, 1.0, 50.0).missing


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 5, 11])
def test_real_heads_before_and_after(shared_data, number):
    patient = json.loads((shared_data / "openkbp" / "split.json").read_text())["face"][number]
    head = Head(openkbp(shared_data / "openkbp" / f"{patient}.npz"))
    assert front_of_face(head).behind < 0.2
    for defacer in ("quickshear", "biometric_mask_strict"):
        defaced = get_defacer(defacer).plan(head, key=bytes(32)).apply(head.volume.load())
        again_ = Head(defaced)
        # what is left may look the same upside down, which is refused as well
        assert not again_.ok or front_of_face(again_).behind > 0.8

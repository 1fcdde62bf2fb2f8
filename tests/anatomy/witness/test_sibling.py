"""A volume that shows hardly any skin, at the place of its sibling's face: what may leave, and all that may not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support import diffusion

from defacedask.anatomy.witness import sighting
from defacedask.anatomy.witness.alignment import Alignment, alignment
from defacedask.anatomy.witness.sibling import replaced
from defacedask.anatomy.witness.solid import solid_of
from defacedask.volume import make_volume

GRID = diffusion.grid()
#: As it is where both lie in one place.
STILL = Alignment(0.0, 0.0, 1.0, np.eye(4), 2.5)


def volume(values):
    return make_volume(values, GRID, modality="MR", units="1")


@pytest.fixture(scope="module")
def shown():
    """The volume without weighting, the patient in it, and its face."""
    image = volume(diffusion.magnitude(GRID))
    solid = solid_of(image)
    seen = sighting(image, find=lambda _: solid)
    assert not seen.reason
    return image, solid, seen


def cut(values, seen, *, deep=45.0, aside=0.0, fill=0):
    """Everything before a plane so many mm behind the tip of the nose is replaced, or on one side of it only."""
    x, y, z = np.broadcast_arrays(*GRID.positions(dtype=np.float64))
    ahead = np.stack([x, y, z], axis=-1) - seen.place
    gone = (ahead @ seen.facing > -deep) & (ahead @ seen.axes[:, 0] > aside - 1000.0 * (aside == 0.0))
    return np.where(gone, fill, values).astype(values.dtype)


def judged(shown, original, defaced, lies=STILL):
    image, solid, seen = shown
    return replaced(image, solid, seen, lies, volume(original), volume(defaced))


def test_what_is_replaced_at_the_face_may_leave(shown):
    weighted = diffusion.magnitude(GRID, 1000.0, number=1)
    found = judged(shown, weighted, cut(weighted, shown[2]))
    assert found.sentence == ""
    assert found.share > 0.95
    assert found.points > 1000
    assert found.left < 1.0
    # noise in its place, too, which may by chance be what was there
    noise = diffusion.magnitude(GRID, 1e6, number=9)
    assert judged(shown, weighted, cut(weighted, shown[2], fill=noise)).sentence == ""


def test_a_plan_that_is_left_out_or_lies_elsewhere_is_seen(shown):
    weighted = diffusion.magnitude(GRID, 1000.0, number=1)
    assert judged(shown, weighted, weighted).share == 0.0
    for other in (weighted, cut(weighted, shown[2], deep=4.0), cut(weighted, shown[2], aside=15.0)):
        assert "of the skin there was replaced" in judged(shown, weighted, other).sentence


def test_a_face_that_lies_before_its_siblings_is_seen(shown):
    """By what it shows before the skin: only there a thin shell was left."""
    weighted = diffusion.magnitude(GRID, 0.0, number=1, moved=(0.0, -7.0, 0.0))
    _, y, _ = np.broadcast_arrays(*GRID.positions(dtype=np.float64))
    deep = cut(weighted, shown[2])
    shell = np.where(y < shown[2].place[1] + 12.0, weighted, deep).astype(weighted.dtype)
    assert judged(shown, weighted, shell).share < judged(shown, weighted, deep).share


@pytest.mark.parametrize("strength", [0.3, 0.6])
def test_what_is_shown_again_beside_the_head_is_seen(shown, strength):
    ghost = diffusion.magnitude(GRID, 1000.0, number=1, ghost=(strength, GRID.shape[1] // 2))
    found = judged(shown, ghost, cut(ghost, shown[2]))
    assert "shows outside of the head and stays" in found.sentence
    masked = np.where(ghost > 40, ghost, 0)  # a background of zeros is no noise to compare with
    assert "shows outside" in judged(shown, masked, cut(masked, shown[2])).sentence


def test_a_map_is_noise_where_there_is_no_head(shown):
    image, _, seen = shown
    values = diffusion.adc(GRID)
    lies = alignment(image, volume(values), seen, clearly=True)
    assert lies.mm < 3.0
    assert judged(shown, values, cut(values, seen), lies).sentence == ""
    assert "was replaced" in judged(shown, values, values, lies).sentence
    # something smooth in the noise behind the head
    planted = values.copy()
    planted[10:50, 106:, 20:90] = 700
    assert "shows outside" in judged(shown, planted, cut(planted, seen), lies).sentence


def test_a_head_that_moved_is_judged_where_it_lies_or_not_at_all(shown):
    image, _, seen = shown
    near = diffusion.magnitude(GRID, 1000.0, number=2, moved=(0.0, 5.0, 0.0))
    lies = alignment(image, volume(near), seen, clearly=True)
    assert lies.matrix is not None
    np.testing.assert_allclose(
        lies.matrix[:3, 3] + (lies.matrix[:3, :3] - np.eye(3)) @ seen.place, (0, 5, 0), atol=1.5
    )
    # a cut that takes all of the face at the sibling's place, and leaves that of this one
    line = cut(near, seen, deep=30.0)
    assert judged(shown, near, line, lies).share < judged(shown, near, line).share
    far = diffusion.magnitude(GRID, 1000.0, number=2, moved=(0.0, 14.0, 14.0))
    lies = alignment(image, volume(far), seen, clearly=True)
    assert "its own face lies 20 mm away from there" in judged(shown, far, cut(far, seen), lies).sentence


@pytest.mark.parametrize("what", ["noise", "phase"])
def test_what_has_too_little_in_common_is_held_back(shown, what):
    image, _, seen = shown
    values = diffusion.phase(GRID) if what == "phase" else diffusion.magnitude(GRID, 1e6, number=3)
    lies = alignment(image, volume(values), seen, clearly=True)
    said = judged(shown, values, cut(values, seen), lies).sentence
    assert "too little in common" in said
    # in that place it would have passed
    assert judged(shown, values, cut(values, seen)).share > 0.9


def test_nobody_asked_whether_the_place_is_clear(shown):
    weighted = diffusion.magnitude(GRID, 1000.0, number=1)
    unasked = dataclasses.replace(STILL, clear=0.0)
    assert "too little in common" in judged(shown, weighted, cut(weighted, shown[2]), unasked).sentence

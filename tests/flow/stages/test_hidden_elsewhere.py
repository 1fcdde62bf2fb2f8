"""An image that shows no face by itself, and that its header places where nobody can tell what is in it."""

from __future__ import annotations

import types

import numpy as np
import pytest

from defacedask.anatomy.witness import Sighting, hidden, verdict
from defacedask.anatomy.witness.alignment import alignment
from defacedask.anatomy.witness.solid import solid_of
from defacedask.flow.stages import witnessing
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume

RADIUS = 88.0
NOSE, AHEAD = np.array([0.0, -RADIUS, 0.0]), np.array([0.0, -1.0, 0.0])
SEEN = Sighting(NOSE, AHEAD, 1.0, {}, "", np.zeros(3), np.eye(3))


def head(shape, spacing, *, shift=(0.0, 0.0, 0.0), cut=False):
    """A ball with a pattern, that a header says lies elsewhere than it does; its front is cut where a plan has it."""
    middle = [-(n - 1) * mm / 2 for n, mm in zip(shape, spacing, strict=True)]
    grid = Geometry.from_spacing(shape, spacing, tuple(reversed(middle)))
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    inside = x**2 + y**2 + z**2 < RADIUS**2
    pattern = 400 + 150 * np.sin(x / 17 + 0.4) * np.sin(y / 23) + 120 * np.sin(z / 19 + y / 31)
    affine = grid.affine.copy()
    affine[:3, 3] += shift
    there = Geometry(grid.shape, affine, grid.frame_of_reference)
    gone = cut & np.broadcast_to(there.positions(dtype=np.float64)[1] < -45.0, shape)
    values = np.where(inside & ~gone, pattern, 0).astype(np.int16)
    return make_volume(values, there, modality="MR", units="1")


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize(("size", "cut", "said"), [(32, False, False), (96, False, True), (96, True, False)])
def test_what_is_as_large_as_a_face_and_stays_beside_the_head(size, cut, said, modality):
    """The front of a second head has no middle of a skull to be seen by. 32 mm are too thin for one."""
    before, after = (head((52, 52, 80), (4.0, 4.0, 4.0), cut=gone) for gone in (False, True))
    width = round(size / 4)
    before.values[20 : 20 + width, 20:42, 66:79] = 500
    after.values[20 : 20 + width, 20:42, 66:79] = 0 if cut else 500
    if modality == "CT":
        before, after = (
            one.copy(data=np.where(one.values > 0, one.values // 4, -1000)).assign_attrs(modality="CT")
            for one in (before, after)
        )
    found = verdict(before, after, SEEN)
    assert ("as large as a face" in found.sentence) == said
    # on CT it may be an arm: a note
    assert found.held == (said and modality == "MR")


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize(
    ("tall", "turned", "said"), [(0, False, False), (48, False, False), (160, False, True), (160, True, True)]
)
def test_what_hangs_together_with_the_head_and_reaches_further_than_one(tall, turned, said, modality):
    """The front of a second head, whose chin touches the crown, or the back of the head."""
    before, after = (head((90, 90, 52), (4.0, 4.0, 4.0), cut=gone) for gone in (False, True))
    for image in (before, after):
        values = image.values.transpose(1, 0, 2) if turned else image.values
        values[65 : 65 + tall // 4, 38:53, 10:42] = 500  # from 84 mm on: inside the ball
        if modality == "CT":
            values[:] = np.where(values > 0, values // 4, -1000)
            image.attrs["modality"] = "CT"
    found = verdict(before, after, SEEN)
    assert ("as large as a face" in found.sentence) == said
    assert found.held == (said and modality == "MR")


def judged(shift, monkeypatch):
    """What is said of a slab of 80 mm beside an image that shows the head; and what its skin alone would say."""
    shown = head((52, 52, 52), (4.0, 4.0, 4.0))
    slab = {"shape": (16, 64, 64), "spacing": (5.0, 3.0, 3.0), "shift": shift}
    before, after = head(**slab), head(**slab, cut=True)
    assert hidden(before)
    volumes = {"images/T1": shown, "images/slab": before, "defaced/none/images/slab": after}
    store = types.SimpleNamespace(url="", key="", volume=volumes.__getitem__, images=list(volumes)[:2])
    monkeypatch.setattr(witnessing, "volume_path", lambda defacer, path: f"defaced/{defacer}/{path}")
    monkeypatch.setattr(witnessing, "_solid", lambda url, key, path: solid_of(volumes[path]))
    monkeypatch.setattr(witnessing, "_alignment", lambda *a: alignment(shown, before, SEEN))
    monkeypatch.setattr(witnessing, "_by_plan", lambda *a: None)
    unseen = Sighting(np.full(3, np.nan), np.full(3, np.nan), 0.0, {}, "a slab")
    seen = {"images/T1": SEEN, "images/slab": unseen}
    planned = types.SimpleNamespace(facts={})
    plan = (NOSE, AHEAD, np.array([0.0, 0.0, 1.0]))
    found = witnessing._one(store, planned, "none", "images/slab", seen, plan)  # type: ignore[arg-type]
    still = float((before.values[before.values > 0] == after.values[before.values > 0]).mean())
    by_skin = verdict(before, after, SEEN, *plan[:2], find=lambda _: solid_of(before))
    assert geometry_of(before).shape == (16, 64, 64)
    return found, by_skin, still


def test_one_in_its_place_may_leave(monkeypatch):
    found, _, still = judged((0.0, 0.0, 0.0), monkeypatch)
    assert still < 0.9
    assert found.reason == ""
    assert found.moved >= 0.9
    assert found.figures["against"]["mm"] <= 20


@pytest.mark.parametrize("shift", [(0.0, 60.0, 260.0), (105.0, 230.0, 125.0)])
def test_one_that_lies_elsewhere_is_held_back(monkeypatch, shift):
    """Whose origin was lost, say: where the plan looks there is no skin of it, and its face is as it was."""
    found, by_skin, still = judged(shift, monkeypatch)
    assert still > 0.99  # the plan took nothing of it
    assert not by_skin.held  # and by its skin it would have left
    assert "too little in common with the T1" in found.reason
    assert "leave it out" in found.hint

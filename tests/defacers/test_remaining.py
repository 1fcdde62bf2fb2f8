"""What protected structures leave of a face: measured, named, and the same voxels that stay in the image."""

from __future__ import annotations

import numpy as np
import pytest
from support.heads import placed, posed

from defacedask.anatomy.head import Head
from defacedask.defacers import get_defacer, plan_from_dict
from defacedask.defacers.protect import Protected
from defacedask.defacers.remaining import remains


@pytest.fixture(scope="module")
def head() -> Head:
    return placed(*posed("CT", spacing=(4.0, 3.0, 3.0)))


def block(head: Head, *, low: float, high: float) -> Protected:
    """All of the head's front between two heights (mm of the template)."""
    grid = head.grid
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    points = np.stack([x, y, z], axis=-1) @ head.to_template[:3, :3].T + head.to_template[:3, 3]
    mask = (points[..., 1] < -40) & (points[..., 2] > low) & (points[..., 2] < high) & head.body
    return Protected.of("PTV", mask, grid, margin_mm=3.0)


@pytest.mark.parametrize("name", ["quickshear", "biometric_mask_strict", "carina"])
def test_a_structure_across_the_face_is_kept_and_told(head, name):
    volume = head.volume
    kept = block(head, low=-80.0, high=-15.0)
    plan, left = remains(get_defacer(name).plan(head, key=b"k" * 32, protected=[kept]), head)
    after = plan.apply(volume)
    inside = kept.keep(head.geometry)
    assert (after.values[inside] == volume.values[inside]).all()
    assert (after.values != volume.values).any()
    assert left.flagged
    assert left.percent > 20
    assert {"nose", "left eye", "right eye"} <= set(left.parts)
    assert "chin" not in left.parts
    assert "PTV is protected; visible:" in left.sentence
    summary = plan.summary()["protected"]
    (ours,) = [one for one in summary if one["name"] == "PTV"]
    assert ours["face_percent"] == pytest.approx(left.by["PTV"], abs=0.01)
    assert "nose" in ours["leaves"]
    # the figure is part of the plan and comes back with it
    assert plan_from_dict(plan.to_dict()).summary()["protected"] == summary


def test_the_default_protects_the_brain_and_leaves_no_face(head):
    for name in ("quickshear", "biometric_mask_strict"):
        plan, left = remains(get_defacer(name).plan(head), head)
        assert [one["name"] for one in plan.summary()["protected"]] == ["Brain"]
        assert not left.flagged
        assert left.sentence == ""
        after = plan.apply(head.volume)
        brain = plan.protected[0].keep(head.geometry)
        assert brain.sum() > 1000
        assert (after.values[brain] == head.volume.values[brain]).all()


def test_a_deep_structure_shows_no_face(head):
    grid = head.grid
    x, y, z = grid.positions(dtype=np.float64)
    at = head.landmark("nose_tip") + np.array([0.0, 45.0, 0.0])
    mask = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < 10**2
    deep = Protected.of("Deep", mask, grid, margin_mm=2.0)
    plan, left = remains(get_defacer("quickshear").plan(head, protected=[deep]), head)
    bare = get_defacer("quickshear").plan(head)
    assert (bare.region(grid) & ~plan.region(grid)).sum() > 100  # it does keep something
    assert left.percent == 0
    assert not left.flagged


def test_a_plan_that_protects_nothing_has_nothing_to_tell(head):
    _, left = remains(get_defacer("none").plan(head), head)
    assert left.percent == 0
    assert left.to_dict()["flagged"] is False

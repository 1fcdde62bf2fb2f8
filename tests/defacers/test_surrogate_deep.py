"""The new face of `surrogate` without the bone under it: what goes with it, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
from support.painted import KEY, applied, painted

from defacedask.anatomy.grid import resample
from defacedask.defacers import get_defacer, plan_from_dict
from defacedask.defacers.protect import Protected
from defacedask.volume import geometry_of, real_values


@pytest.fixture(scope="module")
def both():
    return {name: painted(name, "CT") for name in ("surrogate", "surrogate_deep")}


def values(volume):
    return real_values(volume).values


def bone_of_the_face(head):
    """Voxels of bone within 15 mm of the skin from brow to chin, but for those beside the brain."""
    from scipy.ndimage import distance_transform_edt

    grid = geometry_of(head.volume)
    skin = resample(head.face_skin, head.grid, grid, nearest=True)
    brain = resample(head.brain, head.grid, grid, nearest=True)
    near = distance_transform_edt(~skin, grid.spacing[::-1]) < 15.0
    free = distance_transform_edt(~brain, grid.spacing[::-1]) > 12.0
    return (values(head.volume) > 250) & near & free


def test_bone_under_the_face_goes_and_none_is_painted(both):
    left = {}
    for name, (head, _) in both.items():
        new, bone = values(applied(name, "CT")), bone_of_the_face(head)
        assert bone.sum() > 500
        left[name] = (new[bone] > 200).mean()
    assert left["surrogate"] == 1.0  # the control
    assert left["surrogate_deep"] < 0.1
    head, _ = both["surrogate_deep"]
    old, new = values(head.volume), values(applied("surrogate_deep", "CT"))
    # where the replaced part ends, new and old mix; no place is bone that was none
    assert ((new > 200) & (old < 150)).sum() < 1e-3 * (new != old).sum()


def test_the_brain_and_deep_bone_stay(both):
    head, plan = both["surrogate_deep"]
    old, new = head.volume.values, applied("surrogate_deep", "CT").values
    grid = geometry_of(head.volume)
    brain = resample(head.brain, head.grid, grid, nearest=True)
    assert (old[brain] == new[brain]).all()
    region = plan.region(grid)
    assert not ((old != new) & ~region).any()
    bone = values(head.volume) > 250
    assert 0.3 < (old == new)[bone].mean() < 0.97


def test_mandible_and_mouth_are_not_spared_unless_somebody_asks(both):
    kinds = {name: type(get_defacer(name)) for name in both}
    gone = set(kinds["surrogate"].spares) - set(kinds["surrogate_deep"].spares)
    assert gone == {"Bone_Mandible", "Cavity_Oral"}
    assert not set(kinds["surrogate_deep"].spares) - set(kinds["surrogate"].spares)
    head, _ = both["surrogate_deep"]
    middle = head.landmark("menton")
    x, y, z = head.grid.positions()
    chin = ((x - middle[0]) ** 2 + (y - middle[1] - 12) ** 2 + (z - middle[2]) ** 2 < 10**2) & head.body
    kept = Protected.of("Bone_Mandible", chin, head.grid, margin_mm=0.0)
    plan = get_defacer("surrogate_deep").plan(head, key=KEY, protected=[kept])
    mask = resample(chin, head.grid, geometry_of(head.volume), nearest=True)
    assert mask.sum() > 50
    assert (head.volume.values[mask] == plan.apply(head.volume).values[mask]).all()


def test_a_plan_comes_back_as_its_own_kind(both):
    head, plan = both["surrogate_deep"]
    again = plan_from_dict(plan.to_dict())
    assert type(again) is type(plan)
    assert np.array_equal(again.apply(head.volume).values, applied("surrogate_deep", "CT").values)

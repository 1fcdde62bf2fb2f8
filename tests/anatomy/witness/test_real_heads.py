"""Real heads: right plans pass, the same plans on the head turned away are held back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.heads.data import named_heads
from benchmarks.heads.witness import _motion, _moved, _seen_there

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.mark.parametrize("name", ["pt_113", "ct_headsq", "mr_ixi012"])
def test_right_plans_pass_and_turned_ones_do_not(shared_data, name):
    from defacedask.anatomy.head import Head
    from defacedask.anatomy.witness import sighting, verdict
    from defacedask.defacers import get_defacer

    volume = dict(named_heads(shared_data))[name]().load()
    seen = sighting(volume)
    head = Head(volume)
    plan = get_defacer("quickshear").plan(head, key=bytes(32))
    where = head.landmark("nose_tip"), np.linalg.inv(head.pose)[:3, :3] @ (0.0, -1.0, 0.0)
    right = verdict(volume, plan.apply(volume).load(), seen, *where)
    assert not right.held, right
    matrix = _motion(seen, 180.0, 0.0, (0.0, 0.0, 0.0))
    there = _moved(volume, matrix)
    again = sighting(there)  # it goes with the head
    expected = _seen_there(seen, matrix)
    np.testing.assert_allclose(again.place, expected.place, atol=30.0)
    assert again.facing @ expected.facing > np.cos(np.radians(30.0))
    wrong = verdict(there, plan.apply(there).load(), again, *where)
    assert wrong.held
    assert wrong.moved < 0.5
    # also where the plan does not say where it has the face
    assert verdict(there, plan.apply(there).load(), dataclasses.replace(again)).held

"""What holds for every defacer that paints a new face: block by block, on CT and MR, with the brain untouched."""

from __future__ import annotations

import json

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.painted import KEY, applied, painted

from defacedask.anatomy.head import Head
from defacedask.defacers import get_defacer, plan_from_dict
from defacedask.faces.surface_change import surface_change
from defacedask.volume import geometry_of

#: Most letters of a plan as JSON.
LETTERS = {"mri_reface": 500_000, "surrogate": 700_000}


@pytest.fixture(params=[(name, modality) for name in LETTERS for modality in ("CT", "MR")], ids="-".join)
def planned(request):
    return painted(*request.param)


def test_the_face_moves_and_the_brain_stays(planned):
    head, plan = planned
    defaced = applied(plan.defacer, head.modality)
    change = surface_change(head, defaced)
    assert change.brain_voxels_changed == 0
    assert change.moved > 0.95
    assert defaced.dtype == head.volume.dtype
    assert geometry_of(defaced) == geometry_of(head.volume)
    assert defaced.attrs["defaced_by"] == plan.defacer


def test_outside_the_region_every_bit_stays(planned):
    head, plan = planned
    defaced = applied(plan.defacer, head.modality)
    changed = defaced.values != head.volume.values
    region = plan.region(geometry_of(head.volume))
    assert changed.any()
    assert not (changed & ~region).any()


@pytest.mark.parametrize("name", LETTERS)
@given(data=st.data())
@settings(max_examples=8)
def test_any_chunking_equals_the_whole(name, data):
    modality = data.draw(st.sampled_from(["CT", "MR"]))
    head, plan = painted(name, modality)
    volume = head.volume
    chunks = [data.draw(st.integers(max(1, n // 3), n)) for n in volume.shape]
    lazy = volume.copy(data=dask.array.from_array(volume.values, chunks=chunks))
    out = plan.apply(lazy)
    assert isinstance(out.data, dask.array.Array)
    with dask.config.set(scheduler="synchronous"):
        assert np.array_equal(out.values, applied(name, modality).values)


def test_a_plan_survives_json_is_small_and_keeps_its_secret(planned):
    head, plan = planned
    text = json.dumps(plan.to_dict())
    assert len(text) < LETTERS[plan.defacer]
    again = plan_from_dict(json.loads(text))
    assert again.digest == plan.digest
    part = head.volume[40:44]
    assert np.array_equal(again.apply(part).values, plan.apply(part).values)
    assert "a secret" not in json.dumps(plan.summary(), default=str)


@pytest.mark.parametrize("name", LETTERS)
def test_no_value_of_what_is_painted_stands_out(name):
    """Tissue that were cut off at one value, or air that is not this image's, would tell what is new."""
    whole = painted(name, "CT")[0].volume
    values = whole.values.astype(np.float32)
    grain = np.random.default_rng(3).normal(0, 12, values.shape)
    noisy = np.where(values < -950, -1024, values) + grain
    volume = whole.copy(data=np.maximum(noisy, -1024).astype(whole.dtype))
    after = get_defacer(name).plan(Head(volume), key=KEY).apply(volume).values
    new = after[after != volume.values]
    tissue = new[(new > -20) & (new < 140)]
    assert np.unique(tissue, return_counts=True)[1].max() < 0.06 * tissue.size
    theirs = volume.values[volume.values < -980]
    assert new[new < -980].mean() == pytest.approx(theirs.mean(), abs=5)

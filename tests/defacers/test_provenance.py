"""What is defaced says so, wherever it goes; what is not defaced does not."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr

from defacedask.defacers import get_defacer
from defacedask.io.store import CaseStore, create_case
from defacedask.testing.subject import KEY, average_head, images


def plan_of(defacer):
    return get_defacer(defacer).plan(average_head(), key=KEY)


@pytest.fixture(scope="module")
def image():
    return images()["CT"].assign_attrs(series_uid="1.2.3", sop_instance_uid="1.2.4", description="head")


@pytest.fixture(scope="module")
def plan():
    return plan_of("quickshear")


def test_a_defaced_array_is_no_longer_its_source(image, plan):
    defaced = plan.apply(image)
    assert (defaced.values != image.values).any()
    assert not {"series_uid", "sop_instance_uid"} & set(defaced.attrs)
    assert defaced.attrs["source_series_uid"] == "1.2.3"
    assert defaced.attrs["source_sop_instance_uid"] == "1.2.4"
    assert defaced.attrs["defaced_by"] == "quickshear"
    assert defaced.attrs["defacing_plan_sha256"] == plan.digest
    assert defaced.attrs["derivation"].startswith("Not the source series")
    assert "defaced_by" not in image.attrs


def test_it_says_so_after_a_second_defacer_in_real_units_and_in_a_store(tmp_path, image, plan):
    twice = plan_of("biometric_mask").apply(plan.apply(image))
    assert twice.attrs["defaced_by"] == "quickshear, biometric_mask"
    assert twice.attrs["source_series_uid"] == "1.2.3"
    assert twice.attrs["defacing_plan_sha256"].startswith(f"{plan.digest}, ")
    assert twice.defacedask.real().attrs["defaced_by"] == "quickshear, biometric_mask"
    url = str(tmp_path / "case.zarr")
    with create_case(url, key="k", facts={}) as writer:
        writer.volume("images/CT", twice)
    assert CaseStore(url).volume("images/CT").attrs["defaced_by"] == "quickshear, biometric_mask"
    with xr.open_datatree(url, engine="zarr") as tree:
        assert "quickshear" in tree["images/CT/voxels"].attrs["derivation"]


def test_a_covered_face_is_said_to_be_recoverable(image, plan):
    assert "can be recovered" in plan_of("carina").apply(image).attrs["derivation"]
    assert "can be recovered" not in plan.apply(image).attrs["derivation"]


def test_the_control_claims_nothing(image):
    same = plan_of("none").apply(image)
    assert same.attrs == image.attrs
    assert np.array_equal(same, image)


def test_real_values_are_defaced_as_stored_ones_are(image, plan):
    """A rescale is not done twice: real values have none left."""
    stored = plan.apply(image).defacedask.real()
    real = plan.apply(image.defacedask.real())
    np.testing.assert_allclose(real, stored, atol=1e-3)


def test_it_stays_lazy(image, plan):
    lazy = image.copy(data=dask.array.from_array(image.values, chunks=(8, -1, -1)))
    defaced = plan.apply(lazy)
    assert isinstance(defaced.data, dask.array.Array)
    assert defaced.data.chunks == lazy.data.chunks

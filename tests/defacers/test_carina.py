from __future__ import annotations

import dataclasses

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from support.heads import placed, posed

from defacedask.anatomy.head import Head
from defacedask.anatomy.template import load_template
from defacedask.defacers import get_defacer, plan_from_dict, tiling
from defacedask.defacers.carina import layer
from defacedask.geometry import Geometry
from defacedask.io.dicom.export.shape import MOST_OF_SKIN, follows_skin
from defacedask.volume import geometry_of, make_volume, real_values

KEY = b"k" * 32


@pytest.fixture(scope="module")
def head():
    return Head(load_template("average_ct").image)


@pytest.fixture(scope="module")
def plan(head):
    return get_defacer("carina").plan(head, key=KEY)


@pytest.fixture(scope="module")
def defaced(head, plan):
    return plan.apply(head.volume)


def depth_of_body(head):
    """mm below the skin, outside air reached from around the head."""
    from scipy.ndimage import distance_transform_edt

    from defacedask.anatomy.morphology import close
    from defacedask.attacks.unmasking import outside_air

    body = ~outside_air(~close(real_values(head.volume).values >= head.level, 3))
    return distance_transform_edt(np.pad(body, 1), sampling=head.geometry.spacing)[1:-1, 1:-1, 1:-1]


def test_nothing_deeper_than_stated_changes(head, plan, defaced):
    changed = defaced.values != head.volume.values
    before = real_values(head.volume).values
    air = before < head.level
    assert (changed & air).sum() * head.geometry.voxel_volume > 100_000  # mm3: a real layer
    assert not changed[~np.asarray(plan.region(head.geometry))].any()
    # the skin map is of voxels of 2 mm
    deep = depth_of_body(head) > plan.deepest_mm + 2.0
    assert deep.sum() > 1e5
    assert not changed[deep].any()
    # bone stays, also just below the skin
    assert not changed[(before > plan.strata.soft[1]) & (depth_of_body(head) > 3.0)].any()
    assert defaced.dtype == head.volume.dtype


def test_nothing_is_laid_beside_the_head():
    """Coarse voxels, and a field of view that ends in the air behind the head, where rays beside it run out."""
    volume, truth = posed("CT", pitch=12.0, yaw=-8.0, spacing=(4.0, 3.0, 3.0))
    changed = get_defacer("carina").plan(placed(volume, truth), key=KEY).apply(volume).values != volume.values
    body = real_values(volume).values > -300
    away = ndimage.distance_transform_edt(~body, sampling=geometry_of(volume).spacing)
    assert changed.sum() > 1000
    assert away[changed].max() < 40.0


def test_what_is_protected_stays(head):
    from defacedask.defacers.protect import Protected

    ball = np.zeros(head.geometry.shape, bool)
    tip = np.rint(head.geometry.to_index(load_template("average_ct").landmarks["nose_tip"])).astype(int)
    ball[tuple(slice(i - 4, i + 5) for i in tip)] = True
    kept = Protected.of("Nose", ball, head.geometry)
    out = get_defacer("carina").plan(head, key=KEY, protected=(kept,)).apply(head.volume)
    np.testing.assert_array_equal(out.values[ball], head.volume.values[ball])


def test_the_skin_does_not_stay_as_a_line(head, defaced):
    # the first 2 mm below the old skin of the face hold no mixture with air any more
    before, after = (real_values(v).values for v in (head.volume, defaced))
    skin = (before >= head.level) & (before < -120) & (depth_of_body(head) < 2.5)
    face = skin & (defaced.values != head.volume.values)
    assert face.sum() > 3000
    assert (after[face] < -220).mean() < 0.05 < (before[face] < -220).mean()


def test_where_the_layer_ends_is_no_function_of_the_skin(head, plan):
    other = get_defacer("carina").plan(head, key=b"x" * 32)
    sheet, second = plan.sheets[0], other.sheets[0]
    middle = sheet.envelope - sheet.skin > 100
    # flat places, where the height is the depth
    flat = middle & (np.abs(sheet.inward[..., 1]) > 0.9)
    depth = (sheet.skin - sheet.floor)[flat] * 0.05
    assert depth.min() > 2.0
    assert depth.std() > 1.3
    assert np.abs(np.corrcoef(depth, (second.skin - second.floor)[flat])[0, 1]) < 0.5


def test_the_layer_covers_the_face(head, defaced):
    # in front of nose, eyes, mouth and chin there is tissue now where there was air
    values = real_values(defaced).values
    before = real_values(head.volume).values
    for name in ("nose_tip", "eye_left", "eye_right", "stomion", "pogonion", "tragion_left"):
        point = load_template("average_ct").landmarks[name].copy()
        outwards = np.array([np.sign(point[0]), 0, 0]) if "tragion" in name else np.array([0, -1.0, 0])
        steps = [point + outwards * d for d in (2.0, 3.0, 4.0)]
        index = np.rint(head.geometry.to_index(steps)).astype(int)
        filled = [values[tuple(i)] > head.level for i in index]
        air = [before[tuple(i)] < head.level for i in index]
        assert any(f and a for f, a in zip(filled, air, strict=True)), name


def test_no_threshold_tells_the_layer_from_tissue(head, defaced):
    layer = (real_values(head.volume).values < head.level) & (defaced.values != head.volume.values)
    values = real_values(defaced).values
    outside = depth_of_body(head)
    tissue = values[(outside > 3) & (outside < 9) & (values > -220) & (values < 160) & ~layer]
    inner = values[layer & ndimage.binary_erosion(values > head.level, iterations=4)]
    grid = np.linspace(-400, 400, 400)
    gap = np.abs(
        np.searchsorted(np.sort(inner), grid) / len(inner)
        - np.searchsorted(np.sort(tissue), grid) / len(tissue)
    )
    assert gap.max() < 0.25
    assert (inner > 200).mean() < 0.001  # no bone in it


@pytest.fixture(scope="module")
def coarse(head, plan):
    """Every second voxel of the head, and what the plan makes of them: an eighth of the work."""
    volume = head.volume[::2, ::2, ::2]
    after = plan.apply(volume)
    assert (after.values != volume.values).sum() > 10_000
    return volume, after


@settings(max_examples=8)
@given(st.tuples(*[st.integers(10, 45)] * 3))
def test_blocks_equal_the_whole(coarse, plan, chunks):
    volume, after = coarse
    lazy = volume.copy(data=dask.array.from_array(volume.values, chunks=chunks))
    np.testing.assert_array_equal(plan.apply(lazy).values, after.values)


def test_kept_and_read_again(head, plan, defaced):
    again = plan_from_dict(plan.to_dict())
    assert again.digest == plan.digest
    np.testing.assert_array_equal(again.apply(head.volume).values, defaced.values)


def test_the_key_decides_the_surface_and_stays_secret(head, plan):
    other = get_defacer("carina").plan(head, key=b"x" * 32)
    assert (other.sheets[0].envelope != plan.sheets[0].envelope).mean() > 0.1
    np.testing.assert_array_equal(other.sheets[0].skin, plan.sheets[0].skin)
    assert KEY.hex() not in str(plan.summary())
    assert "key" not in plan.summary()


def test_pet_gets_its_own_uptake(head, plan):
    grid = head.geometry.resampled(4.0)
    rng = np.random.default_rng(1)
    pet = make_volume(rng.integers(200, 400, grid.shape).astype(np.int16), grid, modality="PT", units="Bq/mL")
    after = plan.apply(pet).values
    changed = after != pet.values
    assert changed.any()
    assert 190 <= after[changed].min() <= after[changed].max() <= 410


def dose_of(head, spacing, ends=0.0):
    """A dose that falls from front to back and stops at the skin, or ``ends`` mm under it."""
    from scipy.ndimage import distance_transform_edt

    from defacedask.anatomy.grid import resample

    grid = head.geometry.resampled(spacing)
    deep = distance_transform_edt(head.body) * head.grid.spacing[0]
    inside = resample(deep.astype(np.float32), head.grid, grid, outside=0.0) > max(ends, 0.5)
    _, y, _ = grid.positions(dtype=np.float64)
    gray = np.broadcast_to(40 - 0.1 * (y - y.mean()), grid.shape)
    stored = np.where(inside, gray * 500, 0).astype(np.uint16)
    return make_volume(stored, grid, modality="RTDOSE", units="Gy", slope=0.002)


@pytest.mark.parametrize(("spacing", "ends"), [(4.0, 0.0), (3.0, 5.0)])
def test_a_dose_goes_on_through_the_layer(head, plan, spacing, ends):
    dose = dose_of(head, spacing, ends)
    after, region = plan.apply(dose), plan.region_of(dose)
    np.testing.assert_array_equal(after.values[~region], dose.values[~region])
    assert (after.values >= dose.values).all()  # also where the layer reaches into the body
    raised = after.values > dose.values
    assert raised.sum() * geometry_of(dose).voxel_volume > 100_000
    new = real_values(after).values[raised]
    was = real_values(dose).values
    # what the dose was under the skin, not what it is to be under a thicker head
    assert was[was > 0].min() < np.median(new) < new.max() <= was.max()
    step = geometry_of(dose).spacing
    assert follows_skin(dose.values, dose.values, region, step) == 1.0
    assert follows_skin(dose.values, after.values, region, step) < MOST_OF_SKIN


def test_a_dose_block_by_block(head, plan):
    dose = dose_of(head, 4.0)
    whole = plan.apply(dose).values
    lazy = dose.copy(data=dask.array.from_array(dose.values, chunks=(30, 30, 40)))
    np.testing.assert_array_equal(plan.apply(lazy).values, whole)


def test_a_layer_that_the_dose_does_not_fill_is_seen(head, plan):
    dose = dose_of(head, 4.0)
    region, step = plan.region_of(dose), geometry_of(dose).spacing
    after = plan.apply(dose).values.copy()
    # a fifth of the layer left empty
    empty = region & (np.arange(dose.shape[0]) % 5 == 0)[:, None, None]
    after[empty] = dose.values[empty]
    assert follows_skin(dose.values, after, region, step) > MOST_OF_SKIN
    # without a surface there is nothing to follow
    flat = np.full(dose.shape, 7)
    assert follows_skin(flat, flat, region, step) == 0.0


def test_far_away_nothing_happens(plan):
    grid = Geometry.from_spacing((4, 5, 6), (2, 2, 2), (500, 500, 500))
    assert not plan.region(grid).any()


def test_no_voxel_of_the_layer_is_left_out(plan, head, monkeypatch):
    """The layer's partial volume with the air lies in front of its envelope; in coarse images it reaches far."""
    nose = head.grid.to_index(head.landmark("nose_tip"))[0] * head.grid.spacing[0]
    grid = head.grid.resampled((3.0, 1.0, 1.0))
    middle = int(np.clip(nose / 3.0, 4, grid.shape[0] - 4))
    block = grid.block((middle - 4, 0, 0), (middle + 4, *grid.shape[1:]))
    found, looked_at = [], []
    coarse = dataclasses.replace(plan, edge=2.5)
    for brick in ((1, 2, 2), tiling.BRICK, block.shape):
        for module in (tiling, layer):
            monkeypatch.setattr(module, "BRICK", brick)
        found.append(coarse.wanted(block))
        looked_at.append(sum(at.size for _, at in plan.sheets[0].voxels(block, plan.pose, 0.0, 2.5)))
    assert found[-1].any()
    assert all(np.array_equal(one, found[-1]) for one in found)
    # the last is one brick: all is looked at
    assert (
        looked_at[0]
        < looked_at[1]
        < 0.7 * looked_at[2]
        == 0.7 * block.shape[0] * block.shape[1] * block.shape[2]
    )


@pytest.mark.gpu
def test_a_device_gives_the_same_values_and_is_seldom_waited_for(head, plan, cupy):
    from defacedask.testing.strict_cupy import counted
    from defacedask.testing.subject import images

    dose = images()["RTDOSE"]
    for volume in (head.volume[::2, ::2, ::2], images()["PT"], dose):
        here = plan.apply(volume)
        there = plan.apply(volume.copy(data=cupy.asarray(volume.values)))
        assert isinstance(there.data, cupy.ndarray)
        assert there.dtype == here.dtype
        assert np.array_equal(there.data.get(), here.values)
        back = plan.apply(volume, device="cuda")
        assert isinstance(back.data, np.ndarray)
        assert np.array_equal(back.values, here.values)
    geometry = geometry_of(dose)
    slope, intercept = (dose.coords[name].values[:, None, None] for name in ("slope", "intercept"))
    tuned, block = plan.tuned(dose), cupy.asarray(dose.values)
    tuned.deface_block(block, geometry, slope, intercept, "RTDOSE")
    with counted() as asked:
        tuned.deface_block(block, geometry, slope, intercept, "RTDOSE")
    assert asked.waits + asked.downloads <= 10
    # the plan's own fields are there already: what is sent is the block's places
    assert asked.bytes_up < 1e5

"""The average face in the image's own values: block by block, on every modality, with the brain untouched."""

from __future__ import annotations

import json

import dask.array
import numpy as np
import pytest
from support.heads import posed
from support.painted import KEY, applied, painted

from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Head
from defacedask.defacers import get_defacer
from defacedask.defacers.fields import Stack
from defacedask.defacers.mri_reface.intensity import ct_map, quantile_map, smooth_fill
from defacedask.errors import ConfigError, InputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.sampling import sample_field
from defacedask.volume import geometry_of, make_volume, real_values


@pytest.fixture(scope="module")
def ct():
    return painted("mri_reface", "CT")


@pytest.fixture(scope="module")
def mr():
    return painted("mri_reface", "MR")


def brain_on(head, grid):
    return resample(head.brain, head.grid, grid, nearest=True)


def new_body(plan, grid):
    """Where, in the replaced part, the average's body lies."""
    out = np.zeros(grid.shape, dtype=bool)
    for box, part in plan._tiles(grid, np):
        where = plan._where.over(part, plan.to_template)
        out[box] = ((where[0] > 0) & (where[1] <= 0)).reshape(part.shape)
    return out


def test_new_tissue_looks_like_tissue_and_air_like_air(ct):
    head, plan = ct
    defaced = real_values(applied("mri_reface", "CT")).values
    grid = geometry_of(head.volume)
    new = new_body(plan, grid)
    inside = sample_field(plan.laid[2], _fit_grid(), _template_places(plan, grid), outside=-4.0) > 3.5
    tissue = defaced[new & inside]
    assert -120 < np.median(tissue) < 100
    air = defaced[inside & ~new & ~plan_near_skin(plan, grid)]
    assert np.median(air) == pytest.approx(-1000, abs=15)


def _fit_grid():
    from defacedask.defacers.mri_reface.average import FIT_GRID

    return FIT_GRID


def _template_places(plan, grid):
    from defacedask.sampling import apply_affine

    return apply_affine(plan.to_template, *grid.positions(dtype=np.float64))


def plan_near_skin(plan, grid):
    return sample_field(plan.laid[1], _fit_grid(), _template_places(plan, grid), outside=99.0) < 3


def test_the_key_changes_the_noise_alone(ct):
    head, plan = ct
    other = get_defacer("mri_reface").plan(head, key=b"another")
    a, b = (real_values(p.apply(head.volume)).values for p in (plan, other))
    assert (a != b).any()
    assert np.abs(a - b).max() < 40 * max(plan.palette.noise.tissue, 1.0)
    assert "a secret" not in json.dumps(plan.summary(), default=str)


def test_two_runs_give_the_same_bytes(ct):
    head, plan = ct
    assert get_defacer("mri_reface").plan(Head(head.volume), key=KEY).digest == plan.digest


@pytest.mark.parametrize(("modality", "units"), [("MR", "1"), ("PT", "g/mL"), ("RTDOSE", "Gy")])
def test_a_ct_plan_goes_onto_other_images_of_the_frame(ct, modality, units):
    head, plan = ct
    grid = head.grid.aligned((4.0, 4.0, 4.0))
    body = resample(head.body.astype(np.float32), head.grid, grid, outside=0.0)
    rng = np.random.default_rng(3)
    real = {"MR": 300.0, "PT": 2.0, "RTDOSE": 60.0}[modality] * body + np.abs(rng.normal(0, 0.02, grid.shape))
    slope = float(real.max()) / 30000
    volume = make_volume(
        np.rint(real / slope).astype(np.uint16), grid, modality=modality, units=units, slope=slope
    )
    defaced = plan.apply(volume)
    assert defaced.dtype == np.uint16
    changed = defaced.values != volume.values
    assert changed.any()
    assert not (changed & brain_on(head, grid)).any()
    after = real_values(defaced).values
    new = new_body(plan, grid)
    deep = sample_field(plan.laid[2], _fit_grid(), _template_places(plan, grid), outside=-4.0) > 3.5
    front = deep & ~new & ~plan_near_skin(plan, grid)
    assert after[front].max() < 0.1 * real.max()
    assert np.median(after[deep & new]) > 0.1 * real.max()
    lazy = volume.copy(data=dask.array.from_array(volume.values, chunks=(17, 23, 64)))
    with dask.config.set(scheduler="synchronous"):
        assert np.array_equal(plan.apply(lazy).values, defaced.values)


def test_a_dose_far_below_both_skins_is_the_patients(ct):
    head, plan = ct
    grid = head.grid.aligned((2.0, 2.0, 2.0))
    # does not end at the skin, so that the new skin alone decides; its waves are not what carrying it on gives
    x = np.broadcast_to(grid.positions(np, np.float64)[0], grid.shape)
    real = 40 + 20 * np.sin(x / 6.0)
    slope = float(real.max()) / 30000
    dose = make_volume(
        np.rint(real / slope).astype(np.uint16), grid, modality="RTDOSE", units="Gy", slope=slope
    )
    after = plan.apply(dose).values
    under = -sample_field(plan.laid[1], _fit_grid(), _template_places(plan, grid), outside=50.0)
    region = np.asarray(plan.region(grid))
    far, near = region & (under > 14.5), region & (under > 0) & (under < 8)
    assert far.sum() > 100
    np.testing.assert_array_equal(after[far], dose.values[far])
    assert (after[near] != dose.values[near]).mean() > 0.9


def test_ghosts_in_the_air_go_on_mr_alone(mr, ct):
    for head, plan in (mr, ct):
        volume = head.volume.copy(deep=True)
        grid = geometry_of(volume)
        away = plan.region(grid) if head is mr[0] else ~brain_on(head, grid)
        place = np.argwhere(away & (head.volume.values < 100))
        behind = grid.to_world(place)[:, 1]
        z, y, x = place[np.argmax(behind)]
        volume.values[z, y, x] = 900
        after = plan.apply(volume).values[z, y, x]
        assert (after < 300) if head is mr[0] else (after == 900)


def test_options_are_checked():
    with pytest.raises(ConfigError, match="5 to 11"):
        get_defacer("mri_reface", brain_margin_mm=2.0)


def test_a_head_without_its_face_is_refused():
    volume, _ = posed("CT", spacing=(4.0, 3.0, 3.0), bottom=-25.0)
    with pytest.raises(RefusedError, match="face"):
        get_defacer("mri_reface").plan(Head(volume), key=KEY)


def test_another_average_is_not_painted(ct):
    import dataclasses

    head, plan = ct
    with pytest.raises(InputError, match="another average"):
        dataclasses.replace(plan, template_sha256="0").apply(head.volume)


# --- parts


def test_a_stack_reads_like_a_field(rng):
    grid = Geometry.from_spacing((6, 7, 8), (3.0, 2.0, 4.0), (1.0, -2.0, 5.0))
    fields = rng.normal(size=(3, *grid.shape)).astype(np.float32)
    places = tuple(rng.uniform(low, high, 500) for low, high in ((1, 29), (-2, 10), (5, 20)))
    found = Stack(fields, grid).at(places)
    for k in range(3):
        assert np.allclose(found[k], sample_field(fields[k], grid, places), atol=1e-4)


def test_maps_follow_the_image(rng):
    average = rng.uniform(40, 400, 5000)
    knots = quantile_map(average, 3 * average + 7, 5.0)
    xs, ys = np.array(knots).T
    assert np.interp(200, xs, ys) == pytest.approx(607, rel=0.02)
    assert np.interp(0, xs, ys) == 5.0
    turned = quantile_map(average, 1000 - 2 * average, 5.0)
    xs, ys = np.array(turned).T
    assert np.interp(200, xs, ys) == pytest.approx(600, rel=0.1)
    fat = np.concatenate([rng.normal(-105, 5, 900), rng.normal(40, 5, 900)])
    knots = dict(ct_map(fat, rng.normal(-1020, 4, 900)))
    assert knots[-95.0] == pytest.approx(-105, abs=1)
    assert knots[-1000.0] == pytest.approx(-1020, abs=1)
    # too little air to tell, and what only stands around the patient
    assert dict(ct_map(fat, np.full(200, -1020.0)))[-1000.0] == -1000
    assert dict(ct_map(fat, np.full(900, -200.0)))[-1000.0] == -1000


def test_unknown_places_take_their_neighbours_values():
    values = np.zeros((9, 9, 9), np.float32)
    known = np.zeros_like(values)
    values[:3], known[:3] = 7.0, 1.0
    filled = smooth_fill(values, known, (1.0, 4.0))
    assert np.allclose(filled, 7.0, atol=0.01)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_values(ct, mr, cupy):
    for head, plan in (ct, mr):
        here = applied("mri_reface", head.modality)
        there = plan.apply(head.volume.copy(data=cupy.asarray(head.volume.values)))
        assert isinstance(there.data, cupy.ndarray)
        assert np.array_equal(there.data.get(), here.values)

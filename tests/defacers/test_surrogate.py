"""A face that is nobody's: what of the patient it knows, what it leaves to the bit, and that it looks like tissue."""

from __future__ import annotations

import numpy as np
import pytest
from support.heads import placed, posed
from support.painted import KEY, painted

from defacedask.anatomy.atlas import atlas_of
from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Head
from defacedask.anatomy.morphology import dilate
from defacedask.defacers import get_defacer
from defacedask.defacers.mri_reface.average import FIT_GRID, average_shape
from defacedask.defacers.protect import Protected
from defacedask.defacers.surrogate.fit import secret_field
from defacedask.errors import ConfigError, RefusedError
from defacedask.sampling import apply_affine, sample_field
from defacedask.volume import geometry_of, make_volume, real_values


@pytest.fixture(scope="module")
def ct():
    return painted("surrogate", "CT")


@pytest.fixture(scope="module")
def mr():
    return painted("surrogate", "MR")


def test_the_bone_of_a_ct_stays_to_the_bit_and_none_is_made(ct):
    head, plan = ct
    old = real_values(head.volume).values
    new = real_values(plan.apply(head.volume)).values
    grid = geometry_of(head.volume)
    body = resample(head.body, head.grid, grid, nearest=True)
    bone = (old > 250) & body
    assert bone.sum() > 5000
    assert (new[bone] == old[bone]).all()
    # grains of noise apart, nothing new is as bright as bone
    made_here = (new > 200) & (new != old)
    assert made_here.sum() < 1e-3 * (new != old).sum()


def below_new_skin(plan, world):
    """mm below the new skin, along the average's own distance."""
    at = apply_affine(plan.to_template, *np.asarray(world).T)
    return -sample_field(plan.laid[1], FIT_GRID, at, outside=99.0)


def test_the_old_skin_lies_below_the_new_one_and_well_inside_what_is_overwritten(ct):
    head, plan = ct
    skin = head.grid.to_world(np.argwhere(head.face_skin))
    at = apply_affine(plan.to_template, *skin.T)
    on_face = sample_field(average_shape().rim, FIT_GRID, at) < 1
    assert (below_new_skin(plan, skin)[on_face] > 2.5).mean() > 0.93
    # 10 mm below the skin, or as far as bone, brain and protected structures allow
    grid = geometry_of(head.volume)
    region = plan.region(grid)
    values = real_values(head.volume).values
    kept = dilate((values > 150) | resample(head.brain, head.grid, grid, nearest=True), 3)
    inward = -np.asarray(head.pose)[1, :3] * -6.0
    deep = np.rint(grid.to_index(skin[on_face] + inward)).astype(int)
    deep = deep[((deep >= 0) & (deep < grid.shape)).all(axis=1)]
    free = ~kept[tuple(deep.T)] & resample(head.body, head.grid, grid, nearest=True)[tuple(deep.T)]
    assert free.sum() > 100
    assert region[tuple(deep.T)][free].mean() > 0.9


def test_what_is_protected_is_enclosed_and_stays(ct):
    head, _ = ct
    # a ball at the cheek, out to the skin
    middle = head.landmark("cheek_left")
    x, y, z = head.grid.positions()
    ball = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2 < 12**2) & head.body
    kept = Protected.of("Target", ball, head.grid, margin_mm=0.0)
    plan = get_defacer("surrogate").plan(head, key=KEY, protected=[kept])
    grid = geometry_of(head.volume)
    mask = resample(ball, head.grid, grid, nearest=True)
    before, after = head.volume.values, plan.apply(head.volume).values
    assert mask.sum() > 100
    assert (before[mask] == after[mask]).all()
    assert np.quantile(below_new_skin(plan, head.grid.to_world(np.argwhere(ball))), 0.02) > 1.0


def swollen(mm):
    """The same head with more flesh on its cheeks; bone, brain and all else as it was."""
    volume, truth = posed("CT", pitch=8, yaw=5, spacing=(3.0, 2.5, 2.5))
    head = placed(volume, truth)
    values = real_values(volume).values.copy()
    body = resample(head.body, head.grid, geometry_of(volume), nearest=True)
    x, y, z = geometry_of(volume).positions()
    for side in ("cheek_left", "cheek_right"):
        at = head.landmark(side)
        near = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < 28**2
        grown = dilate(body & near, max(1, round(mm / 2.5))) & near & ~body
        values[grown] = 40.0
    stored = make_volume(
        np.round(values - -1024.0).astype(np.int16),
        geometry_of(volume),
        modality="CT",
        units="HU",
        slope=1.0,
        intercept=-1024.0,
    )
    return Head(stored, registration=head.registration)


def test_the_new_face_knows_nothing_of_the_old_one_but_its_lift():
    shape = average_shape()
    face = (np.abs(shape.skin) < 2) & (shape.off_face < 1) & (shape.rim < 1)
    marks = atlas_of().landmarks
    x, y, z = FIT_GRID.positions()
    at_cheek = np.zeros(FIT_GRID.shape, bool)
    for side in ("cheek_left", "cheek_right"):
        at = marks[side]
        at_cheek |= (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < 20**2
    heads = swollen(0.0), swollen(6.0)

    def moved(name):
        """By how much more the new skin moves at cheeks that swelled than elsewhere, mm."""
        thin, thick = (get_defacer(name).plan(head, key=KEY) for head in heads)
        shift = thin.laid[1] - thick.laid[1]
        return np.median(shift[face & at_cheek]) - np.median(shift[face & ~at_cheek])

    assert abs(moved("surrogate")) < 0.3
    # the control: mri_reface, which lies over the patient's skin, does know
    assert moved("mri_reface") > 1.0


def test_the_secret_is_the_keys_alone_and_smooth():
    one, two = secret_field(b"one"), secret_field(b"two")
    assert np.array_equal(one, secret_field(b"one"))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.35
    many = np.stack([secret_field(bytes([k])) for k in range(24)])
    assert 1.5 < many.std(axis=0).mean() < 3.5
    assert max(np.abs(np.diff(one, axis=a)).max() for a in range(3)) < 4.0  # mm a step of 6 mm


def test_a_dose_is_left_where_structures_are_kept(ct):
    head, _ = ct
    grid = geometry_of(head.volume)
    middle = head.landmark("eye_left")
    x, y, z = head.grid.positions()
    ball = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2 < 12**2
    plan = get_defacer("surrogate").plan(
        head, key=KEY, protected=[Protected.of("Eye_L", ball & head.body, head.grid, margin_mm=0.0)]
    )
    body = resample(head.body, head.grid, grid, nearest=True)
    gradient = np.linspace(1, 60, grid.shape[1])[None, :, None]
    gray = np.where(body, np.broadcast_to(gradient, grid.shape), 0.0)
    dose = make_volume(
        np.round(gray * 1000).astype(np.uint32),
        grid,
        modality="RTDOSE",
        units="Gy",
        slope=1e-3,
        intercept=0.0,
    )
    after = plan.apply(dose).values
    inside = resample(ball & head.body, head.grid, grid, nearest=True)
    assert (after[inside] == dose.values[inside]).all()
    assert (after != dose.values).any()


def test_options_and_a_head_without_a_face_are_refused():
    with pytest.raises(ConfigError, match="brain_margin_mm of surrogate is 1 mm"):
        get_defacer("surrogate", brain_margin_mm=1.0)
    volume, _ = posed("CT", bottom=0.0)
    head = Head(volume)
    with pytest.raises(RefusedError, match="face"):
        get_defacer("surrogate").plan(head, key=KEY)

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter

from defacedask.anatomy.template import load_template
from defacedask.attacks.names import SYNTHETIC
from defacedask.attacks.skin_found import FaceSkin
from defacedask.attacks.synthetic import judged, peel
from defacedask.attacks.synthetic.context import around
from defacedask.attacks.synthetic.detector import LIKELY, Finding, SyntheticDetector, changed, lesson
from defacedask.attacks.synthetic.features import FAMILIES, LOCAL, NAMES, near_skin
from defacedask.attacks.synthetic.judged import MOST_FALSE, controls_of, dice, judged_synthetic
from defacedask.attacks.synthetic.learned import shipped
from defacedask.attacks.synthetic.planted import LEAST_DICE, WEAK, weakly_defaced
from defacedask.attacks.synthetic.trees import Trees
from defacedask.attacks.target import target_of
from defacedask.faces.surface import regrid, skin_level
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, real_values


def noisy(seed):
    """The average head, which is nobody's, on 3 mm, with a scanner's noise: coarser than white."""
    image = load_template("average_ct").image
    values, grid = regrid(real_values(image).values, geometry_of(image), 3.0, interpolate=False)
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(values.shape), 0.7)
    scan = np.rint(values + 12.0 / noise.std() * noise).astype(np.float32)
    return target_of(scan, grid, modality="CT", level=-300.0, pose=np.eye(4))


def noisy_mr(seed):
    """The average head's T1 on 3 mm, as a coil sees it: noise of both channels."""
    image = load_template("average_t1").image
    values, grid = regrid(real_values(image).values, geometry_of(image), 3.0, interpolate=False)
    rng = np.random.default_rng(seed)
    real, other = (9.0 * rng.standard_normal(values.shape) for _ in range(2))
    scan = np.rint(np.hypot(values + real, other)).astype(np.float32)
    return target_of(scan, grid, modality="MR", level=skin_level("MR", scan), pose=np.eye(4))


@pytest.fixture(scope="module")
def original():
    return noisy(1)


@pytest.fixture(scope="module")
def weak(original):
    return {kind: weakly_defaced(original, kind) for kind in WEAK}


@pytest.fixture(scope="module")
def taught():
    """By another scan of the same head: untouched, and below other layers."""
    one = noisy(2)
    lessons = [lesson(one, one, seed) for seed in (0, 1)]
    lessons += [lesson(one, weakly_defaced(one, kind, 2)) for kind in WEAK]
    return SyntheticDetector.trained(lessons, range(len(LOCAL)))


def told(detector, original, released):
    found = detector.find(released)
    return found.odds > 0, changed(original, released).ravel()[found.where]


@pytest.mark.parametrize("kind", WEAK)
def test_a_weak_fill_is_found(taught, original, weak, kind):
    assert dice(*told(taught, original, weak[kind])) > LEAST_DICE


def test_in_an_untouched_head_nearly_nothing_is_found(taught, original):
    share, true = told(taught, original, original)
    assert share.mean() < MOST_FALSE
    assert not true.any()


def test_a_fill_that_is_told_by_nothing_is_not_found(taught, original):
    """The same voxels, filled with the patient's own tissue from elsewhere in the image."""
    values, geometry = original.finest
    body = values >= original.level
    shape = body.shape
    new = values.copy()
    half = shape[2] // 2
    # left and right of a head are alike: texture, levels and place are the patient's
    new[:, :, :half] = values[:, :, ::-1][:, :, :half]
    mirrored = dataclasses.replace(original, fine=(new, geometry))
    share, true = told(taught, original, mirrored)
    assert true.mean() > 0.2
    assert share.mean() < MOST_FALSE


def test_a_smooth_layer_is_peeled_off(taught, original, weak, monkeypatch):
    monkeypatch.setattr(peel, "shipped", lambda *_: taught)
    target = dataclasses.replace(weak["smooth"])
    truth = FaceSkin.of(original)
    attempts = peel.synthetic_voxels(target)
    assert {a.attack for a in attempts} == {SYNTHETIC}
    assert attempts[0].variant == "peeled"
    assert any("average" in a.variant for a in attempts[1:])
    # what was overwritten below the skin is gone, too: the hole ends where the patient begins
    kept = truth.share(target.values, target.geometry, target.level)
    synthetic = changed(original, weak["smooth"])
    hole = attempts[0].values
    assert hole.shape == target.values.shape
    assert kept < 0.3
    assert (hole < original.level).sum() > (target.values < target.level).sum() + 0.5 * (
        synthetic & (target.finest[0] >= target.level)
    ).sum() * target.finest[1].voxel_volume / target.geometry.voxel_volume


def test_a_detector_that_wants_to_be_sure_peels_what_is_likely_too(taught, weak, monkeypatch):
    sure = dataclasses.replace(taught, sure=LIKELY)
    found, usual = sure.find(weak["white"]), taught.find(weak["white"])
    assert (found.likely == usual.mask).all()
    assert not (found.mask & ~usual.mask).any()
    assert found.mask.sum() < usual.mask.sum()
    monkeypatch.setattr(peel, "shipped", lambda *_: sure)
    variants = [a.variant for a in peel.synthetic_voxels(dataclasses.replace(weak["white"]))]
    assert "peeled" in variants
    assert "peeled deeper" in variants


def test_nothing_is_peeled_where_nothing_is_found(original):
    assert peel.peeled_of(original, np.zeros(original.finest[0].shape, bool)) == []
    pet = dataclasses.replace(original, modality="PT")
    assert peel.synthetic_voxels(pet) == []
    assert controls_of(pet) == {}


def test_a_control_that_fails_is_said(original, weak):
    good = dict.fromkeys(WEAK, 0.9) | {"false": 0.02}
    (row,) = judged_synthetic(original, weak["smooth"], good)
    assert row["control_holds"]
    assert row["reason"] == ""
    assert row["dice"] > 0.5
    assert 0.1 < row["changed"] < 0.5
    bad = good | {"white": 0.4, "false": 0.3}
    (row,) = judged_synthetic(original, weak["smooth"], bad)
    assert not row["control_holds"]
    assert "white noise" in row["reason"]
    assert "30 %" in row["reason"]
    assert judged_synthetic(original, weak["smooth"], {}) == []


@pytest.mark.parametrize("scan", [noisy, noisy_mr])
def test_the_detectors_that_come_with_the_package_tell_the_weak_fills_apart(scan):
    controls = controls_of(scan(1))
    assert min(controls[kind] for kind in WEAK) > LEAST_DICE
    assert controls["false"] < MOST_FALSE


def test_no_detector_knows_pet():
    assert shipped("PT") is None
    assert shipped("PT", "place") is None


def test_the_second_look_knows_what_the_first_told_of_the_shells(original):
    looks = near_skin(original)
    odds = np.where(looks.layer == 1, 3.0, -2.0)
    seen = around(looks, odds)
    assert seen.shape == (len(looks.where), 12)
    outer = looks.layer == 0
    # of the own shell, the one below, and the one above
    assert np.median(seen[outer, 3]) == pytest.approx(-2.0, abs=0.1)
    assert np.median(seen[outer, 4]) == pytest.approx(3.0, abs=0.1)
    assert np.median(seen[looks.layer == 2, 6]) == pytest.approx(3.0, abs=0.1)


def test_shells_part_a_thin_noise_free_fill_from_what_lies_below(original, weak):
    looks = near_skin(weak["smooth"])
    filled = changed(original, weak["smooth"]).ravel()[looks.where]
    for name in ("shell along x", "shell spread"):
        own = looks.features[:, NAMES.index(name)]
        assert np.median(own[filled]) < np.median(own[~filled]) - 0.5


def test_trees_say_what_was_asked_of_them():
    """Two trees by hand: a question of column 1 and then of column 0; a leaf alone."""
    feature = np.array([[1, -1, 0, -1, -1], [-1, -1, -1, -1, -1]], np.int16)
    threshold = np.array([[0.5, 0, 2.0, 0, 0], [0] * 5], float)
    left = np.array([[1, 1, 3, 3, 4], [0, 1, 2, 3, 4]], np.int16)
    right = np.array([[2, 1, 4, 3, 4], [0, 1, 2, 3, 4]], np.int16)
    value = np.array([[0, 1.0, 0, 2.0, 4.0], [0.25, 0, 0, 0, 0]], np.float32)
    trees = Trees(feature, threshold, left, right, value, -1.0)
    asked = np.array([[9, 0.5], [2.0, 1], [2.1, 1]], np.float32)
    assert trees.odds(asked).tolist() == [0.25, 1.25, 3.25]
    assert Trees.of(trees.to_arrays("a"), "a").odds(asked).tolist() == [0.25, 1.25, 3.25]


def test_a_fine_image_is_told_in_every_voxel(original, taught):
    """Half the voxel's edges: told at each second one, and the mask is of all."""
    values, grid = original.finest
    fine = np.repeat(np.repeat(np.repeat(values[20:60], 2, 0), 2, 1), 2, 2)
    small = Geometry.from_spacing(fine.shape, [s / 2 for s in grid.spacing], grid.origin)
    target = dataclasses.replace(original, fine=(fine, small))
    looks = near_skin(target)
    assert looks.steps == (2, 2, 2)
    finding = Finding(looks, np.ones(len(looks.where), np.float32), fine.shape)
    tissue = np.zeros(fine.shape, bool)
    tissue.ravel()[looks.where] = True
    near = binary_dilation(tissue, iterations=1) & (fine >= target.level)
    assert finding.mask[near].mean() > 0.95


def test_values_that_the_image_never_has_are_seen(original):
    values, geometry = original.finest
    even = np.where(values >= original.level, 2.0 * np.rint(values / 2.0), values).astype(np.float32)
    odd = even.copy()
    odd[:, : odd.shape[1] // 3] += 1.0
    looks = near_skin(dataclasses.replace(original, fine=(odd, geometry)))
    rare = looks.features[:, NAMES.index("rare")]
    front = np.unravel_index(looks.where, odd.shape)[1] < odd.shape[1] // 3
    assert np.median(rare[front]) > np.median(rare[~front]) + 1.0
    assert sum(len(names) for names in FAMILIES.values()) == looks.features.shape[1]


def test_dice_is_that_of_the_sets():
    assert dice(np.array([1, 1, 0], bool), np.array([1, 0, 0], bool)) == pytest.approx(2 / 3)
    assert np.isnan(dice(np.zeros(2, bool), np.zeros(2, bool)))
    assert judged.MOST_FALSE < 0.5

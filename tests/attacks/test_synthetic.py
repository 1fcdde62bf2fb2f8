from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from defacedask.anatomy.template import load_template
from defacedask.attacks.layer_classifier import Lesson
from defacedask.attacks.names import SYNTHETIC
from defacedask.attacks.skin_found import FaceSkin
from defacedask.attacks.synthetic import judged, peel
from defacedask.attacks.synthetic.detector import SyntheticDetector, changed, lesson
from defacedask.attacks.synthetic.features import FAMILIES, NAMES, near_skin
from defacedask.attacks.synthetic.judged import MOST_FALSE, controls_of, dice, judged_synthetic
from defacedask.attacks.synthetic.learned import shipped
from defacedask.attacks.synthetic.planted import LEAST_DICE, WEAK, weakly_defaced
from defacedask.attacks.target import target_of
from defacedask.faces.surface import regrid
from defacedask.volume import geometry_of, real_values


def noisy(seed):
    """The average head, which is nobody's, on 3 mm, with a scanner's noise: coarser than white."""
    image = load_template("average_ct").image
    values, grid = regrid(real_values(image).values, geometry_of(image), 3.0, interpolate=False)
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(values.shape), 0.7)
    scan = np.rint(values + 12.0 / noise.std() * noise).astype(np.float32)
    return target_of(scan, grid, modality="CT", level=-300.0, pose=np.eye(4))


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
    return SyntheticDetector.trained(lessons + [lesson(one, weakly_defaced(one, kind, 2)) for kind in WEAK])


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


def test_the_detectors_that_come_with_the_package_tell_the_weak_fills_apart(original, weak):
    detector = shipped("CT")
    for target in weak.values():
        where, features = near_skin(target)
        true = changed(original, target).ravel()[where]
        assert detector.classifier.auc(Lesson(features, true)) > 0.9
    controls = controls_of(original)
    assert controls["smooth"] > LEAST_DICE
    assert controls["false"] < MOST_FALSE
    assert shipped("MR") is not None
    assert shipped("PT") is None


def test_values_that_the_image_never_has_are_seen(original):
    values, geometry = original.finest
    even = np.where(values >= original.level, 2.0 * np.rint(values / 2.0), values).astype(np.float32)
    odd = even.copy()
    odd[:, : odd.shape[1] // 3] += 1.0
    where, features = near_skin(dataclasses.replace(original, fine=(odd, geometry)))
    rare = features[:, NAMES.index("rare")]
    front = np.unravel_index(where, odd.shape)[1] < odd.shape[1] // 3
    assert np.median(rare[front]) > np.median(rare[~front]) + 1.0
    assert sum(len(names) for names in FAMILIES.values()) == features.shape[1]


def test_dice_is_that_of_the_sets():
    assert dice(np.array([1, 1, 0], bool), np.array([1, 0, 0], bool)) == pytest.approx(2 / 3)
    assert np.isnan(dice(np.zeros(2, bool), np.zeros(2, bool)))
    assert judged.MOST_FALSE < 0.5

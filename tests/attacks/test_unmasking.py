from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from defacedask.anatomy.faceless import Faceless
from defacedask.anatomy.template import load_template
from defacedask.attacks.face_rays import Rays
from defacedask.attacks.layer_classifier import LayerClassifier, attempts_by, lesson
from defacedask.attacks.learned import learned, lessons_of
from defacedask.attacks.planted import KINDS, LEAST_FOUND, planted
from defacedask.attacks.skin_found import FaceSkin
from defacedask.attacks.target import target_of
from defacedask.attacks.uncovering import attempts_of
from defacedask.attacks.unmasking import peeled
from defacedask.attacks.unmasking_judged import judged
from defacedask.attacks.unmasking_lines import mask_attempts, seam_attempt
from defacedask.faces.surface import regrid, skin_level
from defacedask.volume import geometry_of, real_values
from tools.layer_classifiers import PATIENTS, patient_lessons
from tools.synthetic_teachers import ct_teacher


@pytest.fixture(scope="module")
def original():
    """The average head, which is nobody's, in its own frame."""
    image = load_template("average_ct").image
    values = real_values(image).values
    return target_of(values, geometry_of(image), modality="CT", level=-300.0, pose=np.eye(4))


@pytest.fixture(scope="module")
def truth(original):
    return FaceSkin.of(original)


@pytest.fixture(scope="module")
def weak(original):
    return {kind: planted(original, kind) for kind in KINDS}


def best(truth, target, attempts):
    return max(truth.shares(target, attempts).values(), default=0.0)


def test_the_skin_itself_is_found_and_a_covered_one_is_not(original, truth, weak):
    assert truth.share(*original.finest, original.level) > 0.99
    for target in weak.values():
        assert truth.share(*target.finest, target.level) < 0.3
    # nothing but its true place counts: 4 mm off is off
    (off,) = peeled(original, [4.0])
    assert truth.share(off.values, original.geometry, off.level) < 0.1


def test_rays_know_where_the_skin_is(original, truth, weak):
    front = Rays.of(original).front
    target = weak["mask"]
    uncovered = Rays.of(target).as_attempt(target, front, "unmasked", "known")
    assert truth.share(uncovered.values, uncovered.geometry, uncovered.level) > 0.9


def test_the_mask_attempt_sees_its_control(truth, weak):
    assert best(truth, weak["mask"], mask_attempts(weak["mask"])) > LEAST_FOUND
    assert mask_attempts(weak["seam"]) == []  # nothing is published with it


def test_a_mask_that_does_not_follow_the_skin_shows_nothing(truth, weak):
    target = weak["mask"]
    _, geometry = target.finest
    x, y, z = np.broadcast_arrays(*geometry.positions(dtype=np.float64))
    box = (y < -55) & (np.abs(x) < 80) & (z > -140) & (z < 20)
    hull = dataclasses.replace(target, mask=box)
    peel = best(truth, target, peeled(target, (3.0, 5.0, 7.0, 9.0)))
    assert best(truth, hull, mask_attempts(hull)) < min(peel, 0.4)


def test_the_seam_attempt_sees_its_control_and_nothing_where_there_is_no_seam(truth, weak):
    assert best(truth, weak["seam"], seam_attempt(weak["seam"])) > LEAST_FOUND
    smooth = weak["mask"]  # tissue all the way, mixed with the skin as in a scanner
    assert best(truth, smooth, seam_attempt(smooth)) < 0.6


@pytest.fixture(scope="module")
def classifier(original):
    return LayerClassifier.trained(
        [lesson(original, planted(original, "classifier", seed=s)) for s in (5, 6)]
    )


def test_the_classifier_sees_its_control(original, truth, weak, classifier):
    assert classifier.auc(lesson(original, weak["classifier"])) > 0.95
    assert best(truth, weak["classifier"], attempts_by([classifier], weak["classifier"])) > LEAST_FOUND


@pytest.mark.parametrize(("control", "holds"), [(0.3, False), (0.9, True)])
def test_a_control_that_fails_is_said(original, weak, monkeypatch, control, holds):
    # without a classifier, which would have to learn first
    monkeypatch.setattr("defacedask.attacks.uncovering.learned", lambda *_: None)
    (row,) = judged(original, weak["seam"], {"seam": control})
    assert row["attempt"] == "seam"
    assert row["control_holds"] == holds
    assert row["skin_found"] > LEAST_FOUND > row["peel_found"]
    assert ("proves nothing" in row["reason"] and "30 %" in row["reason"]) != holds


@pytest.mark.parametrize(("behind", "partly"), [(0.05, False), (0.3, True)])
def test_where_the_face_was_cut_before_the_control_is_not_judged(original, weak, monkeypatch, behind, partly):
    monkeypatch.setattr("defacedask.attacks.uncovering.learned", lambda *_: None)
    front = Faceless(1.0, behind, 0.0)
    for control in (0.3, 0.9):
        (row,) = judged(original, weak["seam"], {"seam": control}, front)
        assert (row["control_holds"] is None) == partly
        assert ("not judged here: a part of its face is missing" in row["reason"]) == partly
        assert row["control_found"] == control


def test_on_soft_coarse_voxels_the_skin_is_found_by_who_learnt_on_scans_too():
    """The average head, which taught the first, has fine voxels."""
    image = load_template("average_ct").image
    values, grid = regrid(real_values(image).values, geometry_of(image), 5.0, interpolate=False)
    soft = gaussian_filter(values, 0.5)
    scan = target_of(soft, grid, modality="CT", level=-300.0, pose=np.eye(4))
    layer = planted(scan, "classifier")
    found = FaceSkin.of(scan).shares(layer, attempts_of(layer, "classifier", weak=True))
    assert list(found) == ["classifier", "classifiers together", "classifier, own middle"]
    assert found["classifier"] < LEAST_FOUND < found["classifiers together"]


def test_one_of_two_does_not_decide_alone(weak, classifier):
    target = weak["classifier"]
    loud = dataclasses.replace(classifier, weights=1000.0 * classifier.weights)
    for both in ([classifier, loud], [classifier, classifier]):
        alone, together, _ = attempts_by(both, target)
        moved = np.abs(alone.values - together.values) > 1.0
        assert moved.mean() < 0.02


def test_mr_asks_the_one_that_learnt_on_the_average_head(mr):
    assert learned("MR", teachers="patients") is None
    assert [a.variant for a in attempts_of(mr, "classifier")] == ["classifier", "classifier, own middle"]


@pytest.fixture(scope="module")
def mr():
    """The average head on MR: its tissue is many times as far above air as the level of its skin is."""
    image = load_template("average_t1").image
    return mr_target(real_values(image).values, geometry_of(image))


def mr_target(values, geometry):
    level = float(skin_level("MR", real_values(load_template("average_t1").image).values))
    return target_of(values, geometry, modality="MR", level=level, pose=np.eye(4))


@pytest.fixture(scope="module")
def ghosts(mr):
    """The same with what MR has: specks in the air before the face, and dark gaps just under its skin."""
    image = load_template("average_t1").image
    values, geometry = real_values(image).values, geometry_of(image)
    body = values >= mr.level
    rng = np.random.default_rng(3)
    out = distance_transform_edt(~body, sampling=geometry.spacing)
    deep = distance_transform_edt(body, sampling=geometry.spacing)
    specks = (
        (out > 4.0) & (out < 25.0) & binary_dilation(rng.random(values.shape) < 0.001, np.ones((3, 3, 3)))
    )
    gaps = (deep > 2.0) & (deep < 7.0) & binary_dilation(rng.random(values.shape) < 0.01, np.ones((3, 3, 3)))
    new = np.where(specks, np.float32(1.15 * mr.level), np.where(gaps, np.float32(0.0), values))
    return mr_target(new, geometry)


def test_specks_in_the_air_and_gaps_under_the_skin_are_no_skin(mr, ghosts):
    clean = FaceSkin.of(mr)
    points = FaceSkin.of(ghosts).points
    assert 0.9 < len(points) / len(clean.points) < 1.1
    distance, _ = cKDTree(clean.points).query(points)
    assert (distance < 2.0).mean() > 0.9


def test_no_layer_is_planted_on_specks(mr, ghosts):
    one, other = planted(mr, "mask").mask, planted(ghosts, "mask").mask
    assert (one ^ other).sum() < 0.05 * one.sum()


def test_the_seam_is_seen_on_mr(mr):
    target = planted(mr, "seam")
    assert best(FaceSkin.of(mr), target, seam_attempt(target)) > LEAST_FOUND


def test_odds_that_another_scanner_shifts_are_set_right(truth, weak, classifier):
    weights = classifier.weights.copy()
    weights[0] += 8.0  # on the log odds of everything
    as_learnt, own = attempts_by([dataclasses.replace(classifier, weights=weights)], weak["classifier"])
    assert best(truth, weak["classifier"], [as_learnt]) < LEAST_FOUND
    assert best(truth, weak["classifier"], [own]) > LEAST_FOUND


@pytest.mark.parametrize(("modality", "weak"), [("CT", False), ("MR", True)])
def test_the_classifiers_that_come_with_the_package_know_what_the_average_heads_teach(modality, weak):
    lessons = lessons_of(modality, weak)
    kept, taught = learned(modality, weak), LayerClassifier.trained(lessons)
    for one in lessons:
        assert kept.auc(one) > taught.auc(one) - 0.002
        odds = (c.of_features(one.features[None])[0] for c in (kept, taught))
        assert np.corrcoef(*odds)[0, 1] > 0.99
    # one that learnt something else is told from it: the other file's entry
    assert learned(modality, not weak).auc(lessons[0]) < taught.auc(lessons[0]) - 0.002


def test_a_study_learns_nothing_anew(monkeypatch):
    monkeypatch.setattr(LayerClassifier, "trained", lambda *_: pytest.fail("it learns"))
    learned.cache_clear()
    assert learned("CT") is not None
    assert learned("MR", weak=True) is not None
    assert learned("PT") is None


def test_what_was_learnt_on_patients_holds_for_another_patient():
    """Whose coarse voxels and noise the classifier of the average head does not know."""
    known = patient_lessons(20, ct_teacher(20, fat=True))
    assert 20 not in PATIENTS["CT"][1]
    for name, weak in (("planted", True), ("carina", False)):
        scans, average = (learned("CT", weak, teachers) for teachers in ("patients", "average"))
        assert scans.auc(known[name]) > max(0.85, average.auc(known[name]))

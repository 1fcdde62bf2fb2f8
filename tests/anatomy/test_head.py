from __future__ import annotations

import json
import subprocess
import sys

import dask.array
import numpy as np
import pytest
from support.heads import posed

from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Figure, Head
from defacedask.errors import InputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.volume import make_volume


@pytest.fixture(scope="module")
def upright():
    volume, truth = posed(spacing=(3.0, 2.0, 2.0), couch=True)
    return volume, truth, Head(volume)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_brain_by_value_by_template_and_true(upright):
    _, truth, head = upright
    true = resample(head.atlas.brain, head.atlas.grid, head.grid, matrix=truth, nearest=True)
    assert dice(head.brain, true) > 0.9
    assert dice(head.brain_by_value, true) > 0.85, "no template needed"
    assert head.quality["brain_agreement"].value > 0.85


def test_landmarks_vertex_and_chin(upright):
    _, truth, head = upright
    for name in ("nose_tip", "menton", "eye_left", "tragion_right"):
        true = (np.linalg.inv(truth) @ np.append(head.atlas.landmarks[name], 1))[:3]
        assert np.linalg.norm(head.landmark(name) - true) < 4, name
    vertex = truth @ np.append(head.vertex, 1)
    assert vertex[2] == pytest.approx(head.atlas.landmarks["vertex"][2], abs=5)
    assert head.chin == pytest.approx(head.landmark("menton"))


def test_depth_maps_are_millimetres_in_the_heads_frame(upright):
    _, _, head = upright
    depth = head.depth
    nose, nasion = head.atlas.landmarks["nose_tip"], head.atlas.landmarks["nasion"]

    def at(point):
        return depth.depth[np.abs(depth.rows - point[2]).argmin(), np.abs(depth.columns - point[0]).argmin()]

    assert at(nose) == pytest.approx(nose[1], abs=4)
    assert at(nasion) == pytest.approx(nasion[1], abs=5)
    assert np.isnan(depth.depth[-1]).all(), "nothing above the crown"
    right, left = head.lateral
    assert np.nanmin(right.depth) == pytest.approx(-np.nanmax(left.depth), abs=6)
    assert np.nanmax(left.depth) > 70


def test_everything_is_computed_once(upright):
    _, _, head = upright
    for name in ("registration", "brain", "depth", "upright_body", "quality", "drop"):
        assert getattr(head, name) is getattr(head, name)


def test_the_record_is_json(upright):
    _, _, head = upright
    facts = json.loads(json.dumps(head.facts()))
    assert facts["quality"]["match"]["ok"] is True
    head.require()


def test_lazy_volumes_give_the_same_head(upright):
    volume, _, head = upright
    lazy = volume.copy(data=dask.array.from_array(volume.values, chunks=(16, 64, 64)))
    again = Head(lazy)
    assert np.array_equal(again.values, head.values)
    assert np.array_equal(again.body, head.body)


def limb(modality: str):
    """A thigh: skin, fat, muscle, one hollow bone."""
    grid = Geometry.from_spacing((80, 90, 90), (4.0, 2.5, 2.5))
    z, y, x = np.indices(grid.shape) * 2.5
    r = np.hypot(x - 112 - 8 * np.sin(z / 60), y - 112)
    values = np.full(grid.shape, -1000.0 if modality == "CT" else 0.0)
    for radius, hu, t1 in ((95, -100, 400), (80, 55, 180), (17, 900, 20), (9, 30, 380)):
        values[r < radius] = hu if modality == "CT" else t1
    values += np.random.default_rng(0).normal(0, 10, grid.shape)
    units = {"CT": "HU", "MR": "1", "PT": "g/mL"}[modality]
    return make_volume(values.astype(np.float32), grid, modality=modality, units=units)


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_a_limb_is_no_head(modality):
    with pytest.raises(RefusedError, match="no head was found"):
        Head(limb(modality)).require()


@pytest.mark.parametrize("fill", [0, -1024])
def test_an_empty_scan_is_no_head(fill):
    grid = Geometry.from_spacing((20, 30, 30), (3.0, 3.0, 3.0))
    for modality, units in (("CT", "HU"), ("MR", "1"), ("PT", "g/mL")):
        empty = make_volume(np.full(grid.shape, fill, np.int16), grid, modality=modality, units=units)
        with pytest.raises(RefusedError, match="no head was found"):
            Head(empty).require()


def test_a_scan_cut_below_the_eyes_is_refused_with_the_reason():
    volume, _ = posed(top=-38)
    with pytest.raises(RefusedError, match=r"in view|field of view"):
        Head(volume).require()


def test_unknown_modalities_are_refused_at_the_door():
    grid = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="US"):
        Head(make_volume(np.zeros(grid.shape), grid, modality="US", units=""))


def test_figures_say_what_they_mean():
    good = Figure.at_least("match", 0.4, 0.22, "nats", "nothing fits")
    bad = Figure.at_least("match", 0.2, 0.22, "nats", "nothing fits")
    assert good.ok
    assert not bad.ok
    assert bad.sentence == "nothing fits: match is 0.2 (gate 0.22; nats)."


def test_importing_the_head_stays_cheap():
    code = (
        "import sys, defacedask.anatomy.head, defacedask.defacers.quickshear\n"
        "heavy = {'SimpleITK', 'vtk', 'dlib', 'scipy.ndimage', 'nibabel'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

from __future__ import annotations

import functools

import numpy as np
import pytest
from support.heads import pose_error, posed

from benchmarks.heads.non_heads import made
from benchmarks.heads.orientations import moved_by, turned
from defacedask.anatomy import place
from defacedask.anatomy.head import Head
from defacedask.anatomy.turns import angle_between, rotation, sphere
from defacedask.defacers import get_defacer
from defacedask.errors import RefusedError

POSES = [
    pytest.param({"pitch": 30, "yaw": 20}, id="chin-up"),
    pytest.param(
        {"yaw": -45, "pitch": 20, "roll": 15, "top": 40, "spacing": (5, 1.5, 1.5)}, id="turned-crown-cut-5mm"
    ),
    pytest.param({"modality": "MR", "yaw": 45, "flip": (-1, 1, -1)}, id="mr-turned-reversed"),
    pytest.param(
        {"modality": "MR", "pitch": -30, "spacing": (5, 2, 2)}, id="mr-chin-down", marks=pytest.mark.slow
    ),
    pytest.param({"yaw": 45, "couch": True}, id="turned-on-couch", marks=pytest.mark.slow),
    pytest.param({"top": 20, "spacing": (2, 3, 3)}, id="crown-cut-low", marks=pytest.mark.slow),
    pytest.param({"bottom": -90, "flip": (1, -1, -1)}, id="chin-cut", marks=pytest.mark.slow),
    pytest.param({"roll": 30, "pitch": 15}, id="tilted", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("options", POSES)
def test_any_pose_is_found(options):
    volume, truth = posed(**options)
    head = Head(volume)
    degrees, mm = pose_error(head.pose, truth)
    assert degrees < 2
    assert mm < 3
    assert head.ok, head.quality
    assert np.allclose(head.pose[:3, :3] @ head.pose[:3, :3].T, np.eye(3))


def test_the_same_bits_again():
    volume, _ = posed(yaw=15, spacing=(5.0, 4.0, 4.0), bottom=-130)
    a, b = Head(volume), Head(volume.copy(deep=True))
    assert np.array_equal(a.to_template, b.to_template)
    assert np.array_equal(a.brain, b.brain)


#: Prone under a supine label, voxels in LPS under a RAS affine, upside down, on the side, and anyhow.
AGAINST = {
    "face down": rotation(0, 180),
    "turned by 120": rotation(0, 120),
    "upside down": rotation(180, 0),
    "feet up, face down": rotation(180, 180),
    "on the side": rotation(0, 20, 90),
    "anyhow": sphere(60)[23],
}


@pytest.fixture(scope="module")
def heads():
    return {m: posed(m, spacing=(4.0, 3.0, 3.0), pitch=15, yaw=-10) for m in ("CT", "MR")}


@pytest.fixture(scope="module")
def found(heads):
    """Heads whose headers are turned, and by which motion; several tests ask for the same."""

    @functools.cache
    def of(modality, name=""):
        volume, _ = heads[modality]
        motion = moved_by(volume, AGAINST[name] if name else np.eye(3))
        return Head(turned(volume, motion)), motion

    return of


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("name", AGAINST)
def test_a_head_turned_against_its_header_is_found(heads, found, modality, name):
    """The header's axes are turned and the voxels stay: the plan has to change the same voxels."""
    _, truth = heads[modality]
    head, motion = found(modality, name)
    degrees, mm = pose_error(head.pose, truth @ np.linalg.inv(motion))
    assert degrees < 3
    assert mm < 4
    assert head.ok, head.quality
    # the working grid follows the head, so that what goes by slices goes by the head's
    up = head.pose[:3, :3] @ head.grid.directions[:, 0]
    assert up[2] > 0.5
    assert head.against_header == pytest.approx(float(angle_between(head.pose[:3, :3], np.eye(3))), abs=1e-6)


def test_the_same_voxels_go_whatever_the_header_says(found):
    regions = []
    for name in ("", "face down"):
        head, _ = found("CT", name)
        regions.append(get_defacer("quickshear").plan(head).region(head.geometry))
    both = (regions[0] & regions[1]).sum()
    assert 2 * both / (regions[0].sum() + regions[1].sum()) > 0.97


def test_a_mirrored_head_is_defaced_like_any_other(heads, found):
    volume, _ = heads["CT"]
    mirrored = Head(turned(volume, moved_by(volume, np.eye(3), mirror=True)))
    assert mirrored.ok, mirrored.quality
    nose = [head.geometry.to_index(head.landmark("nose_tip")) for head in (found("CT")[0], mirrored)]
    assert nose[0] == pytest.approx(nose[1], abs=2.0)


@pytest.mark.parametrize("name", made)
def test_what_is_no_head_is_refused(name):
    with pytest.raises(RefusedError):
        Head(made[name]()).require()


@pytest.mark.parametrize("name", ["plastic slabs", "cylinder on its side", "empty couch"])
def test_where_bone_encloses_nothing_no_head_is_looked_for(name, heads, monkeypatch):
    def searched(*_):
        raise AssertionError("it was looked for")

    monkeypatch.setattr(place, "sweep", searched)
    head = Head(made[name]())
    assert not head.quality["enclosed_ml"].ok
    assert head.quality["enclosed_ml"].value == 0
    with pytest.raises(AssertionError, match="looked for"):
        _ = Head(heads["CT"][0]).quality


@pytest.mark.parametrize("size", [0.85, 0.75])
def test_a_childs_head_is_a_head(heads, size):
    volume, truth = heads["CT"]
    small = np.diag([size, size, size, 1.0])
    head = Head(turned(volume, small))
    assert head.ok, head.quality
    nose = (np.linalg.inv(truth) @ np.append(head.atlas.landmarks["nose_tip"], 1.0))[:3]
    assert np.linalg.norm(head.landmark("nose_tip") - size * nose) < 4.0

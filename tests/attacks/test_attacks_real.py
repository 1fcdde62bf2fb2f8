"""The attacks on a real head: what they must find, and what they must not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.heads.data import openkbp
from defacedask.anatomy.head import Head
from defacedask.attacks import resolve_attacks
from defacedask.attacks.examination import Examination, Shown, examiner_for
from defacedask.faces.recognition import get_recogniser
from defacedask.sampling import apply_affine
from defacedask.volume import geometry_of, real_values

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def looked(shared_data):
    """One planning CT, its head, and what was seen of it."""
    volume = openkbp(shared_data / "openkbp" / "pt_101.npz").load()
    head = Head(volume)
    head.require()
    chosen = Examination(attacks=resolve_attacks("plain,forced_crop,template_filled"), pitches=(-20.0, -10.0))
    shown = Shown("images/CT", "CT", real_values(volume).values, geometry_of(volume), -300.0, head.drop)
    own = examiner_for(chosen, [get_recogniser()], head.pose)
    chosen.original(own, shown)
    return head, chosen, shown, own


def attacked(looked, values):
    head, chosen, shown, own = looked
    later = examiner_for(chosen, [get_recogniser()], head.pose, own.looks)
    changed = Shown(shown.path, "CT", values, shown.geometry, shown.level, shown.drop)
    chosen.defaced(later, changed, own.looks, head.to_template)
    return later.looks


def nearest(looked, looks, attack):
    codes = [np.array(k["encoding"]) for k in looked[3].looks if k["encoding"]]
    mine = [np.array(k["encoding"]) for k in looks if k["attack"] == attack and k["encoding"]]
    return min((float(np.linalg.norm(a - b)) for a in mine for b in codes), default=np.inf)


def cut(looked, where):
    """The CT without what ``where(x, p, s)`` says, in the head's frame (mm)."""
    head, _, shown, _ = looked
    position = apply_affine(np.asarray(head.pose), *shown.geometry.positions(dtype=np.float64))
    gone = np.broadcast_to(where(*position), shown.values.shape)
    return np.where(gone, np.float32(-1000), shown.values)


def test_a_head_that_nobody_changed_is_itself(looked):
    looks = attacked(looked, looked[2].values)
    assert any(k["detected"] for k in looked[3].looks)
    assert nearest(looked, looks, "plain") == 0
    assert nearest(looked, looks, "forced_crop") == 0


def test_a_mouth_that_was_cut_out_is_put_back_and_a_face_detected(looked):
    stomion = looked[0].atlas.landmarks["stomion"]
    looks = attacked(looked, cut(looked, lambda x, p, s: (s < stomion[2] + 12) & (p < stomion[1] + 30)))
    filled = [k for k in looks if k["attack"] == "template_filled" and not k["forced"]]
    assert {k["variant"] for k in filled} == {"everywhere", "where it is missing"}
    assert any(k["detected"] for k in filled)


def test_without_its_front_the_head_is_not_recognised_by_any_attack(looked):
    nasion = looked[0].atlas.landmarks["nasion"]
    looks = attacked(looked, cut(looked, lambda x, p, s: p < nasion[1] + 45))
    assert {k["attack"] for k in looks} == {"plain", "forced_crop", "template_filled"}
    for attack in ("plain", "forced_crop", "template_filled"):
        assert nearest(looked, looks, attack) > 0.3

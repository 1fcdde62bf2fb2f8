"""How a head is shown to recognisers, with one that needs no dlib."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from support.made_heads import HEAD, around, balls

from defacedask.attacks import BUILT_IN, resolve_attacks
from defacedask.attacks.best_attempts import best_attempts
from defacedask.attacks.examination import Examination, Shown, examiner_for, extra_views
from defacedask.errors import ConfigError
from defacedask.faces.looking import Examiner, best_views
from defacedask.faces.recognition.base import Box, Face
from defacedask.faces.views import View
from defacedask.flow.stages.faces import examination_of
from defacedask.tables.files import as_table


class Eye:
    """Sees a face where the middle of the picture is bright; encodes four rows of it."""

    remote, tolerance = False, 0.3

    def __init__(self, name="eye", blind=()):
        self.name, self.blind = name, blind

    def _code(self, picture, box):
        part = picture[box.top : box.bottom, box.left : box.right, 0].astype(float)
        return part[:: max(1, len(part) // 4)].mean(axis=1)[:4] / 255

    def analyse(self, images, boxes=None):
        out = []
        for image in images:
            rows, columns = np.nonzero(image[..., 0] > 120)
            if not len(rows) or int(image[0, 0, 0]) in self.blind:
                out.append([])
                continue
            box = Box(int(rows.min()), int(columns.max()), int(rows.max()), int(columns.min()))
            out.append([Face(box, self._code(image, box), np.array([[1.0, 2.0]]))])
        return out

    def encode(self, image, boxes=None, landmarks=None):
        return [self._code(image, box) for box in boxes]


def picture(bright):
    image = np.zeros((64, 64, 3), np.uint8)
    if bright:
        image[16:48, 16:48] = 100 + bright
    return image


ABOUT = {"path": "images/CT", "modality": "CT", "level": -300.0}


def test_a_face_that_is_not_detected_is_looked_for_at_the_originals_place():
    own = Examiner([Eye()], np.eye(4))
    own.show([picture(100), picture(0)], ["a", "b"], **ABOUT)
    assert [look["detected"] for look in own.looks] == [True, False]
    later = Examiner([Eye()], np.eye(4), known=own.looks)
    later.show([picture(0), picture(0)], ["a", "b"], **ABOUT)
    later.show([picture(0)], ["a"], **ABOUT, attack="unmasked", variant="peeled")
    found = [(k["view"], k["attack"], k["forced"], k["detected"], k["encoding"] is None) for k in later.looks]
    assert found == [
        ("a", "plain", False, False, True),
        ("a", "forced_crop", True, False, False),
        ("b", "plain", False, False, True),
        ("a", "unmasked", False, False, True),
        ("a", "unmasked", True, False, False),
    ]
    assert later.looks[1]["box"] == own.looks[0]["box"]
    quiet = Examiner([Eye()], np.eye(4), known=own.looks, forced=False)
    quiet.show([picture(0)], ["a"], **ABOUT)
    assert [k["forced"] for k in quiet.looks] == [False]


def test_a_pet_is_looked_at_where_its_original_shows_a_face():
    """Skin is faint beside brain, by how much depends on what is in view; the defaced image gets the same level."""
    geometry = around(5.0)
    warm = (balls(geometry, HEAD) > -500).astype(np.float32)
    examination = Examination(attacks=("plain", "pet_skin"), pitches=(0.0, 10.0), size=64)
    shown = Shown("images/PT", "PT", warm, geometry, 3.0)  # the usual level lies above the skin
    examiner, after = Examiner([Eye()], np.eye(4)), Examiner([Eye()], np.eye(4))
    examination.original(examiner, shown)
    assert [(look["detected"], look["level"]) for look in examiner.looks] == [(True, 0.75)] * 2
    examination.defaced(after, shown, examiner.looks)
    assert {look["level"] for look in after.looks} == {0.75}
    service = Eye()
    service.remote = True  # is asked only what must be asked
    asked = Examiner([service], np.eye(4))
    examination.original(asked, shown)
    assert [(look["detected"], look["level"]) for look in asked.looks] == [(False, 3.0)] * 2


def test_what_is_no_image_is_guided_by_the_image():
    dose = {"path": "doses/RTDOSE", "modality": "RTDOSE", "level": 1.0}
    own = Examiner([Eye()], np.eye(4))
    own.show([picture(100), picture(0)], ["a", "b"], **ABOUT)
    own.show([picture(0), picture(0)], ["a", "b"], **dose, guide="images/CT")
    guided, lost = own.looks[2:]
    assert (guided["attack"], guided["forced"], guided["detected"]) == ("plain", True, False)
    assert guided["box"] == own.looks[0]["box"]
    assert lost["encoding"] is None
    later = Examiner([Eye()], np.eye(4), known=own.looks)
    later.show([picture(0)], ["a"], **dose, guide="images/CT")
    assert [(k["attack"], k["encoding"] is None) for k in later.looks] == [
        ("plain", True),
        ("forced_crop", False),
    ]


def test_the_nearest_attempt_is_named():
    def row(case, attack, distance, other, view="v", variant="", forced=False, detected=False):
        return {
            "case": case,
            "defacer": "carina",
            "modality": "CT",
            "recogniser": "eye",
            "attack": attack,
            "distance_to_own": distance,
            "rank_of_own": None if distance is None else 1,
            "nearest_other": other,
            "view": view,
            "variant": variant,
            "level": 1.0,
            "forced": forced,
            "detected": detected,
        }

    rows = [
        row("a", "unmasked", 0.5, 0.45, "v", "peeled 3 mm", detected=True),
        row("a", "unmasked", 0.3, 0.6, "w", "peeled 6 mm", True),
        row("b", "unmasked", 0.5, 0.4),
        row("a", "plain", None, None),
    ]
    found = as_table(
        "best_attempts", best_attempts(as_table("recognition", [{**r, "gallery_size": 2} for r in rows]))
    )
    found = found.set_index(["case", "attack"])
    best = found.loc[("a", "unmasked")]
    assert (best["view"], best["variant"], best["forced"], best["attempts"]) == ("w", "peeled 6 mm", True, 2)
    assert (best["distance_to_own"], best["nearest_other"]) == (0.3, 0.45)
    assert (bool(best["detected"]), bool(best["named"])) == (True, True)
    assert not found.loc[("b", "unmasked"), "named"]
    assert found.loc[("a", "plain"), "attempts"] == 1
    assert np.isnan(found.loc[("a", "plain"), "distance_to_own"])
    assert not len(as_table("best_attempts", best_attempts(as_table("recognition", []))))


def test_several_recognisers_have_rows_and_boxes_of_their_own():
    eyes = [Eye("one"), Eye("two")]
    own = Examiner(eyes, np.eye(4))
    own.show([picture(100)], ["a"], **ABOUT)
    later = Examiner(eyes, np.eye(4), known=own.looks)
    later.show([picture(0)], ["a"], **ABOUT)
    assert collections.Counter((k["recogniser"], k["forced"]) for k in later.looks) == {
        ("one", False): 1,
        ("one", True): 1,
        ("two", False): 1,
        ("two", True): 1,
    }


def test_best_views_are_those_most_like_the_others():
    def look(view, code, attack="plain", recogniser="eye"):
        box = None if code is None else [0, 10, 10, 0]
        code = None if code is None else [float(code)]
        return {
            "path": "images/CT",
            "view": view,
            "attack": attack,
            "recogniser": recogniser,
            "box": box,
            "encoding": code,
        }

    looks = [
        look("a", None),
        look("b", 0.0),
        look("c", 0.1),
        look("d", 0.5),
        look("e", 0.05, "best_view_level"),
    ]
    assert best_views(looks, "images/CT") == ["c", "b"]
    assert best_views(looks, "images/MR") == []
    # the first recogniser that saw anything decides
    blind = [look("a", None), look("b", None), look("b", 0.3, recogniser="other")]
    assert best_views(blind, "images/CT") == ["b"]


def test_views_have_names_that_can_be_read_back():
    for view in (View(), View(-15, 7.5), View(1e-7, -20, "side"), View(45, 0, "head")):
        assert View.from_name(view.name) == view
    with pytest.raises(ConfigError, match="no view's name"):
        View.from_name("yaw15")


@pytest.fixture(scope="module")
def heads():
    geometry = around(4.0)
    whole = balls(geometry, HEAD)
    cut = np.where(np.broadcast_to(geometry.positions()[1] < -60, whole.shape), -1000, whole)
    return [Shown("images/CT", "CT", values.astype(np.float32), geometry, -300.0) for values in (whole, cut)]


def test_every_attack_has_rows_of_its_name(heads):
    chosen = Examination(attacks=resolve_attacks("all"), pitches=(-10.0, 0.0), size=64)
    own = examiner_for(chosen, [Eye()], np.eye(4))
    chosen.original(own, heads[0])
    assert collections.Counter(k["attack"] for k in own.looks) == {"plain": 2, "best_view_level": 3}
    later = examiner_for(chosen, [Eye()], np.eye(4), own.looks)
    chosen.defaced(later, heads[1], own.looks)
    plainly = [k for k in later.looks if not k["forced"]]
    assert {k["attack"] for k in later.looks} >= {"plain", "forced_crop", *list(BUILT_IN)[2:5]}
    assert {k["level"] for k in plainly if k["attack"] == "best_view_level"} == {-600.0, -300.0, -100.0}
    # the views of the attempts are the original's best, and each has its forced twin
    best = best_views(own.looks, "images/CT")
    (view,) = {k["view"] for k in plainly if k["attack"] == "unmasked"}
    assert view == best[0]
    assert len({k["variant"] for k in plainly if k["attack"] == "unmasked"}) >= 6
    forced = collections.Counter(k["attack"] for k in later.looks if k["forced"])
    assert forced["unmasked"] == sum(k["attack"] == "unmasked" for k in plainly)


def test_cost_is_chosen(heads):
    basic = Examination(attacks=resolve_attacks("basic"), pitches=(0.0,), size=64)
    own = examiner_for(basic, [Eye()], np.eye(4))
    basic.original(own, heads[0])
    later = examiner_for(basic, [Eye()], np.eye(4), own.looks)
    basic.defaced(later, heads[1], own.looks)
    assert [k["attack"] for k in own.looks] == ["plain"]
    assert [k["attack"] for k in later.looks] == ["plain", "forced_crop"]
    settings = {"attacks": list(BUILT_IN), "pitches": [0], "recognisers": ["eye"]}
    assert set(examination_of(settings).attacks) == set(BUILT_IN)
    control = examination_of(settings, "none")
    # what makes no image costs nothing on it
    assert set(control.attacks) == {
        "plain",
        "forced_crop",
        "enrolment",
        "body_contour",
        "dose_grid",
        "pet_skin",
    }
    assert control.wants("PT")
    assert control.wants("CT")
    assert not basic.wants("PT")


def test_where_the_original_shows_no_face_the_middle_view_is_taken(heads):
    chosen = Examination(attacks=resolve_attacks("unmasked"), pitches=(-40.0, -10.0, 10.0), size=48)
    nobody = Eye(blind=range(256))
    own = examiner_for(chosen, [nobody], np.eye(4))
    chosen.original(own, heads[0])
    later = examiner_for(chosen, [nobody], np.eye(4), own.looks)
    chosen.defaced(later, heads[1], own.looks)
    assert {k["view"] for k in later.looks if k["attack"] == "unmasked"} == {"yaw+0_pitch-10"}
    assert not any(k["forced"] for k in later.looks)


def test_extra_views_lie_around_the_best():
    assert {v.name for v in extra_views(View(0, -10))} == {
        "yaw-15_pitch-10",
        "yaw+15_pitch-10",
        "yaw+0_pitch-10_side",
    }


class Spoiling(Eye):
    """A plug-in that blackens the pictures it is shown."""

    def analyse(self, images, boxes=None):
        out = super().analyse(images, boxes)
        for image in images:
            image[:] = 0
        return out

    def encode(self, image, boxes=None, landmarks=None):
        out = super().encode(image, boxes, landmarks)
        image[:] = 0
        return out


def test_what_a_recogniser_does_to_a_picture_is_not_seen_by_the_next():
    """Who looks after it would see nobody, and the report would say that nobody is recognised."""
    own = Examiner([Spoiling("first"), Eye("second")], np.eye(4))
    shown = picture(100)
    own.show([shown], ["a"], **ABOUT)
    later = Examiner([Spoiling("first"), Eye("second")], np.eye(4), known=own.looks)
    later.show([shown], ["a"], **ABOUT)
    for looks in (own.looks, [look for look in later.looks if look["forced"]]):
        assert [look["encoding"] is not None and sum(look["encoding"]) > 0 for look in looks] == [True, True]

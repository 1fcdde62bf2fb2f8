"""Renders for enrolment, and the average face on a head: balls for heads, an eye that reads a picture's colour."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.made_heads import HEAD, around, balls

from defacedask.attacks.average_face import AVERAGE, AVERAGE_FORCED, average_face, average_looks
from defacedask.attacks.enrolment import GREY, enrol, enrolment_levels, enrolment_views
from defacedask.attacks.examination import Examination, Shown, examiner_for
from defacedask.faces.recognition.base import Box, Face


@dataclasses.dataclass
class Eye:
    """Finds a face in every picture; its encoding is what the picture's middle looks like."""

    name: str = "eye"
    remote: bool = False
    blind: bool = False

    def analyse(self, images):
        return [
            []
            if self.blind
            else [
                Face(Box(20, 76, 76, 20), image[20:76:4, 20:76:4].reshape(-1) / 255.0, np.ones((5, 2)), 1.0)
            ]
            for image in images
        ]

    def encode(self, image, boxes, landmarks=None):
        return [image[20:76:4, 20:76:4].reshape(-1) / 255.0 for _ in boxes]


@pytest.fixture(scope="module")
def head():
    geometry = around(6.0)
    return Shown("images/CT", "CT", balls(geometry, HEAD).astype(np.float32), geometry, -300.0)


def chosen(**changes):
    return Examination(
        attacks=("plain", "forced_crop", "enrolment"), size=96, pitches=(-10.0, 0.0), **changes
    )


def looked(head, eyes):
    examination = chosen()
    examiner = examiner_for(examination, eyes, np.eye(4))
    examination.original(examiner, head)
    return examination, examiner


def test_views_are_many_and_none_is_a_plain_one():
    for examination in (Examination(), Examination(yaws=(-20.0, 0.0, 20.0)), Examination(pitches=(-5.0,))):
        views = enrolment_views(examination)
        assert len({view.name for view in views}) == 16
        assert not {(v.yaw, v.pitch) for v in views} & {(v.yaw, v.pitch) for v in examination.views}
    assert enrolment_levels("CT", -300.0) == (-300.0, -450.0)
    assert enrolment_levels("MR", 100.0) == (100.0, 75.0)


def test_a_head_is_enrolled_with_many_pictures_of_two_levels_and_lights_and_grey(head):
    examination, examiner = looked(head, [Eye(), Eye("blind", blind=True), Eye("far", remote=True)])
    before = list(examiner.looks)
    found = enrol(examination, examiner, head)
    assert examiner.looks == before
    assert {look["recogniser"] for look in found} == {"eye"}  # no face is no picture, and no service is asked
    assert len(found) == 2 * (16 + 8)
    assert {look["attack"] for look in found} == {"enrolment"}
    assert len({(look["view"], look["level"], look["variant"]) for look in found}) == len(found)
    grey = [look for look in found if look["variant"] == GREY]
    assert len(grey) == 16
    for look in grey:
        colours = np.array(look["encoding"]).reshape(-1, 3)
        assert (colours == colours[:, :1]).all()
    assert any(np.ptp(np.array(look["encoding"]).reshape(-1, 3), axis=1).max() > 0.1 for look in found)
    assert enrol(examination, examiner_for(examination, [Eye(remote=True)], np.eye(4)), head) == []


def test_two_heads_with_the_average_face_look_alike_in_front(head):
    """A nose more or less is gone; what lies behind the middle stays."""
    examination = chosen()
    plain = examination.target(head, np.eye(4))
    other = examination.target(
        dataclasses.replace(
            head, values=balls(head.geometry, [*HEAD, ((0, -110, -30), 30.0)]).astype(np.float32)
        ),
        np.eye(4),
    )
    assert not np.array_equal(plain.values, other.values)
    made = [average_face(target) for target in (plain, other)]
    assert np.array_equal(made[0].values, made[1].values)
    back = plain.geometry.positions()[1].ravel() >= 0
    assert np.array_equal(made[0].values[:, back], np.asarray(plain.values)[:, back])
    assert (made[0].values[:, ~back] >= plain.level).any()


def test_the_average_face_is_looked_at_as_a_defaced_head_is(head):
    examination, examiner = looked(head, [Eye(), Eye("far", remote=True)])
    before = list(examiner.looks)
    found = average_looks(examination, examiner, examination.target(head, np.eye(4)), head.path)
    assert examiner.looks == before
    counts = {name: sum(look["attack"] == name for look in found) for name in (AVERAGE, AVERAGE_FORCED)}
    assert counts == {AVERAGE: 2, AVERAGE_FORCED: 2}
    assert all(look["forced"] == (look["attack"] == AVERAGE_FORCED) for look in found)
    assert {look["recogniser"] for look in found} == {"eye"}


def test_a_face_in_the_average_is_put_on_no_defaced_picture(head):
    """Where the original shows none there is no box of its own to force."""
    examination, examiner = looked(head, [Eye()])
    made = average_looks(examination, examiner, examination.target(head, np.eye(4)), head.path)
    views = examination.views
    for known, forced in ((examiner.looks, 2), (made, 0)):
        later = examiner_for(examination, [Eye(blind=True)], np.eye(4), known)
        later.see(examination.surface(head, np.eye(4)), views, path=head.path, modality="CT", level=-300.0)
        assert sum(look["forced"] for look in later.looks) == forced

"""Where a dose is at the face, and a dose planted there: the average head in place of a patient."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from defacedask.anatomy.template import load_template
from defacedask.attacks.dose_face import (
    AT_FACE,
    LEAST_AT_FACE,
    NOT_AT_FACE,
    dose_looks,
    planted_dose,
    share_at_face,
)
from defacedask.attacks.examination import Examination, Shown
from defacedask.attacks.names import DOSE_AT_FACE
from defacedask.faces.recognition.base import Box, Face
from defacedask.flow.stages.objects import dose_level
from defacedask.geometry import Geometry
from defacedask.volume import real_values

GRID = Geometry.from_spacing((70, 60, 50), (4.0, 5.0, 5.0), (-122.0, -150.0, -170.0))
PLACE = np.eye(4)


@dataclasses.dataclass
class Eye:
    """Finds a face in every picture, or in none."""

    name: str = "eye"
    remote: bool = False
    blind: bool = False

    def analyse(self, images):
        return [[] if self.blind else [Face(Box(0, 9, 9, 0), np.ones(3), None, 1.0)] for _ in images]

    def encode(self, image, boxes, landmarks=None):
        return [np.ones(3) for _ in boxes]


@pytest.fixture(scope="module")
def head():
    template = load_template("average_ct")
    values = 100.0 - np.asarray(real_values(template.skin).values, np.float32)
    return Shown("images/MR", "MR", values, template.geometry, 100.0)


@pytest.fixture(scope="module")
def whole(head):
    """A dose in all of the head, weaker towards the middle; what is planted has none of that."""
    empty = np.zeros(GRID.shape, np.float32)
    empty[0, 0, 0] = 60.0
    filled = planted_dose(head, Shown("doses/RTDOSE", "RTDOSE", empty, GRID, dose_level(empty)))
    height = np.broadcast_to(GRID.positions()[2], GRID.shape)
    return dataclasses.replace(filled, values=filled.values * (1.0 + 0.001 * height).astype(np.float32))


def test_a_planted_dose_fills_the_head_and_no_air(head, whole):
    planted = planted_dose(head, whole)
    assert planted.geometry is whole.geometry
    assert set(np.unique(planted.values)) == {0.0, whole.values.max()}
    centres = np.rint(head.geometry.to_index(GRID.to_world(np.argwhere(planted.values > 0)))).astype(int)
    inside = ((centres >= 0) & (centres < head.geometry.shape)).all(axis=1)
    assert (head.values[tuple(centres[inside].T)] > 97.0).all()  # within a voxel of the skin
    assert share_at_face(head, planted, PLACE) > 0.95


@pytest.mark.parametrize(
    ("kept", "at_face"),
    [
        (lambda x, y, z: z < 60.0, True),
        (lambda x, y, z: z < -45.0, False),  # ends below the eyes, as of a throat
        (lambda x, y, z: y > -70.0, False),  # ends before the face
        (lambda x, y, z: z > 1000.0, False),
    ],
    ids=["all of it", "below the eyes", "behind the face", "none"],
)
def test_a_dose_is_at_the_face_where_it_follows_the_skin(head, whole, kept, at_face):
    there = np.broadcast_to(kept(*GRID.positions()), GRID.shape)
    dose = dataclasses.replace(whole, values=whole.values * there)
    share = share_at_face(head, dose, PLACE)
    assert (share >= LEAST_AT_FACE) == at_face, share
    # and a planted one does not depend on where the patient's is, but for how high it is
    if there.any():
        assert share_at_face(head, planted_dose(head, dose), PLACE) > 0.95


def test_a_dose_that_fills_the_air_shows_no_face(head, whole):
    everywhere = dataclasses.replace(whole, values=np.full(GRID.shape, 60.0, np.float32))
    assert share_at_face(head, everywhere, PLACE) < 0.2


def test_what_is_no_body_counts_as_air(head, whole):
    wide = np.array(head.values)
    mask = np.broadcast_to(head.geometry.positions()[1] < -60.0, wide.shape) & (wide < 95.0)
    wide[mask] = 120.0  # a cushion before the face
    bare = dataclasses.replace(head, values=wide)
    assert share_at_face(bare, whole, PLACE) < LEAST_AT_FACE
    assert share_at_face(dataclasses.replace(bare, drop=mask), whole, PLACE) > 0.95


def test_the_planted_dose_is_looked_at_by_who_compares_and_costs_nothing(head, whole):
    examination = Examination(attacks=("plain", "dose_grid"), size=64, pitches=(-10.0, 0.0))
    eyes = [Eye(), Eye("far", remote=True)]
    known = [{"path": head.path, "recogniser": "eye", "view": "v", "attack": "plain", "box": [0, 9, 9, 0]}]
    before = [dict(look) for look in known]
    found = dose_looks(examination, eyes, np.eye(4), PLACE, head, whole, known)
    assert known == before
    assert [look["recogniser"] for look in found] == ["eye", "eye"]
    assert {(look["attack"], look["variant"], look["modality"]) for look in found} == {
        (DOSE_AT_FACE, AT_FACE, "RTDOSE")
    }
    low = dataclasses.replace(whole, values=whole.values * (GRID.positions()[2] < -45.0))
    found = dose_looks(examination, eyes[:1], np.eye(4), PLACE, head, low, known)
    assert {look["variant"] for look in found} == {NOT_AT_FACE}
    assert dose_looks(examination, eyes[1:], np.eye(4), PLACE, head, whole, known) == []

"""Planted faults: what leaves the face in, in whatever way, is held back; what takes it out passes."""

from __future__ import annotations

import numpy as np
import pytest

from defacedask.anatomy.witness import Sighting, verdict
from defacedask.anatomy.witness.judging import LEAST_MOVED
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume, real_values


@pytest.fixture(scope="module")
def away(patient_ct, seen):
    """Points of the image in the head's own frame, from the tip of the nose: left, posterior, superior, mm."""
    grid = geometry_of(patient_ct)
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    return (np.stack([x, y, z], axis=-1) - seen.place) @ seen.axes


def cut(volume, region):
    """With air where the region is."""
    air = volume.values.min()
    return volume.copy(data=np.where(region, air, volume.values))


def test_a_face_cut_off_passes(patient_ct, seen, away):
    found = verdict(patient_ct, cut(patient_ct, away[..., 1] < 50), seen, seen.place + 5.0, seen.facing)
    assert (found.held, found.agrees, found.sentence) == (False, True, "")
    assert found.moved > 0.99
    assert found.figures["points"] > 1000


def test_untouched_is_held(patient_ct, seen):
    found = verdict(patient_ct, patient_ct, seen)
    assert found.held
    assert found.moved == 0
    assert found.agrees is None
    assert "still visible" in found.sentence


@pytest.mark.parametrize(
    "region",
    [
        lambda p: p[..., 1] > 90,  # the back of the head
        lambda p: p[..., 2] > 30,  # the brow and above
        lambda p: np.linalg.norm(p, axis=-1) < 25,  # the nose alone: a plan that shrank
        lambda p: p[..., 0] > 0,  # one half
        lambda p: p[..., 1] < 1,  # skin shaved by less than counts
    ],
    ids=["back", "brow", "nose", "half", "shaved"],
)
def test_a_face_that_is_left_is_held(patient_ct, seen, away, region):
    found = verdict(patient_ct, cut(patient_ct, region(away)), seen, seen.place, seen.facing)
    assert found.held
    assert found.moved < LEAST_MOVED
    assert found.agrees


def test_a_layer_on_top_passes_and_one_elsewhere_does_not(patient_ct, seen, away):
    """Material laid on the face hides its skin; the same laid on the crown does not."""
    from scipy.ndimage import binary_dilation

    values = patient_ct.values
    body = real_values(patient_ct).values > -300
    skin = np.median(values[body]).astype(values.dtype)
    near = binary_dilation(body, iterations=4)
    layer = near & (np.linalg.norm(away - (0, 30, -10), axis=-1) < 95)
    there = patient_ct.copy(data=np.where(layer & ~body, skin, values))
    assert not verdict(patient_ct, there, seen).held
    layer = near & (away[..., 2] > 60)
    elsewhere = patient_ct.copy(data=np.where(layer & ~body, skin, values))
    assert verdict(patient_ct, elsewhere, seen).held


@pytest.mark.parametrize(
    ("shift", "turn"),
    [((0, 40, 0), 0), ((0, 0, 40), 0), ((40, 0, 0), 0), ((0, 0, 0), 180), ((0, 0, 0), 120), ((0, 0, 0), 45)],
)
def test_a_plan_that_looks_elsewhere_is_held_even_if_all_is_gone(patient_ct, seen, away, shift, turn):
    from scipy.spatial.transform import Rotation

    facing = Rotation.from_rotvec(np.radians(turn) * seen.axes[:, 2]).apply(seen.facing)
    found = verdict(patient_ct, cut(patient_ct, away[..., 1] < 50), seen, seen.place + shift, facing)
    assert found.held
    assert found.agrees is False
    assert f"{turn} degrees" in found.sentence


@pytest.mark.parametrize(("roll", "held"), [(0, False), (30, False), (90, True), (180, True), (-120, True)])
def test_a_plan_that_has_the_head_on_its_side_or_upside_down_is_held(patient_ct, seen, away, roll, held):
    """Gaze and nose are right, and all is gone: but what the plan keeps lies elsewhere."""
    from scipy.spatial.transform import Rotation

    up = Rotation.from_rotvec(np.radians(roll) * seen.facing).apply(seen.axes[:, 2])
    gone = cut(patient_ct, away[..., 1] < 50)
    found = verdict(patient_ct, gone, seen, seen.place, seen.facing, plan_up=3.0 * up)
    assert found.held == held
    assert found.figures["rolled"] == pytest.approx(abs(roll), abs=0.1)
    assert (f"held {abs(roll)} degrees otherwise" in found.sentence) == held


def test_what_may_help_fits_what_is_wrong(patient_ct, seen, away):
    """No other defacer helps where there are two heads, no face, or a plan that looks elsewhere."""
    gone, nowhere = cut(patient_ct, away[..., 1] < 50), np.full(3, np.nan)
    two = Sighting(nowhere, nowhere, 0.0, {}, "a second head with a face is in view", second=True)
    none = Sighting(nowhere, nowhere, 0.0, {}, "no outline of a head")
    hints = [
        verdict(patient_ct, patient_ct, seen).hint,
        verdict(patient_ct, gone, two).hint,
        verdict(patient_ct, gone, none).hint,
        verdict(patient_ct, gone, seen, seen.place + 50.0, seen.facing).hint,
        verdict(patient_ct, gone, seen, seen.place, seen.facing).hint,
    ]
    assert ["another defacer" in hint for hint in hints] == [True, False, False, False, False]
    assert [bool(hint) for hint in hints] == [True, False, True, True, False]


def test_without_a_face_nothing_passes(patient_ct, away):
    nowhere = np.full(3, np.nan)
    blind = Sighting(nowhere, nowhere, 0.0, {}, "no outline of a head")
    found = verdict(patient_ct, cut(patient_ct, away[..., 1] < 50), blind)
    assert found.held
    assert found.moved is None
    assert "no outline of a head" in found.sentence


def test_another_grid_is_an_error(patient_ct, seen):
    grid = geometry_of(patient_ct)
    other = make_volume(
        patient_ct.values,
        Geometry(grid.shape, np.diag([1, 1, 1.1, 1]) @ grid.affine),
        modality="CT",
        units="HU",
    )
    with pytest.raises(InputError, match="another grid"):
        verdict(patient_ct, other, seen)


def test_the_patient_may_be_known_before(patient_ct, away):
    from defacedask.anatomy.witness import sighting
    from defacedask.anatomy.witness.solid import solid_of

    known = solid_of(patient_ct)
    asked = []

    def find(volume):
        asked.append(volume)
        return known

    seen = sighting(patient_ct, find=find)
    defaced = cut(patient_ct, away[..., 1] < 50)
    found = verdict(patient_ct, defaced, seen, find=find)
    assert len(asked) == 2
    usual = verdict(patient_ct, defaced, sighting(patient_ct))
    assert found == usual

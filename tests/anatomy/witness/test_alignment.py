"""A PET is laid on the image that shows the face: where the patient moved in between, that is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import defacedask as dd
from defacedask.anatomy.witness import sighting
from defacedask.anatomy.witness.alignment import alignment
from defacedask.geometry import Geometry
from defacedask.io.dicom.image import read_image
from defacedask.volume import geometry_of, make_volume, real_values


@pytest.fixture(scope="module")
def pair(patient_of_three):
    """CT, PET and where the CT shows the face."""
    images = {one.modality: read_image(one).load() for one in dd.scan(patient_of_three).cases[0].images}
    return images["CT"], images["PT"], sighting(images["CT"])


def moved(volume, seen, *, turn=(0.0, 0.0), shift=(0.0, 0.0, 0.0), part=slice(None)):
    """The same voxels, the patient turned about the middle of the skull and shifted, mm."""
    grid = geometry_of(volume)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("zx", turn, degrees=True).as_matrix()
    motion[:3, 3] = seen.centre - motion[:3, :3] @ seen.centre + np.array(shift)
    values = real_values(volume).values[part].astype(np.float32)
    affine = motion @ grid.affine
    affine[:3, 3] += affine[:3, 0] * (part.start or 0)
    placed = Geometry(values.shape, affine, grid.frame_of_reference)
    return make_volume(values, placed, modality="PT", units="g/mL")


def test_where_the_patient_lay_still_nothing_is_said(pair):
    shown, pet, seen = pair
    found = alignment(shown, pet, seen)
    assert not found.apart
    assert found.mm < 6
    assert found.gain < 1.1
    assert found == alignment(shown, pet, seen)  # to the bit


@pytest.mark.parametrize(
    ("turn", "shift"),
    [
        ((0, 0), (0, 25, -30)),
        ((0, 0), (40, 0, 0)),
        ((35, 0), (0, 0, 0)),
        ((180, 0), (0, 0, 0)),
        ((0, 25), (0, 5, 0)),
    ],
)
def test_a_patient_who_moved_is_found(pair, turn, shift):
    shown, pet, seen = pair
    other = moved(pet, seen, turn=turn, shift=shift)
    grid, before = geometry_of(other), geometry_of(pet)
    there = (grid.affine @ np.linalg.inv(before.affine)) @ np.append(seen.place, 1.0)
    found = alignment(shown, other, seen)
    assert found.apart
    assert found.mm == pytest.approx(float(np.linalg.norm(there[:3] - seen.place)), abs=12)
    assert found.facts()["mm"] > 20


def test_too_little_in_common_says_nothing(pair):
    shown, pet, seen = pair
    far = moved(pet, seen, shift=(0, 0, 900))
    found = alignment(shown, far, seen)
    assert not found.apart
    assert found.facts() == {"mm": None, "degrees": None, "gain": None}

"""The witness finds the face in any orientation, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from defacedask.anatomy.witness import cues, hidden, sighting, verdict
from defacedask.anatomy.witness.judging import MOST_DEGREES, MOST_MM
from defacedask.anatomy.witness.solid import solid_of
from defacedask.anatomy.witness.sphere import angle
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume, real_values


def moved(volume, matrix):
    """The same voxels elsewhere in the world."""
    grid = geometry_of(volume)
    return _like(volume, volume.values, Geometry(grid.shape, matrix @ grid.affine))


def _like(volume, values, grid):
    return make_volume(
        values, grid, modality=volume.attrs["modality"], units=volume.attrs["units"],
        slope=volume.coords["slope"].values, intercept=volume.coords["intercept"].values,
    )  # fmt: skip


def assert_seen(found, place, facing):
    assert found.reason == ""
    assert angle(found.facing, facing) < MOST_DEGREES  # what a right plan may differ by
    assert np.linalg.norm(found.place - place) < MOST_MM


def test_a_virtual_patient_looks_forward(patient_ct, seen):
    assert seen.reason == ""
    assert angle(seen.facing, np.array([0.0, -1.0, 0.0])) < 20.0
    # the tip of the nose is the foremost point of the upper half
    points = geometry_of(patient_ct).to_world(np.argwhere(real_values(patient_ct).values > -300))
    assert points[:, 1].min() - 15 < seen.place[1] < np.median(points[:, 1])
    assert 0 < seen.sure <= 1


@pytest.mark.parametrize("seed", range(4))
def test_turned_through_the_sphere(patient_ct, seen, seed):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    matrix[:3, 3] = (100.0, -40.0, 7.0)
    found = sighting(moved(patient_ct, matrix))
    assert_seen(found, matrix[:3, :3] @ seen.place + matrix[:3, 3], matrix[:3, :3] @ seen.facing)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
def test_voxels_turned_against_the_header(patient_ct, seen, axes):
    """By 180 degrees: the header says the same, the head looks elsewhere."""
    grid = geometry_of(patient_ct)
    values = np.flip(patient_ct.values, axes).copy()
    found = sighting(_like(patient_ct, values, Geometry(grid.shape, grid.affine)))
    flip = np.diag([-1.0 if 2 - k in axes else 1.0 for k in range(3)])
    centre = grid.centre
    assert_seen(found, centre + flip @ (seen.place - centre), flip @ seen.facing)


def test_other_order_of_axes_and_mirrored(patient_ct, seen):
    grid = geometry_of(patient_ct)
    order = (2, 0, 1)
    affine = grid.affine[:, [*order, 3]]
    values = np.ascontiguousarray(patient_ct.values.transpose(order))
    volume = make_volume(
        values, Geometry(values.shape, affine), modality="CT", units="HU",
        slope=float(patient_ct.coords["slope"].values[0]), intercept=float(patient_ct.coords["intercept"].values[0]),
    )  # fmt: skip
    assert_seen(sighting(volume), seen.place, seen.facing)
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    assert_seen(
        sighting(moved(patient_ct, mirror)), mirror[:3, :3] @ seen.place, mirror[:3, :3] @ seen.facing
    )


def phantom_of(inside):
    """A made thing of 2.5 mm voxels: HU of points (z, y, x) from its middle."""
    shape = (96, 104, 104)
    axes = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * 2.5 for n in shape), indexing="ij")
    hu = inside(*axes) + np.random.default_rng(0).normal(0, 8, shape)
    return make_volume(
        np.rint(hu).astype(np.int16), Geometry.from_spacing(shape, (2.5,) * 3), modality="CT", units="HU"
    )


def cylinder(z, y, x):
    r = np.hypot(y, x)
    hu = np.where((r < 92) & (abs(z) < 110), 900.0, -1000.0)
    hu[(r < 85) & (abs(z) < 103)] = 35
    for turn in np.radians([0, 90, 180, 270]):
        hu[np.hypot(x - 50 * np.cos(turn), y - 50 * np.sin(turn)) < 10] = 300
    hu[(y > 100) & (y < 112)] = -200
    return hu


def limb(z, y, x):
    r = np.hypot(y, x)
    return np.where(r < 15, 800.0, np.where(r < 70, 30.0, -1000.0))


def egg(z, y, x):
    return np.where((z / 110) ** 2 + (y / 95) ** 2 + (x / 75) ** 2 < 1, 30.0, -1000.0)


def couch(z, y, x):
    return np.where(abs(y) < 15, 0.0, -1000.0)


@pytest.mark.parametrize("thing", [cylinder, limb, egg, couch])
def test_no_face_where_there_is_none(thing):
    found = sighting(phantom_of(thing))
    assert found.reason
    assert found.sure == 0
    assert np.isnan(found.place).all()


def test_air_alone():
    assert sighting(phantom_of(lambda z, y, x: np.full(z.shape, -1000.0))).reason


def test_what_cannot_show_a_face(patient_ct):
    grid = geometry_of(patient_ct)
    assert hidden(patient_ct) == ""
    pet = patient_ct.copy()
    pet.attrs["modality"] = "PT"
    assert "PT" in hidden(pet)
    assert "9.0 mm apart" in hidden(
        make_volume(
            np.zeros((20, 100, 100), np.int16),
            Geometry.from_spacing((20, 100, 100), (9, 2, 2)),
            modality="CT",
            units="HU",
        )
    )
    narrow = patient_ct[: int(60 / grid.spacing[0])]
    assert "wide" in hidden(narrow)
    assert sighting(narrow).reason == hidden(narrow)


@pytest.mark.parametrize("apart", [0, 8])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_second_head_in_one_image(patient_ct, axis, apart):
    """A plan takes the face of one head: that of the other would leave with the image."""
    grid = geometry_of(patient_ct)
    gap = np.full(
        [apart if k == axis else n for k, n in enumerate(patient_ct.shape)], -1024, patient_ct.dtype
    )
    both = np.concatenate([patient_ct.values, gap, patient_ct.values], axis)
    slope, intercept = (float(patient_ct.coords[name].values[0]) for name in ("slope", "intercept"))
    two = make_volume(
        both, Geometry(both.shape, grid.affine), modality="CT", units="HU", slope=slope, intercept=intercept
    )
    found = sighting(two)
    assert found.second
    judged = verdict(two, two, found)
    assert judged.held
    assert "second head" in judged.sentence


def test_a_large_thing_beside_a_head_is_no_second_one(patient_ct, seen):
    grid = geometry_of(patient_ct)
    values = np.concatenate(
        [patient_ct.values, np.full((*patient_ct.shape[:2], 60), -1024, patient_ct.dtype)], 2
    )
    _, y, x = np.indices(values.shape) * np.array(grid.spacing)[:, None, None, None]
    arm = np.hypot(y - y.mean(), x - x.max() + 60.0) < 50.0
    values[arm] = 1024 + 40 if patient_ct.dtype.kind == "u" else 40
    found = sighting(_like(patient_ct, values, Geometry(values.shape, grid.affine)))
    assert not found.second
    assert_seen(found, seen.place, seen.facing)


def test_skin_is_the_same_read_in_parts_and_at_once(patient_ct, seen, monkeypatch):
    solid = solid_of(patient_ct)
    smooth = gaussian_filter(solid.body.astype(np.float32), 1.0)
    for away in ((0.0, 0.0, 0.0), (30.0, -20.0, 10.0), (0.0, 60.0, -120.0)):
        centre = seen.centre + away
        found = cues.skin_seen(solid, smooth, centre)
        with monkeypatch.context() as patch:
            patch.setattr(cues, "SKIN_PARTS", (0,))
            whole = cues.skin_seen(solid, smooth, centre)
        assert np.array_equal(found, whole, equal_nan=True)

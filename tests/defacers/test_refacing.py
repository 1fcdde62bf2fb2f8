"""The outline of the laid average: no knob over what stands out beside the face, no slabs for ears."""

from __future__ import annotations

import numpy as np
import pytest
from support.heads import placed, posed

from benchmarks.heads.bumps import bumps
from defacedask.defacers import get_defacer
from defacedask.defacers.mri_reface import refacing
from defacedask.defacers.mri_reface.average import FIT_GRID, average_shape
from defacedask.defacers.mri_reface.refacing import OFFSET_STEP, fit_average, from_half
from defacedask.faces.surface_change import surface_change
from defacedask.geometry import Geometry
from defacedask.sampling import apply_affine
from defacedask.volume import geometry_of, make_volume

KEY = b"a secret of the run"


def templates(volume, truth):
    """Places of the voxels in the average's space."""
    return apply_affine(truth, *geometry_of(volume).positions(dtype=np.float64))


def defaced(head):
    return get_defacer("mri_reface").plan(head, key=KEY).apply(head.volume)


@pytest.fixture(scope="module")
def plain():
    return placed(*posed("MR", pitch=6, yaw=4, spacing=(3.0, 2.5, 2.5)))


@pytest.fixture(scope="module")
def beset():
    """A marker on the left temple, and ghosts that stand out from the jaw like wings."""
    volume, truth = posed("MR", pitch=6, yaw=4, spacing=(3.0, 2.5, 2.5))
    x, y, z = templates(volume, truth)
    wings = (np.abs(x) > 45) & (np.abs(x) < 88) & (y > -62) & (y < -38) & (z > -100) & (z < -78)
    marker = (np.abs(x - 72) < 10) & (np.abs(y + 55) < 12) & (np.abs(z - 2) < 5)
    values = np.where((wings | marker) & (volume.values < 100), 250, volume.values)
    return placed(volume.copy(data=values.astype(volume.dtype)), truth)


@pytest.fixture(scope="module")
def narrow():
    """A sagittal slab that ends 1 to 4 mm beside the ears."""
    volume, truth = posed("MR", spacing=(2.5, 2.5, 2.0))
    x, _, _ = templates(volume, truth)
    ears = np.abs(average_places()).max()
    keep = np.flatnonzero(np.abs(np.ravel(x[0, 0] if x.ndim == 3 else x)) < ears + 2.0)
    grid = geometry_of(volume)
    first, last = int(keep[0]), int(keep[-1]) + 1
    part = grid.block((0, 0, first), (*grid.shape[:2], last))
    plain = Geometry(part.shape, part.affine, grid.frame_of_reference)
    slab = make_volume(volume.values[..., first:last].copy(), plain, modality="MR", units="1")
    return placed(slab, truth)


def average_places():
    """Left and right ends of the average's ears, mm."""
    shape = average_shape()
    x = np.broadcast_to(FIT_GRID.positions()[0], shape.skin.shape)[shape.ears & (shape.skin < 0)]
    return np.array([x.min(), x.max()])


def test_a_planted_knob_and_a_planted_slab_are_measured(plain):
    x, y, z = templates(plain.volume, plain.to_template)
    none = bumps(plain, plain.volume)
    for place, name in (((66, -62, -8), "side"), ((80, -12, -48), "ears"), ((0, -122, -92), "mouth")):
        ball = (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2 < 14**2
        values = np.where(ball, np.maximum(plain.volume.values, 250), plain.volume.values)
        found = bumps(plain, plain.volume.copy(data=values.astype(plain.volume.dtype)))
        assert found[name] > none[name] + 3, (name, found, none)


def test_what_stands_out_beside_the_face_is_cut_off_and_not_covered(beset, monkeypatch):
    after = defaced(beset)
    found = bumps(beset, after)
    change = surface_change(beset, after)
    assert change.brain_voxels_changed == 0
    assert change.moved > 0.97
    assert bumps(beset, beset.volume)["side"] > 10
    assert found["side"] < 4.5
    # a fit that covers everything grows the knob, and it is seen
    monkeypatch.setattr(refacing, "THIN", 0.0)
    monkeypatch.setattr(refacing, "OUTLIER", 1e6)
    assert bumps(beset, defaced(beset))["side"] > found["side"] + 3


def test_ears_are_laid_flatter_where_the_image_ends(narrow, monkeypatch):
    found = bumps(narrow, defaced(narrow))
    monkeypatch.setattr(refacing, "LOWEST", 1.0)
    slabs = bumps(narrow, defaced(narrow))
    assert slabs["cut"] > 0.1
    assert found["cut"] < 0.5 * slabs["cut"]


@pytest.mark.parametrize("kind", ["plain", "beset"])
def test_the_average_is_moved_outwards_and_not_stretched(kind, request):
    head = request.getfixturevalue(kind)
    shape = average_shape()
    offset = from_half(fit_average(head).offset, OFFSET_STEP)
    slope = np.stack(np.gradient(offset, FIT_GRID.spacing[0])[::-1])
    along = np.abs((slope * shape.outward).sum(axis=0))
    # 1 / (1 - along) is by how much what stands out, an ear or a lip, grows
    near = (np.abs(shape.skin) < 15) & (shape.rim < 3)
    assert np.percentile(along[near], 95) < 0.2

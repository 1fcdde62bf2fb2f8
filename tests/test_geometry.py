from __future__ import annotations

import pickle

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import ORIENTATIONS, geometries

from defacedask.errors import InputError
from defacedask.geometry import Geometry


def all_indices(geometry: Geometry) -> np.ndarray:
    return np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)


def test_there_are_48_orientations():
    assert len({m.tobytes() for m in ORIENTATIONS}) == 48
    codes = {
        Geometry((2, 2, 2), np.block([[m, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])).codes
        for m in ORIENTATIONS
    }
    assert len(codes) == 48


@given(geometries(sheared=True))
def test_index_to_world_and_back(geometry):
    index = all_indices(geometry)
    np.testing.assert_allclose(geometry.to_index(geometry.to_world(index)), index, atol=1e-6)


@given(geometries())
def test_simpleitk_agrees(geometry):
    image = sitk.Image(*geometry.shape[::-1], sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin.tolist())
    image.SetDirection(geometry.directions[:, ::-1].ravel().tolist())
    for corner in (np.zeros(3), np.array(geometry.shape) - 1):
        theirs = image.TransformContinuousIndexToPhysicalPoint(corner[::-1].astype(float).tolist())
        np.testing.assert_allclose(geometry.to_world(corner), theirs, atol=1e-6)


@given(geometries(sheared=True))
def test_nibabel_agrees(geometry):
    # nibabel: index order (i, j, k) of an array (x, y, z), world RAS
    ras = np.diag([-1, -1, 1, 1]) @ geometry.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(np.zeros(geometry.shape[::-1], np.uint8), ras)
    last = np.array(geometry.shape) - 1
    theirs = nibabel.affines.apply_affine(image.affine, last[::-1]) * (-1, -1, 1)
    np.testing.assert_allclose(geometry.to_world(last), theirs, atol=1e-6)


@pytest.mark.parametrize("matrix", ORIENTATIONS, ids=range(48))
def test_codes_agree_with_nibabel(matrix):
    affine = np.eye(4)
    affine[:3, :3] = matrix * (3.0, 1.0, 0.7)
    geometry = Geometry((4, 5, 6), affine)
    ras = np.diag([-1, -1, 1, 1]) @ affine[:, [2, 1, 0, 3]]
    assert geometry.codes == "".join(nibabel.aff2axcodes(ras))[::-1]


@given(geometries(sheared=True))
def test_positions_are_world_coordinates(geometry):
    x, y, z = np.broadcast_arrays(*geometry.positions(dtype=np.float64))
    assert x.shape == geometry.shape
    np.testing.assert_allclose(np.stack([x, y, z], -1), geometry.to_world(all_indices(geometry)), atol=1e-6)


def test_positions_of_axis_aligned_grids_stay_small():
    x, y, z = Geometry.from_spacing((4, 5, 6), (3, 1, 1)).positions()
    assert (x.shape, y.shape, z.shape) == ((1, 1, 6), (1, 5, 1), (4, 1, 1))


@given(geometries(sheared=True, max_size=7), st.data())
def test_blocks_have_the_same_bits(geometry, data):
    start = [data.draw(st.integers(0, n - 1)) for n in geometry.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, geometry.shape, strict=True)]
    whole = np.broadcast_arrays(*geometry.positions(dtype=np.float64))
    block = geometry.block(start, stop)
    cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    for mine, theirs in zip(np.broadcast_arrays(*block.positions(dtype=np.float64)), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs[cut])
    np.testing.assert_allclose(block.origin, geometry.to_world(start), atol=1e-9)


@given(geometries(max_size=6))
def test_block_of_a_flipped_grid(geometry):
    nz, ny, nx = geometry.shape
    flipped = geometry.block((nz - 1, 0, nx - 1), (-1, ny, -1), (-1, 1, -1))
    twice = flipped.block((nz - 1, 0, nx - 1), (-1, ny, -1), (-1, 1, -1))
    assert flipped.shape == geometry.shape
    np.testing.assert_allclose(flipped.to_world((0, 0, 0)), geometry.to_world((nz - 1, 0, nx - 1)), atol=1e-9)
    assert twice.close_to(geometry)


@given(geometries(sheared=True), st.floats(0.5, 5), st.floats(0, 20))
def test_aligned_grid_covers(geometry, spacing, margin):
    grid = geometry.aligned(spacing, margin)
    assert grid.codes == "SPL"
    assert (grid.corners.min(0) <= geometry.corners.min(0) - margin + 1e-3).all()
    assert (grid.corners.max(0) >= geometry.corners.max(0) + margin - 1e-3).all()


@given(geometries(), st.floats(0.4, 4))
def test_resampled_keeps_centre_and_directions(geometry, spacing):
    other = geometry.resampled(spacing)
    np.testing.assert_allclose(other.centre, geometry.centre, atol=1e-6)
    np.testing.assert_allclose(other.directions, geometry.directions, atol=1e-9)
    np.testing.assert_allclose(other.spacing, spacing, rtol=1e-9)


@given(geometries(sheared=True))
def test_kept_and_read_again(geometry):
    assert Geometry.from_dict(geometry.to_dict()) == geometry
    assert pickle.loads(pickle.dumps(geometry)) == geometry
    assert hash(Geometry.from_dict(geometry.to_dict())) == hash(geometry)


@given(geometries())
def test_voxel_volume(geometry):
    assert geometry.voxel_volume == pytest.approx(np.prod(geometry.spacing))


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((0, 2, 2), np.eye(4)),
        ((2, 2), np.eye(4)),
        ((2, 2, 2), np.diag([1, 0, 1, 1])),
        ((2, 2, 2), np.diag([1, np.nan, 1, 1])),
        ((2, 2, 2), np.eye(3)),
    ],
)
def test_nonsense_is_refused(shape, affine):
    with pytest.raises(InputError):
        Geometry(shape, affine)

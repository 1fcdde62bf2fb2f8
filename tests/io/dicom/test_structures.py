"""RTSTRUCT files of every oddity to masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.rt_writers import FRAME, contour, contours_of, mutated, roi, square, write_struct
from support.strategies import geometries

from defacedask.errors import DefacedaskError, InputError, RefusedError
from defacedask.geometry import Geometry
from defacedask.io.dicom.structures import read_structures

GRID = Geometry.from_spacing((10, 20, 30), (3, 1, 1), frame_of_reference=FRAME)  # slices at z = 0, 3, ... 27


def only(path, geometry=GRID):
    structures = read_structures(path, geometry)
    assert len(structures) == 1
    return structures[0]


def full(structure, geometry=GRID):
    return structure.full(geometry.shape)


def box(z, y, x):
    out = np.zeros(GRID.shape, bool)
    out[z, y, x] = True
    return out


def test_facts_and_box(tmp_path):
    path = write_struct(
        tmp_path / "rs.dcm",
        [roi("LeftParotid", [square(6, 4.5, 9.5), square(9, 4.5, 9.5)], colour=[9, 8, 7], kind="ORGAN")],
    )
    got = only(path)
    assert (got.name, got.original_name, got.number) == ("Parotid_L", "LeftParotid", 1)
    assert (got.colour, got.interpreted_type) == ((9, 8, 7), "ORGAN")
    assert got.start == (2, 5, 5)
    assert got.mask.shape == (2, 5, 5)
    assert got.mask.all()
    assert got.voxels == 50
    assert not got.warnings
    assert not got.refused


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries(max_size=9, sheared=True), st.integers(0, 2**32 - 1))
def test_any_grid_gives_the_mask_back(tmp_path, geometry, seed):
    """Contours drawn around voxels give the same voxels, on oblique, reversed and tilted grids."""
    geometry = Geometry(geometry.shape, geometry.affine, FRAME)
    mask = np.random.default_rng(seed).random(geometry.shape) < 0.4
    gaps = np.diff(np.flatnonzero(mask.any(axis=(1, 2))))
    # contours on every other slice say that the slices between belong to the structure
    assume(len(gaps) == 0 or np.mean(gaps == 1) > 0.5)
    path = write_struct(tmp_path / "rs.dcm", [roi("a", contours_of(mask, geometry))])
    got = only(path, geometry)
    assert np.array_equal(full(got, geometry), mask)


def test_hole_keyhole_and_islands(tmp_path):
    outer, hole = square(6, 2.5, 15.5), square(6, 5.5, 9.5)
    keyhole = np.concatenate([outer, outer[:1], hole, hole[:1]])
    islands = [outer, hole, square(6, 6.5, 8.5)]
    path = write_struct(
        tmp_path / "rs.dcm", [roi("a", [outer, hole]), roi("b", [keyhole]), roi("c", islands)]
    )
    ring, key, island = (full(s) for s in read_structures(path, GRID))
    inner = slice(6, 10), slice(6, 10)
    expected = box(2, slice(3, 16), slice(3, 16))
    expected[2, inner[0], inner[1]] = False
    assert np.array_equal(ring, expected)
    assert np.array_equal(key, expected)
    expected[2, 7:9, 7:9] = True
    assert np.array_equal(island, expected)


def test_xor_type_is_closed_too(tmp_path):
    path = write_struct(tmp_path / "rs.dcm", [roi("a", [contour(square(6, 2.5, 5.5), "CLOSEDPLANAR_XOR")])])
    assert only(path).voxels == 9


@pytest.mark.parametrize("flip", [False, True])
def test_contours_between_slices(tmp_path, flip):
    """Nearest slice; halfway the one nearer to the head, whichever way the stack is stored."""
    path = write_struct(
        tmp_path / "rs.dcm",
        [
            roi("near", [square(7.4, 4.5, 9.5), square(10.4, 4.5, 9.5)]),
            roi("half", [square(7.5, 4.5, 9.5), square(10.5, 4.5, 9.5)]),
        ],
    )
    grid = GRID.block((9, 0, 0), (-1, 20, 30), (-1, 1, 1)) if flip else GRID
    near, half = (full(s, grid)[:: -1 if flip else 1].any(axis=(1, 2)) for s in read_structures(path, grid))
    assert np.flatnonzero(near).tolist() == [2, 3]
    assert np.flatnonzero(half).tolist() == [3, 4]


def test_contours_thicker_than_slices(tmp_path):
    path = write_struct(tmp_path / "rs.dcm", [roi("a", [square(z, 4.5, 9.5) for z in (3, 9, 15, 21)])])
    got = only(path)
    assert got.mask.shape == (8, 5, 5)
    assert got.mask.all()
    assert any("farther apart" in w for w in got.warnings)


def test_contours_finer_than_slices_do_not_cancel(tmp_path):
    path = write_struct(tmp_path / "rs.dcm", [roi("a", [square(z, 4.5, 9.5) for z in np.arange(6, 13, 1.0)])])
    got = only(path)
    assert np.flatnonzero(full(got).any(axis=(1, 2))).tolist() == [2, 3, 4]
    assert any("left out" in w for w in got.warnings)


def test_a_missing_slice_stays_empty_and_is_named(tmp_path):
    zs = (3, 6, 9, 15, 18, 21)
    path = write_struct(tmp_path / "rs.dcm", [roi("a", [square(z, 4.5, 9.5) for z in zs])])
    got = only(path)
    assert np.flatnonzero(full(got).any(axis=(1, 2))).tolist() == [1, 2, 3, 5, 6, 7]
    assert any("1 slices between" in w for w in got.warnings)


def test_what_is_no_closed_contour_is_ignored_with_a_warning(tmp_path):
    items = [
        contour(np.array([[5.0, 5, 6]]), "POINT"),
        contour(square(6, 1, 3), "OPEN_PLANAR"),
        contour(square(6, 1, 3)[:2]),
        square(6, 4.5, 9.5),
        square(6, 4.5, 9.5),
    ]
    path = write_struct(tmp_path / "rs.dcm", [roi("a", items), roi("iso", items[:1])])
    got, point = read_structures(path, GRID)
    assert got.voxels == 25
    text = " ".join(got.warnings)
    assert "POINT" in text
    assert "OPEN_PLANAR" in text
    assert "fewer than three" in text
    assert "repeated" in text
    assert point.empty
    assert any("no closed contour" in w for w in point.warnings)


def test_sagittal_contours_are_refused_and_the_rest_goes_on(tmp_path):
    sagittal = square(6, 4.5, 9.5)[:, [2, 0, 1]]
    rois = [roi("side", [sagittal]), roi("axial", [square(6, 4.5, 9.5)])]
    side, axial = read_structures(write_struct(tmp_path / "rs.dcm", rois), GRID)
    assert "do not lie in the image's slices" in side.refused
    assert side.empty
    assert any("not used" in w for w in side.warnings)
    assert axial.voxels == 25
    with pytest.raises(RefusedError, match="parallel to the slices"):
        read_structures(write_struct(tmp_path / "rs.dcm", rois[:1]), GRID)


def test_other_frame_of_reference_is_refused(tmp_path):
    rois = [roi("a", [square(6, 4.5, 9.5)], frame="1.2.3.4")]
    with pytest.raises(RefusedError, match="frame of reference"):
        read_structures(write_struct(tmp_path / "rs.dcm", rois), GRID)
    rois.append(roi("b", [square(6, 4.5, 9.5)]))
    first, second = read_structures(write_struct(tmp_path / "rs.dcm", rois), GRID)
    assert first.refused
    assert second.voxels == 25


def test_outside_and_partly_outside(tmp_path):
    rois = [
        roi("above", [square(300, 4.5, 9.5)]),
        roi("beside", [square(6, 104.5, 109.5)]),
        roi("half", [square(6, 14.5, 109.5), square(-30, 4.5, 9.5)]),
        roi("tiny", [square(6, 4.6, 4.7)]),
    ]
    above, beside, half, tiny = read_structures(write_struct(tmp_path / "rs.dcm", rois), GRID)
    assert above.empty
    assert beside.empty
    assert any("outside the image" in w for w in above.warnings)
    assert any("outside the image" in w for w in beside.warnings)
    assert np.array_equal(full(half), box(2, slice(15, 20), slice(15, 30)))
    assert any("reaches beyond" in w for w in half.warnings)
    assert any("1 of its 2 contour planes" in w for w in half.warnings)
    assert tiny.empty
    assert any("too small" in w for w in tiny.warnings)


def test_names_stay_unique_and_readable(tmp_path):
    shape = [square(6, 4.5, 9.5)]
    odd = ["Brain", "brain", "Brain", "Größe/µ..", "脳幹", " ", "a\tb", "../../x", "Brain_2"]
    structures = read_structures(write_struct(tmp_path / "rs.dcm", [roi(n, shape) for n in odd]), GRID)
    names = [s.name for s in structures]
    assert len(set(names)) == len(names)
    assert names[:3] == ["Brain", "brain", "Brain_3"]
    assert names[3] == "Größe/µ.."
    assert names[4] == "脳幹"
    assert names[5] == "ROI_6"
    assert names[6] == "a b"
    assert names[8] == "Brain_2"
    assert [s.original_name for s in structures][:3] == ["Brain", "brain", "Brain"]


def test_numbers_used_twice_or_without_a_name(tmp_path):
    shape = [square(6, 4.5, 9.5)]
    rois = [
        roi("a", shape, number=1),
        roi("b", [], number=1, drawn=False),
        roi("c", shape, number=7, listed=False),
    ]
    first, loose, again = read_structures(write_struct(tmp_path / "rs.dcm", rois), GRID)
    assert (first.name, loose.name, again.name) == ("a", "ROI_7", "b")
    assert first.voxels == 25
    assert loose.voxels == 25
    assert again.refused


def test_no_contours_at_all(tmp_path):
    rois = [roi("empty", []), roi("undrawn", [], drawn=False)]
    structures = read_structures(write_struct(tmp_path / "rs.dcm", rois), GRID)
    assert all(s.empty and s.mask.shape == (1, 1, 1) for s in structures)
    assert read_structures(write_struct(tmp_path / "rs.dcm", []), GRID) == []


def test_unreadable_points_are_ignored_with_a_warning(tmp_path):
    bad = contour(square(6, 4.5, 9.5))
    bad.ContourData = [1.0, 2.0, 3.0, 4.0]
    far = contour(square(6, 4.5, 9.5))
    far.ContourData = ["1e300"] * 9
    got = only(write_struct(tmp_path / "rs.dcm", [roi("a", [bad, far, square(6, 4.5, 9.5)])]))
    assert got.voxels == 25
    assert any("2 x contour with unreadable points" in w for w in got.warnings)


def test_not_a_structure_set(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(b"not DICOM at all, but long enough to be looked at" * 20)
    with pytest.raises(InputError):
        read_structures(path, GRID)
    with pytest.raises(InputError):
        read_structures(tmp_path / "missing.dcm", GRID)
    whole = write_struct(tmp_path / "rs.dcm", [roi("a", [square(6, 4.5, 9.5)])]).read_bytes()
    path.write_bytes(whole[: whole.index(b"CLOSED_PLANAR") + 40])  # in the middle of a contour
    with pytest.raises(InputError):
        read_structures(path, GRID)
    path.write_bytes(whole[: whole.index(b"\x06\x30\x39\x00")])  # just before the contours
    with pytest.raises(InputError, match="no contours"):
        read_structures(path, GRID)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_a_sentence(tmp_path):
    """Whatever is damaged: masks or one of our errors, never anything else."""
    rois = [roi(f"r{i}", [square(z, 4.5, 9.5) for z in (3, 6, 9)]) for i in range(3)]
    whole = write_struct(tmp_path / "rs.dcm", rois).read_bytes()
    path, reasons = tmp_path / "x.dcm", []
    for seed in range(300):
        path.write_bytes(mutated(whole, seed))
        try:
            structures = read_structures(path, GRID)
        except DefacedaskError as error:
            reasons.append(error.message)
        else:
            assert all(s.full(GRID.shape).shape == GRID.shape for s in structures)
    assert 0 < len(reasons) < 300
    assert all(reasons)

"""Dose-volume metrics against doses whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from defacedask.costs.dose import METRICS, _Dose, compare_dose, dvh_metrics
from defacedask.errors import InputError
from defacedask.geometry import Geometry
from defacedask.io.dicom.structures import Structure
from defacedask.volume import make_volume, real_values

IMAGE = Geometry.from_spacing((30, 40, 40), (1, 1, 1), (-20, -20, -15), "1.2")


def structure(start, shape, name="Brain") -> Structure:
    return Structure(name, name, 1, (0, 0, 0), "", start, np.ones(shape, bool))


def volume(values, geometry, scale=0.001):
    stored = np.round(np.asarray(values) / scale).astype(np.uint32)
    return make_volume(stored, geometry, modality="RTDOSE", units="Gy", slope=scale)


def linear(geometry):
    """Dose that rises by 1 Gy/mm to the head and 0.5 Gy/mm to the left: interpolation is exact in it."""
    x, _, z = geometry.positions(dtype=np.float64)
    return np.broadcast_to(np.maximum(40 + z + 0.5 * x, 0), geometry.shape)


def metrics(rows, column="original"):
    return {r["metric"]: r[column] for r in rows}


def test_metrics_of_a_ramp():
    got = dvh_metrics(np.arange(1001) / 10, 8.0)
    assert tuple(got) == METRICS
    assert got["Dmean"] == pytest.approx(50)
    assert (got["Dmin"], got["Dmax"]) == (0, 100)
    assert got["D2"] == pytest.approx(98)
    assert got["D50"] == pytest.approx(50)
    assert got["D95"] == pytest.approx(5)
    assert got["D98"] == pytest.approx(2)
    assert got["V20Gy"] == pytest.approx(100 * 801 / 1001)
    assert got["D0.01cc"] == pytest.approx(100 * (1 - 10 / (1001 * 8)))


def test_small_empty_and_uniform():
    assert all(np.isnan(v) for v in dvh_metrics(np.zeros(0), 1.0).values())
    got = dvh_metrics(np.full(5, 60.0), 1.0)
    assert np.isnan(got["D0.01cc"])  # 5 mm³ have no hottest 10 mm³
    assert got["V60Gy"] == 100
    assert got["V70Gy"] == 0
    assert got["D95"] == got["D2"] == got["Dmean"] == 60


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2.5, 3, 2), (0.7, 0.9, 5)])
@pytest.mark.parametrize("flip", [False, True])
def test_dose_grid_need_not_be_the_images(spacing, flip):
    grid = Geometry.from_spacing(
        (60, 40, 60), spacing, (-30 * spacing[2], -20 * spacing[1], -30 * spacing[0]), "1.2"
    )
    if flip:
        grid = grid.block((59, 0, 0), (-1, 40, 60), (-1, 1, 1))
    part = structure((10, 15, 15), (6, 5, 9))
    dose = volume(linear(grid), grid)
    expected = linear(IMAGE)[part.box]
    got = metrics(compare_dose(dose, dose, [part], IMAGE))
    for name, value in dvh_metrics(expected.ravel(), 1.0).items():
        # stored to 1 mGy; a voxel on a level may fall on either side of it
        assert got[name] == pytest.approx(value, abs=100 / 270 * 9 + 0.01 if name[0] == "V" else 2e-3), name


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2.5, 3, 2), (0.7, 0.9, 5)])
def test_along_the_axes_and_voxel_by_voxel_are_one(spacing):
    rng = np.random.default_rng(4)
    grid = Geometry.from_spacing((20, 14, 18), spacing, (-9.3 * spacing[2], -7.7 * spacing[1], -10), "1.2")
    before = rng.random(grid.shape) * 70
    after = before.copy()
    after[:9] = 0.0
    here = _Dose(grid, IMAGE, before, after)
    assert here.parallel
    for start in ((3, 3, 3), (0, 0, 0), (20, 30, 25)):
        mask = rng.random((9, 8, 12)) < 0.4
        quick, slow = here._along_axes(mask, start, 0), here._by_voxel(mask, start, 0)
        assert quick[3] == slow[3]
        for a, b in zip(quick[:2], slow[:2], strict=True):
            # float64 sums in another order
            assert np.abs(a - b).max(initial=0) < 1e-11
    turned = IMAGE.affine.copy()
    turned[:3, :3] = turned[:3, :3] @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    assert not _Dose(grid, Geometry(IMAGE.shape, turned, "1.2"), before, after).parallel


def test_what_did_not_change_is_read_once():
    values = np.full(IMAGE.shape, 50.0)
    cut = values.copy()
    cut[:, :20] = 0
    here = _Dose(IMAGE, IMAGE, values, cut)
    old, new, _, _ = here.at(np.ones((4, 4, 4), bool), (5, 30, 5))
    assert new is old
    old, new, _, _ = here.at(np.ones((4, 4, 4), bool), (5, 18, 5))
    assert new is not old


def test_same_grid_is_exact_and_the_unchanged_has_no_difference():
    dose = volume(linear(IMAGE), IMAGE)
    rows = compare_dose(dose, dose.copy(), [structure((3, 3, 3), (4, 4, 4))], IMAGE)
    assert all(r["difference"] == 0 and r["original"] == r["defaced"] for r in rows)
    assert metrics(rows)["Dmax"] == pytest.approx(
        float((dose.values * 0.001)[3:7, 3:7, 3:7].max()), abs=1e-12
    )
    real = compare_dose(real_values(dose), real_values(dose), [structure((3, 3, 3), (4, 4, 4))], IMAGE)
    assert metrics(real)["Dmean"] == pytest.approx(metrics(rows)["Dmean"], rel=1e-6)


def test_cut_dose_is_seen():
    values = np.full(IMAGE.shape, 50.0)
    cut = values.copy()
    cut[:, :20] = 0
    dose, defaced = volume(values, IMAGE), volume(cut, IMAGE)
    near, far = structure((5, 18, 5), (4, 4, 4), "Eye_L"), structure((5, 30, 5), (4, 4, 4), "Brainstem")
    rows = compare_dose(dose, defaced, [near, far], IMAGE)
    eye = {r["metric"]: r for r in rows if r["structure"] == "Eye_L"}
    assert eye["Dmean"]["defaced"] == pytest.approx(25)
    assert eye["Dmean"]["difference"] == pytest.approx(25)  # original - defaced, as radiomics has it
    assert eye["V50Gy"]["original"] == 100
    assert eye["V50Gy"]["defaced"] == 50
    assert all(r["difference"] == 0 for r in rows if r["structure"] == "Brainstem")


def test_voxels_outside_the_dose_grid_are_left_out_and_named():
    small = IMAGE.block((10, 0, 0), (20, 40, 40))
    dose = volume(np.full(small.shape, 30.0), small)
    inside, part, outside, empty = (
        structure((10, 5, 5), (10, 3, 3), "a"),
        structure((8, 5, 5), (4, 3, 3), "b"),
        structure((0, 5, 5), (4, 3, 3), "c"),
        Structure("d", "d", 1, (0, 0, 0), "", (0, 0, 0), np.zeros((1, 1, 1), bool)),
    )
    rows = {
        (r["structure"], r["metric"]): r
        for r in compare_dose(dose, dose, [inside, part, outside, empty], IMAGE)
    }
    assert rows["a", "Dmean"]["voxels_outside"] == 0
    assert rows["b", "Dmean"]["voxels_outside"] == 18
    assert rows["b", "Dmean"]["note"] == "partly outside the dose grid"
    assert rows["b", "Dmean"]["original"] == pytest.approx(30)
    assert rows["c", "Dmean"]["note"] == "outside the dose grid"
    assert np.isnan(rows["c", "Dmean"]["original"])
    assert rows["d", "Dmean"]["note"] == "no voxels"


def test_what_cannot_be_compared():
    dose = volume(np.ones(IMAGE.shape), IMAGE)
    part = [structure((0, 0, 0), (2, 2, 2))]
    with pytest.raises(InputError, match="same grid"):
        compare_dose(dose, dose[1:], part, IMAGE)
    with pytest.raises(InputError, match="Gy"):
        compare_dose(dose, dose.assign_attrs(units="1"), part, IMAGE)
    other = Geometry(IMAGE.shape, IMAGE.affine, "9.9")
    with pytest.raises(InputError, match="frames of reference"):
        compare_dose(dose, dose, part, other)

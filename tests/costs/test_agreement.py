"""Agreement and test-retest: against published numbers, sums by hand, and SimpleITK."""

from __future__ import annotations

import types

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from defacedask.anatomy.morphology import erode
from defacedask.costs.agreement import rescan
from defacedask.costs.segmentation import dice, hd95
from defacedask.costs.summary import icc
from defacedask.costs.uptake import PEAK_MM, compare_uptake, uptake
from defacedask.geometry import Geometry
from defacedask.tables.batches import reader
from defacedask.tables.rescan import rescan_table

#: Shrout and Fleiss 1979, table 2: six targets, four judges; their ICC(2,1) is .29.
PUBLISHED = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


def by_sums(table):
    """ICC(2,1) from the sums of squares of a two-way analysis of variance, number by number."""
    n, k = table.shape
    grand = sum(map(float, table.ravel())) / (n * k)
    total = sum((float(x) - grand) ** 2 for x in table.ravel())
    between = k * sum((sum(row) / k - grand) ** 2 for row in table.tolist())
    judges = n * sum((sum(column) / n - grand) ** 2 for column in table.T.tolist())
    rows, columns = between / (n - 1), judges / (k - 1)
    error = (total - between - judges) / ((n - 1) * (k - 1))
    return (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)


def test_the_published_example():
    assert icc(PUBLISHED) == pytest.approx(0.29, abs=0.005)
    assert icc(PUBLISHED) == pytest.approx(by_sums(PUBLISHED), rel=1e-12)


def test_agreement_is_absolute_and_has_its_limits(rng):
    first = rng.normal(50, 10, 30)
    pairs = np.stack([first, first + rng.normal(0, 3, 30)], axis=1)
    assert icc(pairs) == pytest.approx(by_sums(pairs), rel=1e-9)
    assert icc(1e12 * pairs) == pytest.approx(icc(pairs), rel=1e-9)
    assert icc(np.stack([first, first], axis=1)) == 1.0
    # the same order with an offset is no agreement
    moved = np.stack([first, first + 40], axis=1)
    assert icc(moved) == pytest.approx(by_sums(moved), rel=1e-9)
    assert icc(moved) < 0.2
    for nothing in (pairs[:1], np.full((5, 2), 3.0), np.zeros((0, 2)), np.full((5, 2), np.nan)):
        assert np.isnan(icc(nothing))


def long(values, defacer="d"):
    """Rows of four cases: two of the persons a and b, one of c, one of nobody known."""
    cases = ("a1", "b1", "a2", "c1", "b2", "x1")
    about = {"defacer": defacer, "modality": "CT", "structure": "Brain", "measure": "Median"}
    return pd.DataFrame(
        [{"case": c, **about, "original": o, "defaced": d} for c, (o, d) in zip(cases, values, strict=True)]
    )


PATIENTS = {"a1": "a", "b1": "b", "a2": "a", "c1": "c", "b2": "b", "x1": "", "y1": ""}


def test_a_change_as_a_share_of_a_second_scan():
    values = [(10, 11), (20, 20), (13, 13), (40, 40), (16, 16), (7, 9)]
    (row,) = rescan(long(values), PATIENTS).to_dict("records")
    assert (row["cases"], row["persons"]) == (6, 2)
    assert row["change_rms"] == pytest.approx(np.sqrt((1 + 4) / 6))
    assert row["rescan_rms"] == pytest.approx(np.sqrt((3**2 + 4**2) / 2))
    assert row["share"] == pytest.approx(row["change_rms"] / row["rescan_rms"])
    assert row["icc"] == pytest.approx(by_sums(np.array(values, float)))
    assert row["rescan_icc"] == pytest.approx(by_sums(np.array([[10.0, 13], [20, 16]])))
    assert row["within_repeatability"] == 1.0
    far = [*values[:5], (7, 30)]
    assert rescan(long(far), PATIENTS)["within_repeatability"].tolist() == [5 / 6]


def test_a_scan_of_another_kind_is_no_second_scan():
    rows = long([(10, 11), (20, 20), (13, 13), (40, 40), (16, 16), (7, 9)])
    other = rows.assign(case="a0", modality="MR").iloc[:1]
    patients = {"a0": "a", **PATIENTS}
    found = rescan(pd.concat([other, rows], ignore_index=True), patients).set_index("modality")
    assert found.loc["CT", "persons"] == 2
    assert found.loc["CT", "rescan_rms"] == pytest.approx(np.sqrt((3**2 + 4**2) / 2))
    assert found.loc["MR", "persons"] == 0


def test_nothing_changed_and_nobody_came_twice():
    same = [(v, v) for v in (10, 20, 13, 40, 16, 7)]
    (row,) = rescan(long(same), PATIENTS).to_dict("records")
    assert row["share"] == 0.0
    assert row["icc"] == 1.0
    (row,) = rescan(long(same), dict.fromkeys(PATIENTS, "")).to_dict("records")
    assert row["persons"] == 0
    assert np.isnan(row["share"])
    assert np.isnan(row["within_repeatability"])


def test_all_three_tables_are_in_it_and_masks_of_one_scan_are_not():
    rows = long([(10, 11), (20, 20), (13, 13), (40, 40), (16, 16), (7, 9)])
    tables = {
        "cases": pd.DataFrame({"case": list(PATIENTS), "patient": list(PATIENTS.values())}),
        "radiomics": rows.rename(columns={"measure": "feature"}),
        "dose": rows.drop(columns="modality").rename(columns={"measure": "metric"}),
        "utility": pd.concat([rows.assign(measure=name) for name in ("volume_ml", "dice", "hd95_mm")]),
    }
    found = rescan_table(reader(tables))
    assert found[["modality", "measure"]].to_numpy().tolist() == [
        ["CT", "Median"],
        ["RTDOSE", "Median"],
        ["CT", "volume_ml"],
    ]
    assert found["share"].nunique() == 1
    once = tables | {"cases": tables["cases"].drop_duplicates("patient")}
    assert not len(rescan_table(reader(once)))


# --- masks


def blobs(rng):
    """Two masks that differ, of odd form."""
    noise = rng.normal(size=(24, 30, 28)).astype(np.float32)
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 3.0))
    one = smooth > 0.02
    other = one.copy()
    other[:, :9] = False
    other[3:6, 20:25, 3:9] = True
    return one, other


def as_image(mask, spacing):
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    return image


def by_simpleitk(one, other, spacing):
    """Percentiles of SimpleITK's distances on SimpleITK's contours (of the 6-neighbourhood)."""
    images = [as_image(mask, spacing) for mask in (one, other)]
    found = []
    for a, b in (images, images[::-1]):
        edge, goal = (sitk.LabelContour(image, fullyConnected=False) for image in (a, b))
        away = sitk.Abs(sitk.SignedMaurerDistanceMap(goal, squaredDistance=False, useImageSpacing=True))
        at = sitk.GetArrayFromImage(edge) > 0
        found.append(np.percentile(np.maximum(sitk.GetArrayFromImage(away), 0)[at], 95))
    return max(found)


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 1.0, 1.5)])
def test_overlap_and_distance_are_simpleitks(rng, spacing):
    one, other = blobs(rng)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(as_image(one, spacing), as_image(other, spacing))
    assert dice(one, other) == pytest.approx(overlap.GetDiceCoefficient(), rel=1e-9)
    assert dice(one, other) < 0.9
    # a voxel at the edge of the image is on no border of ours; the blobs are taken where they end inside
    inside = [np.zeros(mask.shape, bool) for mask in (one, other)]
    for mask, whole in zip(inside, (one, other), strict=True):
        mask[1:-1, 1:-1, 1:-1] = whole[1:-1, 1:-1, 1:-1]
    assert hd95(*inside, spacing) == pytest.approx(by_simpleitk(*inside, spacing), rel=1e-5)
    assert hd95(*inside, spacing) > 2.0


def test_equal_and_empty_masks(rng):
    one, _ = blobs(rng)
    none = np.zeros_like(one)
    assert (dice(one, one), hd95(one, one, (1.0, 1.0, 1.0))) == (1.0, 0.0)
    assert (dice(none, none), hd95(none, none, (1.0, 1.0, 1.0))) == (1.0, 0.0)
    assert dice(one, none) == 0.0
    assert np.isnan(hd95(one, none, (1.0, 1.0, 1.0)))


# --- uptake


def test_mean_maximum_and_peak(rng):
    spacing = (3.0, 2.0, 2.5)
    values = rng.gamma(2.0, 1.0, (12, 16, 14))
    mask = np.zeros(values.shape, bool)
    mask[4:8, 5:10, 6:9] = True
    found = uptake(values, mask, spacing)
    assert found["mean"] == pytest.approx(values[mask].mean())
    assert found["max"] == values[mask].max()
    assert 4 / 3 * np.pi * PEAK_MM**3 == pytest.approx(1000, rel=1e-3)
    place = np.argwhere(np.ones(values.shape, bool)) * spacing
    balls = [
        np.linalg.norm(place - centre * np.array(spacing), axis=1) <= PEAK_MM for centre in np.argwhere(mask)
    ]
    assert found["peak"] == pytest.approx(max(values.ravel()[ball].mean() for ball in balls))
    assert np.isnan(uptake(values, np.zeros_like(mask), spacing)["peak"])


def test_structures_on_another_grid_than_the_pet(rng):
    pet = Geometry.from_spacing((10, 12, 12), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    ct = Geometry.from_spacing((20, 24, 24), (2.0, 2.0, 2.0), (-1.0, -1.0, -1.0))
    values = rng.gamma(2.0, 1.0, pet.shape)
    block = np.ones((6, 8, 6), bool)
    parts = [
        types.SimpleNamespace(name="in", start=(6, 8, 8), mask=block),
        types.SimpleNamespace(name="empty", start=(0, 0, 0), mask=np.zeros((0, 0, 0), bool)),
    ]
    after = values.copy()
    after[4, 5, 5] += 100
    rows = compare_uptake(values, after, pet, parts, ct)
    assert {row["structure"] for row in rows} == {"in"}
    found = {row["measure"]: row for row in rows}
    # two voxels of the CT a voxel of the PET
    own = (slice(3, 6), slice(4, 8), slice(4, 7))
    assert found["uptake_mean"]["original"] == pytest.approx(values[own].mean())
    assert found["uptake_max"]["defaced"] == after[4, 5, 5]
    assert found["uptake_peak"]["defaced"] > found["uptake_peak"]["original"]
    assert compare_uptake(values, after, pet.block((0, 0, 0), (1, 2, 2)), [], ct) == []


@given(st.integers(0, 2**32 - 1), st.integers(0, 400))
def test_a_distance_of_few_voxels_is_the_percentile_of_all(seed, changed):
    rng = np.random.default_rng(seed)
    one = np.zeros((9, 10, 11), bool)
    one[2:7, 2:8, 2:9] = True
    other = one.copy()
    other.reshape(-1)[rng.choice(one.size, changed, replace=False)] ^= True
    if not other.any():
        return
    edges = [mask & ~erode(mask, 1) for mask in (one, other)]
    spots = [np.argwhere(edge) * [2.0, 1.0, 1.5] for edge in edges]
    away = np.linalg.norm(spots[0][:, None] - spots[1][None], axis=2)
    expected = max(np.percentile(away.min(axis=k), 95) for k in (0, 1))
    assert hd95(one, other, (2.0, 1.0, 1.5)) == pytest.approx(expected)

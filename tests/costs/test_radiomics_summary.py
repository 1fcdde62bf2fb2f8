"""The study's tables from rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from defacedask.costs.radiomics import compare_structures, percent_change
from defacedask.costs.summary import concordance, radiomics_percent, radiomics_summary
from defacedask.tables.schemas import TEN_FEATURES

KEY = ["defacer", "modality", "structure", *TEN_FEATURES]


def table(pairs, *, feature="Energy", structure="Brain", defacer="quickshear", notes=None, changed=5):
    return pd.DataFrame(
        [
            {
                "case": f"c{at}",
                "defacer": defacer,
                "structure": structure,
                "feature": feature,
                "original": old,
                "defaced": new,
                "percent": percent_change(old, new),
                "voxels": 10,
                "voxels_changed": 0 if old == new else changed,
                "note": notes[at] if notes else "",
            }
            for at, (old, new) in enumerate(pairs)
        ]
    )


def test_mean_of_ratios_and_ratio_of_means_are_told_apart():
    row = radiomics_summary(table([(10, 20), (1000, 900), (50, 50)])).iloc[0]
    assert row["mean"] == pytest.approx((-100 + 10 + 0) / 3)
    assert row["median"] == 0
    assert row["ratio_of_means"] == pytest.approx(100 * (1060 - 970) / 1060)
    assert (row["n"], row["cases"], row["undefined"]) == (3, 3, 0)
    assert (row["cases_touched"], row["equal"]) == (2, 1)
    assert row["voxels"] == 30
    assert row["fraction_changed"] == pytest.approx(10 / 30)
    assert row["max"] == 100
    assert row["p95"] == pytest.approx(np.percentile([100, 10, 0], 95))
    assert row["iqr"] == pytest.approx(row["q3"] - row["q1"])


def test_what_does_not_exist_is_counted_and_what_is_shaky_is_beside():
    notes = ["", "zero denominator", "near-zero denominator"]
    row = radiomics_summary(table([(10, 20), (0, 5), (0.01, 5)], notes=notes)).iloc[0]
    assert (row["n"], row["undefined"], row["near_zero"], row["cases"]) == (2, 1, 1, 3)
    assert row["mean"] == pytest.approx((-100 - 49900) / 2)
    assert row["mean_without_near_zero"] == -100


def test_nothing_left():
    row = radiomics_summary(table([(0, 5), (np.nan, np.nan)])).iloc[0]
    assert (row["n"], row["undefined"]) == (0, 2)
    assert np.isnan(row["mean"])
    assert np.isnan(row["median"])
    empty = radiomics_summary(table([(1, 1)]).iloc[:0])
    assert len(empty) == 0
    assert "ratio_of_means" in empty.columns
    assert list(radiomics_percent(table([(1, 1)]).iloc[:0]).columns) == KEY


def test_concordance():
    rng = np.random.default_rng(0)
    x = rng.normal(100, 10, 50)
    y = x + rng.normal(3, 5, 50)
    # Lin 1989, by its definition
    expected = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert concordance(x, y) == pytest.approx(expected)
    assert concordance(x * 1e12, y * 1e12) == pytest.approx(expected)
    assert concordance(x, x) == 1
    assert concordance(x, 2 * x.mean() - x) == pytest.approx(-1)
    assert concordance([1, 1, 1], [2, 2, 2]) == 0
    assert np.isnan(concordance([1, 1], [1, 1]))
    assert np.isnan(concordance([1], [1]))


def test_wide_table_in_the_studys_order():
    rng = np.random.default_rng(1)
    image = rng.integers(-100, 100, (4, 6, 6)).astype(np.int16)

    class Part:
        def __init__(self, name):
            self.name, self.start, self.mask = name, (0, 0, 0), np.ones((3, 3, 3), bool)

    rows = []
    for defacer, other in (("quickshear", image + 10), ("none", image)):
        for case in ("a", "b"):
            found = compare_structures(image, other, [Part(n) for n in ("PTV56", "Target", "Bone_Mandible")])
            rows += [{"case": case, "defacer": defacer, **row} for row in found]
    rows = pd.DataFrame(rows)
    wide = radiomics_percent(rows)
    assert list(wide.columns) == KEY
    assert list(wide["defacer"]) == ["quickshear"] * 3 + ["none"] * 3
    assert list(wide["structure"]) == ["Bone_Mandible", "Target", "PTV56"] * 2
    assert (wide.iloc[3:][list(TEN_FEATURES)] == 0).all(axis=None)
    cell = rows[(rows.defacer == "quickshear") & (rows.structure == "Target") & (rows.feature == "Median")]
    assert wide.loc[1, "Median"] == pytest.approx(cell["percent"].mean())
    summary = radiomics_summary(rows)
    assert list(summary["feature"][:10]) == list(TEN_FEATURES)
    assert radiomics_percent(summary, "n")["Energy"].tolist() == [2] * 6


def test_images_of_one_case_are_not_averaged():
    ct = table([(100, 50), (100, 100)]).assign(modality="CT")
    pet = table([(10, 40), (10, 10)]).assign(modality="PT")
    summary = radiomics_summary(pd.concat([pet, ct]))
    assert summary["modality"].tolist() == ["CT", "PT"]
    assert summary["mean"].tolist() == [25, -150]
    assert summary["n"].tolist() == [2, 2]
    wide = radiomics_percent(summary)
    assert wide[["modality", "Energy"]].to_numpy().tolist() == [["CT", 25.0], ["PT", -150.0]]


def test_a_case_with_two_structure_sets_counts_once():
    first = table([(100, 50), (100, 100)])
    again = table([(100, 0)])
    row = radiomics_summary(pd.concat([first, again])).iloc[0]
    assert (row["n"], row["cases"], row["repeated"]) == (2, 2, 1)
    assert row["mean"] == 25


def test_what_was_not_touched_must_be_equal():
    rows = table([(1, 1), (np.nan, np.nan), (3, 3), (5, 6)])
    row = radiomics_summary(rows.assign(voxels_changed=[0, 0, 0, 4])).iloc[0]
    assert (row["untouched"], row["untouched_equal"], row["cases_touched"]) == (3, 3, 1)
    wrong = radiomics_summary(rows.assign(voxels_changed=[0, 0, 0, 0])).iloc[0]
    assert (wrong["untouched"], wrong["untouched_equal"]) == (4, 3)

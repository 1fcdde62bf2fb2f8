"""The summary of radiomics, and of second scans, from batches: that of the whole table, or of a sample of it."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defacedask.costs.agreement import rescan
from defacedask.costs.summary import radiomics_summary
from defacedask.tables import radiomics_parts
from defacedask.tables.files import as_table
from defacedask.tables.radiomics_parts import radiomics_tables
from defacedask.tables.rescan import rescan_table
from defacedask.tables.sampled import case_hashes

N = 9
EXACT = ("n", "mean", "max", "ratio_of_means", "cases", "undefined", "near_zero", "mean_without_near_zero")
EXACT += ("cases_touched", "equal", "voxels", "fraction_changed", "untouched", "untouched_equal", "repeated")
KEY = ["defacer", "modality", "structure", "feature"]


def _rows():
    rng = np.random.default_rng(5)
    rows = []
    for k in range(N):
        for defacer in ("none", "cut"):
            for structure in ("Brain", "Eye_L") if k < 4 else ("Brain",):  # one is rare
                for again in range(1 + (k == 2)):  # another structure set
                    change = 0.0 if defacer == "none" or k % 3 == 0 else rng.normal()
                    about = {"case": f"c{k}", "defacer": defacer, "structure": structure, "feature": "Mean"}
                    rows.append(
                        {**about, "original": 10.0 + k, "defaced": 10.0 + k - change, "modality": "CT"}
                        | {"percent": np.nan if k == 5 else 100 * change / (10.0 + k), "voxels": 50}
                        | {"note": "near-zero denominator" if k == 7 else "", "structure_set": str(again)}
                        | {"voxels_changed": 7 if change else 0}
                    )
    return as_table("radiomics", rows)


ROWS = _rows()
PATIENTS = as_table("cases", [{"case": f"c{k}", "patient": f"p{k // 2}", "status": "done"} for k in range(N)])


def split(cuts, **tables):
    """Reader of tables that are cut at these cases."""
    ends = [*sorted(set(cuts)), N]

    def read(name, columns=None, filters=()):
        table = tables.get(name, ROWS.iloc[:0])
        place = table["case"].str[1:].astype(int)
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            part = table.loc[(place >= begin) & (place < end)]
            for column, _, wanted in filters:
                part = part.loc[part[column].isin(wanted)]
            if len(part):
                yield part.reset_index(drop=True)[list(columns) if columns else part.columns]

    return read


@given(st.lists(st.integers(1, N - 1), max_size=5), st.sampled_from([1000, 4]))
@settings(max_examples=12)
def test_the_summary_is_that_of_the_whole_table(cuts, most_rows):
    before = radiomics_parts.MOST_ROWS
    radiomics_parts.MOST_ROWS = most_rows
    try:
        _, found = radiomics_tables(split(cuts, radiomics=ROWS))
    finally:
        radiomics_parts.MOST_ROWS = before
    pd.testing.assert_frame_equal(
        found, as_table("radiomics_summary", radiomics_summary(ROWS)), check_exact=True
    )


@given(st.lists(st.integers(1, N - 1), max_size=5))
@settings(max_examples=8)
def test_of_many_cases_quartiles_are_of_a_sample_and_all_else_of_all(cuts):
    with dask.config.set({"defacedask.report.most-cases": 5}):
        _, found = radiomics_tables(split(cuts, radiomics=ROWS))
    whole = radiomics_summary(ROWS).set_index(KEY)
    found = found.set_index(KEY)
    for name in EXACT:
        np.testing.assert_allclose(
            found[name].astype(float), whole[name].astype(float), rtol=1e-12, atol=1e-12, err_msg=name
        )
    # the sample is of the five cases with the smallest hash; what is rare is all there
    hashes = case_hashes(f"c{k}" for k in range(N))
    five = {f"c{k}" for k in np.argsort(hashes)[:5]}
    some = radiomics_summary(ROWS.loc[ROWS["case"].isin(five) | (ROWS["structure"] == "Eye_L")]).set_index(
        KEY
    )
    for name in ("median", "q1", "q3", "iqr", "p95", "concordance", "icc"):
        np.testing.assert_array_equal(found[name], some[name], err_msg=name)


@given(st.lists(st.integers(1, N - 1), max_size=5))
@settings(max_examples=6)
def test_second_scans_are_those_of_the_whole_table_and_of_many_those_of_whole_persons(cuts):
    patients = dict(zip(PATIENTS["case"], PATIENTS["patient"], strict=True))
    whole = rescan(ROWS.rename(columns={"feature": "measure"}), patients)
    found = rescan_table(split(cuts, radiomics=ROWS, cases=PATIENTS))
    key = ["defacer", "structure"]
    pd.testing.assert_frame_equal(
        found.sort_values(key, ignore_index=True),
        as_table("rescan", whole).sort_values(key, ignore_index=True),
    )
    with dask.config.set({"defacedask.report.most-cases": 5}):
        some = rescan_table(split(cuts, radiomics=ROWS, cases=PATIENTS))
        again = rescan_table(split([], radiomics=ROWS, cases=PATIENTS))
    pd.testing.assert_frame_equal(some, again)
    brain = some.set_index(key).loc[("cut", "Brain")]
    # persons come whole: two cases of each, but for the last, who has one
    assert 2 <= brain["cases"] <= 5
    assert brain["cases"] - brain["persons"] in (brain["persons"], brain["persons"] + 1)


def test_nobody_has_two_scans():
    alone = PATIENTS.assign(patient=PATIENTS["case"])
    assert len(rescan_table(split([4], radiomics=ROWS, cases=alone))) == 0
    assert len(rescan_table(split([4], radiomics=ROWS, cases=alone.assign(patient="")))) == 0


def test_the_sampled_table_has_its_positive_control():
    """A sample of everybody is everybody."""
    with dask.config.set({"defacedask.report.most-cases": N}):
        _, found = radiomics_tables(split([3], radiomics=ROWS))
    assert found["median"].tolist() == pytest.approx(radiomics_summary(ROWS)["median"].tolist(), nan_ok=True)

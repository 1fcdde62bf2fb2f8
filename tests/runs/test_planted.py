"""Planted cases through the real study: what must be recognised is, what cannot be is not, and the page says so.

Nothing done: matched in every case, and not a number changed. A blur of 2 mm: still matched. All but the brain
blanked, which the base class keeps: no face, no match.
"""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from support.linked import linked
from support.planted import study, table

import defacedask as dd
from defacedask.phantom.write import write_subject

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cohort(virtual_cohort, tmp_path_factory):
    """Three virtual patients, the first of them scanned twice; the third is in no other test."""
    folder = tmp_path_factory.mktemp("planted") / "dicom"
    parts = ("VP-0001/STUDY-*", "VP-0002/STUDY-1")
    linked(virtual_cohort, folder, *(f"{part}/{kind}/*" for part in parts for kind in ("CT", "RT")))
    write_subject(folder, 3, 5, 1, ("CT",), "coarse")
    return dd.scan(folder)


def first_scans(cohort):
    return [case for case in cohort if "STUDY-1" in case.primary.files[0]]


@pytest.fixture(scope="module")
def run(cohort, tmp_path_factory):
    assert len(cohort) == 4
    return study(first_scans(cohort), tmp_path_factory.mktemp("planted") / "out", None)


def outcomes(run) -> dict[str, str]:
    """Defacer -> whether it may be published and why, as printed."""
    page = run.report.read_text(encoding="utf-8").replace("\u00a0", " ")
    body = re.search(r'<table class="sortable" id="decisions">.*?</table>', page, re.DOTALL)[0]
    rows = re.findall(r"<tr><th[^>]*>(.*?)</th><td[^>]*>(.*?)</td>", body, re.DOTALL)
    return {re.sub("<.*", "", name): re.sub("<[^>]*>", "|", words) for name, words in rows}


def free(run, rows, defacer):
    """Rows of structures that lie outside the brain and its margin as a whole; those within it have not changed."""
    volumes = table(run, "geometry", defacer=defacer).set_index(["case", "structure"])["region_percent"]
    share = np.array([volumes.get((row.case, row.structure), np.nan) for row in rows.itertuples()])
    if "voxels_changed" in rows:
        assert (share == 0).any()
        assert (rows["voxels_changed"][share == 0] == 0).all()
    assert len({*rows["structure"][share == 100]}) > 5
    return rows[share == 100]


def test_all_are_done(run):
    assert run.tables["cases"]["status"].tolist() == ["done"] * 3
    assert table(run, "controls")["holds"].all()


def test_nothing_done_is_recognised_everywhere_and_changes_nothing(run):
    faces = table(run, "faces_detected", defacer="planted_identity").iloc[0]
    assert (faces["cases"], faces["matches"], faces["rank_1"]) == (3, 3, 3)
    looks = table(run, "recognition", defacer="planted_identity", attack="plain")["distance_to_own"].dropna()
    assert len(looks)
    assert (looks == 0).all()
    rows = table(run, "radiomics", defacer="planted_identity")
    assert len(rows) > 100
    assert (rows["voxels_changed"] == 0).all()
    assert (rows["percent"].dropna() == 0).all()
    assert (table(run, "dose", defacer="planted_identity")["difference"].dropna() == 0).all()
    assert outcomes(run)["planted_identity"].startswith("no|recognised in 3 of 3 cases")


def test_a_blur_is_still_recognised_though_it_changes_features(run):
    row = table(run, "verification", defacer="planted_blur", modality="any").iloc[0]
    assert (row["judged"], row["matched"], row["rank_1"]) == (3, 3, 3)
    assert row["auc"] == 1
    assert row["chance"] < 0.5
    variance = free(run, table(run, "radiomics", defacer="planted_blur", feature="Variance"), "planted_blur")
    assert (variance["percent"] != 0).all()
    assert (variance["voxels_changed"] > 0.9 * variance["voxels"]).all()
    assert outcomes(run)["planted_blur"].startswith("no|recognised in 3 of 3 cases")


def test_a_blank_head_is_neither_detected_nor_recognised(run):
    faces = table(run, "faces_detected", defacer="planted_blank").iloc[0]
    assert (faces["cases"], faces["faces_detected"], faces["matches"]) == (3, 0, 0)
    assert faces["matches_any_attack"] == 0
    assert faces["upper_bound_95"] == pytest.approx(1 - 0.05 ** (1 / 3))
    row = table(run, "verification", defacer="planted_blank", modality="any").iloc[0]
    assert (row["judged"], row["matched"]) == (3, 0)
    rows = free(run, table(run, "radiomics", defacer="planted_blank"), "planted_blank")
    assert (rows["voxels_changed"] > 0.98 * rows["voxels"]).all()  # some were as empty as air before
    whole = rows[rows["feature"].isin(["Range", "Variance"]) & (rows["original"] > 0)]
    assert np.allclose(whole["percent"], 100, rtol=1e-12)
    dose = free(run, table(run, "dose", defacer="planted_blank", metric="Dmean"), "planted_blank")
    assert (dose["defaced"].dropna() == 0).all()
    volumes = table(run, "geometry", defacer="planted_blank")
    # one patient's target lies in the brain, which stays
    away = volumes[volumes["structure"].isin(["Eye_L", "Parotid_R", "Bone_Mandible"])]
    assert len(away) == 9
    assert (away["region_percent"] == 100).all()
    assert (away["after_ml"] == 0).all()
    assert volumes["target"].any()
    words = outcomes(run)["planted_blank"]
    assert words.startswith("not shown|")
    assert "0 of 3 allows up to 64" in words


def test_the_first_line_says_it_and_what_so_few_cases_allow(run):
    page = run.report.read_text(encoding="utf-8").replace("\u00a0", " ")
    first = re.search(r'<h1 id="first-line">(.*?)</h1>', page, re.DOTALL)[1]
    assert "planted_identity 3 of 3" in first
    assert "planted_blur 3 of 3" in first
    assert "planted_blank 0 of 3" in first
    assert "None recognised of 3 cases still allows a true rate of up to 64" in page
    assert "not measurable" in page  # 1 % of false positives, from six comparisons
    stages = set(run.tables["timing"]["stage"])
    assert stages == {"ingest", "plan", "apply", "faces", "radiomics", "geometry", "dose", "utility", "skin"}


def test_a_second_scan_as_gallery(run, cohort, tmp_path):
    """The identity defacer is then no trivial match: another scan, pose and noise."""
    out = shutil.copytree(run.out, tmp_path / "out")  # what is finished there need not run again
    result = study(list(cohort), out, "planted_identity", gallery="second-scan")
    controls = result.tables["controls"].iloc[0]
    assert controls["gallery"] == "second-scan"
    assert controls["not_in_gallery"] == "VP-0002, VP-0003"
    identity = table(result, "verification", defacer="planted_identity", modality="any").iloc[0]
    assert (identity["cases"], identity["judged"], identity["gallery_size"]) == (4, 2, 3)
    faces = table(result, "faces_detected", defacer="planted_identity").iloc[0]
    assert (faces["cases"], faces["judged"], faces["matches"]) == (4, 2, 2)
    looks = table(result, "recognition", defacer="planted_identity", attack="plain")
    twice = looks["case"].str.startswith("VP-0001")
    assert (looks.loc[twice, "distance_to_own"].dropna() > 0).all()
    assert (looks.loc[twice, "rank_of_own"].dropna() == 1).all()
    assert twice.sum() >= 4
    assert looks.loc[~twice, "distance_to_own"].isna().all()
    assert identity["matched"] == 2
    page = result.report.read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "Originals recognised in their other scan (positive control)" in page
    assert "nothing to compare with: VP-0002, VP-0003" in page
    assert "planted_identity 2 of 2" in re.search(r'<h1 id="first-line">(.*?)</h1>', page, re.DOTALL)[1]


def test_a_recogniser_that_sees_nothing_voids_the_result(run, cohort, tmp_path):
    """Looking at the back of the head: nobody is recognised before, so nothing is proven after."""
    out = shutil.copytree(run.out, tmp_path / "out")
    behind = {"defacedask.render.yaws": [180], "defacedask.render.pitches": [0, 20]}
    result = study(first_scans(cohort)[:1], out, "planted_identity", settings=behind)
    page = result.report.read_text(encoding="utf-8")
    assert re.search(r'<h1 id="first-line">The privacy result is void', page)
    assert not result.tables["controls"]["holds"].any()

"""May it be published, planned on, measured on: each planted fault turns the answer that it must, and no other."""

from __future__ import annotations

import pytest
from support.small_run import GOOD, tables, write

from defacedask.report.run import read_run
from defacedask.report.sections.decision import measured, planned, published


def answers(out, rows, defacer=GOOD, **release):
    run = read_run(write(out, rows, defacer, **release))
    return {d.__name__: d(run, defacer) for d in (published, planned, measured)}


def words(found):
    return tuple(decision.word for decision in found.values())


def test_a_run_in_which_nothing_is_wrong_allows_no_more_than_was_tried(tmp_path):
    found = answers(tmp_path, tables())
    assert words(found) == ("as far as tried", "as before", "as before")
    assert "true rate below 7.3" in found["published"].reasons[0]


def matched(rows):
    rows["recognition"][-3]["distance_to_own"] = 0.36  # above the study's 0.3 and within the threshold


def nearest(rows):
    rows["verification"][-1]["rank_1"] = 12


def told_apart(rows):
    rows["verification"][-1].update(auc=0.7, auc_low=0.6, auc_high=0.8)


def still_visible(rows):
    rows["exports"][3].update(
        status="refused", reason="CT: 37 % of the face's skin: the face is still visible."
    )


def written_though_visible(rows):
    rows["exports"][3]["visible"] = True


def not_written(rows):
    del rows["exports"][5]


def never_written(rows):
    rows["exports"].clear()


def virtual(rows):
    for row in rows["cases"]:
        row["virtual"] = True


def one_attack_less(rows):
    rows["recognition"][:] = [r for r in rows["recognition"] if r["attack"] != "unmasked"]


def no_contour(rows):
    rows["recognition"][:] = [r for r in rows["recognition"] if r["modality"] != "RTSTRUCT"]


def blind(rows):
    for row in rows["controls"]:
        row.update(persons_detected=3, positive_n=3, positive_matches=0, holds=False)


def nobody_looked(rows):
    for name in ("recognition", "verification", "controls"):
        rows[name].clear()


@pytest.mark.parametrize(
    ("fault", "word", "why"),
    [
        (matched, "no", "recognised in 1\u00a0of\u00a040"),
        (still_visible, "no", "found still visible in 1\u00a0of\u00a040"),
        (written_though_visible, "no", "found still visible"),
        (nearest, "not shown", "nearest of all in 12\u00a0of\u00a040"),
        (told_apart, "not shown", "AUC 0.70"),
        (not_written, "not shown", "1 of 40 cases were not written"),
        (never_written, "not shown", "no file was written"),
        (virtual, "not shown", "virtual patients only"),
        (one_attack_less, "not shown", "1 of the usual attacks not tried"),
        (no_contour, "not shown", "1 of the usual attacks not tried"),
        (blind, "not shown", "the positive control failed"),
        (nobody_looked, "not shown", "no face was looked for"),
    ],
)
def test_what_speaks_against_publishing(tmp_path, fault, word, why):
    rows = tables()
    fault(rows)
    found = answers(tmp_path, rows)
    assert found["published"].word == word
    assert any(why in reason for reason in found["published"].reasons)
    assert words(found)[1:] == ("as before", "as before")


def test_few_cases_are_too_few(tmp_path):
    assert (
        "too few cases: 0\u00a0of\u00a08 allows up to 32"
        in answers(tmp_path, tables(n=8))["published"].reasons[0]
    )


def test_what_only_covers_the_face_is_not_published_whatever_the_attacks_say(tmp_path):
    found = answers(tmp_path, tables("carina"), "carina")
    assert found["published"].word == "no"
    assert "can be un-masked" in found["published"].reasons[0]


def target_cut(rows):
    rows["geometry"][0].update(region_ml=6.0, region_percent=20.0)


def target_dose(rows):
    rows["dose"][0]["defaced"] = 17.5


def more_dose(rows):
    rows["dose"][0]["defaced"] = 20.2


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (target_cut, "Target is cut in 1\u00a0of\u00a040 cases, by up to 20"),
        (target_dose, "Target Dmean 2.50\u00a0Gy less"),
        (more_dose, "Target Dmean 0.200\u00a0Gy more"),
    ],
)
def test_nothing_is_planned_on_a_target_that_was_touched(tmp_path, fault, why):
    rows = tables()
    fault(rows)
    found = answers(tmp_path, rows)
    assert found["planned"].word == "no"
    assert why in found["planned"].reasons[0]
    assert found["published"].word == "as far as tried"


def organ_cut(rows):
    rows["geometry"][1].update(region_ml=1.0, region_percent=3.0)


def organ_dose(rows):
    rows["dose"][1]["defaced"] = 19.0


@pytest.mark.parametrize("fault", [organ_cut, organ_dose])
def test_organs_that_were_touched_are_named(tmp_path, fault):
    rows = tables()
    fault(rows)
    found = answers(tmp_path, rows)["planned"]
    assert found.word == "not near the face"
    assert found.reasons[0].endswith(": Parotid_L")


def test_the_outline_of_the_body_always_takes_the_new_surface_and_counts_for_nothing(tmp_path):
    rows = tables()
    about = {**rows["geometry"][0], "structure": "BODY", "target": False}
    rows["geometry"].append(
        {**about, "region_ml": 9.0, "region_percent": 1.0, "note": "outline: takes the surface"}
    )
    rows["dose"].append({**rows["dose"][0], "structure": "BODY", "defaced": 3.0})
    assert answers(tmp_path, rows)["planned"].word == "as before"


def test_without_a_target_nothing_is_shown_to_plan_on(tmp_path):
    rows = tables()
    rows["geometry"][:] = [r for r in rows["geometry"] if not r["target"]]
    assert answers(tmp_path, rows)["planned"].word == "not shown"
    rows["geometry"].clear()
    rows["dose"].clear()
    assert answers(tmp_path, rows)["planned"].word == "not measured"


def value(rows):
    rows["radiomics"][1].update(defaced=41.0, percent=-2.5, voxels_changed=3)


def voxel(rows):
    rows["radiomics"][1]["voxels_changed"] = 3


@pytest.mark.parametrize("fault", [value, voxel])
def test_structures_that_changed_are_named(tmp_path, fault):
    rows = tables()
    fault(rows)
    found = answers(tmp_path, rows)["measured"]
    assert (found.word, found.reasons, found.tone) == (
        "on 2 of 3 structures",
        ("changed: Parotid_L",),
        "warn",
    )


def test_a_changed_target_is_worse_than_a_changed_organ_and_all_changed_is_no(tmp_path):
    rows = tables()
    rows["radiomics"][0]["voxels_changed"] = 1
    assert answers(tmp_path, rows)["measured"].tone == "bad"
    for row in rows["radiomics"]:
        row["voxels_changed"] = 1
    assert answers(tmp_path, rows)["measured"].word == "no"
    rows["radiomics"].clear()
    assert answers(tmp_path, rows)["measured"].word == "not measured"

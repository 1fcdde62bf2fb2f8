"""The rows of any attack: counts by the nearest, AUC by a score that a blind attack does not blur."""

from __future__ import annotations

import numpy as np
from support.cohort_kit import SETTINGS, cohort_results, look

from defacedask.tables.cohort import collect


def test_an_attack_that_sees_nothing_takes_nothing_from_any(tmp_path):
    (tmp_path / "pictures").mkdir()
    cases, results = cohort_results(20)
    rng = np.random.default_rng(5)
    middle = np.mean(
        [p.facts["looks"][0]["encoding"] or np.zeros(8) for p in results if p.stage == "faces"], axis=0
    )
    for result in results:
        if result.stage == "faces" and result.defacer != "original":
            # everybody alike: near to all, and telling nobody
            code = (middle + 0.05 * rng.normal(size=8)).tolist()
            result.facts["looks"].append(look("front", code, "template_filled"))
    table = collect(tmp_path, cases, [], results, SETTINGS)["verification"]
    mine = table.loc[(table["defacer"] == "quickshear") & (table["modality"] != "any")].set_index("attack")
    seen, blind, joined = (mine.loc[name] for name in ("plain", "template_filled", "any"))
    assert seen["auc"] > 0.75
    assert abs(blind["auc"] - 0.5) < 0.15
    assert joined["auc"] > seen["auc"] - 0.05
    by_each = mine["matched"].drop("any")
    assert by_each.max() <= joined["matched"] <= by_each.sum()  # a match by any of them is one
    assert joined["impostor"] == seen["impostor"]
    everything = table.loc[(table["defacer"] == "quickshear") & (table["modality"] == "any")].iloc[0]
    assert everything["auc"] == joined["auc"]  # one recogniser, one image
    assert everything["limit"] == 1.0

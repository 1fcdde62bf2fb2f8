"""Controls of un-masking, counted for the report."""

from __future__ import annotations

import pandas as pd

from defacedask.report.gathered.tries import Unmasked
from defacedask.tables.evidence import Rate


def test_an_image_without_a_whole_face_counts_neither_for_nor_against():
    rows = pd.DataFrame(
        {
            "case": ["a", "b", "c", "c"],
            "defacer": ["carina", "carina", "carina", "quickshear"],
            "modality": "CT",
            "skin_found": 0.3,
            "peel_found": 0.4,
            "control_holds": pd.array([True, False, None, None], dtype="boolean"),
        }
    )
    found = Unmasked()
    found.add(rows)
    assert found.controls == Rate(1, 2)
    assert found.not_judged == 1

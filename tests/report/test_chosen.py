"""Pictures are of a few cases, chosen by how badly they came out, whatever the size of the cohort."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from support.report_page import Page
from support.small_run import GOOD, tables, write

from defacedask.report import write_report
from defacedask.report.run import read_run
from defacedask.report.sections.chosen import MOST_CASES, chosen_cases
from defacedask.tables.files import write_tables


@pytest.fixture
def out(tmp_path, rng):
    """Forty cases, pictured by two defacers and the control; the farther the case's number, the better hidden."""
    rows = tables()
    more = [dict(r, defacer="other") for r in rows["recognition"] if r["defacer"] == GOOD]
    rows["recognition"] += more
    for row in rows["recognition"]:
        if row["defacer"] in (GOOD, "other") and row["modality"] == "CT":
            number = int(row["case"][1:])
            row["distance_to_own"] = 0.5 + 0.01 * (number if row["defacer"] == GOOD else (number - 20) % 40)
    write(tmp_path, rows)
    (tmp_path / "pictures").mkdir()
    pixels = Image.fromarray(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8))
    pixels.save(tmp_path / "pictures" / "noise.png")
    listed = [
        {
            "case": f"c{k:02d}",
            "defacer": d,
            "modality": "CT",
            "view": "front",
            "kind": "render",
            "file": "noise.png",
        }
        for k in range(40)
        for d in ("original", "none", GOOD, "other")
    ]
    (tmp_path / "pictures" / "index.json").write_text(json.dumps(listed))
    return tmp_path


def test_the_worst_of_each_defacer_and_the_median(out):
    found = chosen_cases(read_run(out))
    assert found["c00"].startswith(f"worst for {GOOD}")
    assert found["c20"].startswith("worst for other")
    (median,) = [case for case, why in found.items() if "median" in why]
    assert median not in ("c00", "c20")
    assert len(found) == 3
    assert list(found)[1] == median  # no bound takes it
    assert len(chosen_cases(read_run(out), most=2)) == 2
    assert MOST_CASES <= 6


def test_without_faces_the_first_cases(out):
    write_tables(out, {"recognition": []})
    run = read_run(out)
    assert list(chosen_cases(run)) == [f"c{k:02d}" for k in range(MOST_CASES)]


def test_the_page_is_bounded_and_says_what_is_not_in_it(out):
    write_report(out)
    html = (out / "report" / "index.html").read_text()
    page = Page(html)
    pictures = [load for load in page.loads if load.startswith("data:")]
    assert len(pictures) == 3 * 3  # of three cases; the control looks like the original
    assert "Pictures of 37 more are in the pictures folder" in html
    assert html.count('style="--n: 3"') == 3  # as many columns as pictures
    assert max(map(len, pictures)) < 60_000

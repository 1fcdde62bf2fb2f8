"""What a prompt and a notebook show: short, whatever is in it, and no markup of a file's."""

from __future__ import annotations

import dataclasses
import html.parser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import defacedask as dd
from defacedask.io.dicom.model import Scan, Series, Skipped
from defacedask.runs.deface import DefaceResult
from defacedask.runs.study import StudyResult
from defacedask.showing import beside
from defacedask.testing.subject import average_head

HOSTILE = "<script>alert(1)</script>\n\x1b[31m" + "x" * 5000


@pytest.fixture(scope="module")
def case(virtual_patients):
    return dd.scan(virtual_patients).cases[0]


def parsed(text):
    class Parser(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.words = [], []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)

        def handle_data(self, data):
            self.words.append(data)

    parser = Parser()
    parser.feed(text)
    return set(parser.tags), " ".join(parser.words)


def many(case, n, **changes):
    return tuple(dataclasses.replace(case, id=f"case-{k}", **changes) for k in range(n))


def test_a_scan_of_a_thousand_is_as_short_as_one_of_twelve(case):
    skipped = tuple(Skipped(f"/a/{k}", f"reason {k % 40}", files=3) for k in range(500))
    big = Scan(many(case, 1000), skipped, tuple(f"note {k}" for k in range(90)))
    assert len(repr(big)) < 4000
    assert len(big._repr_html_()) < 6000
    for text in (repr(big), parsed(big._repr_html_())[1]):
        assert "1000 cases" in text
        assert "1500 files skipped" in text
        assert "case-0" in text
        assert "and 988 more" in text
        assert "CT" in text


def test_a_case_shows_its_series_and_a_series_no_files(case):
    text = repr(case)
    assert case.id in text
    assert "VP-0001" in text
    assert "structures" in text
    assert "RTDOSE" in text
    assert len(text) < 2500
    assert len(repr(case.primary)) < 200
    assert case.primary.files[0] not in repr(case.primary)
    tags, words = parsed(case._repr_html_())
    assert {"table", "td", "b"} <= tags
    assert "CT" in words


def test_what_a_file_says_is_never_markup_and_never_long(case):
    series = tuple(dataclasses.replace(s, description=HOSTILE, modality=s.modality) for s in case.images)
    bad = dataclasses.replace(case, patient_id=HOSTILE, images=series)
    for one in (bad, Scan((bad,), (Skipped(HOSTILE, HOSTILE),), (HOSTILE,))):
        assert len(repr(one)) < 4000
        assert "\x1b" not in repr(one) + one._repr_html_()
        tags, _ = parsed(one._repr_html_())
        assert "script" not in tags
    assert "\n" not in repr(series[0])


@pytest.mark.parametrize("defacer", ["quickshear", "biometric_mask", "mri_reface", "carina"])
def test_a_plan_shows_what_it_is_and_no_secret(defacer):
    key = bytes(range(32))
    plan = dd.get_defacer(defacer).plan(average_head(), key=key)
    text = repr(plan)
    assert defacer in text
    assert "Brain" in text
    assert len(text) < 3000
    tags, words = parsed(plan._repr_html_())
    assert "table" in tags
    assert defacer in words
    for secret in (key.hex(), repr(key)):
        assert secret not in text + plan._repr_html_()


def test_results_are_short(tmp_path):
    table = pd.DataFrame({f"column {k}": range(500) for k in range(30)})
    study = StudyResult(tmp_path, {"cases": table, "recognition": table}, tmp_path / "index.html")
    assert len(repr(study)) < 1000
    assert "recognition" in repr(study)
    rows = [
        {
            "case": f"c{k}",
            "status": "done" if k else "refused",
            "written": {"CT": 3},
            "reason": "" if k else "no head",
        }
        for k in range(30)
    ]
    done = DefaceResult(tmp_path, tmp_path / "audit.jsonl", rows, [], defacer="quickshear")
    assert "29 of 30 cases" in repr(done)
    assert "no head" in repr(done)
    assert len(repr(done)) < 2000


def test_nothing_to_show_is_shown():
    assert repr(Scan(())) == "Scan: 0 cases"
    bare = Series("1", "CT", "", "", "", "", "", 0, (), ())
    assert repr(bare) == "Series(CT, 0 files)"


@given(
    value=st.floats(0.001, 1e6),
    limit=st.sampled_from([0.1, 0.9, 20.0, 90.0, 30.0]),
    spec=st.sampled_from([".0f", ".3g"]),
)
def test_a_value_that_misses_its_limit_does_not_read_like_it(value, limit, spec):
    text = beside(value, limit, spec)
    assert float(text) == pytest.approx(value, rel=0.01, abs=0.51)
    if abs(value - limit) > 1e-6:
        assert float(text) != float(f"{limit:{spec}}")
    assert beside(0.8996 * 100, 90.0, ".0f") == "89.96"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_damaged_file_of_the_input_is_no_success(tmp_path, damaged):
    """What was done is done, and something of what was asked for is not."""
    rows = [{"case": "A", "status": "done", "written": {}, "reason": ""}]
    skipped = [Skipped("a.dcm", "it is truncated", damaged=damaged).to_dict(), Skipped("b", "no").to_dict()]
    found = DefaceResult(tmp_path, tmp_path / "audit.jsonl", rows, skipped)
    assert found.ok is not damaged
    assert [one["path"] for one in found.damaged] == ["a.dcm"] * damaged

"""The two controls of learned inversion on the page."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd

from defacedask.report.sections.inversion import inversion_lines


def row(case, defacer, planted, error, shuffled=2.1):
    return {
        "case": case,
        "defacer": defacer,
        "modality": "CT",
        "planted": planted,
        "persons": 9,
        "replaced": 1.0,
        "error_mm": error,
        "average_mm": 2.0,
        "nearer": 1.0 if error < 2 else 0.5,
        "shuffled_mm": shuffled,
        "shuffled_average_mm": 2.0,
        "shuffled_nearer": 0.5,
    }


def lines(*, cut=1.0, tidy=2.1, shuffled=2.1):
    cases = [f"c{k}" for k in range(10)]
    rows = [row(c, "original", "constant cut", cut + 0.01 * k, shuffled) for k, c in enumerate(cases)]
    rows += [row(c, "tidy", "", tidy + 0.01 * k) for k, c in enumerate(cases)]
    tables = {
        "inversion": pd.DataFrame(rows),
        "cases": pd.DataFrame({"case": cases, "patient": [None, *cases[1:]]}),
    }
    return list(inversion_lines(SimpleNamespace(tables=tables)))


def test_both_controls_pass():
    positive, negative = lines()
    assert positive.passed
    assert negative.passed
    assert "10 persons" in positive.found
    assert "left by tidy: error 2.1" in positive.small


def test_a_cut_that_is_not_seen_through_fails():
    positive, _ = lines(cut=2.1)
    assert not positive.passed


def test_learning_from_exchanged_faces_fails():
    _, negative = lines(shuffled=1.0)
    assert not negative.passed
    assert "constant cut" in negative.found


def test_no_table_no_lines():
    assert not list(inversion_lines(SimpleNamespace(tables={})))

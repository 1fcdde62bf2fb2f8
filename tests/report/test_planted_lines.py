"""Controls of synthetic voxels and of deblurring in the table of controls."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from defacedask.report.sections.planted import planted_lines


def lines(**tables):
    run = SimpleNamespace(tables={name: pd.DataFrame(rows) for name, rows in tables.items()})
    return {line.control: line for line in planted_lines(run)}


def synthetic(case, defacer, dice=0.9, false=0.05, reason="", **more):
    row = {"case": case, "defacer": defacer, "modality": "CT", "dice": 0.8, "dice_place": 0.6}
    return row | {"control_dice": dice, "control_false": false, "reason": reason} | more


def deblurring(case, found=0.9, untouched=0.0, reason="", modality="MR"):
    row = {"case": case, "modality": modality, "blurred_found": 0.5, "control_found": found}
    return row | {"untouched_mm": untouched, "reason": reason}


def test_an_original_counts_once_however_many_defacers_it_met():
    rows = [synthetic(case, defacer) for case in "ab" for defacer in ("carina", "mri_reface")]
    found = lines(synthetic=rows)
    assert list(found) == ["positive: synthetic voxels, CT", "negative: synthetic voxels, CT"]
    positive, negative = found.values()
    assert positive.passed
    assert negative.passed
    assert "2\u00a0of\u00a02" in positive.found
    assert "carina 0.80 (place alone 0.60); mri_reface" in positive.small


@pytest.mark.parametrize(
    ("row", "passes"),
    [
        ({}, (True, True)),
        ({"dice": 0.6, "reason": "a fill without noise: Dice 0.60"}, (False, True)),
        ({"false": 0.2, "reason": "of the untouched original it tells 20 %"}, (True, False)),
    ],
)
def test_each_control_of_synthetic_voxels_can_fail(row, passes):
    positive, negative = lines(synthetic=[synthetic("a", "carina"), synthetic("b", "carina", **row)]).values()
    assert (positive.passed, negative.passed) == passes
    assert row.get("reason", "") in positive.small
    assert ("1\u00a0of\u00a02" in positive.found) == (not passes[0])


@pytest.mark.parametrize(
    ("row", "passes"),
    [
        ({}, (True, True)),
        ({"found": 0.5, "reason": "50 %"}, (False, True)),
        ({"untouched": 3.0}, (True, False)),
    ],
)
def test_each_control_of_deblurring_can_fail(row, passes):
    found = lines(deblurring=[deblurring("a"), deblurring("b", **row)])
    assert list(found) == ["positive: deblurring, MR", "negative: deblurring, MR"]
    assert tuple(line.passed for line in found.values()) == passes


def test_what_did_not_run_has_no_line():
    assert lines() == {}
    assert lines(synthetic=[], deblurring=[]) == {}

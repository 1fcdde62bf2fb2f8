"""Tables of the average face, of searches and of groups on the page."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from defacedask.report.run import Run
from defacedask.report.sections.further import average_table, groups_table, searches_table
from defacedask.tables.files import as_table, table_names

KEY = {"defacer": "quickshear", "modality": "CT", "recogniser": "face_recognition"}
NAN = math.nan


def run_of(**rows):
    return Run(
        Path(),
        {name: as_table(name, rows.get(name, [])) for name in [*table_names()]},
        {"settings": {"defacers": ["none", "quickshear"]}},
    )


def words(table):
    return [[" ".join(filter(None, (c.text, c.small, c.tone))) for c in row] for row in table.rows]


def average(**changes):
    row = {"attack": "plain", "pairs": 9, "auc": 0.8, "auc_other": 0.6, "difference": 0.2}
    return {**KEY, **row, "difference_low": 0.05, "difference_high": 0.3, **changes}


def test_more_than_the_average_face_is_red_and_no_less():
    rows = [average(), average(attack="any", difference=-0.1, difference_low=-0.2, difference_high=0.1)]
    rows.append(average(defacer="none"))
    control, line = words(average_table(run_of(average_face=rows)))
    assert line[2:] == [
        "0.80 average 0.60",
        "+0.20 +0.05 to +0.30 bad",
        "0.80 average 0.60",
        "−0.10 −0.20 to +0.10",
    ]
    assert control[3] == "+0.20 +0.05 to +0.30"  # of the undefaced control it is no fault
    assert average_table(run_of()) is None


@pytest.mark.parametrize(("share", "told"), [(0.4, "40 % 12 to 74 %"), (NAN, "cannot be told quiet")])
def test_a_million_is_told_or_said_not_to_be(share, told):
    row = {
        **KEY,
        "attack": "any",
        "mate_searches": 10,
        "non_mate_searches": 10,
        "rank_1": 0,
        "note": "too few",
    }
    row |= {"fnir_at_0.01": NAN, "fnir_at_0.1": 1.0, "fnir_at_0.1_low": 0.69, "fnir_at_0.1_high": 1.0}
    row |= {"rank_1_upper": 0.259, "rank_1_million": share}
    row |= {"rank_1_million_low": 0.12, "rank_1_million_high": 0.74}
    (line,) = words(searches_table(run_of(open_set=[row])))
    assert [part.replace("\u202f", " ") for part in line[2:]] == [
        "any",
        "not measurable quiet",
        "100 % 69 to 100 %",
        "0 of 10 0 % (0 to 31 %)",
        "26 %",
        told,
    ]


def test_small_groups_say_so():
    row = {**KEY, "attack": "any", "group": "sex", "persons": 8, "cases": 8, "judged": 8, "rank_1": 2}
    rows = [
        {**row, "value": "F", "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8, "auc_within": 0.55},
        {**row, "value": "M", "persons": 3, "auc": NAN, "note": "fewer than 6 persons: nothing is told"},
    ]
    women, men = words(groups_table(run_of(verification_groups=rows)))
    assert women[2:] == ["sex: female", "8", "0.70 0.60 to 0.80", "0.55", "2 of 8 25\u202f% (3 to 66\u202f%)"]
    assert men[2:5] == ["sex: male", "3", "too few quiet"]

"""Who is nearest, by several recognisers: the one that sees most counts, not what all see on average."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd

from defacedask.report.sections.standing import by_each, nearest_beyond_chance, sharpest
from defacedask.tables.evidence import Rate


def seen(**ranks):
    """A run of 20 cases in a gallery of 20; recogniser -> cases whose nearest person is the right one."""
    rows = [
        {
            "defacer": "cut",
            "modality": "any" if name == "any" else "CT",
            "recogniser": name,
            "attack": attack,
            "gallery_size": 20,
            "judged": 20,
            "rank_1": rank,
            "auc": 0.5 + rank / 100,
        }
        for name, rank in ranks.items()
        for attack in ("any", *([] if name == "any" else ["plain"]))
    ]
    return SimpleNamespace(tables={"verification": pd.DataFrame(rows)})


def test_a_blind_recogniser_does_not_hide_what_another_sees():
    assert nearest_beyond_chance(seen(any=2, blind=1, sharp=12), "cut") == Rate(12, 20)
    assert nearest_beyond_chance(seen(any=2, blind=1, other=2), "cut") is None
    assert nearest_beyond_chance(seen(any=12, blind=1, other=2), "cut") == Rate(12, 20)


def test_more_recognisers_are_more_tries():
    """4 of 20 by chance of 1 in 20: one in 63 alone, and no more than chance as the best of four looks."""
    assert nearest_beyond_chance(seen(any=4, one=4), "cut") == Rate(4, 20)
    assert nearest_beyond_chance(seen(any=1, one=4, two=1, three=1), "cut") is None


def test_one_recogniser_is_what_all_see():
    assert len(by_each(seen(any=3, one=3), "cut")) == 1
    assert len(by_each(seen(any=3, one=3, two=2), "cut")) == 3
    assert by_each(seen(any=3, one=3, two=2), "else") == []
    assert nearest_beyond_chance(seen(any=3, one=3, two=2), "else") is None


def test_the_sharpest_is_shown_and_all_together_where_nobody_sees_more():
    for by in ("rank_1", "auc"):
        assert sharpest(seen(any=2, blind=1, sharp=12), "cut", by)["recogniser"] == "sharp"
        assert sharpest(seen(any=12, blind=1, other=12), "cut", by)["recogniser"] == "any"
        assert sharpest(seen(any=3, one=3), "cut", by)["recogniser"] == "any"
        assert sharpest(seen(any=3, one=3), "else", by) is None


def test_two_persons_do_not_hide_forty():
    """MR of two persons, told apart, beside a CT of forty: the two say nothing, however large their share."""
    common = {"defacer": "cut", "recogniser": "r", "attack": "any"}
    two = common | {"modality": "MR", "gallery_size": 2, "judged": 2, "rank_1": 2, "auc": 1.0}
    forty = common | {"modality": "CT", "gallery_size": 40, "judged": 40, "rank_1": 9, "auc": 0.7}
    other = common | {
        "recogniser": "s",
        "modality": "CT",
        "gallery_size": 40,
        "judged": 40,
        "rank_1": 3,
        "auc": 0.6,
    }
    run = SimpleNamespace(tables={"verification": pd.DataFrame([two, forty, other])})
    assert sharpest(run, "cut", "auc")["modality"] == "CT"
    assert sharpest(run, "cut", "rank_1")["rank_1"] == 9
    alone = SimpleNamespace(
        tables={"verification": pd.DataFrame([two, two | {"recogniser": "s", "auc": 0.5}])}
    )
    assert sharpest(alone, "cut", "auc")["auc"] == 1.0
    assert sharpest(alone, "cut", "rank_1")["rank_1"] == 2

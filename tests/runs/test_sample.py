"""Which defacers a sample may be written by; that one is written is tested with a study, in `test_dataflow`."""

from __future__ import annotations

from support.small_run import GOOD, tables, write

from defacedask.runs.sample import candidates


def test_a_defacer_against_which_nothing_was_found(tmp_path):
    rows = tables()
    rows["exports"].clear()
    assert candidates(write(tmp_path, rows)) == [GOOD]


def test_who_is_recognised_or_only_covers_is_none(tmp_path):
    rows = tables()
    rows["recognition"][-3]["distance_to_own"] = 0.36
    assert candidates(write(tmp_path, rows)) == []
    assert candidates(write(tmp_path, tables("carina"), "carina")) == []

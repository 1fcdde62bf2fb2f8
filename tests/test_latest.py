"""The last things are kept, each made once; what was not asked for longest goes first."""

from __future__ import annotations

from defacedask.latest import Latest


def test_the_last_are_kept_and_made_once():
    made = []
    kept = Latest(2)
    for key in (1, 2, 1, 3, 1, 2):
        assert kept.get(key, lambda key=key: made.append(key) or key * 10) == key * 10
    assert made == [1, 2, 3, 2]

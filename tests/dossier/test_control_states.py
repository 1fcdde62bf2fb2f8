"""A control that held, one that did not, and one that nobody could be judged on."""

from __future__ import annotations

import pandas as pd
import pytest

from defacedask.dossier.evidence import _state


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"holds": True, "persons": 9}, "holds"),
        ({"holds": False, "persons": 9, "reason": "why"}, "does not hold: why"),
        ({"holds": False, "persons": 9, "reason": "why", "not_judged": pd.NA}, "does not hold: why"),
        ({"holds": False, "persons": 0, "reason": "why", "not_judged": 0}, "does not hold: why"),
        ({"holds": False, "persons": 3, "reason": "why", "not_judged": 6}, "does not hold: why"),
        ({"holds": False, "persons": 0, "reason": "no dose", "not_judged": 9}, "not judged: no dose"),
    ],
)
def test_what_nobody_could_be_judged_on_did_not_fail(row, says):
    assert _state(row) == says

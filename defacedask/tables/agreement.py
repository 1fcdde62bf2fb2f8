"""How often two recognisers say the same of a case: matched with its own person, or not.

Two that were trained apart and agree are evidence; one alone may be blind, or kind. A match by either counts against
a defacer wherever matches are counted.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from defacedask.tables.face_scores import ANY, SCORES
from defacedask.tables.looks import Group
from defacedask.tables.parts import frames

__all__ = ["agreement_rows", "kappa"]


def kappa(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Cohen's kappa of two judges: agreement beyond what their rates give by chance; NaN where they never differ.

    Source: Cohen, Educ Psychol Meas 20 (1960) 37.
    """
    cases = both + only_a + only_b + neither
    if not cases:
        return math.nan
    a, b = (both + only_a) / cases, (both + only_b) / cases
    chance = a * b + (1 - a) * (1 - b)
    return math.nan if chance == 1 else ((both + neither) / cases - chance) / (1 - chance)


def agreement_rows(parts: Iterable[Path], limits: Mapping[Group, float]) -> list[dict[str, Any]]:
    """Rows of the table ``agreement``: each pair of recognisers on each defacer's cases, by any attack.

    Parameters
    ----------
    parts : iterable of Path
        Folders with a part of `defacedask.tables.face_scores.SCORES` each.
    limits : mapping
        (modality, recogniser) -> largest distance at which a case counts as recognised. One without a limit is left
        out: it says nothing.

    Returns
    -------
    list of dict
        Of the cases that both can judge.
    """
    columns = ["defacer", "modality", "recogniser", "case", "genuine"]
    filters = [("attack", "=", ANY), ("modality", "!=", ANY), ("judged", "=", True)]
    counts: dict[tuple[str, ...], Counter[str]] = {}
    order: dict[tuple[str, str], dict[str, None]] = {}
    for some in frames(parts, SCORES, columns, filters=filters):  # no case is in two parts
        _count(some, limits, counts, order)
    rows = []
    for (defacer, modality), names in order.items():
        for a, b in itertools.combinations(names, 2):
            found = counts.get((defacer, modality, a, b), Counter())
            four = {name: found[name] for name in ("both", "only_a", "only_b", "neither")}
            cases = sum(four.values())
            agree = (four["both"] + four["neither"]) / cases if cases else math.nan
            about = {"defacer": defacer, "modality": modality, "recogniser_a": a, "recogniser_b": b}
            rows.append({**about, "cases": cases, **four, "agree": agree, "kappa": kappa(**four)})
    return rows


def _count(
    scores: pd.DataFrame,
    limits: Mapping[Group, float],
    counts: dict[tuple[str, ...], Counter[str]],
    order: dict[tuple[str, str], dict[str, None]],
) -> None:
    """Count the cases of a part, and note recognisers as they come."""
    for (defacer, modality), some in scores.groupby(["defacer", "modality"], sort=False):
        matched = {
            str(name): part.set_index("case")["genuine"].astype(float) <= limits[str(modality), str(name)]
            for name, part in some.groupby("recogniser", sort=False)
            if not math.isnan(limits[str(modality), str(name)])
        }
        names = order.setdefault((str(defacer), str(modality)), {})
        names |= dict.fromkeys(matched)
        for a, b in itertools.combinations([name for name in names if name in matched], 2):
            pair = pd.concat([matched[a], matched[b]], axis=1, join="inner").to_numpy(dtype=bool)
            first, second = pair.T
            found = counts.setdefault((str(defacer), str(modality), a, b), Counter())
            found["both"] += int((first & second).sum())
            found["only_a"] += int((first & ~second).sum())
            found["only_b"] += int((~first & second).sum())
            found["neither"] += int((~first & ~second).sum())

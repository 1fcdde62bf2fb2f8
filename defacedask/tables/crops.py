"""The table ``forced_matrix``: the forced crop by everybody's landmarks, beside that by the own ones alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from defacedask.faces.verification import BestScores, verification
from defacedask.flow.result import TaskResult
from defacedask.tables.looks import Group

__all__ = ["CROPS", "matrix_rows"]

#: Stage that compares.
CROPS = "crops"


def matrix_rows(
    results: Iterable[TaskResult],
    limits: Mapping[Group, float],
    persons: int,
    seed: int,
    *,
    repeats: int = 300,
) -> list[dict[str, Any]]:
    """Rows of the table, one a (defacer, modality, recogniser).

    Parameters
    ----------
    results : iterable of TaskResult
        Of the stage `CROPS`, whole.
    limits : mapping
        (modality, recogniser) -> largest distance at which a case counts as recognised.
    persons, seed : int
        Drawn, and with which seed.
    repeats : int
        Bootstrap draws over persons.
    """
    left_out: dict[str, int] = defaultdict(int)
    found: dict[tuple[str, str, str], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for result in results:
        if result.stage == CROPS and not result.ok:
            left_out[result.defacer] += 1
        for one in result.facts.get("crops", ()) if result.stage == CROPS and result.ok else ():
            found[result.defacer, one["modality"], one["recogniser"]].append((result.case, one))
    rows = []
    for (defacer, modality, recogniser), some in found.items():
        limit = limits.get((modality, recogniser), math.nan)
        fair, plain = (
            verification(_scores(some, form), limit=limit, repeats=repeats) for form in ("matrix", "plain")
        )
        wanted = ("limit", "matched", "chance", "rank_1", "auc", "auc_low", "auc_high", "tpr_at_0.01")
        rows.append(
            {
                "defacer": defacer,
                "modality": modality,
                "recogniser": recogniser,
                "seed": seed,
                "persons": persons,
                "cases": len(some),
                **{name: fair[name] for name in wanted},
                "note": "; ".join(filter(None, [_left_out(left_out[defacer]), fair["note"]])),
                **{
                    f"plain_{name}": plain[name]
                    for name in ("chance", "rank_1", "auc", "auc_low", "auc_high")
                },
            }
        )
    return rows


def _left_out(cases: int) -> str:
    return f"{cases} of the persons drawn could not be compared" if cases else ""


def _scores(some: list[tuple[str, dict[str, Any]]], form: str) -> BestScores:
    """Cases against all persons by one form."""
    everybody = tuple(sorted({person for _, one in some for person in one[form]}))
    values = np.array(
        [[one[form].get(person, math.nan) for person in everybody] for _, one in some], dtype=float
    )
    return BestScores(
        tuple(case for case, _ in some),
        tuple(one["person"] for _, one in some),
        everybody,
        values,
        frozenset(),
    )

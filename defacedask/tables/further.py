"""Tables that a reviewer asks for beside ``verification``, from the same scores.

``open_set`` has what is missed where few strangers may be named, and the estimate for a gallery of a million;
``average_face`` the AUC of each attack on each defacer less that of the average face on everybody's head;
``verification_groups`` the AUC by sex, age and sequence, against everybody and against others of the same group.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from defacedask.attacks.names import AVERAGE, AVERAGE_FORCED, ENROLMENT, FORCED, PLAIN
from defacedask.faces.million import rank_one_among
from defacedask.faces.open_set import Searches, open_set
from defacedask.faces.paired import auc_difference, auc_interval
from defacedask.faces.rates import upper_bound
from defacedask.faces.together import Together
from defacedask.faces.verification import FEWEST, BestScores
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.modality import IMAGES
from defacedask.tables.enrolled import AVERAGE_ENROLLED
from defacedask.tables.evidence import ANY
from defacedask.tables.parts import read_part

__all__ = ["GROUPS", "Further", "about_cases", "age_band"]

#: Columns of ``cases`` by which rates are told apart.
GROUPS = ("sex", "age_band", "sequence")
#: Of these attacks searches are told, and groups: the pictures as they are, the classifier, and the best of all.
_SEARCHED = (PLAIN, ENROLMENT, ANY)
#: Years at which age bands begin.
_BANDS = (0, 18, 40, 60, 75)

Key = tuple[str, str, str, str]


def age_band(years: float) -> str:
    """Such as ``40 to 59``; "" where the age is not known."""
    if math.isnan(years) or years < 0:
        return ""
    k = int(np.searchsorted(_BANDS, years, side="right")) - 1
    return f"{_BANDS[k]} to {_BANDS[k + 1] - 1}" if k + 1 < len(_BANDS) else f"{_BANDS[k]} and older"


def about_cases(folders: Iterable[Path], sample: frozenset[str] | None = None) -> dict[str, dict[str, str]]:
    """Case -> what its headers say that rates are told apart by; what is not known is left out.

    Of a ``sample`` of persons alone, where there is one: of the others no comparisons are kept.
    """
    found: dict[str, dict[str, str]] = {}
    for folder in folders:
        if not (folder / "cases.parquet").exists():
            continue
        table = read_part(folder, "cases")
        if sample is not None:
            table = table.loc[table["patient"].where(table["patient"] != "", table["case"]).isin(sample)]
        for row in table.to_dict("records"):
            age = row.get("age")
            facts = {
                "sex": row.get("sex"),
                "age_band": age_band(float(age)) if age is not None and pd.notna(age) else "",
                "sequence": row.get("sequence"),
            }
            found[row["case"]] = {
                name: value for name, value in facts.items() if isinstance(value, str) and value
            }
    return found


class Further:
    """Collects the scores of all rows of ``verification``, and makes the rows of the other tables.

    Parameters
    ----------
    about : mapping
        See `about_cases`.
    repeats : int
        Bootstrap draws.
    """

    def __init__(self, about: Mapping[str, Mapping[str, str]], *, repeats: int = 300) -> None:
        self.about, self.repeats = about, repeats
        self._open: list[dict[str, Any]] = []
        self._groups: list[dict[str, Any]] = []
        self._scores: dict[Key, BestScores] = {}

    def add(self, key: Key, best: BestScores, strange: np.ndarray, joint: BestScores | None = None) -> None:
        """Scores of one row, and each case's smallest distance where its own person is not in the gallery.

        ``joint``: by what an AUC is told where ``best`` is the smallest distance by several attacks.
        """
        if key[1] not in IMAGES:
            return
        self._scores[key] = joint or best
        if key[3] not in _SEARCHED:
            return
        about = dict(zip(("defacer", "modality", "recogniser", "attack"), key, strict=True))
        found = open_set(Searches.of(best, strange), repeats=self.repeats)
        million = rank_one_among(best, repeats=self.repeats)
        first = int((best.ranks == 1).sum())
        note = "; ".join(filter(None, [found.pop("note"), million.pop("note")]))
        upper = upper_bound(first, len(best.judged))
        self._open.append({**about, **found, "rank_1": first, "rank_1_upper": upper, **million, "note": note})
        self._groups += [{**about, **row} for row in self._by_group(best, joint or best)]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Table -> rows."""
        return {"open_set": self._open, "average_face": self._average(), "verification_groups": self._groups}

    def _average(self) -> list[dict[str, Any]]:
        found = []
        for key, best in self._scores.items():
            defacer, modality, recogniser, attack = key
            other = self._control(modality, recogniser, attack) if defacer != ORIGINAL else None
            if other is not None and len(best.judged):
                about = dict(zip(("defacer", "modality", "recogniser", "attack"), key, strict=True))
                found.append({**about, **auc_difference(best, other, repeats=self.repeats)})
        return found

    def _control(self, modality: str, recogniser: str, attack: str) -> BestScores | None:
        """Scores of the average face, looked at as the attack does."""
        wanted = {
            PLAIN: (AVERAGE,),
            FORCED: (AVERAGE_FORCED,),
            ENROLMENT: (AVERAGE_ENROLLED,),
            ANY: (AVERAGE, AVERAGE_FORCED, AVERAGE_ENROLLED),
        }.get(attack, (AVERAGE, AVERAGE_FORCED))
        if attack.startswith("gallery_"):
            return None
        parts = [self._scores.get((ORIGINAL, modality, recogniser, name)) for name in wanted]
        there = [part for part in parts if part is not None]
        if len(there) < 2:
            return there[0] if there else None
        together = Together(tuple({person for part in there for person in part.persons}))
        for part in there:
            together.add(part)
        return together.scores()

    def _by_group(self, best: BestScores, joint: BestScores) -> list[dict[str, Any]]:
        found = []
        for name in GROUPS:
            labels = [self.about.get(case, {}).get(name, "") for case in best.cases]
            for value in sorted({label for label in labels if label}):
                rows = [k for k, label in enumerate(labels) if label == value]
                part = _some(best, rows)
                persons = len({part.own[row] for row in part.judged})
                row: dict[str, Any] = {"group": name, "value": value, "persons": persons}
                if persons < FEWEST:
                    row |= {"cases": len(rows), "judged": len(part.judged)}
                    found.append({**row, "note": f"fewer than {FEWEST} persons: nothing is told"})
                    continue
                first, judged = int((part.ranks == 1).sum()), len(part.judged)
                row |= {"cases": len(rows), "judged": judged, "rank_1": first}
                row["rank_1_upper"] = upper_bound(first, judged)
                # everybody is easily told from people of another kind, which is not recognition
                same = set(part.cases)
                told = _some(joint, [k for k, case in enumerate(joint.cases) if case in same])
                for end, one in (("", told), ("_within", _among(told, frozenset(part.own)))):
                    auc, low, high = auc_interval(one, repeats=self.repeats)
                    row |= {f"auc{end}": auc, f"auc_low{end}": low, f"auc_high{end}": high}
                found.append(row)
        return found


def _some(best: BestScores, rows: list[int]) -> BestScores:
    return dataclasses.replace(
        best,
        cases=tuple(best.cases[k] for k in rows),
        own=tuple(best.own[k] for k in rows),
        values=best.values[rows],
    )


def _among(best: BestScores, persons: frozenset[str]) -> BestScores:
    """With a gallery of some persons alone."""
    columns = [k for k, person in enumerate(best.persons) if person in persons]
    return dataclasses.replace(
        best, persons=tuple(best.persons[k] for k in columns), values=best.values[:, columns]
    )

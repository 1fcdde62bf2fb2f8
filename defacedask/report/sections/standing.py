"""How a defacer stands: which cases can testify, who is the nearest of the gallery, whether the face is inside."""

from __future__ import annotations

import numpy as np
import pandas as pd

from defacedask.faces.rates import at_least
from defacedask.modality import IMAGES
from defacedask.report import numbers
from defacedask.report.run import Run
from defacedask.report.sections.threshold import image_controls
from defacedask.tables.evidence import ANY, Rate

__all__ = [
    "by_each",
    "count_words",
    "covers",
    "joined",
    "nearest_beyond_chance",
    "privacy_void",
    "sharpest",
    "testifying",
]

#: Cases below which an AUC is shown only where there is no other; it has no interval then.
FEW_PERSONS = 6


def count_words(rate: Rate) -> str:
    """Write a count of cases, unbroken."""
    return f"{numbers.count(rate.hits)}\u00a0of\u00a0{numbers.count(rate.cases)}"


def covers(defacer: str) -> bool:
    """Whether a defacer leaves the face inside, by what it says of itself; False where nothing is known of it."""
    from defacedask.defacers import is_reversible
    from defacedask.errors import DefacedaskError

    try:
        return is_reversible(defacer)
    except DefacedaskError:  # of somebody else
        return False


def privacy_void(run: Run) -> bool:
    """Whether no positive control holds, so that no match means nothing."""
    return not any(control.state != "void" for control in image_controls(run))


def joined(run: Run, defacer: str) -> pd.Series | None:
    """Row of the table ``verification`` of all images, recognisers and attacks together."""
    table = run.tables["verification"]
    for column in ("modality", "recogniser", "attack"):
        table = table.loc[table[column] == ANY]
    rows = table.loc[table["defacer"] == defacer]
    return rows.iloc[0] if len(rows) else None


def by_each(run: Run, defacer: str) -> list[pd.Series]:
    """Rows of the table ``verification`` that can testify: all together, and each recogniser where there are several.

    Who is nearest by any of them is blurred by the one that sees least, and a joint AUC by what few persons teach: a
    rank or an AUC by any one of them counts, as a match does.
    """
    together = joined(run, defacer)
    table = run.tables["verification"]
    own = table.loc[
        (table["defacer"] == defacer)
        & (table["attack"] == ANY)
        & (table["recogniser"] != ANY)
        & table["modality"].isin(IMAGES)
    ]
    each = [row for _, row in own.iterrows()] if own["recogniser"].nunique() > 1 else []
    return each if together is None else [together, *each]


def sharpest(run: Run, defacer: str, by: str) -> pd.Series | None:
    """Of `by_each` the row that tells most; all together where nobody sees more.

    By ``auc`` the largest, of a few persons only where no row has more: two who are told apart have an AUC of 1. By
    ``rank_1`` the one that chance explains least: two of two in a gallery of two are less than ten of forty.
    """
    rows = by_each(run, defacer)
    known = [row for row in rows if int(row["judged"]) and pd.notna(row[by])]
    if not known:
        return rows[0] if rows else None
    if by == "rank_1":
        return known[int(np.argmin([_by_chance(row) for row in known]))]
    known = [row for row in known if int(row["judged"]) >= FEW_PERSONS] or known
    return known[int(np.argmax([row[by] for row in known]))]


def _by_chance(row: pd.Series) -> float:
    """How likely so many are nearest to the right person where one of the gallery is drawn."""
    size = row["gallery_size"]
    if pd.isna(size) or int(size) < 2:
        return 1.0
    return at_least(int(row["rank_1"]), int(row["judged"]), 1 / int(size))


def nearest_beyond_chance(run: Run, defacer: str) -> Rate | None:
    """Cases whose nearest person is the right one, if more than drawing one of the gallery gives.

    By all recognisers together or any one of them (binomial, 5 % in all: Bonferroni); the largest share.
    """
    rows = [
        row
        for row in by_each(run, defacer)
        if pd.notna(row["gallery_size"]) and int(row["gallery_size"]) > 1 and int(row["judged"])
    ]
    found = []
    for row in rows:
        if _by_chance(row) < 0.05 / len(rows):
            found.append(Rate(int(row["rank_1"]), int(row["judged"])))
    return max(found, key=lambda rate: rate.share, default=None)


def testifying(run: Run, defacer: str) -> Rate:
    """Matches among the cases whose own original is matched (by the same recogniser, in the same image)."""
    return run.looked.testifying(defacer)

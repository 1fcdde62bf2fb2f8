"""The summary of the radiomics of a cohort, some structures at a time, so that never all rows are held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from defacedask.costs.summary import ordered, radiomics_percent, radiomics_summary
from defacedask.tables.files import as_table
from defacedask.tables.parts import frames

__all__ = ["MOST_ROWS", "radiomics_tables"]

#: Rows that are held at a time, or those of one defacer and structure, if they are more.
MOST_ROWS = 2_000_000
_KEY = ["defacer", "structure"]


def radiomics_tables(parts: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make ``radiomics_percent`` and ``radiomics_summary``; see `defacedask.costs.summary`.

    Parameters
    ----------
    parts : sequence of Path
        Folders that hold a part of the table ``radiomics`` each.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for part in frames(parts, "radiomics", _KEY):
        counts.update({key: int(n) for key, n in part.value_counts(_KEY, sort=False).items()})
    defacers = list(
        dict.fromkeys(d for part in frames(parts, "radiomics", ["defacer"]) for d in part["defacer"])
    )
    shares = _shares(counts)
    found = [_summary(parts, keys if len(shares) > 1 else None) for keys in shares]
    if not found:
        return as_table("radiomics_percent", []), as_table("radiomics_summary", [])
    # each share is in order; so are all, once the defacers are as they came
    whole = pd.concat(found, ignore_index=True)
    summary = ordered(whole, ["feature"], pd.DataFrame({"defacer": defacers}))
    return as_table("radiomics_percent", radiomics_percent(summary)), as_table("radiomics_summary", summary)


def _shares(counts: Counter[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    shares: list[list[tuple[str, str]]] = []
    held = 0
    for key, number in counts.items():
        if not shares or held + number > MOST_ROWS:
            shares.append([])
            held = 0
        shares[-1].append(key)
        held += number
    return shares


def _summary(parts: Sequence[Path], keys: Sequence[tuple[str, str]] | None) -> pd.DataFrame:
    """Summary of some (defacer, structure); None: of all."""
    if keys is None:
        rows = list(frames(parts, "radiomics"))
    else:
        filters = [(name, "in", sorted({key[k] for key in keys})) for k, name in enumerate(_KEY)]
        wanted = pd.MultiIndex.from_tuples(keys)
        rows = [
            part.loc[pd.MultiIndex.from_frame(part[_KEY]).isin(wanted)]
            for part in frames(parts, "radiomics", filters=filters)
        ]
    return radiomics_summary(as_table("radiomics", pd.concat(rows, ignore_index=True)))

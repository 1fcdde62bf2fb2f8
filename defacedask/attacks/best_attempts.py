"""Which attempt of each attack came nearest: an attacker tries all and keeps the best."""

from __future__ import annotations

import pandas as pd

__all__ = ["best_attempts"]

_KEY = ["case", "defacer", "modality", "recogniser", "attack"]


def best_attempts(recognition: pd.DataFrame) -> pd.DataFrame:
    """One row a (case, defacer, modality, recogniser, attack): the picture nearest to the own original.

    Parameters
    ----------
    recognition : DataFrame
        The table of that name.

    Returns
    -------
    DataFrame
        The key; ``attempts`` (pictures looked at) and ``detected`` (in any of them); view, variant, level, forced,
        distance_to_own and rank_of_own of the nearest, empty where none was encoded; ``nearest_other``: the smallest
        distance of **any** attempt to another person, so that many attempts cannot flatter the attacker; and
        ``named``: the own person is nearer than everybody else over all attempts.
    """
    rows = []
    for key, part in recognition.groupby(_KEY, sort=False, dropna=False):
        distance = pd.to_numeric(part["distance_to_own"]).astype(float)
        others = pd.to_numeric(part["nearest_other"]).astype(float)
        row = {
            **dict(zip(_KEY, key, strict=True)),
            "attempts": len(part),
            "detected": bool(part["detected"].fillna(False).astype(bool).any()),
            "nearest_other": others.min(),
        }
        if distance.notna().any():
            best = part.loc[distance.idxmin()]
            names = ("view", "variant", "level", "forced", "distance_to_own", "rank_of_own")
            row |= {name: best[name] for name in names}
            row["named"] = bool(distance.min() < others.min()) if others.notna().any() else None
        rows.append(row)
    return pd.DataFrame(rows)

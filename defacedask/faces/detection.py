"""The study's table of faces detected, with matches and what zero of n still allows."""

from __future__ import annotations

import math

import pandas as pd

from defacedask.faces.rates import upper_bound

__all__ = ["detection_table"]


def detection_table(
    recognition: pd.DataFrame, *, tolerance: float = math.nan, threshold: float = math.nan
) -> pd.DataFrame:
    """The study's table from rows of recognition: defacer x modality x recogniser.

    Parameters
    ----------
    recognition : pandas.DataFrame
        As in INTERFACE: case, defacer, modality, recogniser, attack, view, detected, distance_to_own, ...
    tolerance : float
        The recogniser's; NaN if it has none: then ``matches`` and their bound are empty.
    threshold : float
        Calibrated on originals; NaN if there is none.

    Returns
    -------
    pandas.DataFrame
        One row a (defacer, modality, recogniser): ``cases``; ``faces_detected`` (cases with a face in any plain
        view; what is no image has one attack of its own, which counts as the plain one); ``matches`` (cases matched
        to their own original at the tolerance in any plain view) and ``upper_bound_95`` of that rate;
        ``matches_calibrated`` with ``upper_bound_95_calibrated``; ``rank_1`` (cases whose nearest known person is
        the right one in any plain view); ``matches_any_attack`` (at the calibrated threshold, else at the
        tolerance) and ``attacks`` tried; ``detected_upper_bound_95``.
    """
    rows = []
    keys = ["defacer", "modality", "recogniser"]
    fixed = not math.isnan(tolerance)
    limit = tolerance if math.isnan(threshold) else threshold
    for names, part in recognition.groupby(keys, sort=False, dropna=False):
        plain = part[part["attack"] == "plain"]
        if not len(plain):  # surfaces that are no image have one attack of their own
            plain = part
        cases = part["case"].nunique()
        if "comparable" in part:  # who is not in the gallery can be detected, and cannot be matched
            able = part["comparable"].fillna(True).astype(bool)
            judged = part.loc[able, "case"].nunique()
            nothing = part[["distance_to_own", "rank_of_own"]].astype(float).where(able)
            part = part.assign(**{name: nothing[name] for name in nothing})
            plain = part.loc[plain.index]
        else:
            judged = cases
        own = plain["distance_to_own"].astype(float)
        found = plain.loc[plain["detected"].astype(bool), "case"].nunique()
        matches = plain.loc[own <= tolerance, "case"].nunique()
        calibrated = plain.loc[own <= threshold, "case"].nunique()
        rank = plain["rank_of_own"].astype(float)
        anyhow = part.loc[part["distance_to_own"].astype(float) <= limit, "case"].nunique()
        known = not math.isnan(threshold)
        rows.append(
            {
                **dict(zip(keys, names, strict=True)),
                "cases": cases,
                "faces_detected": found,
                "matches": matches if fixed else None,
                "tolerance": tolerance,
                "judged": judged,
                "upper_bound_95": upper_bound(matches, judged) if fixed else math.nan,
                "detected_upper_bound_95": upper_bound(found, cases),
                "matches_calibrated": calibrated if known else None,
                "threshold": threshold,
                "upper_bound_95_calibrated": upper_bound(calibrated, judged) if known else math.nan,
                "rank_1": plain.loc[rank == 1, "case"].nunique(),
                "matches_any_attack": anyhow,
                "attacks": part["attack"].nunique(),
            }
        )
    return pd.DataFrame(rows)

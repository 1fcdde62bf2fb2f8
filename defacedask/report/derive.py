"""The tables that follow from the measured ones: the study's two kinds, and the summary beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from defacedask.report import evidence
from defacedask.tables import TEN_FEATURES, as_table

__all__ = ["derive_tables", "faces_detected", "radiomics_percent", "radiomics_summary"]

#: The study's structures, in its order; others follow by name.
STUDY_STRUCTURES = (
    "Bone_Mandible",
    "Brain",
    "Brainstem",
    "Target",
    "Cavity_Oral",
    "OpticChiasm",
    "Eye_L",
    "Eye_R",
    "OpticNrv_L",
    "OpticNrv_R",
    "Parotid_L",
    "Parotid_R",
)


def in_order(names: list[str], first: tuple[str, ...]) -> list[str]:
    """Known names in the study's order, then the others by name."""
    return [n for n in first if n in names] + sorted(n for n in names if n not in first)


def faces_detected(recognition: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """Faces detected and matches, defacer x recogniser x modality, a case counting once."""
    cases = evidence.by_case(recognition, tolerance)
    plain = cases.loc[cases["attack"] == evidence.PLAIN]
    key = ["defacer", "recogniser", "modality"]
    joined = dict(list(evidence.any_attack(cases).groupby(key, sort=False)))
    rows = []
    for (defacer, recogniser, modality), part in plain.groupby(key, sort=False):
        matches = evidence.Rate(int(part["matched"].sum()), len(part))
        attacked = joined[defacer, recogniser, modality]
        rows.append(
            {
                "defacer": defacer,
                "modality": modality,
                "recogniser": recogniser,
                "cases": len(part),
                "faces_detected": int(part["detected"].sum()),
                "matches": matches.hits,
                "tolerance": tolerance,
                "upper_bound_95": matches.upper,
                "matches_any_attack": int(attacked["matched"].sum()),
                "attacks": int(attacked["attacks"].max()),
            }
        )
    return as_table("faces_detected", rows)


def radiomics_summary(radiomics: pd.DataFrame) -> pd.DataFrame:
    """Mean, median, quartiles, p95 and maximum of the percent changes, with how many cases they stand on.

    Percent changes that do not exist (original zero or feature undefined) are left out of the numbers and
    counted in ``undefined``.
    """
    rows = []
    for (defacer, structure, feature), part in radiomics.groupby(
        ["defacer", "structure", "feature"], sort=False
    ):
        change = part["percent"].to_numpy(dtype=np.float64)
        good = np.isfinite(change)
        kept = change[good]
        before = part["original"].to_numpy(dtype=np.float64)[good].mean() if good.any() else np.nan
        after = part["defaced"].to_numpy(dtype=np.float64)[good].mean() if good.any() else np.nan
        q1, median, q3 = np.percentile(kept, [25, 50, 75]) if len(kept) else (np.nan,) * 3
        rows.append(
            {
                "defacer": defacer,
                "structure": structure,
                "feature": feature,
                "n": len(kept),
                "mean": kept.mean() if len(kept) else np.nan,
                "median": median,
                "q1": q1,
                "q3": q3,
                "p95": np.percentile(np.abs(kept), 95) if len(kept) else np.nan,
                "max": np.abs(kept).max() if len(kept) else np.nan,
                "ratio_of_means": 100 * (before - after) / before if before else np.nan,
                "undefined": int((~good).sum()),
                "unchanged": int((part["original"] == part["defaced"]).sum()),
            }
        )
    return as_table("radiomics_summary", rows)


def radiomics_percent(summary: pd.DataFrame, what: str = "mean") -> pd.DataFrame:
    """Lay a summary out as the study did: defacer x structure, one column a feature.

    Parameters
    ----------
    summary : DataFrame
        See `radiomics_summary`.
    what : str
        Which of its columns: ``mean`` (the study's), ``median``, ``n``, ...
    """
    if not len(summary):
        return as_table("radiomics_percent", [])
    wide = summary.set_index(["defacer", "structure", "feature"])[what].unstack("feature")
    wide = wide.reindex(columns=list(TEN_FEATURES)).reset_index()
    wide.columns.name = None
    structures = in_order(wide["structure"].unique().tolist(), STUDY_STRUCTURES)
    defacers = list(dict.fromkeys(summary["defacer"]))
    wide = wide.sort_values(
        ["defacer", "structure"],
        key=lambda names: names.map((defacers if names.name == "defacer" else structures).index),
    )
    return as_table("radiomics_percent", wide)


def derive_tables(tables: Mapping[str, pd.DataFrame], tolerance: float) -> dict[str, pd.DataFrame]:
    """Make the derived tables anew from the measured ones.

    Parameters
    ----------
    tables : mapping
        With ``recognition`` and ``radiomics``.
    tolerance : float
        Largest distance that counts as a match.

    Returns
    -------
    dict
        ``faces_detected``, ``radiomics_percent`` and ``radiomics_summary``.
    """
    summary = radiomics_summary(tables["radiomics"])
    return {
        "faces_detected": faces_detected(tables["recognition"], tolerance),
        "radiomics_percent": radiomics_percent(summary),
        "radiomics_summary": summary,
    }

"""What defacing changed, beside what a second scan of the same person changes: agreement and share.

A change that is small beside test-retest costs nothing that a repeated scan would not cost too. A change that is
large beside it is one that an analysis sees.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from defacedask.costs.summary import concordance, icc

__all__ = ["RESCAN", "rescan"]

#: Columns of the table `rescan`, after those of its key.
RESCAN = (
    "cases",
    "change_rms",
    "icc",
    "concordance",
    "persons",
    "rescan_rms",
    "rescan_icc",
    "share",
    "within_repeatability",
)
_KEY = ["defacer", "modality", "structure", "measure"]


def rescan(rows: pd.DataFrame, patients: Mapping[str, str]) -> pd.DataFrame:
    """Changes by defacing, and between two scans of one person.

    Parameters
    ----------
    rows : DataFrame
        case, defacer, modality, structure, measure (a feature or metric), original, defaced; a case's further rows of
        one key (more structure sets) are left out.
    patients : mapping
        Case -> patient, in the order of the cases. The first two cases of a patient that have a value are test and
        retest; a case of nobody known is nobody's second scan.

    Returns
    -------
    DataFrame
        One row a (defacer, modality, structure, measure):

        - cases, change_rms: root mean square of defaced - original; icc, concordance: of the two
        - persons, rescan_rms, rescan_icc: the same of second scan - first scan, both as they came
        - share: change_rms / rescan_rms; 0 where nothing changed, NaN without a second scan that differs
        - within_repeatability: share of cases whose change is at most 1.96 rescan_rms, the repeatability coefficient
    """
    own = _scans(patients)
    rows = rows.drop_duplicates(["case", *_KEY])
    rows = rows.loc[np.isfinite(rows["original"].astype(float))]
    twice = rows.loc[rows["case"].isin([case for cases in own.values() for case in cases])]
    between: dict[tuple[str, ...], np.ndarray] = {}
    for key, part in twice.drop_duplicates(["case", *_KEY[1:]]).groupby(_KEY[1:], sort=False):
        value = dict(zip(part["case"], part["original"].astype(float), strict=True))
        found = [[value[case] for case in cases if case in value][:2] for cases in own.values()]
        pairs = np.array([pair for pair in found if len(pair) == 2], dtype=float).reshape(-1, 2)
        between[tuple(map(str, key))] = pairs
    out = []
    for key, part in rows.groupby(_KEY, sort=False):
        pairs = part[["original", "defaced"]].to_numpy(dtype=float)
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        again = between.get(tuple(map(str, key[1:])), np.zeros((0, 2)))
        out.append({**dict(zip(_KEY, key, strict=True)), **_compared(pairs, again)})
    return pd.DataFrame(out, columns=[*_KEY, *RESCAN])


def _scans(patients: Mapping[str, str]) -> dict[str, list[str]]:
    """Patient -> cases, of who has several."""
    own: dict[str, list[str]] = {}
    for case, patient in patients.items():
        if patient:
            own.setdefault(patient, []).append(case)
    return {patient: cases for patient, cases in own.items() if len(cases) > 1}


def _compared(pairs: np.ndarray, again: np.ndarray) -> dict[str, float]:
    change, apart = np.diff(pairs)[:, 0], np.diff(again)[:, 0]
    rms, usual = (float(np.sqrt((d**2).mean())) if len(d) else float("nan") for d in (change, apart))
    known = len(apart) > 0 and usual > 0
    return {
        "cases": len(pairs),
        "change_rms": rms,
        "icc": icc(pairs),
        "concordance": concordance(pairs[:, 0], pairs[:, 1]),
        "persons": len(again),
        "rescan_rms": usual,
        "rescan_icc": icc(again),
        "share": rms / usual if known and len(change) else float("nan"),
        "within_repeatability": float((np.abs(change) <= 1.96 * usual).mean())
        if known and len(change)
        else float("nan"),
    }

"""The study's tables from the measured radiomics: means over cases, and what a mean hides.

Every row stands for one (defacer, modality, structure, feature): values of a CT and of a PET are never averaged.
Percentages that do not exist (original zero, no voxels) are left out of the numbers and counted; those over a
near-zero original are in them, as they must have been in the study's, and counted too, with the mean without them
beside.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from defacedask.anatomy.structure_names import STUDY_NAMES
from defacedask.costs.features import TEN_FEATURES
from defacedask.modality import IMAGES

__all__ = ["concordance", "icc", "ordered", "radiomics_percent", "radiomics_summary"]


def concordance(original: np.ndarray, defaced: np.ndarray) -> float:
    """Lin's concordance correlation coefficient of paired values (population moments).

    Parameters
    ----------
    original, defaced : (n,) arrays

    Returns
    -------
    float
        1 for equal pairs; nan with fewer than two pairs, or if neither side varies and they are equal.

    Notes
    -----
    Lin LI. A concordance correlation coefficient to evaluate reproducibility. Biometrics 45:255, 1989.
    """
    x, y = np.asarray(original, dtype=np.float64), np.asarray(defaced, dtype=np.float64)
    if len(x) < 2:
        return float("nan")
    # deviations in units of the larger side, so that features of 1e12 do not lose their digits
    scale = max(np.abs(x - x.mean()).max(), np.abs(y - y.mean()).max(), abs(x.mean() - y.mean()))
    if scale == 0:
        return float("nan")
    dx, dy, apart = (x - x.mean()) / scale, (y - y.mean()) / scale, (x.mean() - y.mean()) / scale
    return float(2 * (dx * dy).mean() / ((dx**2).mean() + (dy**2).mean() + apart**2))


def icc(values: np.ndarray) -> float:
    """Intraclass correlation for absolute agreement of single measurements, two-way random effects: ICC(2,1).

    Parameters
    ----------
    values : (n, k) array
        k measurements of each of n subjects; rows with anything missing are left out.

    Returns
    -------
    float
        1 where all measurements of each subject are equal and subjects differ; NaN with fewer than two subjects or
        measurements, or where nothing varies.

    Notes
    -----
    Shrout PE, Fleiss JL. Intraclass correlations: uses in assessing rater reliability. Psychol Bull 86:420, 1979.
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[np.isfinite(table).all(axis=1)]
    n, k = table.shape
    if n < 2 or k < 2:
        return float("nan")
    table = table - table.mean()
    scale = np.abs(table).max()
    if scale == 0:
        return float("nan")
    table = table / scale  # features of 1e12 keep their digits
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    between = k * (rows**2).sum() / (n - 1)
    judges = n * (columns**2).sum() / (k - 1)
    rest = table - rows[:, None] - columns[None, :]
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    below = between + (k - 1) * error + k * (judges - error) / n
    return float((between - error) / below) if below > 0 else float("nan")


def radiomics_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Spread of the changes over cases.

    Parameters
    ----------
    rows : DataFrame
        The `radiomics` table: case, defacer, structure, feature, original, defaced, percent, and where they
        are there voxels, voxels_changed, note.

    Returns
    -------
    DataFrame
        One row a (defacer, modality, structure, feature), structures and features in the study's order:

        - n: percentages that exist; mean, median, q1, q3, iqr of them; p95 and max of their absolute values
        - ratio_of_means: ``100 * (mean original - mean defaced) / mean original`` of all finite pairs
        - cases: rows in all; undefined: rows without a percentage; near_zero: with an original near zero;
          mean_without_near_zero
        - cases_touched: with any voxel changed; equal: with exactly equal values; untouched: without a voxel
          changed, untouched_equal: of these, with exactly equal values (both undefined counts as equal)
        - voxels: of all cases; fraction_changed: of these
        - repeated: rows of a case's further structure sets, left out: a case counts once
        - concordance, icc: of original and defaced values, see `concordance` and `icc`
    """
    rows = _with_modality(rows)
    keys = [*_KEY, "feature"]
    number = rows.groupby(keys, sort=False).ngroup().to_numpy()
    first = ~rows.duplicated([*keys, "case"]).to_numpy() if "case" in rows else np.ones(len(rows), bool)
    values = _arrays(rows)
    names = rows[keys].to_numpy()
    out = []
    for part in _grouped(number):
        once = part[first[part]]
        spread = _spread({name: column[once] for name, column in values.items()})
        out.append(
            {**dict(zip(keys, names[part[0]], strict=True)), **spread, "repeated": len(part) - len(once)}
        )
    columns = [*keys, *_spread({name: column[:0] for name, column in values.items()}), "repeated"]
    return ordered(pd.DataFrame(out, columns=columns), ["feature"], rows)


def _grouped(number: np.ndarray) -> list[np.ndarray]:
    """Rows of each group, in the order in which groups come first; -1 is none."""
    order = np.argsort(number, kind="stable")
    order = order[np.searchsorted(number[order], 0) :]
    cuts = np.flatnonzero(np.diff(number[order])) + 1
    return np.split(order, cuts) if len(order) else []


def radiomics_percent(rows: pd.DataFrame, what: str = "mean") -> pd.DataFrame:
    """The study's table: defacer x structure, one column a feature.

    Parameters
    ----------
    rows : DataFrame
        The `radiomics` table, or a `radiomics_summary` of it.
    what : str
        Column of the summary: ``mean`` (the study's), ``median``, ``n``, ...

    Returns
    -------
    DataFrame
        defacer, modality, structure and the ten features; nan where no case has the value.
    """
    summary = _with_modality(rows if what in rows.columns else radiomics_summary(rows))
    wide = summary.pivot(index=list(_KEY), columns="feature", values=what)
    wide = wide.reindex(columns=list(TEN_FEATURES)).reset_index()
    wide.columns.name = None
    return ordered(wide, [], summary)


_KEY = ("defacer", "modality", "structure")


def _with_modality(rows: pd.DataFrame) -> pd.DataFrame:
    return rows if "modality" in rows else rows.assign(modality="")


def _arrays(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """What `_spread` looks at, of all rows."""
    missing = np.full(len(rows), np.nan)
    numbers = ("percent", "original", "defaced", "voxels", "voxels_changed")
    near = rows["note"].fillna("").str.contains("near-zero", regex=False) if "note" in rows else missing > 0
    return {
        **{name: rows[name].to_numpy(dtype=np.float64) if name in rows else missing for name in numbers},
        "near": np.asarray(near, dtype=bool),
    }


def _spread(part: Mapping[str, np.ndarray]) -> dict[str, float]:
    percent, near = part["percent"], part["near"]
    good = np.isfinite(percent)
    kept = percent[good]
    steady = percent[good & ~near]
    before, after = part["original"], part["defaced"]
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    pairs = np.isfinite(before) & np.isfinite(after)
    before, after = before[pairs], after[pairs]
    voxels, changed = part["voxels"], part["voxels_changed"]
    q1, median, q3 = np.percentile(kept, [25, 50, 75]) if len(kept) else (np.nan,) * 3
    of_means = (
        100 * (before.mean() - after.mean()) / before.mean() if len(before) and before.mean() else np.nan
    )
    return {
        "n": len(kept),
        "mean": _mean(kept),
        "median": float(median),
        "q1": float(q1),
        "q3": float(q3),
        "iqr": float(q3 - q1),
        "p95": float(np.percentile(np.abs(kept), 95)) if len(kept) else np.nan,
        "max": float(np.abs(kept).max()) if len(kept) else np.nan,
        "ratio_of_means": float(of_means),
        "cases": len(percent),
        "undefined": int((~good).sum()),
        "near_zero": int(near.sum()),
        "mean_without_near_zero": _mean(steady),
        "cases_touched": int((changed > 0).sum()),
        "equal": int((before == after).sum()),
        "untouched": int((changed == 0).sum()),
        "untouched_equal": int(((changed == 0) & same).sum()),
        "voxels": float(voxels.sum()),
        "fraction_changed": float(changed.sum() / voxels.sum()) if voxels.sum() > 0 else np.nan,
        "concordance": concordance(before, after),
        "icc": icc(np.stack([before, after], axis=1)),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def ordered(table: pd.DataFrame, further: list[str], rows: pd.DataFrame) -> pd.DataFrame:
    """Defacers as they came in ``rows``, structures and features in the study's order, others after them by name."""
    defacers = list(dict.fromkeys(rows["defacer"]))
    known = {name: at for at, name in enumerate((*IMAGES, *STUDY_NAMES, *TEN_FEATURES))}

    def key(column: pd.Series) -> pd.Series:
        if column.name == "defacer":
            return column.map(defacers.index)
        return column.map(lambda name: (known.get(name, len(known)), str(name)))

    order = [*_KEY, *further]
    return table.sort_values(order, key=key, kind="stable", ignore_index=True)

"""The study's tables from the measured radiomics: means over cases, and what a mean hides.

Every row stands for one (defacer, modality, structure, feature): values of a CT and of a PET are never averaged.
Percentages that do not exist (original zero, no voxels) are left out of the numbers and counted; those over a
near-zero original are in them, as they must have been in the study's, and counted too, with the mean without them
beside.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from defacedask.anatomy.structure_names import STUDY_NAMES
from defacedask.costs.features import TEN_FEATURES
from defacedask.modality import IMAGES

__all__ = ["concordance", "ordered", "radiomics_percent", "radiomics_summary"]


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
        - concordance: of original and defaced values, see `concordance`
    """
    out = []
    rows = _with_modality(rows)
    for key, part in rows.groupby([*_KEY, "feature"], sort=False):
        once = part.drop_duplicates("case") if "case" in part else part
        about = dict(zip([*_KEY, "feature"], key, strict=True))
        out.append({**about, **_spread(once), "repeated": len(part) - len(once)})
    columns = [*_KEY, "feature", *_spread(_NO_ROWS), "repeated"]
    return ordered(pd.DataFrame(out, columns=columns), ["feature"], rows)


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


_NO_ROWS = pd.DataFrame(
    {name: pd.Series([], dtype=np.float64) for name in ("original", "defaced", "percent")}
)


def _spread(part: pd.DataFrame) -> dict[str, float]:
    percent = part["percent"].to_numpy(dtype=np.float64)
    good = np.isfinite(percent)
    kept = percent[good]
    note = part["note"].fillna("").to_numpy(dtype=str) if "note" in part else np.full(len(part), "")
    near = np.char.find(note, "near-zero") >= 0
    steady = percent[good & ~near]
    before = part["original"].to_numpy(dtype=np.float64)
    after = part["defaced"].to_numpy(dtype=np.float64)
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    pairs = np.isfinite(before) & np.isfinite(after)
    before, after = before[pairs], after[pairs]
    voxels, changed = (
        part[name].to_numpy(dtype=np.float64) if name in part else np.full(len(part), np.nan)
        for name in ("voxels", "voxels_changed")
    )
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
        "cases": len(part),
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

"""The summary of the radiomics of a cohort, some structures at a time, so that never all rows are held.

Of more than `report.most-cases` cases with a structure, quartiles, the median, the 95th percentile, concordance and
ICC are of a sample of so many (`defacedask.tables.sampled`); counts, means and the largest are of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from defacedask.costs.summary import ordered, radiomics_percent, radiomics_summary
from defacedask.tables.batches import Reader
from defacedask.tables.files import as_table
from defacedask.tables.sampled import case_hashes, grouped, kept_cases, most_cases

__all__ = ["MOST_ROWS", "radiomics_tables"]

#: Rows that are held at a time, or those of one defacer and structure, if they are more.
MOST_ROWS = 250_000
_PAIR = ["defacer", "structure"]
_KEY = ["defacer", "modality", "structure"]
_COLUMNS = (
    "case",
    "defacer",
    "structure",
    "feature",
    "original",
    "defaced",
    "percent",
    "voxels",
    "voxels_changed",
    "note",
    "modality",
)
Pair = tuple[str, str]


def radiomics_tables(
    read: Reader, *, features: Sequence[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make ``radiomics_percent`` and ``radiomics_summary``; see `defacedask.costs.summary`.

    Parameters
    ----------
    read : Reader
        Gives the rows of ``radiomics``; it is gone through several times.
    features : sequence of str, optional
        Of these alone.
    """
    wanted = [] if features is None else [("feature", "in", list(features))]
    rows: Counter[tuple[str, ...]] = Counter()
    cases: Counter[tuple[str, ...]] = Counter()
    defacers: dict[str, None] = {}
    names = [*_KEY, "case"] if features is None else [*_KEY, "case", "feature"]
    for part in read("radiomics", columns=names, filters=wanted):
        defacers |= dict.fromkeys(part["defacer"].unique())
        each = part.groupby(_KEY, sort=False)["case"].agg(["size", "nunique"])
        for key, size, number in each.itertuples():
            rows[key] += int(size)
            cases[key] += int(number)
    most = most_cases()
    held: Counter[Pair] = Counter()
    for key, number in rows.items():
        held[key[0], key[2]] += round(number * min(1.0, most / cases[key]))
    sampled = any(number > most for number in cases.values())
    shares = _shares(held)
    found = [_summary(read, keys if len(shares) > 1 else None, wanted, sampled) for keys in shares]
    if not found:
        return as_table("radiomics_percent", []), as_table("radiomics_summary", [])
    # each share is in order; so are all, once the defacers are as they came
    whole = pd.concat(found, ignore_index=True)
    summary = ordered(whole, ["feature"], pd.DataFrame({"defacer": list(defacers)}))
    return as_table("radiomics_percent", radiomics_percent(summary)), as_table("radiomics_summary", summary)


def _shares(counts: Counter[Pair]) -> list[list[Pair]]:
    shares: list[list[Pair]] = []
    held = 0
    for key, number in counts.items():
        if not shares or held + number > MOST_ROWS:
            shares.append([])
            held = 0
        shares[-1].append(key)
        held += number
    return shares


def _summary(
    read: Reader,
    keys: Sequence[Pair] | None,
    wanted: Sequence[tuple[str, str, Sequence[str]]],
    sampled: bool,
) -> pd.DataFrame:
    """Summary of some (defacer, structure); None: of all."""
    filters = [*wanted]
    if keys is not None:
        filters += [(name, "in", sorted({key[k] for key in keys})) for k, name in enumerate(_PAIR)]
    sample, all_cases = _Sample(), _Totals()
    for part in read("radiomics", columns=_COLUMNS, filters=filters):
        rows = part
        if keys is not None:
            rows = part.loc[pd.MultiIndex.from_frame(part[_PAIR]).isin(keys)]
        sample.add(rows, sampled)
        if sampled:
            all_cases.add(rows)
    summary = radiomics_summary(as_table("radiomics", sample.rows))
    return all_cases.put_into(summary) if sampled else summary


class _Sample:
    """Rows of the sample of each defacer, image and structure."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []
        self._held, self._room = 0, 0

    def add(self, rows: pd.DataFrame, sampled: bool) -> None:
        """Add some cases."""
        self._parts.append(rows)
        self._held += len(rows)
        if sampled and self._held > self._room:
            rows = pd.concat(self._parts, ignore_index=True)
            hashes, inside = case_hashes(rows["case"]), np.ones(len(rows), bool)
            for _, some in grouped(rows, _KEY):
                inside[some] = kept_cases(hashes[some], most_cases())[0]
            rows = rows.loc[inside]
            self._parts, self._held, self._room = [rows], len(rows), len(rows) + max(len(rows) // 2, 1000)

    @property
    def rows(self) -> pd.DataFrame:
        """Those held."""
        if self._room:
            self._room = 0
            self.add(self._parts.pop(), True)
        return pd.concat(self._parts, ignore_index=True)


class _Totals:
    """Sums over all cases of what a summary has that needs no more."""

    _KEY = (*_KEY, "feature")

    def __init__(self) -> None:
        self._sums: pd.DataFrame | None = None
        self._most: pd.Series | None = None

    def add(self, rows: pd.DataFrame) -> None:
        """Add some cases."""
        keys = list(self._KEY)
        once = rows.drop_duplicates(["case", *keys])
        percent, before, after = (
            once[name].to_numpy(dtype=float) for name in ("percent", "original", "defaced")
        )
        good, pairs = np.isfinite(percent), np.isfinite(before) & np.isfinite(after)
        near = once["note"].fillna("").str.contains("near-zero", regex=False).to_numpy(dtype=bool)
        voxels, changed = (once[name].to_numpy(dtype=float) for name in ("voxels", "voxels_changed"))
        same = (before == after) | (np.isnan(before) & np.isnan(after))
        some = once[keys].assign(
            n=good,
            percent=np.where(good, percent, 0.0),
            undefined=~good,
            near_zero=near,
            steady=good & ~near,
            steady_percent=np.where(good & ~near, percent, 0.0),
            pairs=pairs,
            before=np.where(pairs, before, 0.0),
            after=np.where(pairs, after, 0.0),
            equal=pairs & (before == after),
            cases=1,
            cases_touched=changed > 0,
            untouched=changed == 0,
            untouched_equal=(changed == 0) & same,
            voxels=voxels,
            changed=changed,
        )
        sums = some.groupby(keys).sum().astype(float)
        sums["repeated"] = rows.groupby(keys).size() - sums["cases"]
        most = (
            pd.Series(np.where(good, np.abs(percent), np.nan))
            .groupby([once[k].to_numpy() for k in keys])
            .max()
        )
        most.index.names = keys
        self._sums = sums if self._sums is None else self._sums.add(sums, fill_value=0.0)
        self._most = most if self._most is None else pd.concat([self._most, most]).groupby(level=keys).max()

    def put_into(self, summary: pd.DataFrame) -> pd.DataFrame:
        """A summary of a sample, with what is known of all cases where these are more."""
        if self._sums is None or self._most is None:
            return summary
        keys = pd.MultiIndex.from_frame(summary[list(self._KEY)])
        sums = self._sums.reindex(keys).reset_index(drop=True)
        most = self._most.reindex(keys).to_numpy()
        more = (sums["cases"] > summary["cases"]).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            known = {
                **{
                    name: sums[name]
                    for name in ("n", "undefined", "near_zero", "cases", "cases_touched", "equal")
                },
                **{name: sums[name] for name in ("untouched", "untouched_equal", "voxels", "repeated")},
                "mean": sums["percent"] / sums["n"],
                "mean_without_near_zero": sums["steady_percent"] / sums["steady"],
                "max": most,
                "ratio_of_means": 100 * (sums["before"] - sums["after"]) / sums["before"],
                "fraction_changed": sums["changed"] / sums["voxels"],
            }
        # without a mean, and of no voxels, there is no ratio
        known["ratio_of_means"] = known["ratio_of_means"].where(sums["before"] != 0)
        known["fraction_changed"] = known["fraction_changed"].where(sums["voxels"] > 0)
        out = summary.copy()
        for name, values in known.items():
            out[name] = np.where(more, np.asarray(values, dtype=float), out[name].to_numpy(dtype=float))
        return out

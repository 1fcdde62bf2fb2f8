"""Of the table ``radiomics``: how far features moved, where ratios mean little, and what must not move at all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from defacedask.costs.features import TEN_FEATURES
from defacedask.report.gathered import CONTROL
from defacedask.tables.batches import Reader
from defacedask.tables.sampled import Numbers, case_hashes, grouped, pooled

__all__ = ["Equal", "Features", "Hazard", "Kind", "features", "hazards_of", "unlike"]

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
    "structure_set",
)
_KEY = ["defacer", "modality", "structure"]
Key = tuple[str, str, str]


def hazards_of(rows: pd.DataFrame) -> pd.Series:
    """Why a row's percent change means little: the note it brought, else that the ratio does not exist; or ""."""
    note = rows["note"].fillna("") if "note" in rows else pd.Series("", index=rows.index)
    odd = note.str.contains("zero denominator|no voxels|not finite", regex=True)
    absent = ~np.isfinite(rows["percent"])
    return note.where(odd, "").mask(absent & ~odd, "ratio does not exist")


def unlike(rows: pd.DataFrame) -> np.ndarray:
    """Which rows have another value after defacing; both undefined is the same."""
    before, after = rows["original"].to_numpy(dtype=float), rows["defaced"].to_numpy(dtype=float)
    return ~((before == after) | (np.isnan(before) & np.isnan(after)))


class Equal:
    """Values that must not differ: how many, how many do, and the largest difference."""

    def __init__(self) -> None:
        self.compared = self.differing = 0
        self.largest = 0.0

    def add(self, rows: pd.DataFrame) -> None:
        """Add values."""
        differs = unlike(rows)
        self.compared += len(rows)
        self.differing += int(differs.sum())
        if differs.any():
            away = np.abs(rows["original"].to_numpy(dtype=float) - rows["defaced"].to_numpy(dtype=float))
            self.largest = max(self.largest, float(np.nanmax(away[differs], initial=0.0)))


class Hazard:
    """Rows whose percent change means little, of one structure and feature, for one reason."""

    def __init__(self) -> None:
        self.cases = self.absent = 0
        self.smallest = self.largest = float("nan")

    def add(self, rows: pd.DataFrame) -> None:
        """Add some cases."""
        self.cases += rows["case"].nunique()
        known = np.isfinite(rows["percent"])
        self.absent += int((~known).sum())
        self.largest = float(np.fmax(self.largest, rows.loc[known, "percent"].abs().max()))
        self.smallest = float(np.fmin(self.smallest, rows["original"].abs().min()))


class Kind:
    """Features of one class beyond the ten, of one defacer and image."""

    def __init__(self) -> None:
        self.features: dict[str, None] = {}
        self.sizes = Numbers()
        self.rows = self.same = 0

    def add(self, rows: pd.DataFrame, hashes: np.ndarray) -> None:
        """Add some cases."""
        self.features |= dict.fromkeys(rows["feature"].unique())
        sizes = rows["percent"].abs().to_numpy(dtype=float)
        known = np.isfinite(sizes)
        self.sizes.add(sizes[known], hashes[known])
        self.rows += len(rows)
        self.same += int((rows["original"] == rows["defaced"]).sum())


class Features:
    """What was gathered.

    Attributes
    ----------
    rows, cases : int
    structures, defacers : dict
        Of all rows, as they come.
    exact : Equal
        Values of the convert-only control.
    untouched : Equal
        Values of structures without a changed voxel, whoever defaced.
    totals, unequal : dict
        Defacer -> values of the ten features; of these, that differ.
    moved : dict
        Defacer -> (structure, modality) -> whether a value or voxel changed in any case.
    by_case : dict
        Defacer -> each case's median absolute percent change of the ten features.
    sizes : dict
        (defacer, modality, structure) -> the same of one structure.
    measured : dict
        (modality, structure) -> cases with a percent change.
    percents : dict
        (defacer, modality, structure, feature) -> percent changes that exist, of the ten.
    weak : Counter
        (defacer, modality, structure, feature) -> rows whose percent change means little, of the ten.
    hazards : dict
        (structure, feature, why) -> `Hazard`, but for the control, as they come.
    touched : dict
        (defacer, modality, structure) -> share of voxels changed, a number a case.
    shares : dict
        (defacer, structure) -> the same in percent, a number a case, image and structure set.
    kinds : dict
        (defacer, modality, class) -> `Kind`.
    """

    def __init__(self) -> None:
        self.rows = self.cases = 0
        self.structures: dict[str, None] = {}
        self.defacers: dict[str, None] = {}
        self.exact, self.untouched = Equal(), Equal()
        self.totals: Counter[str] = Counter()
        self.unequal: Counter[str] = Counter()
        self.moved: dict[str, dict[tuple[str, str], bool]] = defaultdict(dict)
        self.by_case: dict[str, Numbers] = defaultdict(Numbers)
        self.sizes: dict[Key, Numbers] = defaultdict(Numbers)
        self.measured: Counter[tuple[str, str]] = Counter()
        self.percents: dict[tuple[str, ...], Numbers] = defaultdict(Numbers)
        self.weak: Counter[tuple[str, ...]] = Counter()
        self.hazards: dict[tuple[str, str, str], Hazard] = defaultdict(Hazard)
        self.touched: dict[Key, Numbers] = defaultdict(Numbers)
        self.hit: Counter[Key] = Counter()
        self.shares: dict[tuple[str, str], Numbers] = defaultdict(Numbers)
        self.kinds: dict[Key, Kind] = defaultdict(Kind)

    def large_change(self, defacer: str) -> float:
        """95th percentile of all absolute percent changes of the ten features; NaN without any."""
        values, _ = pooled([one for key, one in self.percents.items() if key[0] == defacer])
        return float(np.percentile(np.abs(values), 95)) if len(values) else float("nan")

    @property
    def sampled(self) -> bool:
        """Whether medians and the like are of a sample."""
        return any(one.sampled for one in self.by_case.values())

    def add(self, rows: pd.DataFrame) -> None:
        """Add a batch."""
        rows = rows.assign(hash=case_hashes(rows["case"]))
        self.rows += len(rows)
        self.cases += rows["case"].nunique()
        self.structures |= dict.fromkeys(rows["structure"].unique())
        self.defacers |= dict.fromkeys(rows["defacer"].unique())
        theirs = rows.loc[rows["defacer"] != CONTROL]
        self.exact.add(rows.loc[rows["defacer"] == CONTROL])
        self.untouched.add(theirs.loc[(theirs["voxels_changed"] == 0).fillna(False).to_numpy(bool)])
        self._moved(theirs)
        self._shares(rows)
        own = rows["feature"].isin(TEN_FEATURES)
        self._ten(rows.loc[own])
        further = theirs.loc[~theirs["feature"].isin(TEN_FEATURES)]
        further = further.assign(kind=further["feature"].str.split("_").str[0])
        for key, some in _parts(further, ["defacer", "modality", "kind"]):
            self.kinds[key].add(some, some["hash"].to_numpy())

    def _moved(self, rows: pd.DataFrame) -> None:
        touched = (rows["voxels_changed"].astype("Float64").fillna(0) > 0).to_numpy(dtype=bool)
        rows = rows[_KEY].assign(changed=unlike(rows) | touched)
        for (defacer, modality, structure), some in rows.groupby(_KEY)["changed"].any().items():
            moved = self.moved[str(defacer)]
            moved[structure, modality] = moved.get((structure, modality), False) or bool(some)

    def _shares(self, rows: pd.DataFrame) -> None:
        rows = rows.drop_duplicates(["case", "defacer", "structure", "modality", "structure_set"])
        share = 100 * rows["voxels_changed"].astype(float) / rows["voxels"].astype(float)
        rows = rows.assign(share=share).dropna(subset="share")
        _add(self.shares, rows, ["defacer", "structure"], "share")

    def _ten(self, rows: pd.DataFrame) -> None:
        for defacer, differs in pd.Series(unlike(rows)).groupby(rows["defacer"].to_numpy(), sort=False):
            self.totals[str(defacer)] += len(differs)
            self.unequal[str(defacer)] += int(differs.sum())
        self._touched(rows.drop_duplicates(["case", *_KEY]))
        why = hazards_of(rows)
        odd = rows.assign(why=why).loc[why != ""]
        for key, some in grouped(odd, [*_KEY, "feature"]):
            self.weak[key] += len(some)  # type: ignore[index]
        odd = odd.loc[odd["defacer"] != CONTROL]
        for key, part in _parts(odd, ["structure", "feature", "why"]):
            self.hazards[key].add(part)
        rows = rows.loc[np.isfinite(rows["percent"])]
        _add(self.percents, rows, [*_KEY, "feature"], "percent")
        sizes = rows.assign(percent=rows["percent"].abs())
        each = sizes.groupby(["defacer", "case"])["percent"].median().reset_index()
        _add(self.by_case, each.assign(hash=case_hashes(each["case"])), ["defacer"], "percent")
        sizes = sizes.loc[sizes["defacer"] != CONTROL]
        each = sizes.groupby([*_KEY, "case"])["percent"].median().reset_index()
        _add(self.sizes, each.assign(hash=case_hashes(each["case"])), _KEY, "percent")
        for key, part in _parts(sizes, ["modality", "structure"]):
            self.measured[key] += part["case"].nunique()

    def _touched(self, rows: pd.DataFrame) -> None:
        share = rows["voxels_changed"].astype(float) / rows["voxels"].astype(float)
        rows = rows.assign(share=share).dropna(subset="share")
        _add(self.touched, rows, _KEY, "share")
        for key, some in grouped(rows.loc[rows["share"] > 0], _KEY):
            self.hit[key] += len(some)  # type: ignore[index]


def _parts(rows: pd.DataFrame, keys: list[str]) -> Iterable[tuple[Any, pd.DataFrame]]:
    return ((key, rows.iloc[some]) for key, some in grouped(rows, keys))


def _add(numbers: dict[Any, Numbers], rows: pd.DataFrame, keys: list[str], column: str) -> None:
    values, hashes = rows[column].to_numpy(dtype=float), rows["hash"].to_numpy()
    for key, some in grouped(rows, keys):
        numbers[key if len(keys) > 1 else key[0]].add(values[some], hashes[some])


def features(read: Reader) -> Features:
    """Gather it."""
    found = Features()
    for rows in read("radiomics", _COLUMNS):
        found.add(rows)
    return found

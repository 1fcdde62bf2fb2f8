"""Of the table ``recognition``: who was looked at, detected, matched, by which attack, and how near."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from defacedask.modality import IMAGES
from defacedask.tables import evidence
from defacedask.tables.batches import Reader
from defacedask.tables.derive import faces_detected, sum_detection
from defacedask.tables.evidence import ORIGINAL, PLAIN, Rate
from defacedask.tables.sampled import Numbers, case_hashes, grouped

__all__ = ["GRID", "Looked", "Nearest", "looked"]

#: Thresholds of the sweep.
GRID = np.linspace(0, 1, 201)
_COLUMNS = (
    "case",
    "defacer",
    "modality",
    "recogniser",
    "attack",
    "view",
    "detected",
    "distance_to_own",
    "rank_of_own",
    "gallery_size",
    "comparable",
)
_GROUP = ["defacer", "modality", "recogniser"]
Group = tuple[str, str, str]


class _Count:
    """A count of cases that grows."""

    __slots__ = ("cases", "hits")

    def __init__(self) -> None:
        self.hits = self.cases = 0

    def add(self, hits: pd.Series | np.ndarray) -> None:
        self.hits += int(hits.sum())
        self.cases += len(hits)

    @property
    def rate(self) -> Rate:
        return Rate(self.hits, self.cases)


class Nearest:
    """Smallest distances of cases to their own person, of one defacer, image and recogniser, by any attack."""

    def __init__(self) -> None:
        self.cases, self.known = 0, False
        self._within = np.zeros(len(GRID), int)

    def add(self, distances: np.ndarray) -> None:
        """Add a distance a case."""
        self.cases += len(distances)
        told = np.sort(distances[~np.isnan(distances)])
        self.known |= bool(len(told))
        self._within += np.searchsorted(told, GRID, side="right")

    @property
    def swept(self) -> np.ndarray:
        """Share of cases within each threshold of `GRID`."""
        return self._within / self.cases


class Looked:
    """What was gathered.

    Attributes
    ----------
    cases : int
        Rows of `evidence.by_case`: with none of them nobody was looked at who can be judged.
    recognisers, defacers : dict
        Of all rows, as they come.
    attacks : dict
        (defacer, modality, recogniser) -> its attacks, as they come.
    ways : dict
        Attacks on defaced images, as they come.
    swept : dict
        (defacer, modality, recogniser) -> `Nearest`.
    judged, lacking : int
        Cases with a defaced image; of these, with nothing in the gallery to compare with.
    """

    def __init__(self, tolerances: Mapping[str, float], controls: pd.DataFrame) -> None:
        self._tolerances, self._controls = tolerances, controls
        self._limits = evidence.limits(controls, tolerances)
        self.cases = self.judged = self.lacking = 0
        self.recognisers: dict[str, None] = {}
        self.defacers: dict[str, None] = {}
        self.attacks: dict[Group, dict[str, None]] = {}
        self.ways: dict[str, None] = {}
        self.swept: dict[Group, Nearest] = defaultdict(Nearest)
        self._tried: dict[tuple[str, ...], _Count] = defaultdict(_Count)
        self._any: dict[str, _Count] = defaultdict(_Count)
        self._plain: dict[str, _Count] = defaultdict(_Count)
        self._able: dict[str, _Count] = defaultdict(_Count)
        self._firsts: dict[tuple[Any, ...], tuple[Numbers, Numbers]] = {}
        self._all_attacks: dict[Group, set[str]] = defaultdict(set)
        self._originals: dict[tuple[str, str], tuple[Rate, Rate]] = {}
        self._detected: list[pd.DataFrame] = []

    # --- what is known

    def tried(self, defacer: str, modality: str, recogniser: str, attack: str) -> Rate:
        """Cases matched by an attack, of those that it was tried on."""
        return self._tried[defacer, modality, recogniser, attack].rate

    def strongest(self, defacer: str, plain: bool = False) -> Rate:
        """Cases matched by any attack (or plainly), in any image, by any recogniser."""
        return (self._plain if plain else self._any)[defacer].rate

    def testifying(self, defacer: str) -> Rate:
        """Matches among the cases whose own original is matched (by the same recogniser, in the same image)."""
        return self._able[defacer].rate

    def rank_one(self, defacer: str, modality: str, recogniser: str) -> tuple[float, float, int]:
        """See `evidence.rank_one`: of plain views, or of all where there are none."""
        plain, every = ((defacer, modality, recogniser, only) for only in (True, False))
        share, chance = self._firsts.get(plain) or self._firsts.get(every) or (Numbers(), Numbers())
        return share.mean, chance.mean, share.count

    def detected(self) -> pd.DataFrame:
        """The table ``faces_detected``."""
        attacks = {key: len(names) for key, names in self._all_attacks.items()}
        self._detected = [sum_detection(self._detected, attacks)] if self._detected else []
        return sum_detection(self._detected, attacks)

    def controls(self) -> list[evidence.Control]:
        """See `evidence.positive_controls`."""
        return evidence.positive_controls(self._originals, self._tolerances, self._controls)

    # --- gathering

    def add(self, rows: pd.DataFrame) -> None:
        """Add a batch."""
        self.recognisers |= dict.fromkeys(rows["recogniser"].unique())
        self.defacers |= dict.fromkeys(rows["defacer"].unique())
        for row in rows.drop_duplicates([*_GROUP, "attack"]).itertuples():
            self._all_attacks[str(row.defacer), str(row.modality), str(row.recogniser)].add(str(row.attack))
        cases = evidence.by_case(rows, self._tolerances, self._limits)
        self._count(cases)
        self._able_too(cases)
        self._first(rows)
        self._left_out(rows)
        self._detected.append(faces_detected(rows, self._tolerances, self._controls))
        if len(self._detected) > 4:
            self.detected()

    def _count(self, cases: pd.DataFrame) -> None:
        self.cases += len(cases)
        cases = cases.assign(matched=cases["matched"].astype(bool))
        matched = cases["matched"].to_numpy()
        self.ways |= dict.fromkeys(cases.loc[cases["defacer"] != ORIGINAL, "attack"].unique())
        for key, some in grouped(cases, [*_GROUP, "attack"]):
            self.attacks.setdefault(key[:3], {})[str(key[3])] = None  # type: ignore[arg-type]
            self._tried[key].add(matched[some])  # type: ignore[index]
        for counts, part in ((self._any, cases), (self._plain, cases.loc[cases["attack"] == PLAIN])):
            hits = part.groupby(["defacer", "case"], sort=False)["matched"].any()
            for defacer, each in hits.groupby(level="defacer", sort=False):
                counts[str(defacer)].add(each)
        together = evidence.any_attack(cases)
        distance = together["distance"].to_numpy(dtype=float)
        for key, some in grouped(together, _GROUP):
            self.swept[key].add(distance[some])  # type: ignore[index]
        for key, (seen, right) in evidence.originals(cases).items():
            before = self._originals.get(key, (Rate(0, 0), Rate(0, 0)))
            self._originals[key] = (before[0] + seen, before[1] + right)

    def _able_too(self, cases: pd.DataFrame) -> None:
        key = ["recogniser", "modality", "case"]
        plain = (cases["defacer"] == ORIGINAL) & (cases["attack"] == PLAIN) & cases["matched"].astype(bool)
        able = pd.MultiIndex.from_frame(cases.loc[plain, key])
        rows = cases.loc[pd.MultiIndex.from_frame(cases[key]).isin(able)]
        hits = rows.assign(matched=rows["matched"].astype(bool)).groupby(["defacer", "case"])["matched"].any()
        for defacer, each in hits.groupby(level="defacer", sort=False):
            self._able[str(defacer)].add(each)

    def _first(self, rows: pd.DataFrame) -> None:
        usable = rows.loc[pd.to_numeric(rows["gallery_size"]).fillna(0) >= 2]
        usable = pd.DataFrame(
            {
                **{name: usable[name] for name in (*_GROUP, "attack", "case")},
                "hit": (usable["rank_of_own"] == 1).fillna(False).astype(float),
                "chance": 1 / usable["gallery_size"].astype(float),
            }
        )
        plain = rows.loc[rows["attack"] == PLAIN].drop_duplicates(_GROUP)
        for row in plain.itertuples():  # also where none of them is usable
            self._firsts.setdefault((row.defacer, row.modality, row.recogniser, True), (Numbers(), Numbers()))
        for only, part in ((True, usable.loc[usable["attack"] == PLAIN]), (False, usable)):
            each = part.groupby([*_GROUP, "case"])[["hit", "chance"]].mean().reset_index()
            hashes = case_hashes(each["case"])
            for key, some in grouped(each, _GROUP):
                numbers = self._firsts.setdefault((*key, only), (Numbers(), Numbers()))
                for one, name in zip(numbers, ("hit", "chance"), strict=True):
                    one.add(each[name].to_numpy()[some], hashes[some])

    def _left_out(self, rows: pd.DataFrame) -> None:
        rows = rows.loc[rows["modality"].isin(IMAGES) & (rows["defacer"] != ORIGINAL)]
        known = rows["comparable"].fillna(True).astype(bool)
        judged = known.groupby(rows["case"]).any()
        self.judged += len(judged)
        self.lacking += int((~judged).sum())


def looked(read: Reader, tolerances: Mapping[str, float], controls: pd.DataFrame) -> Looked:
    """Gather it.

    Parameters
    ----------
    read : Reader
    tolerances : mapping
        Recogniser -> its tolerance, where it has one.
    controls : DataFrame
        Table of that name.
    """
    found = Looked(tolerances, controls)
    for rows in read("recognition", _COLUMNS):
        found.add(rows)
    return found

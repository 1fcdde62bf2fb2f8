"""The table ``ears``: who people are by their ears' reliefs (`defacedask.attacks.ear_relief`), apart from faces."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from defacedask.attacks.ear_relief import EarGallery, unpacked
from defacedask.faces.galleries import SECOND_SCAN
from defacedask.faces.rates import bootstrap_interval
from defacedask.flow.result import TaskResult
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.tables.files import as_table
from defacedask.tables.parts import read_part

__all__ = ["EAR_MAPS", "ear_maps_table", "ears_table"]

#: Name of the parts' table of maps; they identify people, and stay in the store.
EAR_MAPS = "ear_maps"
#: Persons that are compared, at most: those whose names hash lowest.
MOST_PERSONS = 100
_COLUMNS = ("person", "case", "defacer", "modality", "image", "side", "map")
_SCHEMA = pa.schema([(name, pa.string()) for name in _COLUMNS])
_NO_SCAN = "an original on itself proves nothing: the control needs a second scan (--gallery second-scan)"


def ear_maps_table(results: Iterable[TaskResult], patients: Mapping[str, str]) -> pa.Table:
    """Rows of `EAR_MAPS`: of each image once as it came, and once for each defacer."""
    rows, known = [], set()
    for result in results:
        for path, ears in result.facts.get("ears", {}).items() if result.ok else ():
            for who, name in ((ORIGINAL, ORIGINAL), ("defaced", result.defacer)):
                if (result.case, path, name) in known:
                    continue
                known.add((result.case, path, name))
                about = {"person": patients[result.case], "case": result.case, "defacer": name}
                about |= {"modality": ears["modality"], "image": path}
                rows += [{**about, "side": side, "map": text} for side, text in ears.get(who, {}).items()]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def ears_table(folders: Sequence[Path], gallery: str, defacers: Iterable[str]) -> pd.DataFrame:
    """Compare everybody's ears with everybody's original ones.

    Parameters
    ----------
    folders : sequence of Path
        That hold a part of `EAR_MAPS` each.
    gallery : str
        Where it is ``second-scan``, an image is compared with images of other cases alone; else with all originals.
    defacers : iterable of str
        In the order of the rows; the originals come first.
    """
    images = _images(folders)
    rows: list[dict[str, Any]] = []
    for modality in sorted({one.modality for one in images}):
        known = [one for one in images if (one.modality, one.defacer) == (modality, ORIGINAL)]
        judge = _Judge(known, gallery == SECOND_SCAN)
        for defacer in (ORIGINAL, *defacers):
            probes = [one for one in images if (one.modality, one.defacer) == (modality, defacer)]
            if probes:
                rows.append({"defacer": defacer, "modality": modality, **judge.row(defacer, probes)})
    return as_table("ears", rows)


class _Image:
    def __init__(self, person: str, case: str, defacer: str, modality: str) -> None:
        self.person, self.case, self.defacer, self.modality = person, case, defacer, modality
        self.ears: dict[str, np.ndarray] = {}


def _images(folders: Sequence[Path]) -> list[_Image]:
    found: dict[tuple[str, str, str], _Image] = {}
    for row in _rows(folders, _chosen(folders)):
        key = row["case"], row["image"], row["defacer"]
        one = found.setdefault(key, _Image(row["person"], row["case"], row["defacer"], row["modality"]))
        one.ears[row["side"]] = unpacked(row["map"], row["side"])
    return list(found.values())


def _chosen(folders: Sequence[Path]) -> set[str]:
    people = {
        person
        for folder in _with_maps(folders)
        for person in read_part(folder, EAR_MAPS, ["person"])["person"]
    }
    order = sorted(people, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest())
    return set(order[:MOST_PERSONS])


def _rows(folders: Sequence[Path], people: set[str]) -> Iterator[dict[str, Any]]:
    for folder in _with_maps(folders) if people else ():
        yield from read_part(folder, EAR_MAPS, filters=[("person", "in", list(people))]).to_dict("records")


def _with_maps(folders: Sequence[Path]) -> list[Path]:
    return [folder for folder in folders if (folder / f"{EAR_MAPS}.parquet").is_file()]


class _Judge:
    """Everybody's originals, and what they say of probes."""

    def __init__(self, known: Sequence[_Image], apart: bool) -> None:
        self.apart = apart
        self.persons = np.array([one.person for one in known])
        self.cases = np.array([one.case for one in known])
        self.gallery = EarGallery([one.ears for one in known])
        names = sorted(set(self.persons))
        # as the negative control everybody goes by the name of another
        self.other = dict(zip(names, [*names[1:], *names[:1]], strict=True)) if len(names) > 2 else {}

    def row(self, defacer: str, probes: Sequence[_Image]) -> dict[str, Any]:
        own, exchanged, first = defaultdict(list), defaultdict(list), []
        for probe in probes if self.apart or defacer != ORIGINAL else ():
            like = self.gallery.likeness(probe.ears)
            if self.apart:
                like = np.where(self.cases == probe.case, np.nan, like)
            best = self._best(like)
            if (near := _nearer(best, probe.person)) is None:
                continue
            own[probe.person].append(near)
            first.append(best[probe.person] >= max(best.values()))
            if (other := self.other.get(probe.person)) in best:
                del best[probe.person]
                exchanged[probe.person].append(_nearer(best, str(other)))
        auc, low, high = _over_persons(own)
        wrong, wrong_low, wrong_high = _over_persons(
            {k: [v for v in some if v is not None] for k, some in exchanged.items()}
        )
        return {
            "images": len(probes),
            "judged": len(first),
            "persons": len(own),
            "rank_1": sum(first),
            "auc": auc,
            "auc_low": low,
            "auc_high": high,
            "exchanged_auc": wrong,
            "exchanged_low": wrong_low,
            "exchanged_high": wrong_high,
            "second_scan": self.apart,
            "note": _NO_SCAN if not own and defacer == ORIGINAL and not self.apart else "",
        }

    def _best(self, like: np.ndarray) -> dict[str, float]:
        """Person -> the likeness of their most alike image."""
        there = ~np.isnan(like)
        found: dict[str, float] = {}
        for person, value in zip(self.persons[there].tolist(), like[there].tolist(), strict=True):
            found[person] = max(found.get(person, -math.inf), value)
        return found


def _nearer(best: Mapping[str, float], person: str) -> float | None:
    """Share of others who are less alike than a person; None where either is missing."""
    others = np.array([value for name, value in best.items() if name != person])
    if person not in best or not len(others):
        return None
    own = best[person]
    return float(((others < own) + 0.5 * (others == own)).mean())


def _over_persons(found: Mapping[str, Sequence[float]]) -> tuple[float, float, float]:
    """Mean over persons, which is the area under the ROC, with its 95 % interval."""
    each = np.array([np.mean(some) for _, some in sorted(found.items()) if some])
    if not len(each):
        return math.nan, math.nan, math.nan
    low, high = bootstrap_interval(
        lambda drawn: float(each[drawn].mean()), list(range(len(each))), repeats=2000
    )
    return float(each.mean()), low, high

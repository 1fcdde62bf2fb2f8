"""From what the recognisers saw of all cases to the tables about faces: they need everybody's original as gallery.

``recognition`` has a row a picture; ``controls`` one a (modality, recogniser); ``verification`` one a (defacer,
modality, recogniser, attack), where a case counts by the best of its pictures; ``curves`` the points of its ROC
and CMC.

Some cases at a time are compared, by workers (`defacedask.tables.face_scores`). Beyond `recognition.gallery-most`
persons the others that everybody meets are a sample of so many, drawn with the seed `SEED`; everybody's own original
always is in the gallery. Counts are of all cases; what needs comparisons of different persons (AUC, rates at a fixed
rate of false matches, chance, curves) is of the cases of the sample, and says so.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pyarrow.compute import field

from defacedask.attacks.names import AVERAGE, ENROLMENT
from defacedask.config import option
from defacedask.faces.controls import controls
from defacedask.faces.enrolment import Enrolled
from defacedask.faces.galleries import ORIGINALS, SECOND_SCAN, Gallery, gallery_of_photographs
from defacedask.faces.identification import Sighting
from defacedask.faces.recognition import compares, distance_of
from defacedask.faces.together import Together
from defacedask.faces.tolerances import largest_distance, tolerance_of
from defacedask.faces.verification import BestScores, Beyond, curves, verification
from defacedask.flow.executors import Executor, HereExecutor
from defacedask.flow.running import all_done
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.tables.agreement import agreement_rows
from defacedask.tables.derive import sum_detection
from defacedask.tables.dose_controls import dose_control
from defacedask.tables.enrolled import (
    AVERAGE_ENROLLED,
    CENTRES,
    CLASSIFIERS,
    centres_table,
    classifiers_table,
    enrol_group,
)
from defacedask.tables.face_scores import (
    ANY,
    ASIDE,
    OVERALL,
    SCORES,
    Judging,
    across,
    galleries,
    gallery_of,
    opened,
    score_part,
)
from defacedask.tables.files import as_table
from defacedask.tables.further import Further, about_cases
from defacedask.tables.looks import LOOKS, Group, looks_table, read_looks, specs_of
from defacedask.tables.parts import frames, read_part, write_parts
from defacedask.tables.sampled import case_hashes

if TYPE_CHECKING:
    from defacedask.flow.settings import Settings

__all__ = ["SEED", "FaceTables", "face_tables"]

#: Of the sample of persons in a large gallery.
SEED = 0

Key = tuple[str, str, str, str]


@dataclasses.dataclass(frozen=True)
class FaceTables:
    """Tables about faces.

    Attributes
    ----------
    parts : list of Path
        Folders that hold a part of ``recognition`` and ``best_attempts`` each.
    tables : dict
        The small ones, whole: ``controls``, ``verification``, ``curves`` and ``faces_detected``.
    """

    parts: list[Path]
    tables: dict[str, pd.DataFrame]


def face_tables(
    folders: Sequence[Path], settings: Settings, executor: Executor, *, repeats: int = 300
) -> FaceTables:
    """Compare every picture with the gallery.

    Parameters
    ----------
    folders : sequence of Path
        That hold a part of `defacedask.tables.looks.LOOKS` each; parts of what is made here are left beside them.
    settings : Settings
    executor : Executor
        Where the comparisons run.
    repeats : int
        Bootstrap draws.
    """
    cohort = _Cohort.of(folders, settings)
    rows, limits = [], {}
    for group in cohort.seen:
        row, limits[group] = cohort.control(group)
        rows.append(row)
        cohort.enrol(group, row["threshold"])
    rows += [cohort.detection(group) for group in cohort.detecting]
    control = as_table("controls", rows)
    judging = cohort.judging(limits, control)
    # what a service has compared is remembered here
    remote = any(getattr(cohort.recogniser(name), "remote", False) for _, name in cohort.seen)
    found = all_done(
        HereExecutor() if remote else executor,
        score_part,
        [(judging, folder, cohort.beside(number)) for number, folder in enumerate(folders)],
        name="identify",
    )
    parts = [Path(one) for one in found]
    out: dict[str, list[dict[str, Any]]] = {"verification": [], "curves": []}
    further = Further(about_cases(folders, cohort.sample), repeats=repeats)
    joining: dict[Key, Together] = {}
    for key, limit, tolerance, persons in cohort.keys(limits):
        best, beyond, strange = _best(parts, key, persons, judging.persons(key))
        joint = joining.pop(key).scores() if key in joining else None
        for joined in _joined_in(key):
            everybody = judging.persons(joined)
            joining.setdefault(joined, Together(everybody)).add(best)
        about = dict(zip(("defacer", "modality", "recogniser", "attack"), key, strict=True))
        row = verification(
            best, limit=limit, tolerance=tolerance, repeats=repeats, beyond=beyond, joint=joint
        )
        if beyond:
            row["note"] = "; ".join(filter(None, [row["note"], cohort.sampled]))
        out["verification"].append({**about, **row})
        further.add(key, best, strange, joint)
        for kind, (x, y) in curves(best, joint).items():
            out["curves"] += [{**about, "curve": kind, "x": a, "y": b} for a, b in zip(x, y, strict=True)]
    looked = {**cohort.seen, **cohort.detecting}
    attacks = {(d, m, r): len(a) for (m, r), found in looked.items() for d, a in found.items()}
    tables = {
        "controls": control,
        "agreement": as_table("agreement", agreement_rows(parts, limits)),
        "forced_matrix": as_table("forced_matrix", []),  # a study fills it: see defacedask.tables.crops
        **{name: as_table(name, some) for name, some in (out | further.rows()).items()},
        "faces_detected": _detected(parts, attacks),
    }
    return FaceTables(parts, tables)


class _Cohort:
    """Who was seen, and whom everybody is compared with."""

    def __init__(self, folders: Sequence[Path], settings: Settings) -> None:
        self.folders, self.settings = folders, settings
        #: Group -> defacer -> attacks, as they come.
        self.seen: dict[Group, dict[str, dict[str, None]]] = {}
        #: The same of recognisers that only find faces.
        self.detecting: dict[Group, dict[str, dict[str, None]]] = {}
        self.specs: dict[str, str] = {}
        #: Part -> parts that hold other originals of its persons outside the sample.
        self.others: dict[int, set[int]] = {}
        self.sample: frozenset[str] | None = None
        self.sampled = ""
        self.enrolled: dict[Group, Enrolled] = {}
        self._originals: dict[Group, list[Sighting]] = {}

    @classmethod
    def of(cls, folders: Sequence[Path], settings: Settings) -> _Cohort:
        """Look through the parts; encodings are not read."""
        self = cls(folders, settings)
        names = ["person", "defacer", "modality", "recogniser", "attack"]
        faces: set[str] = set()
        pairs = []
        for number, folder in enumerate(folders):
            self.specs |= specs_of(folder)
            some = read_part(folder, LOOKS, names)
            for row in some.drop_duplicates(names[1:]).itertuples():
                attacks = self.seen.setdefault((row.modality, row.recogniser), {}).setdefault(row.defacer, {})
                attacks[row.attack] = None
            # of each person a number for the name, with the part
            persons = np.unique(case_hashes(some.loc[some["defacer"] == ORIGINAL, "person"].unique()))
            pairs.append(np.stack([persons, np.full(len(persons), number, np.uint64)]))
            encoded = field("numbers").is_valid() | field("other").is_valid()
            known = read_part(folder, LOOKS, ["person"], filters=encoded & (field("defacer") == ORIGINAL))
            faces |= set(known["person"])
        silent = [group for group in self.seen if not compares(self.recogniser(group[1]))]
        self.detecting = {group: self.seen.pop(group) for group in silent}
        most = int(option("recognition.gallery-most"))
        if len(faces) > most:
            drawn = np.random.default_rng(SEED).choice(len(faces), most, replace=False)
            ordered = sorted(faces)
            self.sample = frozenset(ordered[k] for k in drawn)
            self.others = _others(np.concatenate(pairs, axis=1), self.sample)
            self.sampled = (
                f"of {len(faces)} persons everybody meets a sample of {most} (seed {SEED}), and themselves; "
                "rates of false matches are of the cases of the sample"
            )
        return self

    @functools.cached_property
    def known(self) -> dict[Group, Gallery]:
        """Gallery of each group: the sample's originals, or photographs."""
        pictures: dict[Group, list[Sighting]] = defaultdict(list)
        for folder in self.folders:
            for group, seen in read_looks(folder, filters=[("defacer", "=", ORIGINAL)]).items():
                pictures[group] += [s for s in seen if self.sample is None or s.person in self.sample]
        plain = {group: self.plain(group, pictures.get(group, [])) for group in self.seen}
        silent = {group: self.plain(group, pictures.get(group, [])) for group in self.detecting}
        self._originals = plain | silent
        kind = self.settings.gallery
        if kind in (ORIGINALS, SECOND_SCAN):
            return galleries(plain, kind)
        known = (read_part(f, LOOKS, ["person"], filters=field("defacer") == ORIGINAL) for f in self.folders)
        persons = sorted({person for some in known for person in some["person"]})
        found = {
            name: gallery_of_photographs(kind, persons, self.recogniser(name))
            for name in dict.fromkeys(recogniser for _, recogniser in self.seen)
        }
        return {group: found[group[1]] for group in self.seen}

    def plain(self, group: Group, originals: list[Sighting]) -> list[Sighting]:
        """Of the originals only plain pictures are anybody's face: attacks on them are judged as probes."""
        looked = self.seen if group in self.seen else self.detecting
        if "plain" not in looked[group].get(ORIGINAL, {}):
            return originals
        return [one for one in originals if one.facts["attack"] == "plain"]

    def recogniser(self, name: str) -> Any:
        """A recogniser that looked."""
        return opened(self.specs.get(name, name), self.options)

    @property
    def options(self) -> dict[str, Any]:
        """With which recognisers are opened."""
        faces = self.settings.faces
        if not faces.get("allow_upload"):
            return {"allow_upload": False}
        return {"allow_upload": True, "folder": faces["face_folder"], "per_second": faces["per_second"]}

    def control(self, group: Group) -> tuple[dict[str, Any], float]:
        """Row of ``controls``, and the largest distance at which a case counts as recognised."""
        tolerance = tolerance_of(self.settings.tolerance, group[1])
        known, distance = self.known[group], distance_of(self.recogniser(group[1]))

        def of(originals: Sequence[Sighting]) -> dict[str, Any]:
            return controls(originals, known, distance=distance, tolerance=tolerance)

        originals = self._originals[group]
        found = of(originals)
        found |= dose_control(
            self.folders, group, originals, found, of, distance=distance, sample=self.sample
        )
        calibration = dataclasses.asdict(found.pop("calibration"))
        threshold = calibration["threshold"]
        note = " ".join(filter(None, [found["gallery_note"], self.sampled]))
        row = {
            "modality": group[0],
            "recogniser": group[1],
            **found,
            "gallery_note": note,
            "threshold": threshold,
            "threshold_fpr": calibration["fpr"],
            "threshold_tpr": calibration["tpr"],
            "auc": calibration["auc"],
            "eer": calibration["eer"],
            "threshold_note": calibration["reason"],
        }
        return row, largest_distance(tolerance, threshold)

    def detection(self, group: Group) -> dict[str, Any]:
        """Row of ``controls`` of a recogniser that only finds faces."""
        assert self.known is not None  # the originals have been read with it
        found = controls(self._originals[group], Gallery(self.settings.gallery, ()), compares=False)
        del found["calibration"]
        return {
            "modality": group[0],
            "recogniser": group[1],
            **found,
            "threshold_note": "it only finds faces",
        }

    def enrol(self, group: Group, threshold: float) -> None:
        """Train classifiers of the gallery, where originals were rendered for it; say what is compared beside."""
        known = self.known[group]
        if known.kind in (ORIGINALS, SECOND_SCAN):
            found = enrol_group(
                self.folders,
                group,
                known,
                self._originals[group],
                threshold=threshold,
                sample=self.sample,
                distance=distance_of(self.recogniser(group[1])),
            )
            if found is not None:
                self.enrolled[group] = found
        faces = {each: _persons(gallery) for each, gallery in self.known.items()}
        for defacer, attacks in self.seen[group].items():
            if group in self.enrolled:
                average = AVERAGE in attacks
                attacks |= dict.fromkeys([ENROLMENT, *([AVERAGE_ENROLLED] if average else [])])
            if defacer != ORIGINAL:
                attacks |= dict.fromkeys(across(group, faces))

    def judging(self, limits: Mapping[Group, float], control: pd.DataFrame) -> Judging:
        """What the workers need to know, with the galleries in a file that they read."""
        kind = self.settings.gallery
        made = [
            *(folder.name for folder in self.folders),
            sorted(self.sample or ()),
            sorted(self.settings.tolerance.items()),
            [kind, self.specs, control.to_json()],
        ]
        digest = hashlib.sha256(json.dumps(made, default=str).encode()).hexdigest()[:16]
        place = self.folders[0].parent / f"known-{digest}" if self.folders else Path()
        if self.folders and not place.exists():
            pictures = {group: gallery.pictures for group, gallery in self.known.items()}
            tables = {
                LOOKS: looks_table(pictures, self.specs),
                CLASSIFIERS: classifiers_table(self.enrolled),
                CENTRES: centres_table(self.enrolled),
            }
            write_parts(place, tables)
        return Judging(
            place=place,
            digest=digest,
            kind=kind,
            tolerances=self.settings.tolerance,
            limits=dict(limits),
            sample=self.sample,
            faces={group: _persons(gallery) for group, gallery in self.known.items()},
            enrolled=bool(self.enrolled),
            plain={group for group in self.seen if "plain" in self.seen[group].get(ORIGINAL, {})},
            specs=self.specs,
            options=self.options,
            control=control,
            detecting=frozenset(self.detecting),
        )

    def beside(self, number: int) -> list[Path]:
        """Other parts that hold originals of persons of a part who are not in the sample."""
        return [self.folders[part] for part in sorted(self.others.get(number, set()) - {number})]

    def keys(self, limits: Mapping[Group, float]) -> Iterator[tuple[Key, float, float, tuple[str, ...]]]:
        """Key of each row of ``verification``, its limit and tolerance, and the gallery."""
        groups: dict[str, list[Group]] = {}
        for group, defacers in self.seen.items():
            tolerance = tolerance_of(self.settings.tolerance, group[1])
            for defacer, attacks in defacers.items():
                groups.setdefault(defacer, []).append(group)
                for attack in (*attacks, ANY):
                    persons = _persons(self.known[gallery_of(group, attack)])
                    yield (defacer, *group, attack), limits[group], tolerance, persons
        for defacer, own in groups.items():
            everybody = sorted({person for group in own for person in _persons(self.known[group])})
            yield (defacer, *OVERALL), 1.0, math.nan, tuple(everybody)


def _others(pairs: np.ndarray, sample: frozenset[str]) -> dict[int, set[int]]:
    """Part -> parts with a person of it outside the sample, from (2, n) hashes of persons and their parts."""
    hashes, parts = pairs[:, ~np.isin(pairs[0], case_hashes(sample))]
    order = np.argsort(hashes, kind="stable")
    hashes, parts = hashes[order], parts[order]
    first = np.flatnonzero(np.diff(hashes, prepend=~hashes[:1]) != 0)
    found: dict[int, set[int]] = defaultdict(set)
    sizes = np.diff(first, append=len(hashes))
    for begin, size in zip(first[sizes > 1], sizes[sizes > 1], strict=True):
        together = set(map(int, parts[begin : begin + size]))
        for part in together:
            found[part] |= together
    return found


def _joined_in(key: Key) -> list[Key]:
    """Rows whose joint score a row is a part of: those of `score_part` in which its distances are joined."""
    defacer, *group, attack = key
    if attack in (ANY, *ASIDE) or gallery_of((group[0], group[1]), attack) != (group[0], group[1]):
        return []
    return [(defacer, group[0], group[1], ANY), (defacer, *OVERALL)]


def _persons(gallery: Gallery) -> tuple[str, ...]:
    return tuple(sorted({one.person for one in gallery.pictures if one.encoding is not None}))


def _detected(parts: Sequence[Path], attacks: Mapping[tuple[str, str, str], int]) -> pd.DataFrame:
    """``faces_detected`` of all parts, some at a time."""
    rows: list[pd.DataFrame] = []
    for some in frames(parts, "faces_detected"):
        rows.append(some)
        if len(rows) > 50:
            rows = [sum_detection(rows, attacks)]
    return sum_detection(rows, attacks)


def _best(
    parts: Iterable[Path], key: Key, persons: tuple[str, ...], stored: tuple[str, ...]
) -> tuple[BestScores, Beyond | None, np.ndarray]:
    """Scores of one row of ``verification``: those of the sample, what is known of the others, nearest strangers.

    ``stored`` are the persons of the values in the parts, ``persons`` those that are wanted of them.
    """
    names = ("defacer", "modality", "recogniser", "attack")
    filters = [(name, "=", value) for name, value in zip(names, key, strict=True)]
    inside, outside = [], []
    met = field("values").is_valid()
    wanted = pq.filters_to_expression(filters)
    for folder in parts:
        some = read_part(folder, SCORES, filters=wanted & met)
        inside += [some] if len(some) else []
        # of the others numbers alone: they are as many as there are cases
        numbers = ["judged", "with_face", "genuine", "rank"]
        some = read_part(folder, SCORES, numbers, filters=wanted & ~met)
        outside += [some] if len(some) else []
    own = (
        pd.concat(inside)
        if inside
        else pd.DataFrame(columns=["case", "person", "absent", "values", "strange"])
    )
    values = np.full((len(own), len(stored)), math.nan)
    for row, some in enumerate(own["values"]):
        values[row] = some
    place = {person: k for k, person in enumerate(stored)}
    values = values[:, [place[person] for person in persons]]
    absent = frozenset(own.loc[own["absent"].astype(bool), "case"])
    best = BestScores(tuple(own["case"]), tuple(own["person"]), persons, values, absent)
    strange = own["strange"].to_numpy(dtype=float)
    rest = pd.concat(outside) if outside else pd.DataFrame()
    if not len(rest):
        return best, None, strange
    judged = rest.loc[rest["judged"]]
    beyond = Beyond(
        cases=len(rest),
        with_face=int(rest["with_face"].sum()),
        genuine=judged["genuine"].to_numpy(dtype=float),
        ranks=judged["rank"].to_numpy(dtype=float),
    )
    return best, beyond, strange

"""Classifiers of everybody in the gallery, as a part of a table, and what they make of the pictures of a part.

They are trained once (`enrol_group`), kept beside the gallery's pictures, and read by the workers. Persons outside
the sample of a large gallery are not enrolled.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from defacedask.attacks.names import AVERAGE, ENROLMENT
from defacedask.faces.enrolment import Classifier, Enrolled, Kind, Scale, centres, enrolled
from defacedask.faces.galleries import SECOND_SCAN, Gallery, scan_numbers
from defacedask.faces.identification import Distance, Scores, Sighting
from defacedask.faces.verification import BestScores, best_scores
from defacedask.tables.looks import ENROLLED, Group, read_looks
from defacedask.tables.parts import read_part

__all__ = [
    "AVERAGE_ENROLLED",
    "CENTRES",
    "CLASSIFIERS",
    "centres_table",
    "classifiers_table",
    "enrol_group",
    "named",
    "read_classifiers",
]

#: The average face on everybody's head, named by the classifier.
AVERAGE_ENROLLED = f"{AVERAGE}_{ENROLMENT}"
#: Names of the tables.
CLASSIFIERS, CENTRES = "classifiers", "centres"
#: Originals of which the median distance of different persons is taken.
_SOME = 500

_SCHEMA = pa.schema(
    [
        ("modality", pa.string()),
        ("recogniser", pa.string()),
        ("left", pa.int64()),
        ("fold", pa.int64()),
        ("persons", pa.list_(pa.string())),
        ("weights", pa.binary()),
        ("middle", pa.binary()),
        *((name, pa.float64()) for name in ("score", "distance", "rate")),
        ("numbers", pa.string()),
    ]
)


_OF_CENTRES = pa.schema(
    [
        ("modality", pa.string()),
        ("recogniser", pa.string()),
        ("kind", pa.list_(pa.string())),
        ("middle", pa.binary()),
    ]
)


def enrol_group(
    folders: Iterable[Path],
    group: Group,
    gallery: Gallery,
    originals: Sequence[Sighting],
    *,
    threshold: float,
    sample: frozenset[str] | None = None,
    distance: Distance | None = None,
) -> Enrolled | None:
    """Train the classifiers of one modality and recogniser.

    Parameters
    ----------
    folders : iterable of Path
        Parts of `ENROLLED`.
    group : (modality, recogniser)
    gallery : Gallery
        Of originals or of second scans.
    originals : sequence of Sighting
        Plain pictures of originals: views that nobody is enrolled with.
    threshold : float
        The recogniser's, calibrated on these.
    sample : frozenset of str, optional
        Persons to enrol; None: all.
    distance : callable, optional
        The recogniser's.

    Returns
    -------
    Enrolled or None
        None where nothing was rendered for it, or with too few persons.
    """
    folders = list(folders)
    here: list[tuple[str, str, Any]] = [("modality", "=", group[0]), ("recogniser", "=", group[1])]
    if sample is not None:
        here.append(("person", "in", sorted(sample)))
    pictures: list[Sighting] = []
    for folder in folders:
        if (folder / f"{ENROLLED}.parquet").exists():
            pictures += read_looks(folder, ENROLLED, filters=here).get(group, [])
    known = {picture.person for picture in gallery.pictures if picture.encoding is not None}
    pictures = [one for one in pictures if one.person in known]
    if not pictures or math.isnan(threshold):
        return None
    strangers = gallery.score(originals[:_SOME], distance=distance).impostor
    strangers = strangers[~np.isnan(strangers)]
    found = [*here, ("forced", "=", False)]
    seen = (one for folder in folders for one in read_looks(folder, filters=found).get(group, []))
    return enrolled(
        pictures,
        originals,
        threshold=threshold,
        stranger=float(np.median(strangers)) if len(strangers) else math.nan,
        numbers=scan_numbers(gallery.pictures) if gallery.kind == SECOND_SCAN else None,
        middles=centres(seen),
    )


def classifiers_table(found: Mapping[Group, Enrolled]) -> pa.Table:
    """Rows of `CLASSIFIERS`."""
    rows: list[dict[str, Any]] = []
    for (modality, recogniser), one in found.items():
        numbers = json.dumps([[*scan, number] for scan, number in one.numbers.items()])
        for left, whole in one.whole.items():
            for fold, each in enumerate([whole, *one.without.get(left, ())], -1):
                rows.append(
                    {
                        "modality": modality,
                        "recogniser": recogniser,
                        "left": left,
                        "fold": fold,
                        "persons": list(each.persons),
                        "weights": np.ascontiguousarray(each.weights).tobytes(),
                        "middle": each.middle.tobytes(),
                        **(vars(one.scale) if one.scale else {}),
                        "numbers": numbers,
                    }
                )
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def centres_table(found: Mapping[Group, Enrolled]) -> pa.Table:
    """Rows of `CENTRES`."""
    rows = [
        {"modality": modality, "recogniser": recogniser, "kind": list(kind), "middle": middle.tobytes()}
        for (modality, recogniser), one in found.items()
        for kind, middle in one.centres.items()
    ]
    return pa.Table.from_pylist(rows, schema=_OF_CENTRES)


@functools.lru_cache(maxsize=2)
def read_classifiers(place: Path) -> dict[Group, Enrolled]:
    """Of a part; kept for the last."""
    found: dict[Group, dict[str, Any]] = {}
    for row in read_part(place, CLASSIFIERS).to_dict("records"):
        middle = np.frombuffer(row["middle"])
        one = Classifier(
            tuple(row["persons"]), np.frombuffer(row["weights"]).reshape(-1, len(middle)), middle
        )
        group = found.setdefault(
            (row["modality"], row["recogniser"]),
            {
                "whole": {},
                "without": {},
                "numbers": {(person, case): number for person, case, number in json.loads(row["numbers"])},
                "scale": Scale(row["score"], row["distance"], row["rate"]),
            },
        )
        if row["fold"] < 0:
            group["whole"][row["left"]] = one
        else:
            group["without"].setdefault(row["left"], []).append(one)
    middles: dict[Group, dict[Kind, np.ndarray]] = {}
    for row in read_part(place, CENTRES).to_dict("records"):
        mine = middles.setdefault((row["modality"], row["recogniser"]), {})
        mine[tuple(row["kind"])] = np.frombuffer(row["middle"])
    return {name: Enrolled(**facts, centres=middles.get(name, {})) for name, facts in found.items()}


def named(
    one: Enrolled, probes: Sequence[Sighting], absent: Iterable[str], comparable: bool = False
) -> tuple[BestScores, dict[str, float], list[dict[str, Any]]]:
    """Let the classifier name every picture of some cases.

    Parameters
    ----------
    one : Enrolled
    probes : sequence of Sighting
        Of one defacer, by all attacks.
    absent : iterable of str
        Cases that cannot be judged.
    comparable : bool
        Whether they are judged nevertheless.

    Returns
    -------
    BestScores
    dict
        Case -> smallest distance to anybody where the own person is not enrolled.
    list of dict
        A row of ``recognition`` a case: its best picture.
    """
    scores, strange = one.score(probes)
    best = best_scores(scores, absent)
    nearest: dict[str, float] = {}
    pictures: dict[str, list[int]] = {}
    for row, probe in enumerate(probes):
        case = str(probe.facts["case"])
        nearest[case] = float(np.fmin(nearest.get(case, math.nan), strange[row]))
        pictures.setdefault(case, []).append(row)
    rows = [
        _row(scores, [probes[k] for k in pictures[case]], scores.values[pictures[case]], values, place)
        | {"comparable": comparable or case not in best.absent}
        for case, values, place in zip(best.cases, best.values, best.place, strict=True)
    ]
    return best, nearest, rows


def _row(
    scores: Scores, probes: Sequence[Sighting], each: np.ndarray, values: np.ndarray, place: int
) -> dict[str, Any]:
    own = math.nan if place < 0 else float(values[place])
    rest = np.delete(values, place) if place >= 0 else values
    rest = rest[~np.isnan(rest)]
    told = not math.isnan(own)
    shown = probes[int(np.nanargmin(each[:, place]))] if told else probes[0]
    return {
        **shown.facts,
        "variant": " ".join(filter(None, [shown.facts["attack"], shown.facts.get("variant", "")])),
        "attack": ENROLMENT,
        "view": shown.view,
        "detected": any(probe.detected for probe in probes),
        "distance_to_own": own if told else None,
        "rank_of_own": 1 + int((rest < own).sum()) if told else None,
        "nearest_other": float(rest.min()) if len(rest) else None,
        "gallery_size": len(scores.persons),
    }

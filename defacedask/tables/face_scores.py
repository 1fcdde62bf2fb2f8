"""Everybody's pictures against the gallery, some cases at a time: rows of recognition, and the best score of a case.

Whoever is in the sample (or all, where the cohort is small) is compared with the sample, and these comparisons are
kept. Everybody else is compared with the sample and with their own originals, and only what became of it is kept.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from defacedask.attacks.best_attempts import best_attempts
from defacedask.attacks.names import AVERAGE, AVERAGE_FORCED, ENROLMENT
from defacedask.faces.galleries import (
    ORIGINALS,
    SECOND_SCAN,
    Gallery,
    gallery_of_originals,
    gallery_of_second_scans,
)
from defacedask.faces.identification import Distance, Scores, Sighting, identify
from defacedask.faces.open_set import nearest_stranger
from defacedask.faces.recognition import distance_of, open_recogniser
from defacedask.faces.verification import BestScores, best_scores, join
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.modality import IMAGES
from defacedask.tables.derive import faces_detected
from defacedask.tables.enrolled import AVERAGE_ENROLLED, named, read_classifiers
from defacedask.tables.files import as_table
from defacedask.tables.looks import Group, read_looks
from defacedask.tables.parts import write_parts

__all__ = [
    "ANY",
    "ASIDE",
    "OVERALL",
    "SCORES",
    "Judging",
    "across",
    "galleries",
    "gallery_of",
    "opened",
    "score_part",
]

#: In place of an attack, a modality or a recogniser: by whichever of them comes nearest.
ANY = "any"
OVERALL = (ANY, ANY, ANY)
#: Controls on originals: no attempt at recognising what came in.
ASIDE = (AVERAGE, AVERAGE_FORCED, AVERAGE_ENROLLED)
#: In place of an attack: plain and other pictures against the same persons' originals in another modality.
_ACROSS = "gallery_"
#: Name of the table of best scores.
SCORES = "scores"

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("defacer", "modality", "recogniser", "attack", "case", "person")),
        *((name, pa.bool_()) for name in ("absent", "judged", "with_face")),
        *((name, pa.float64()) for name in ("genuine", "rank", "strange")),
        ("values", pa.list_(pa.float64())),
    ]
)

Key = tuple[str, str, str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Judging:
    """What is the same for all cases.

    Attributes
    ----------
    place : Path
        Part that holds the pictures of the galleries.
    digest : str
        Of all that the outcome depends on, beside the cases.
    kind : str
        Of the gallery; see `defacedask.faces.galleries`.
    tolerances : mapping
        Recogniser -> its tolerance, where it has one.
    limits : mapping
        Group -> largest distance at which a case counts as recognised.
    sample : frozenset of str, optional
        Persons that everybody is compared with; None: all.
    detecting : set
        Groups of recognisers that only find faces.
    faces : mapping
        Group -> persons of the gallery of whom a face is known, sorted.
    plain : set
        Groups with plain pictures of originals.
    enrolled : bool
        Whether anybody is enrolled (`defacedask.tables.enrolled`).
    specs, options : mapping
        How recognisers are opened.
    control : DataFrame
        Table ``controls``.
    """

    place: Path
    digest: str
    kind: str
    tolerances: Mapping[str, float]
    limits: Mapping[Group, float]
    sample: frozenset[str] | None
    faces: Mapping[Group, tuple[str, ...]]
    plain: set[Group]
    enrolled: bool
    specs: Mapping[str, str]
    options: Mapping[str, Any]
    control: pd.DataFrame
    detecting: frozenset[Group] = frozenset()

    def persons(self, key: Key) -> tuple[str, ...]:
        """To whom the values of a kept score belong."""
        if key[1:] == OVERALL:
            return tuple(sorted({person for some in self.faces.values() for person in some}))
        return self.faces[gallery_of(key[1:3], key[3])]

    def distance(self, recogniser: str) -> Distance | None:
        """A recogniser's own."""
        return distance_of(opened(self.specs.get(recogniser, recogniser), self.options))


def gallery_of(group: Group, attack: str) -> Group:
    """Group of the pictures that an attack compares with: its own, but for ``gallery_CT`` and the like."""
    return (attack.removeprefix(_ACROSS), group[1]) if attack.startswith(_ACROSS) else group


def across(group: Group, faces: Mapping[Group, Sequence[str]]) -> list[str]:
    """Other modalities in which the same persons' faces are known, as attacks on pictures of a group."""
    mine = set(faces.get(group, ()))
    return [
        _ACROSS + modality
        for (modality, recogniser), persons in faces.items()
        if recogniser == group[1]
        and modality != group[0]
        and {modality, group[0]} <= set(IMAGES)
        and len(mine & set(persons)) >= 2
    ]


def opened(spec: str, options: Mapping[str, Any]) -> Any:
    """A recogniser, once a process: a service's remembers whom it has compared, which costs money."""
    return _opened(spec, tuple(sorted(options.items())))


@functools.lru_cache(maxsize=8)
def _opened(spec: str, options: tuple[tuple[str, Any], ...]) -> Any:
    return open_recogniser(spec, **dict(options))


def galleries(originals: Mapping[Group, Sequence[Sighting]], kind: str) -> dict[Group, Gallery]:
    """Galleries of originals, or of second scans."""
    make = gallery_of_originals if kind == ORIGINALS else gallery_of_second_scans
    return {group: make(pictures) for group, pictures in originals.items()}


def score_part(judging: Judging, folder: Path, beside: Sequence[Path] = ()) -> str:
    """Compare the pictures of a part with the gallery.

    Parameters
    ----------
    judging : Judging
    folder : Path
        Part of `defacedask.tables.looks.LOOKS`.
    beside : sequence of Path
        Parts that hold other originals of the same persons.

    Returns
    -------
    str
        Folder of the parts of ``recognition``, ``best_attempts``, ``faces_detected`` and `SCORES`; left as it is
        where it was made before.
    """
    digest = hashlib.sha256(f"{judging.digest} {folder.name}".encode()).hexdigest()[:16]
    out = folder.with_name(f"{folder.name}.faces-{digest}")
    if out.exists():
        return str(out)
    judge = _Judge(judging, read_looks(judging.place))
    seen = read_looks(folder)
    for persons, own in _turns(judging, seen, beside):
        theirs = {group: [s for s in some if s.person in persons] for group, some in seen.items()}
        judge.compare(theirs, own)
    recognition = as_table("recognition", judge.rows)
    write_parts(
        out,
        {
            "recognition": recognition,
            "best_attempts": as_table("best_attempts", best_attempts(recognition)),
            "faces_detected": faces_detected(recognition, judging.tolerances, judging.control),
            SCORES: pa.Table.from_pylist(judge.scores, schema=_SCHEMA),
        },
    )
    return str(out)


def _turns(
    judging: Judging, seen: Mapping[Group, Sequence[Sighting]], beside: Sequence[Path]
) -> Iterable[tuple[set[str], dict[Group, list[Sighting]] | None]]:
    """Persons to compare at a time; with those outside the sample the pictures of their own that it lacks."""
    here = {one.person for some in seen.values() for one in some}
    inside = here if judging.sample is None else here & judging.sample
    yield inside, None
    strangers = sorted(here - inside)
    if not strangers:
        return
    originals: dict[Group, list[Sighting]] = defaultdict(list)
    filters = [("defacer", "=", ORIGINAL), ("person", "in", strangers)]
    for part in [seen, *(read_looks(folder, filters=filters) for folder in beside)]:
        for group, some in part.items():
            originals[group] += [
                one
                for one in some
                if one.facts["defacer"] == ORIGINAL
                and (group not in judging.plain or one.facts["attack"] == "plain")
            ]
    for person in strangers:
        yield (
            {person},
            {group: [one for one in some if one.person == person] for group, some in originals.items()},
        )


class _Judge:
    def __init__(self, judging: Judging, known: Mapping[Group, Sequence[Sighting]]) -> None:
        self.judging, self.known = judging, known
        self.rows: list[dict[str, Any]] = []
        self.scores: list[dict[str, Any]] = []
        self._distances = {recogniser: judging.distance(recogniser) for _, recogniser in judging.limits}

    def compare(
        self, seen: Mapping[Group, list[Sighting]], own: Mapping[Group, list[Sighting]] | None
    ) -> None:
        """Compare some persons; ``own`` are pictures of those outside the sample, for the gallery."""
        everything: dict[str, list[tuple[BestScores, float, dict[str, float]]]] = defaultdict(list)
        for group, some in seen.items():
            if group in self.judging.detecting:
                self._detect(some)
                continue
            known = self._gallery(group, own or {})
            by_defacer: dict[str, dict[str, list[Sighting]]] = {}
            for one in some:
                by_attack = by_defacer.setdefault(one.facts["defacer"], {})
                by_attack.setdefault(one.facts["attack"], []).append(one)
            for defacer, attacks in by_defacer.items():
                parts = {
                    attack: self._score(known, group, defacer, probes, attack)
                    for attack, probes in attacks.items()
                }
                tries = [
                    probe for attack, probes in attacks.items() if attack not in ASIDE for probe in probes
                ]
                strange = {attack: _strangers(best) for attack, best in parts.items()}
                if own is None:
                    self._name(group, defacer, attacks, known, parts, strange)
                together = join([best for attack, best in parts.items() if attack not in ASIDE])
                strange[ANY] = _least([some for attack, some in strange.items() if attack not in ASIDE])
                limit = self.judging.limits[group]
                everything[defacer].append((together, limit, strange[ANY]))
                for attack in across(group, self.judging.faces) if defacer != ORIGINAL else ():
                    other = self._gallery(gallery_of(group, attack), own or {})
                    parts[attack] = best_scores(
                        other.score(tries, distance=self._distances[group[1]]), other.unable(tries)
                    )
                    strange[attack] = _strangers(parts[attack])
                for attack, best in {**parts, ANY: together}.items():
                    self._keep((defacer, *group, attack), best, strange[attack], own is not None)
        for defacer, pairs in everything.items():
            # distances of different recognisers compare as parts of their limits
            best = join([part for part, _, _ in pairs], [limit for _, limit, _ in pairs])
            strangers = [{case: d / limit for case, d in some.items()} for _, limit, some in pairs]
            self._keep((defacer, *OVERALL), best, _least(strangers), own is not None)

    def _detect(self, probes: Sequence[Sighting]) -> None:
        """Rows of pictures in which a face was looked for, and that are compared with nobody."""
        nobody = Scores(tuple(probes), (), np.full((len(probes), 0), math.nan))
        tries = zip(probes, identify(nobody), strict=True)
        self.rows += [
            {**row, "comparable": False} for probe, row in tries if probe.facts["attack"] not in ASIDE
        ]

    def _name(
        self,
        group: Group,
        defacer: str,
        attacks: Mapping[str, list[Sighting]],
        known: Gallery,
        parts: dict[str, BestScores],
        strange: dict[str, dict[str, float]],
    ) -> None:
        """Add what a classifier of everybody makes of the same pictures."""
        one = read_classifiers(self.judging.place).get(group) if self.judging.enrolled else None
        if one is None:
            return
        # attacks on originals are views that somebody may be enrolled with
        tries = ["plain"] if defacer == ORIGINAL else [a for a in attacks if a not in ASIDE]
        for name, names in ((ENROLMENT, tries), (AVERAGE_ENROLLED, [AVERAGE])):
            # the original's own box and landmarks say whose picture it is
            probes = [p for attack in names for p in attacks.get(attack, ()) if not p.facts["forced"]]
            if not probes:
                continue
            control = defacer == ORIGINAL and known.kind == ORIGINALS
            best, strange[name], rows = named(one, probes, known.unable(probes), control)
            parts[name] = best
            self.rows += rows if name == ENROLMENT else []

    def _gallery(self, group: Group, own: Mapping[Group, list[Sighting]]) -> Gallery:
        pictures = [*self.known.get(group, ()), *own.get(group, ())]
        if self.judging.kind in (ORIGINALS, SECOND_SCAN):
            return galleries({group: pictures}, self.judging.kind)[group]
        return Gallery(self.judging.kind, tuple(self.known.get(group, ())))

    def _score(
        self, known: Gallery, group: Group, defacer: str, probes: list[Sighting], attack: str
    ) -> BestScores:
        scores = known.score(probes, own=defacer == ORIGINAL, distance=self._distances[group[1]])
        absent = known.unable(probes)
        # an original in which no face is found counts as not recognised, not as not judged
        control = defacer == ORIGINAL and known.kind == ORIGINALS
        for probe, row in zip(probes, identify(scores), strict=True) if attack not in ASIDE else ():
            self.rows.append({**row, "comparable": control or probe.facts["case"] not in absent})
        return best_scores(scores, absent)

    def _keep(self, key: Key, best: BestScores, strange: Mapping[str, float], stranger: bool) -> None:
        """Remember the scores of some cases."""
        about = dict(zip(("defacer", "modality", "recogniser", "attack"), key, strict=True))
        judged = {int(row): k for k, row in enumerate(best.judged)}
        genuine, ranks = best.genuine, best.ranks
        values = None
        if not stranger:
            place = {person: k for k, person in enumerate(self.judging.persons(key))}
            values = np.full((len(best.cases), len(place)), math.nan)
            values[:, [place[person] for person in best.persons]] = best.values
        faces = (~np.isnan(best.values)).any(axis=1) if best.values.size else np.zeros(len(best.cases), bool)
        for row, (case, person) in enumerate(zip(best.cases, best.own, strict=True)):
            k = judged.get(row)
            self.scores.append(
                {
                    **about,
                    "case": case,
                    "person": person,
                    "absent": case in best.absent,
                    "judged": k is not None,
                    "with_face": bool(faces[row]),
                    "genuine": None if k is None else float(genuine[k]),
                    "rank": None if k is None else float(ranks[k]),
                    "strange": strange.get(case),
                    "values": None if values is None else values[row],
                }
            )


def _strangers(best: BestScores) -> dict[str, float]:
    """Case -> smallest distance to another person."""
    return dict(zip(best.cases, nearest_stranger(best).tolist(), strict=True))


def _least(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The smallest of each case."""
    found: dict[str, float] = {}
    for some in several:
        for case, value in some.items():
            found[case] = float(np.fmin(found.get(case, math.nan), value))
    return found

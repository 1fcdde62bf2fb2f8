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
from defacedask.faces.galleries import (
    ORIGINALS,
    SECOND_SCAN,
    Gallery,
    gallery_of_originals,
    gallery_of_second_scans,
)
from defacedask.faces.identification import Distance, Sighting, identify
from defacedask.faces.recognition import distance_of, open_recogniser
from defacedask.faces.verification import BestScores, best_scores, join
from defacedask.flow.stages.places import ORIGINAL
from defacedask.tables.derive import faces_detected
from defacedask.tables.files import as_table
from defacedask.tables.looks import Group, read_looks
from defacedask.tables.parts import write_parts

__all__ = ["ANY", "OVERALL", "SCORES", "Judging", "galleries", "opened", "score_part"]

#: In place of an attack, a modality or a recogniser: by whichever of them comes nearest.
ANY = "any"
OVERALL = (ANY, ANY, ANY)
#: Name of the table of best scores.
SCORES = "scores"

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("defacer", "modality", "recogniser", "attack", "case", "person")),
        *((name, pa.bool_()) for name in ("absent", "judged", "with_face")),
        *((name, pa.float64()) for name in ("genuine", "rank")),
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
    faces : mapping
        Group -> persons of the gallery of whom a face is known, sorted.
    plain : set
        Groups with plain pictures of originals.
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
    specs: Mapping[str, str]
    options: Mapping[str, Any]
    control: pd.DataFrame

    def persons(self, key: Key) -> tuple[str, ...]:
        """To whom the values of a kept score belong."""
        if key[1:] == OVERALL:
            return tuple(sorted({person for some in self.faces.values() for person in some}))
        return self.faces[key[1], key[2]]

    def distance(self, recogniser: str) -> Distance | None:
        """A recogniser's own."""
        return distance_of(opened(self.specs.get(recogniser, recogniser), self.options))


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
        everything: dict[str, list[tuple[BestScores, float]]] = defaultdict(list)
        for group, some in seen.items():
            known = self._gallery(group, own or {})
            by_defacer: dict[str, dict[str, list[Sighting]]] = {}
            for one in some:
                by_attack = by_defacer.setdefault(one.facts["defacer"], {})
                by_attack.setdefault(one.facts["attack"], []).append(one)
            for defacer, attacks in by_defacer.items():
                parts = {
                    attack: self._score(known, group, defacer, probes) for attack, probes in attacks.items()
                }
                together = join(list(parts.values()))
                everything[defacer].append((together, self.judging.limits[group]))
                for attack, best in {**parts, ANY: together}.items():
                    self._keep((defacer, *group, attack), best, own is not None)
        for defacer, pairs in everything.items():
            # distances of different recognisers compare as parts of their limits
            best = join([part for part, _ in pairs], [limit for _, limit in pairs])
            self._keep((defacer, *OVERALL), best, own is not None)

    def _gallery(self, group: Group, own: Mapping[Group, list[Sighting]]) -> Gallery:
        pictures = [*self.known.get(group, ()), *own.get(group, ())]
        if self.judging.kind in (ORIGINALS, SECOND_SCAN):
            return galleries({group: pictures}, self.judging.kind)[group]
        return Gallery(self.judging.kind, tuple(self.known.get(group, ())))

    def _score(self, known: Gallery, group: Group, defacer: str, probes: list[Sighting]) -> BestScores:
        scores = known.score(probes, own=defacer == ORIGINAL, distance=self._distances[group[1]])
        absent = known.unable(probes)
        # an original in which no face is found counts as not recognised, not as not judged
        control = defacer == ORIGINAL and known.kind == ORIGINALS
        for probe, row in zip(probes, identify(scores), strict=True):
            self.rows.append({**row, "comparable": control or probe.facts["case"] not in absent})
        return best_scores(scores, absent)

    def _keep(self, key: Key, best: BestScores, stranger: bool) -> None:
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
                    "values": None if values is None else values[row],
                }
            )

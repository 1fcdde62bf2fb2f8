"""Learned inversion of a cohort: depth maps of every case, then, when all are known, a prediction for each.

The maps of a case are small and are kept in its record, which stays in the store: they identify people. What a
prediction learns from is gathered from the records of all cases (`gathered`), or of a sample of many persons; nobody
is learnt from when they are predicted themselves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.attacks.examination import Examination, examiner_for
from defacedask.attacks.inversion.evidence import Nearness, nearness
from defacedask.attacks.inversion.maps import DepthMaps, face_rays, ray_scale
from defacedask.attacks.inversion.planted import PLANTED
from defacedask.attacks.inversion.rebuild import rebuilt
from defacedask.attacks.inversion.regression import LEAST_PERSONS, Inverter, Known, Prediction
from defacedask.flow.result import Outcome, TaskResult, kept_result
from defacedask.flow.stages.faces import recognisers_of
from defacedask.flow.stages.heads import targets
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.io.store import CaseStore, writing
from defacedask.whole_files import replacing

__all__ = ["DEPTHS", "INVERTED", "control_inversion", "gathered", "invert_faces", "measure_depths"]

#: Names of the stages.
DEPTHS, INVERTED = "depths", "inversion"
#: Persons that are learnt from, at most: those whose names hash lowest.
MOST_PERSONS = 100
#: Of the shuffled control.
SEED = 7


def measure_depths(
    ingested: TaskResult,
    planned: TaskResult,
    faced: TaskResult,
    *before: TaskResult,
    case: str,
    defacer: str,
    settings: Mapping[str, Any],
) -> Outcome:
    """Shoot the rays of `DepthMaps` at one case as one defacer left it, or as it came.

    Parameters
    ----------
    faced : TaskResult
        The stage ``faces`` on the original: its levels count.
    *before : TaskResult
        For a defacer: `apply`.
    settings : mapping
        Of the stage ``faces``.

    Returns
    -------
    Outcome
        facts: depths (path -> maps as text, with modality and scale); of the original also what the weak defacers of
        `PLANTED` leave of it.
    """
    examination = Examination.of(settings)
    store = CaseStore(ingested.facts["store"])
    found = {}
    for path, target in targets(store, defacer, planned, faced.facts["levels"], examination):
        found[path] = {
            "modality": target.modality,
            **DepthMaps.of(target).packed(),
            "planted": {name: DepthMaps.of(weak(target)).packed() for name, weak in PLANTED.items()}
            if defacer == ORIGINAL
            else {},
        }
    return Outcome(facts={"depths": found, "scale": ray_scale(np.array(planned.facts["to_template"]))})


@dataclasses.dataclass(frozen=True, eq=False)
class _Lessons:
    """What is gathered of a cohort for one defacer, by modality."""

    known: dict[str, Known]

    @classmethod
    def read(cls, path: str) -> _Lessons:
        with np.load(path) as file:
            fields = [f.name for f in dataclasses.fields(Known)]
            names = {name.split("|")[0] for name in file.files}
            return cls({m: Known(*(file[f"{m}|{field}"] for field in fields)) for m in sorted(names)})


def gathered(
    store: Path, cases: Iterable[tuple[str, str]], defacers: Iterable[str]
) -> dict[str, tuple[str, str]]:
    """Put the maps of a cohort together.

    Parameters
    ----------
    store : Path
        The run's own data.
    cases : iterable of (case, person)
    defacers : iterable of str
        And, for the controls, each of `PLANTED`.

    Returns
    -------
    dict
        Defacer -> (file, digest of what it holds); left out where there are too few persons.
    """
    people = sorted(
        {person for _, person in cases}, key=lambda p: hashlib.sha256(p.encode("utf-8", "replace")).digest()
    )
    chosen = set(people[:MOST_PERSONS])
    some = sorted((case, person) for case, person in cases if person in chosen)
    rows: dict[str, dict[str, list[Any]]] = {}
    for case, person in some:
        original = kept_result(store / "results", case, DEPTHS, ORIGINAL)
        if original is None or not original.ok:
            continue
        for own in original.facts["depths"].values():
            for name, kept in own["planted"].items():
                rows.setdefault(name, {}).setdefault(own["modality"], []).append((person, own, kept))
        for defacer in defacers:
            left = kept_result(store / "results", case, DEPTHS, defacer)
            for path, kept in left.facts["depths"].items() if left is not None and left.ok else ():
                own = original.facts["depths"].get(path)
                if own is not None:
                    rows.setdefault(defacer, {}).setdefault(own["modality"], []).append((person, own, kept))
    folder = store / "inversion"
    found = {}
    for defacer, by in rows.items():
        arrays: dict[str, np.ndarray] = {}
        for modality, several in sorted(by.items()):
            if len({person for person, _, _ in several}) <= LEAST_PERSONS:
                continue
            known = Known.of(
                [person for person, _, _ in several],
                [DepthMaps.unpacked(own) for _, own, _ in several],
                [DepthMaps.unpacked(kept) for _, _, kept in several],
            )
            arrays |= {f"{modality}|{f.name}": getattr(known, f.name) for f in dataclasses.fields(Known)}
        if arrays:
            digest = _digest(arrays)
            file = folder / f"{hashlib.sha256(defacer.encode()).hexdigest()[:8]}-{digest[:16]}.npz"
            _write(file, arrays)
            found[defacer] = (str(file), digest)
    return found


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.shape, str(array.dtype)]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    if file.exists():
        return
    with writing("what inversion learns from"):
        file.parent.mkdir(parents=True, exist_ok=True)
        for old in file.parent.glob(f"{file.name.split('-')[0]}-*.npz"):
            old.unlink()
        with replacing(file) as aside, aside.open("wb") as stream:
            small: dict[str, Any] = {
                name: array if array.dtype.kind == "U" else array.astype(np.float16)
                for name, array in arrays.items()
            }
            np.savez_compressed(stream, **small)


def invert_faces(
    ingested: TaskResult,
    planned: TaskResult,
    faced: TaskResult,
    before: TaskResult,
    after: TaskResult,
    *,
    case: str,
    person: str,
    defacer: str,
    settings: Mapping[str, Any],
    lessons: str,
) -> Outcome:
    """Predict the face of one case from what one defacer left, draw it, and let the recognisers look.

    Parameters
    ----------
    faced : TaskResult
        The stage ``faces`` on the original.
    before, after : TaskResult
        The stage `DEPTHS` on the original, and on what the defacer left.
    person : str
        Is not learnt from.
    settings : mapping
        As for `defacedask.flow.stages.faces.judge_faces`.
    lessons : str
        File of `gathered`.

    Returns
    -------
    Outcome
        facts: looks, recognisers; rows of the table ``inversion``.
    """
    examination, recognisers = Examination.of(settings), recognisers_of(settings)
    examiner = examiner_for(examination, recognisers, np.array(planned.facts["pose"]), faced.facts["looks"])
    known = _Lessons.read(lessons).known
    rows = []
    store = CaseStore(ingested.facts["store"])
    for path, target in targets(store, defacer, planned, faced.facts["levels"], examination):
        one = _One.of(before, after.facts["depths"].get(path), path, person, known)
        if one is None:
            continue
        prediction, near = one.judged(one.known)
        attempt = rebuilt(target, prediction)
        examination.look_at(examiner, attempt, target, faced.facts["looks"], path)
        _, shuffled = one.judged(one.known.shuffled(SEED))
        rows.append(_row(case, defacer, target.modality, "", one, prediction, near, shuffled))
    names = {one.name: spec for one, spec in zip(recognisers, settings["recognisers"], strict=True)}
    return Outcome(facts={"looks": examiner.looks, "recognisers": names}, rows={"inversion": rows})


def control_inversion(before: TaskResult, *, case: str, person: str, lessons: Mapping[str, str]) -> Outcome:
    """Predict the face of one case from what each planted weak defacer leaves.

    Parameters
    ----------
    before : TaskResult
        The stage `DEPTHS` on the original.
    person : str
        Is not learnt from.
    lessons : mapping
        Name in `PLANTED` -> file of `gathered`.

    Returns
    -------
    Outcome
        rows of the table ``inversion``.
    """
    rows = []
    for name, file in lessons.items():
        known = _Lessons.read(file).known
        for path, own in before.facts["depths"].items():
            one = _One.of(before, own["planted"].get(name), path, person, known)
            if one is not None:
                prediction, near = one.judged(one.known)
                _, shuffled = one.judged(one.known.shuffled(SEED))
                rows.append(_row(case, ORIGINAL, own["modality"], name, one, prediction, near, shuffled))
    return Outcome(rows={"inversion": rows})


@dataclasses.dataclass(frozen=True, eq=False)
class _One:
    """One image to predict, and whom it is learnt from; it is among these, and left out when they teach."""

    known: Known
    at: int
    scale: np.ndarray

    @classmethod
    def of(
        cls,
        before: TaskResult,
        kept: Mapping[str, Any] | None,
        path: str,
        person: str,
        lessons: Mapping[str, Known],
    ) -> _One | None:
        own = before.facts["depths"].get(path)
        if own is None or kept is None or own["modality"] not in lessons:
            return None
        others = lessons[own["modality"]].without(person)
        if len(np.unique(others.persons)) < LEAST_PERSONS:
            return None
        mine = Known.of([person], [DepthMaps.unpacked(own)], [DepthMaps.unpacked(kept)])
        return cls(others.joined(mine), len(others.persons), np.array(before.facts["scale"]))

    def judged(self, known: Known) -> tuple[Prediction, Nearness | None]:
        person = str(known.persons[self.at])
        others = known.without(person)
        prediction = Inverter(others).predict(known.skin[self.at], known.bone[self.at])
        # which skin was changed is not shuffled with the rest
        own = self.known
        near = nearness(prediction, own.original[self.at], own.skin[self.at], self.scale, others)
        return prediction, near


def _row(
    case: str,
    defacer: str,
    modality: str,
    planted: str,
    one: _One,
    prediction: Prediction,
    near: Nearness | None,
    shuffled: Nearness | None,
) -> dict[str, Any]:
    return {
        "case": case,
        "defacer": defacer,
        "modality": modality,
        "planted": planted,
        "persons": len(np.unique(one.known.persons)) - 1,
        "replaced": float(prediction.replaced[face_rays().ravel()].mean()),
        "error_mm": near and near.error_mm,
        "average_mm": near and near.average_mm,
        "nearer": near and near.nearer,
        "shuffled_mm": shuffled and shuffled.error_mm,
        "shuffled_average_mm": shuffled and shuffled.average_mm,
        "shuffled_nearer": shuffled and shuffled.nearer,
    }

"""The forced crop as a full matrix: everybody's landmarks on each defaced head of a sample (see `faces.crops`).

It needs the faces of all originals of the sample, so it comes after the stage ``faces`` has run on all of them. The
head is drawn once more, at the level and from the views at which its original was seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.attacks.examination import Examination
from defacedask.faces.crops import Known, crop_distances
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.faces import recognisers_of
from defacedask.flow.stages.heads import shown_head
from defacedask.flow.stages.layout import volume_path
from defacedask.io.store import CaseStore

__all__ = ["compare_crops", "read_known", "write_known"]

Faces = dict[str, dict[str, dict[str, dict[str, Known]]]]


def write_known(faces: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Known]]]]) -> str:
    """Text of the file that all heads are compared by: modality -> recogniser -> person -> view -> face."""

    def plain(one: Known) -> list[Any]:
        marks = None if one.landmarks is None else np.asarray(one.landmarks).tolist()
        return [[int(v) for v in one.box], marks, np.asarray(one.encoding).tolist()]

    return json.dumps(
        {
            modality: {
                recogniser: {
                    person: {view: plain(one) for view, one in views.items()}
                    for person, views in persons.items()
                }
                for recogniser, persons in some.items()
            }
            for modality, some in faces.items()
        }
    )


def read_known(path: str | Path) -> Faces:
    """Read it."""
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    for some in found.values():
        for persons in some.values():
            for views in persons.values():
                for view, (box, marks, code) in views.items():
                    views[view] = Known(tuple(box), marks, np.array(code))
    return found


def compare_crops(
    ingested: TaskResult,
    planned: TaskResult,
    original: TaskResult,
    applied: TaskResult,
    *,
    case: str,
    defacer: str,
    person: str,
    known: str,
    settings: Mapping[str, Any],
) -> Outcome:
    """Put everybody's landmarks on one head as one defacer left it.

    Parameters
    ----------
    original : TaskResult
        Of the stage ``faces`` on the original.
    applied : TaskResult
        What it waits for: the head as the defacer left it.
    person : str
        Whose head it is.
    known : str
        Path of the file of `write_known`.
    settings : mapping
        As of the stage ``faces``.

    Returns
    -------
    Outcome
        facts: crops, a list of modality, recogniser, and person -> distance by both forms (``matrix``, ``plain``).
    """
    from defacedask.faces.render import render_views

    faces = read_known(known)
    examination, pose = Examination.of(settings), np.array(planned.facts["pose"])
    store = CaseStore(ingested.facts["store"])
    recognisers = [one for one in recognisers_of(settings) if not one.remote]
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for path in store.images:
        level = original.facts["levels"].get(path)
        modality = store.volume(path).attrs["modality"]
        if not store.holds(volume_path(defacer, path)):
            continue  # who defaces elsewhere need not give back all images
        if level is None or modality not in faces or modality not in examination.modalities:
            continue
        own = {view for some in faces[modality].values() for view in some.get(person, ())}
        views = [view for view in examination.views if view.name in own]
        if not views:
            continue
        shown = shown_head(store, path, defacer, pose, float(level), planned.facts["image"])
        surface = examination.surface(shown, pose)
        pictures = render_views(surface, pose, views, size=examination.size)
        named = {view.name: picture for view, picture in zip(views, pictures, strict=True)}
        for recogniser in recognisers:
            persons = faces[modality].get(recogniser.name, {})
            by = found.setdefault((modality, recogniser.name), {"matrix": {}, "plain": {}})
            for form, values in zip(by, crop_distances(recogniser, named, persons, person), strict=True):
                for one, value in values.items():
                    by[form][one] = min(by[form].get(one, math.inf), value)
    return Outcome(
        facts={
            "crops": [
                {"modality": modality, "recogniser": recogniser, "person": person, **forms}
                for (modality, recogniser), forms in found.items()
                if forms["matrix"]
            ]
        }
    )

"""How much of the original's skin a defacer leaves: the face from brow to chin, and the ears by themselves.

The ears' reliefs (`defacedask.attacks.ear_relief`) stay in the record, for who they are is told when all are known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from defacedask.errors import InputError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.heads import head_in_place
from defacedask.flow.stages.layout import ORIGINAL, loaded, one_thread, volume_path
from defacedask.io.store import CaseStore
from defacedask.modality import FACES
from defacedask.volume import geometry_of

__all__ = ["measure_skin"]


def measure_skin(
    ingested: TaskResult, planned: TaskResult, applied: TaskResult, *, case: str, defacer: str
) -> Outcome:
    """Compare the skin of every CT and MR before and after, where the original's head lies.

    Returns
    -------
    Outcome
        rows: ``residual_skin``, four an image: from brow to chin, both ears together, left and right. facts: ears
        (path -> modality, and of the original and the defaced image side -> map; of ears that could be measured).
    """
    store = CaseStore(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    ears: dict[str, Any] = {}
    with one_thread():
        for path in store.images:
            modality = store.volume(path).attrs["modality"]
            if path not in applied.facts["changed"] or modality not in FACES:
                continue
            head = head_in_place(store, path, planned)
            about = {"case": case, "defacer": defacer, "modality": modality, "image": path.rsplit("/", 1)[-1]}
            defaced = store.volume(volume_path(defacer, path)).load()
            found = _regions(head, defaced)
            rows += [{**about, **row} for row in found]
            sides = [row["region"][4:] for row in found if row["region"].startswith("ear_") and row["points"]]
            ears[path] = {"modality": modality, **_maps(head, defaced, sides)}
    return Outcome(rows={"residual_skin": rows}, facts={"ears": ears})


def _maps(head: Any, defaced: Any, sides: list[str]) -> dict[str, dict[str, str]]:
    from defacedask.attacks.ear_relief import ear_map, packed

    found: dict[str, dict[str, str]] = {}
    about: dict[str, Any] = {"level": head.level, "air": head.air}
    for who, volume in ((ORIGINAL, head.volume), ("defaced", defaced)) if sides else ():
        values = np.where(head.drop, np.float32(head.air), loaded(volume).values)
        grid, place = geometry_of(volume), head.to_template
        found[who] = {side: packed(ear_map(values, grid, place, side, **about)) for side in sides}
    return found


def _regions(head: Any, defaced: Any) -> list[dict[str, Any]]:
    from defacedask.faces.ears import SIDES, ear_change, together
    from defacedask.faces.surface_change import surface_change

    rows: list[dict[str, Any]] = []
    try:
        face = surface_change(head, defaced, count_brain=False)
    except InputError as error:
        if "in view" not in error.message:
            raise
        rows.append({"region": "brow_to_chin", "points": 0, "note": "not in the image"})
    else:
        rows.append({"region": "brow_to_chin", **_numbers(face)})
    ears = [ear_change(head, defaced, side) for side in SIDES]
    for region, ear in (("ears", together(ears)), *((f"ear_{ear.side}", ear) for ear in ears)):
        more = {"untouched": ear.untouched, "note": ear.note}
        rows.append({"region": region, **(_numbers(ear) if ear.points else {"points": 0}), **more})
    return rows


def _numbers(change: Any) -> dict[str, Any]:
    return {
        "points": change.points,
        "moved": change.moved,
        "kept": 1.0 - change.moved,
        "least_mm": change.least_mm,
        "median_mm": change.median_mm,
    }

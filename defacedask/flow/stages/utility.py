"""What other tools would find in a defaced case: masks of the whole head, and uptake of structures in PET."""

from __future__ import annotations

from typing import Any

import numpy as np

from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.heads import place_of
from defacedask.flow.stages.layout import MASKS, loaded, one_thread, volume_path
from defacedask.io.store import CaseStore

__all__ = ["measure_utility"]


def measure_utility(
    ingested: TaskResult, planned: TaskResult, applied: TaskResult, *, case: str, defacer: str
) -> Outcome:
    """Masks that our own methods find on the image plans are made on, and uptake of every structure in every PET.

    Where the head lies, and the masks of the original, were found by the stage ``plan``: what is compared is what
    the values of the defaced image tell.

    Returns
    -------
    Outcome
        rows: ``utility``.
    """
    from defacedask.anatomy.head import Head
    from defacedask.costs.segmentation import HeadMasks, compare_masks
    from defacedask.costs.uptake import compare_uptake

    store = CaseStore(ingested.facts["store"])
    path, given = planned.facts["image"], applied.facts["changed"]
    rows: list[dict[str, Any]] = []
    with one_thread():
        if path in given:
            before, now = (store.volume(one).load() for one in (path, volume_path(defacer, path)))
            own = found = HeadMasks.of_volume(store.volume(f"{MASKS}/{path}"))
            if not np.array_equal(before.values, now.values):
                found = HeadMasks.of(Head(now, registration=place_of(planned)))
            about = {"case": case, "defacer": defacer, "modality": before.attrs["modality"]}
            rows += [{**about, **row} for row in compare_masks(own, found)]
        for pet in (p for p in store.images if p in given):
            if store.volume(pet).attrs["modality"] != "PT":
                continue
            was, left = (loaded(store.volume(one)).values for one in (pet, volume_path(defacer, pet)))
            for part in store.structure_sets:
                parts, grid = store.structures(part), store.geometry(part)
                compared = compare_uptake(was, left, store.geometry(pet), parts, grid)
                rows += [{"case": case, "defacer": defacer, "modality": "PT", **row} for row in compared]
    return Outcome(rows={"utility": rows})

"""What other tools would find in a defaced case: masks of the whole head, and uptake of structures in PET."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.flow.result import Outcome, Piece
from defacedask.flow.stages.places import loaded, one_thread, volume_path
from defacedask.io.store import CaseStore

if TYPE_CHECKING:
    from defacedask.costs.segmentation import HeadMasks

__all__ = ["measure_utility"]


def measure_utility(ingested: Piece, looked: Piece, applied: Piece, *, case: str, defacer: str) -> Outcome:
    """Masks that our own methods find on the image plans are made on, and uptake of every structure in every PET.

    Where the head lies is taken from the original: what is compared is what the values of the defaced image tell.

    Returns
    -------
    Outcome
        rows: ``utility``.
    """
    from defacedask.costs.segmentation import compare_masks
    from defacedask.costs.uptake import compare_uptake

    store = CaseStore(ingested.facts["store"])
    path, given = looked.facts["image"], applied.facts["changed"]
    rows: list[dict[str, Any]] = []
    with one_thread():
        if path in given:
            before = _original.of((ingested.key, looked.key, path), lambda: _masks(store, path, looked))
            same = not given[path]["voxels"]
            after = before if same else _masks(store, volume_path(defacer, path), looked)
            about = {"case": case, "defacer": defacer, "modality": before.modality}
            rows += [{**about, **row} for row in compare_masks(before, after)]
        for pet in (p for p in store.images if p in given):
            if store.volume(pet).attrs["modality"] != "PT":
                continue
            before, after = (loaded(store.volume(one)).values for one in (pet, volume_path(defacer, pet)))
            for part in store.structure_sets:
                parts, grid = store.structures(part), store.geometry(part)
                found = compare_uptake(before, after, store.geometry(pet), parts, grid)
                rows += [{"case": case, "defacer": defacer, "modality": "PT", **row} for row in found]
    return Outcome(rows={"utility": rows})


def _masks(store: CaseStore, path: str, looked: Piece) -> HeadMasks:
    """Masks of one image, with the head where the original's was found."""
    from defacedask.anatomy.head import Head
    from defacedask.anatomy.registration import Registration
    from defacedask.costs.segmentation import HeadMasks

    pose = np.asarray(looked.facts["pose"])
    known = Registration(pose, np.asarray(looked.facts["to_template"]), np.nan, np.nan, True, pose)
    return HeadMasks.of(Head(store.volume(path).load(), registration=known))


class _Last:
    """What was made of the last original: the defacers of one case come one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[Any, Any] = (None, None)

    def of(self, key: tuple[str, ...], make: Callable[[], HeadMasks]) -> HeadMasks:
        """Of this original, from memory if it is the last one; a key without content makes it anew."""
        with self._lock:
            if not all(key) or self._known[0] != key:
                self._known = (key, make())
            found: HeadMasks = self._known[1]
            return found


_original = _Last()

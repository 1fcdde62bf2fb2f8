"""How much of the original's skin a defacer leaves: the face from brow to chin, and the ears by themselves."""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING, Any

from defacedask.errors import InputError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.heads import head_in_place
from defacedask.flow.stages.layout import one_thread, volume_path
from defacedask.io.store import CaseStore
from defacedask.modality import FACES

if TYPE_CHECKING:
    from defacedask.faces.ears import Ear

__all__ = ["measure_skin"]


def measure_skin(
    ingested: TaskResult, planned: TaskResult, applied: TaskResult, *, case: str, defacer: str
) -> Outcome:
    """Compare the skin of every CT and MR before and after, where the original's head lies.

    Returns
    -------
    Outcome
        rows: ``residual_skin``, four an image: from brow to chin, both ears together, left and right.
    """
    store = CaseStore(ingested.facts["store"])
    made = ingested.key, planned.key, str(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    with one_thread():
        for path in store.images:
            modality = store.volume(path).attrs["modality"]
            if path not in applied.facts["changed"] or modality not in FACES:
                continue
            head = head_in_place(store, path, planned)
            about = {"case": case, "defacer": defacer, "modality": modality, "image": path.rsplit("/", 1)[-1]}
            ears = _EARS.of((*made, path), head)
            defaced = store.volume(volume_path(defacer, path)).load()
            rows += [{**about, **row} for row in _regions(head, defaced, ears)]
    return Outcome(rows={"residual_skin": rows})


class _Ears:
    """The ears of the originals that were looked at last: they are the same for all defacers of a case."""

    def __init__(self) -> None:
        self._known: collections.OrderedDict[tuple[str, ...], list[Ear]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: tuple[str, ...], head: Any) -> list[Ear]:
        from defacedask.faces.ears import SIDES, find_ear

        with self._lock:
            if key not in self._known:
                self._known[key] = [find_ear(head, side) for side in SIDES]
                while len(self._known) > KEPT:
                    self._known.popitem(last=False)
            return self._known[key]


#: Originals whose ears are kept; some 100 kB each.
KEPT = 4
_EARS = _Ears()


def _regions(head: Any, defaced: Any, found: list[Ear]) -> list[dict[str, Any]]:
    from defacedask.faces.ears import ear_change, together
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
    ears = [ear_change(head, defaced, ear) for ear in found]
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

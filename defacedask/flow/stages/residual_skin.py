"""How much of the original's skin a defacer leaves: the face from brow to chin, and the ears by themselves.

The ears' reliefs (`defacedask.attacks.ear_relief`) stay in the record, for who they are is told when all are known.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from defacedask.errors import InputError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.heads import head_in_place
from defacedask.flow.stages.layout import ORIGINAL, one_thread, volume_path
from defacedask.io.store import CaseStore
from defacedask.latest import Latest
from defacedask.modality import FACES
from defacedask.volume import geometry_of, real_values

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.faces.ears import Ear

__all__ = ["ear_maps", "known_ears", "measure_skin"]


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
    made = ingested.key, planned.key, str(ingested.facts["store"])
    rows: list[dict[str, Any]] = []
    maps: dict[str, Any] = {}
    with one_thread():
        for path in store.images:
            modality = store.volume(path).attrs["modality"]
            if path not in applied.facts["changed"] or modality not in FACES:
                continue
            head = head_in_place(store, path, planned)
            about = {"case": case, "defacer": defacer, "modality": modality, "image": path.rsplit("/", 1)[-1]}
            known = _KNOWN.get((*made, path), functools.partial(_measured, head))
            defaced = store.volume(volume_path(defacer, path)).load()
            rows += [{**about, **row} for row in _regions(head, defaced, known.ears)]
            maps[path] = {"modality": modality}
            if known.maps:
                maps[path] |= {ORIGINAL: known.maps, "defaced": ear_maps(head, defaced, known.maps)}
    return Outcome(rows={"residual_skin": rows}, facts={"ears": maps})


def known_ears(head: Head) -> dict[str, str]:
    """Side -> map of the ears of an original that could be measured."""
    return _measured(head).maps


def ear_maps(head: Head, volume: Any, sides: Iterable[str]) -> dict[str, str]:
    """Side -> map of the skin around an ear, as a record holds it.

    Parameters
    ----------
    head : Head
        Of the original.
    volume : xarray.DataArray
        The original, or a defaced version on its grid.
    sides : iterable of str
    """
    from defacedask.attacks.ear_relief import ear_map, ear_part, packed

    found = {}
    for side in sides:
        part = ear_part(geometry_of(volume), head.to_template, side)
        block = volume[part]
        values = np.where(np.asarray(head.drop[part]), np.float32(head.air), real_values(block).values)
        grid, place = geometry_of(block), head.to_template
        found[side] = packed(ear_map(values, grid, place, side, level=head.level, air=head.air))
    return found


class _Known(NamedTuple):
    ears: list[Ear]
    #: Of those that could be measured.
    maps: dict[str, str]


def _measured(head: Any) -> _Known:
    """The ears of an original."""
    from defacedask.faces.ears import SIDES, find_ear

    ears = [find_ear(head, side) for side in SIDES]
    return _Known(ears, ear_maps(head, head.volume, [ear.side for ear in ears if not ear.note]))


#: Those of the originals that were looked at last, some 100 kB each: they are the same for all defacers of a case.
_KNOWN = Latest(4)


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
